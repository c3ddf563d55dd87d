"""A source that sends much less or much more than at this time of other days, or nothing."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Annotated, Final, Literal, NamedTuple, cast

import msgspec

from headrace.alerts.base import AlertSettings, Condition, Figures, Finding, SourceFigures, named, percent, share
from headrace.catalog import described
from headrace.event import Hour, hour_of
from headrace.log.base import Hourly

_HOUR: Final = timedelta(hours=1)
_LATECOMERS: Final = timedelta(minutes=1)
"""An hour is looked at so long after its end: by then what came in it is in the log."""


class SourceVolumeSettings(AlertSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    source: Annotated[str, described("The slug of one source. Empty: each of them.")] = ""
    changed_percent: Annotated[
        float, msgspec.Meta(description="Told when an hour has so many percent more or less events than usual.", gt=0)
    ] = 50.0
    direction: Annotated[Literal["down", "up", "both"], described("Which changes are told: down, up or both.")] = "both"
    days: Annotated[
        int, msgspec.Meta(description="Usual is the median of the same hour of so many days before.", ge=1, le=34)
    ] = 7
    every_days: Annotated[
        int, msgspec.Meta(description="1: of every day. 7: of the same day of the week.", ge=1, le=7)
    ] = 1
    least_days: Annotated[
        int, msgspec.Meta(description="Of these days so many must be known; else nothing is said.", ge=1, le=34)
    ] = 3
    least_events: Annotated[
        int, msgspec.Meta(description="Changes are told where an hour, or the usual one, has so many events.", ge=1)
    ] = 100
    least_usual: Annotated[
        int, msgspec.Meta(description="No events at all are told where so many an hour are usual.", ge=1)
    ] = 10
    hold_minutes: Annotated[
        float, msgspec.Meta(description="It must hold so long before it is told; 0 is at once.", ge=0, le=10_080)
    ] = 0.0
    recover_minutes: Annotated[
        float, msgspec.Meta(description="It must be well for so long before that is told.", ge=0, le=10_080)
    ] = 0.0

    def __post_init__(self) -> None:
        """Raises ValueError."""
        super().__post_init__()
        if self.least_days > self.days:
            raise ValueError("least_days: more than days has")
        if self.days * self.every_days > 34:
            raise ValueError("days: the books know 34 days; give fewer, or a smaller every_days")


class _Counts(NamedTuple):
    """Received events of an hour, and of the same hour of each earlier day that is known."""

    hour: datetime
    events: int
    before: Sequence[int]


class SourceVolume(Condition):
    slug = "source-volume"
    summary = "A source's last hour has many more or many fewer events than the same hour of the days before, or none."
    Settings = SourceVolumeSettings

    def findings(self, figures: Figures, now: datetime, lasting: Collection[str]) -> Sequence[Finding]:
        del lasting
        own = cast("SourceVolumeSettings", self.settings)
        hourly = figures.received().hourly
        first_by_source = _firsts(hourly)
        hour = hour_of((now - _LATECOMERS).astimezone(UTC)) - _HOUR
        found = []
        for source in figures.sources():
            if own.source in ("", source.slug):
                first = first_by_source.get(source.slug)
                counts = self._counts(hourly, source.slug, hour, first) if first is not None else None
                found.append(self._finding(source, counts))
        return found

    def _counts(self, hourly: Hourly, source: str, hour: datetime, first: datetime) -> _Counts:
        own = cast("SourceVolumeSettings", self.settings)
        wall = hour.astimezone(own.zone)
        before = []
        for day in range(1, own.days + 1):
            # The same time on the wall: across a change of the clock another hour in UTC.
            then = hour_of((wall - timedelta(days=day * own.every_days)).astimezone(UTC))
            if then >= max(first, hourly.since):
                before.append(_received(hourly, source, then))
        return _Counts(hour, _received(hourly, source, hour), before)

    def _finding(self, source: SourceFigures, counts: _Counts | None) -> Finding:
        own = cast("SourceVolumeSettings", self.settings)
        if counts is None or not source.enabled or len(counts.before) < own.least_days:
            return Finding(source.slug, "unknown")
        usual = float(median(counts.before))
        change = share(counts.events - usual, usual)
        is_down = own.direction != "up" and (
            (usual >= own.least_events and change * 100 <= -own.changed_percent)
            or (usual >= own.least_usual and counts.events == 0)
        )
        is_up = own.direction != "down" and (
            counts.events >= own.least_events
            and counts.events > usual
            and (change * 100 >= own.changed_percent or not usual)
        )
        return self._written(source, counts, usual, "down" if is_down else "up" if is_up else "")

    def _written(self, source: SourceFigures, counts: _Counts, usual: float, way: str) -> Finding:
        name = named(source.nickname, source.slug)
        zone = cast("SourceVolumeSettings", self.settings).zone
        begins, ends = counts.hour.astimezone(zone), (counts.hour + _HOUR).astimezone(zone)
        came = f"{counts.events:,} {'event' if counts.events == 1 else 'events'} came from {name} from {begins:%H:%M} to {ends:%H:%M}"
        numbers = {"events": counts.events, "usual": usual, "days": len(counts.before)}
        if not way:
            return Finding(
                source.slug,
                "good",
                title=f"{name} sends as usual again",
                what=f"{came}.",
                usual=_usual(usual, counts),
                figures=numbers,
            )
        change = f"{percent(abs(share(counts.events - usual, usual)))} {'fewer' if way == 'down' else 'more'}"
        if not counts.events:
            title, what = f"{name} sends nothing", f"No {came.removeprefix('0 ')}"
        else:
            title = f"{name} sends {change if usual else 'more'} than usual"
            what = f"{came}{f', {change} than usual' if usual else ''}"
        return Finding(
            source.slug,
            "bad",
            title=title,
            what=f"{what}.",
            usual=_usual(usual, counts),
            remedy="See whether a mailing, an app or a site changed, and whether what sends to it reports errors."
            if way == "down"
            else "See what sends so much: a mailing that was planned, events sent twice, or a script.",
            look="headrace status --hours 24",
            since=counts.hour,
            figures=numbers,
        )


def _usual(usual: float, counts: _Counts) -> str:
    return f"Usual at this hour are {usual:,.0f} (the median of {len(counts.before)} earlier days)."


def _received(hourly: Hourly, source: str, hour: datetime) -> int:
    return sum(hourly.tallies.get(Hour(source, hour), ()))


def _firsts(hourly: Hourly) -> Mapping[str, datetime]:
    """The first hour in which anything came, by source. What is older than the books know counts as the beginning of them."""
    firsts: dict[str, datetime] = {}
    for (source, hour), tally in hourly.tallies.items():
        if sum(tally):
            firsts[source] = min(firsts.get(source, hour), hour)
    return firsts
