"""What a report is asked by, and its period in the words of people."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Final, Literal, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

import msgspec

from headrace.errors import ConfigError, NotFoundError
from headrace.reports.conditions import Condition
from headrace.reports.measures import AttributionModel

MOST_COLUMNS: Final = 60
MOST_ROWS: Final = 100_000
_RELATIVE: Final = re.compile(r"([1-9][0-9]{0,4})([hdw])")
_DAY: Final = len("2026-01-31")
PERIOD_WORDS: Final = (
    "a date (2026-10-01), a time (2026-10-01T08:30:00+02:00), or how far back: 12h, 30d, 8w (whole days of the zone)"
)
Relative = Literal["h", "d", "w"]


class ReportRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is not said comes from the preset, and without one from the dataset's own first choice.

    `since` is where the period begins, `until` where it ends; a date as `until` is its last day. `sort` holds names of columns, with a - before
    those of which the greatest comes first. `source` is a source's slug, `goal` a goal's name, `warehouse` a warehouse's slug."""

    preset: str | None = None
    dataset: str | None = None
    dimensions: Sequence[str] | None = None
    measures: Sequence[str] | None = None
    filters: Sequence[Condition] = ()
    since: str | None = None
    until: str | None = None
    zone: str = "UTC"
    sort: Sequence[str] | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=MOST_ROWS)] | None = None
    source: str | None = None
    goal: str | None = None
    model: AttributionModel = "last"
    warehouse: str | None = None


class Period(NamedTuple):
    """From `since` to before `until`, in UTC."""

    since: datetime | None
    until: datetime | None


def unknown(step: str, what: str, name: str, known: Collection[str], elsewhere: Sequence[str] = ()) -> NotFoundError:
    """What to say of a name that is none: the nearest one, and what there is. `elsewhere`: datasets that have it."""
    if elsewhere:
        which = f"the {'dataset' if len(elsewhere) == 1 else 'datasets'} {', '.join(elsewhere)} {'has' if len(elsewhere) == 1 else 'have'} it"
        text = f"there is no {what} {name[:100]!r}; {which} (--dataset {elsewhere[0]}); there are {', '.join(known)}"
        return NotFoundError(f"{step}: {text}")
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    meant = f"did you mean {near[0]}? " if near else ""
    return NotFoundError(f"{step}: there is no {what} {name[:100]!r}; {meant}there are {', '.join(known) or 'none'}")


def zone_of(name: str) -> ZoneInfo:
    """Raises ConfigError."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        near = _near_zone(name)
        meant = f"did you mean {near}? " if near else ""
        raise ConfigError(
            f"report: there is no time zone {name[:100]!r}; {meant}write a name of the IANA database, such as Europe/Berlin or UTC"
        ) from None


def _near_zone(name: str) -> str | None:
    """The zone of that name but for its case, or that of such a city."""
    asked = name[:100].casefold().replace(" ", "_")
    zones = sorted(available_timezones())
    whole = next((zone for zone in zones if zone.casefold() == asked), None)
    return whole or next((zone for zone in zones if zone.casefold().rpartition("/")[2] == asked), None)


def settled(request: ReportRequest, now: datetime) -> ReportRequest:
    """The same with a period that no clock changes any more: 30d becomes the beginning of that day in the zone, in UTC.

    Raises ConfigError. Settling twice is settling once."""
    zone = zone_of(request.zone)
    since = _moment(request.since, "since", now, zone, ends=False)
    until = _moment(request.until, "until", now, zone, ends=True)
    if since is not None and until is not None and since >= until:
        raise ConfigError(
            f"report: the period ends ({until.isoformat()}) before it begins ({since.isoformat()}); swap since and until"
        )
    return msgspec.structs.replace(request, since=_written(since), until=_written(until))


def period_of(request: ReportRequest) -> Period:
    """Of a settled request. Raises ConfigError for a relative period, which only a clock can tell."""
    for name, text in (("since", request.since), ("until", request.until)):
        if text is not None and _RELATIVE.fullmatch(text):
            raise ConfigError(f"report: {name} is {text}, which needs a clock; settle the request first")
    request = settled(request, datetime(1970, 1, 1, tzinfo=UTC))  # no clock is needed any more
    return Period(*(None if text is None else datetime.fromisoformat(text) for text in (request.since, request.until)))


def days_of(period: Period, zone: ZoneInfo) -> tuple[date | None, date | None]:
    """From the first day to before the second. Of a day that the period begins or ends in, all is in it. Raises ConfigError."""
    try:
        since, until = (None if moment is None else moment.astimezone(zone).date() for moment in period)
        if until is not None and period.until is not None and period.until > midnight(until, zone):
            until += timedelta(days=1)
    except OverflowError:
        raise ConfigError("report: the period reaches beyond the years that have days; choose another one") from None
    return since, until


def midnight(day: date, zone: ZoneInfo) -> datetime:
    """Where the day begins, in UTC."""
    return datetime.combine(day, time(), zone).astimezone(UTC)


def _written(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _moment(text: str | None, name: str, now: datetime, zone: ZoneInfo, *, ends: bool) -> datetime | None:
    if text is None:
        return None
    try:
        relative = _RELATIVE.fullmatch(text)
        if relative is not None:
            return _back(int(relative[1]), relative[2], now, zone)
        if len(text) == _DAY:
            day = date.fromisoformat(text) + timedelta(days=int(ends))
            return midnight(day, zone)
        found = datetime.fromisoformat(text)
        return (found.replace(tzinfo=zone) if found.tzinfo is None else found).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ConfigError(f"report: {name} is {text[:100]!r}; write {PERIOD_WORDS}") from None


def _back(count: int, unit: str, now: datetime, zone: ZoneInfo) -> datetime:
    if unit == "h":
        whole = now.astimezone(UTC).replace(minute=now.minute // 15 * 15, second=0, microsecond=0)
        return whole - timedelta(hours=count)
    day = now.astimezone(zone).date() - timedelta(days=count * (7 if unit == "w" else 1))
    return midnight(day, zone)
