"""Event Delivery: what became of the events of a period, for a destination or a warehouse, in one form.

accepted = filtered + retrying + failed + delivered + waiting, exactly, in every period and in every part of one.
"""

from __future__ import annotations

import re
import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import msgspec

from headrace.delivery.account_tallies import Count, Span, Tallies, read, reading
from headrace.delivery.latency import percentile
from headrace.destinations.base import CODES
from headrace.errors import RequestError

MOST_POINTS: Final = 170
STEPS_MINUTES: Final = (1, 5, 60, 360, 1_440, 10_080)
MOST_MINUTES: Final = MOST_POINTS * STEPS_MINUTES[-1]
OUTCOMES: Final = ("filtered", "retrying", "failed", "delivered")
_AGO: Final = re.compile(r"([1-9]\d{0,6})(m|h|d)")
_MINUTES: Final = {"m": 1, "h": 60, "d": 1_440}


class Period(NamedTuple):
    """Whole minutes, in which events were received: from `since` to before `until`."""

    since: datetime
    until: datetime

    @property
    def span(self) -> Span:
        since, until = minute_at(self.since), minute_at(self.until)
        wanted = (until - since) / MOST_POINTS
        return Span(since, until, next((step for step in STEPS_MINUTES if step >= wanted), STEPS_MINUTES[-1]))


class ErrorFigures(msgspec.Struct, frozen=True):
    """Events of the period that have this outcome and code now. `first_seen` and `last_seen` are the minutes in which the first and
    the last of them was received; `detail` is what the tool said at the newest sample."""

    code: str
    outcome: str
    events: int
    title: str
    description: str
    remedy: str
    link: str
    first_seen: datetime | None = None
    last_seen: datetime | None = None
    detail: str = ""
    detail_at: datetime | None = None


class Point(msgspec.Struct, frozen=True):
    """A part of the period that begins at `at`."""

    at: datetime
    accepted: int = 0
    rejected: int = 0
    waiting: int = 0
    filtered: int = 0
    retrying: int = 0
    failed: int = 0
    delivered: int = 0
    p50_seconds: float | None = None
    p95_seconds: float | None = None


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """`rejected` was refused at the door and is no part of `accepted`. `not_delivered` = waiting + retrying + failed; `delivery_rate` =
    delivered / (accepted - filtered), None where that is nothing. Latencies are from received to delivered, retries included.
    `is_balanced` is false when the books do not fit what was accepted; `problems` says it in words."""

    slug: str
    kind: str
    nickname: str
    what: Literal["destination", "warehouse"] = "destination"
    state: str
    error: str = ""
    error_title: str = ""
    error_remedy: str = ""
    """Of a destination whose error begins with one of CODES: in plain words, and what to do."""
    error_since: datetime | None = None
    next_at: datetime | None = None
    """When a request is tried again, while nothing gets through and events wait."""
    since: datetime
    until: datetime
    accepted: int = 0
    rejected: int = 0
    waiting: int = 0
    filtered: int = 0
    retrying: int = 0
    failed: int = 0
    delivered: int = 0
    not_delivered: int = 0
    delivery_rate: float | None = None
    p50_seconds: float | None = None
    p95_seconds: float | None = None
    p99_seconds: float | None = None
    waiting_since: datetime | None = None
    """The minute of the oldest event of all that has not had its first attempt."""
    entries_behind: int = 0
    """Entries of the log that have not been looked at, of any source."""
    is_balanced: bool = True
    errors: Sequence[ErrorFigures] = ()
    trend_minutes: int
    trend: Sequence[Point] = ()
    notes: Sequence[str] = ()
    """What a reader of these figures must know."""


class Place(NamedTuple):
    """Whose books these are. `added_at` and `removed_at` are the destination's; `state` is what the workspace says, if it is more than running."""

    file: Path
    slug: str
    kind: str
    nickname: str
    added_at: datetime
    removed_at: datetime | None = None
    state: str | None = None


def account(place: Place, period: Period) -> Account:
    """Raises RetryableError when the books cannot be read."""
    span = period.span
    until = min(span.until, minute_at(place.removed_at) + 1) if place.removed_at else span.until
    span = span._replace(until=max(until, span.since))
    found = read(place.file, span, minute_at(place.added_at))
    if found is None:
        notes = ("no server has taken this destination up yet; what is accepted before one does is not sent to it",)
        return Account(slug=place.slug, kind=place.kind, nickname=place.nickname, state=place.state or "not begun", since=period.since,
                       until=period.until, trend_minutes=span.step, notes=notes)  # fmt: skip
    errors = _errors(place.file, found.counts, span)
    return _told(place, period, span, found, errors)


def _told(place: Place, period: Period, span: Span, found: Tallies, errors: Sequence[ErrorFigures]) -> Account:
    points = _points(span, found)
    sums = {name: sum(getattr(point, name) for point in points) for name in _SUMMED}
    latencies: Counter[int] = Counter()
    for of in found.latencies.values():
        latencies.update(of)
    error = str(found.state.get("error", ""))
    words = in_words(error.partition(":")[0])
    since, next_at = found.state.get("since"), found.state.get("next_at")
    is_balanced = not found.surplus and not found.missing
    problem = f"the books do not add up: {found.surplus:,} outcomes too many, {found.missing:,} too few; report it"
    return Account(
        slug=place.slug,
        kind=place.kind,
        nickname=place.nickname,
        state=place.state or str(found.state.get("state", "not begun")),
        error=error,
        error_title=words["title"] if words["remedy"] else "",
        error_remedy=words["remedy"],
        error_since=datetime.fromtimestamp(since, UTC) if since else None,
        next_at=datetime.fromtimestamp(next_at, UTC) if next_at and place.state is None else None,
        since=period.since,
        until=period.until,
        **sums,
        **derived(sums),
        p50_seconds=percentile(latencies, 0.5),
        p95_seconds=percentile(latencies, 0.95),
        p99_seconds=percentile(latencies, 0.99),
        waiting_since=None if found.waiting_since is None else time_of(found.waiting_since),
        entries_behind=found.entries_behind,
        is_balanced=is_balanced,
        errors=errors,
        trend_minutes=span.step,
        trend=points,
        notes=() if is_balanced else (problem,),
    )


_SUMMED: Final = ("accepted", "rejected", "waiting", *OUTCOMES)


def derived(sums: Mapping[str, int]) -> dict[str, Any]:
    """What follows from the counts."""
    wanted = sums["accepted"] - sums["filtered"]
    return {
        "not_delivered": sums["waiting"] + sums["retrying"] + sums["failed"],
        "delivery_rate": sums["delivered"] / wanted if wanted else None,
    }


def _points(span: Span, found: Tallies) -> list[Point]:
    by_bucket: dict[int, Counter[str]] = {bucket: Counter() for bucket in span.buckets()}
    for count in found.counts:
        by_bucket[span.bucket(count.at)][count.outcome] += count.events
    points = []
    for bucket, counts in by_bucket.items():
        waiting = found.waiting.get(bucket, 0)
        points.append(
            Point(
                at=time_of(bucket),
                accepted=waiting + sum(counts.values()),
                rejected=found.refused.get(bucket, 0),
                waiting=waiting,
                **{outcome: counts[outcome] for outcome in OUTCOMES},
                p50_seconds=percentile(found.latencies.get(bucket, {}), 0.5),
                p95_seconds=percentile(found.latencies.get(bucket, {}), 0.95),
            )
        )
    return points


# Errors.


def _errors(file: Path, counts: Iterable[Count], span: Span) -> list[ErrorFigures]:
    """The most frequent first; what was left out by the settings comes after what went wrong."""
    events: Counter[tuple[str, str]] = Counter()
    seen: dict[tuple[str, str], list[int]] = {}
    for count in counts:
        if count.outcome != "delivered":
            key = (count.outcome, count.code)
            events[key] += count.events
            seen.setdefault(key, []).append(count.at)
    order = sorted(events.items(), key=lambda each: (each[0][0] == "filtered", -each[1], each[0]))
    with reading(file) as books:
        return [_error(books, key, n, seen[key], span) for key, n in order if n]


def _error(
    books: sqlite3.Connection, key: tuple[str, str], events: int, seen: Sequence[int], span: Span
) -> ErrorFigures:
    outcome, code = key
    first, last = (_minutes_within(books, key, at, span) for at in (min(seen), max(seen)))
    newest = (
        books.execute(_NEWEST_SAMPLE, (code,)).fetchone() or books.execute(_NEWEST_EVENT, (code, outcome)).fetchone()
    )
    return ErrorFigures(
        code=code,
        outcome=outcome,
        events=events,
        **in_words(code),
        first_seen=time_of(first[0] if first else min(seen)),
        last_seen=time_of(last[-1] if last else max(seen)),
        detail=newest[0] if newest else "",
        detail_at=datetime.fromtimestamp(newest[1] / 1_000, UTC) if newest else None,
    )


def _minutes_within(books: sqlite3.Connection, key: tuple[str, str], at: int, span: Span) -> list[int]:
    """Minutes with such events within an hour from there on, which is where a count of an hour begins, or that minute alone."""
    until = min(at + (60 if at % 60 == 0 else 1), span.until)
    rows = books.execute(_SEEN, (at, until, *key)).fetchall()
    return [row[0] for row in rows]


_NEWEST_SAMPLE: Final = "SELECT detail, at FROM samples WHERE code = ? ORDER BY id DESC LIMIT 1"
_NEWEST_EVENT: Final = (
    "SELECT detail, last_at FROM (SELECT detail, last_at, outcome FROM events WHERE outcome = 'failed' AND code = ?1 "
    "ORDER BY received_at DESC LIMIT 1) WHERE outcome = ?2"
)
_SEEN: Final = "SELECT DISTINCT minute FROM minutes WHERE minute >= ? AND minute < ? AND outcome = ? AND code = ? AND events > 0 ORDER BY 1"


def in_words(code: str) -> dict[str, str]:
    """What the table of codes says. A code that it does not have was written by another release."""
    known = CODES.get(code)
    if known is None:
        return {"title": code, "description": "", "remedy": "", "link": ""}
    return {"title": known.title, "description": known.description, "remedy": known.remedy, "link": known.link}


# Time.


def minute_at(time: datetime) -> int:
    return int(time.timestamp()) // 60


def time_of(minute: int) -> datetime:
    return datetime.fromtimestamp(minute * 60, UTC)


def period(since: str, until: str | None = None, *, now: datetime) -> Period:
    """`since` is so long ago (10m, 1h, 24h, 7d) or a moment in ISO 8601, `until` a moment; without one the period ends with the
    minute that is now. Raises RequestError."""
    end = _moment(until, "until") if until else time_of(minute_at(now) + 1)
    end = time_of(-(-int(end.timestamp()) // 60))
    ago = _AGO.fullmatch(since)
    start = end - timedelta(minutes=int(ago[1]) * _MINUTES[ago[2]]) if ago else _moment(since, "since")
    start = time_of(minute_at(start))
    if not start < end or end - start > timedelta(minutes=MOST_MINUTES):
        raise RequestError(
            "period_invalid", f"period: {since} to {until or 'now'} is none; give a beginning before its end"
        )
    return Period(start, end)


def _moment(text: str, what: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise RequestError(
            "period_invalid",
            f"period: {what} is {text!r}, which is no time; give 10m, 1h, 24h, 7d, or a date like 2026-03-01 or 2026-03-01T12:00Z",
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
