"""A warehouse in the form of Event Delivery: the loader's books of whole hours, and why events are not in it. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from headrace.console.books import HourBooks
from headrace.console.status import WarehouseStatus
from headrace.delivery.account import STEPS_MINUTES, Account, ErrorFigures, Period, Point, derived, minute_at, time_of
from headrace.delivery.account_breakdown import Breakdown, by_source
from headrace.delivery.account_tallies import Span
from headrace.event import hour_of

_LEFT_OUT: Final = "FILTERED_BY_RULES"
_HOURS: Final = "a warehouse's books are by the hour, so the period is of whole hours"
_NAMES: Final = "by name of event ask the warehouse itself: SELECT event, count(*) FROM SCHEMA.tracks GROUP BY event"
_NO_LATENCY: Final = "no latency: ask the warehouse for loaded_at and received_at"


def whole_hours(period: Period) -> Period:
    """The hours of which the period has any part."""
    until = hour_of(period.until)
    return Period(hour_of(period.since), until if until == period.until else until + timedelta(hours=1))


def rejected_sql(period: Period) -> str:
    """What asks the warehouse for its rejected events of a period of whole hours."""
    bounds = [f"CAST('{time.astimezone(UTC):%Y-%m-%d %H:%M:%S}' AS TIMESTAMP)" for time in period]
    return (
        "SELECT code, sum(events) AS events, min(received_at) AS first_seen, max(received_at) AS last_seen, max(reason) AS reason "  # noqa: S608
        f"FROM headrace.rejected WHERE stage <> 'collector' AND received_at >= {bounds[0]} AND received_at < {bounds[1]} GROUP BY code"
    )


def account(found: WarehouseStatus, period: Period, rejected: Sequence[Sequence[Any]] | str) -> Account:
    """`found` has the hours of the period, which is of whole hours; `rejected` are the rows of `rejected_sql`, or why there are none.

    What was loaded and what was there already is `delivered`, what the selection leaves out `filtered`, and what could not become a row `failed`."""
    assert found.warehouse is not None  # noqa: S101 - of a warehouse that is there
    hours = [hour for hour in found.hours if hour.hour is not None and period.since <= hour.hour < period.until]
    points = _points(hours, period)
    sums = {name: sum(getattr(point, name) for point in points) for name in _SUMMED}
    is_balanced = all(hour.is_balanced for hour in hours)
    notes = [_HOURS, _NO_LATENCY]
    if isinstance(rejected, str):
        notes.append(f"why events failed is not known: {rejected}")
    if not found.warehouse.known:
        notes.append("it has not been reached since the server started: nobody knows what it holds")
    elif found.warehouse.as_of is not None:
        notes.append(f"it cannot be asked now; what it holds is as of {found.warehouse.as_of:%Y-%m-%d %H:%M:%S} UTC")
    if not is_balanced:
        notes.append("the books do not add up; see `headrace status --hours`")
    pending = [hour.hour for hour in found.hours if hour.pending and hour.hour is not None]
    return Account(
        slug=found.warehouse.slug,
        kind=found.warehouse.kind,
        nickname=found.warehouse.nickname,
        what="warehouse",
        state=found.warehouse.state,
        error=found.warehouse.error or "",
        since=period.since,
        until=period.until,
        **sums,
        **derived(sums),
        waiting_since=min(pending, default=None),
        entries_behind=sum(max(0, partition.next - partition.position) for partition in found.partitions),
        is_balanced=is_balanced,
        errors=_errors(sums, () if isinstance(rejected, str) else rejected),
        trend_minutes=_span(period).step,
        trend=points,
        notes=notes,
    )


def breakdown(found: WarehouseStatus, period: Period) -> Breakdown:
    """By source, of the hours of the period, which is of whole hours."""
    counts: dict[str, Counter[str]] = {}
    for hour in found.hours:
        if hour.hour is None or not period.since <= hour.hour < period.until:
            continue
        of = counts.setdefault(hour.source, Counter())
        of["waiting"] += hour.pending
        of["filtered"] += hour.filtered
        of["failed"] += hour.rejected
        of["delivered"] += hour.loaded + hour.duplicates
    slug = found.warehouse.slug if found.warehouse else ""
    return Breakdown(slug=slug, by_source=by_source(counts), notes=(_HOURS, _NAMES))


_SUMMED: Final = ("accepted", "rejected", "waiting", "filtered", "retrying", "failed", "delivered")


def _span(period: Period) -> Span:
    span = period.span
    return span if span.step >= 60 else span._replace(step=next(step for step in STEPS_MINUTES if step >= 60))


def _points(hours: Sequence[HourBooks], period: Period) -> list[Point]:
    span = _span(period)
    by_bucket: dict[int, Counter[str]] = {bucket: Counter() for bucket in span.buckets()}
    for hour in hours:
        assert hour.hour is not None  # noqa: S101 - left out before
        counts = by_bucket[span.bucket(minute_at(hour.hour))]
        counts["accepted"] += hour.accepted
        counts["rejected"] += hour.refused
        counts["waiting"] += hour.pending
        counts["filtered"] += hour.filtered
        counts["failed"] += hour.rejected
        counts["delivered"] += hour.loaded + hour.duplicates
    return [
        Point(at=time_of(bucket), **{name: counts[name] for name in _SUMMED}) for bucket, counts in by_bucket.items()
    ]


def _errors(sums: dict[str, int], rejected: Sequence[Sequence[Any]]) -> list[ErrorFigures]:
    errors = [
        ErrorFigures(
            code=str(code),
            outcome="failed",
            events=int(events),
            title="Could not become a row",
            description="The loader could not make a row of it; it stands in headrace.rejected with its reason, as it was sent.",
            remedy="Look at headrace.rejected; correct the event where it is sent.",
            link="docs/warehouse.md",
            first_seen=_time(first),
            last_seen=_time(last),
            detail=str(reason or ""),
        )
        for code, events, first, last, reason in sorted(rejected, key=lambda row: -int(row[1]))
    ]
    if sums["filtered"]:
        errors.append(
            ErrorFigures(
                code=_LEFT_OUT,
                outcome="filtered",
                events=sums["filtered"],
                title="Left out by the warehouse's selection",
                description="The selection of the warehouse does not take these events.",
                remedy="Nothing, if that is meant. Else change it with `headrace warehouse select`, then run `headrace warehouse backfill`.",
                link="docs/selective-loading.md",
            )
        )
    return errors


def _time(text: Any) -> datetime | None:
    if isinstance(text, datetime) or text is None:
        return text
    moment = datetime.fromisoformat(str(text))
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
