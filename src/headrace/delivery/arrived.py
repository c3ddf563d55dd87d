"""What arrived, as the feed counted it: by name of event, by second, by hour. Some rows of arrivals.db, at any number of events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

from headrace.delivery.account_tallies import reading
from headrace.delivery.event_names import OTHERS as OTHERS  # noqa: PLC0414 - a word of this module too
from headrace.delivery.feed import FILE

HOUR_SECONDS: Final = 3_600


class Counted(NamedTuple):
    """Of a warning or a refusal. `reason` is that of the last refusal."""

    code: str
    events: int
    last_at: datetime
    reason: str = ""


class NamedEvents(NamedTuple):
    """Of one type and name."""

    type: str
    event: str
    accepted: int
    refused: int
    last_at: datetime
    warnings: Sequence[Counted]
    refusals: Sequence[Counted]


class OfSource(NamedTuple):
    """`counted_since` is None where everything since the log's beginning was counted. Most events first."""

    counted_since: datetime | None
    names: Sequence[NamedEvents]


class Second(NamedTuple):
    second: int
    source: str
    accepted: int
    refused: int


def file_of(folder: Path) -> Path:
    """`folder` is that of the deliveries."""
    return folder / FILE


def of_source(file: Path, source: str) -> OfSource:
    """Raises RetryableError."""
    if not file.exists():
        return OfSource(None, ())
    with reading(file) as arrivals:
        since = arrivals.execute("SELECT at FROM named_since").fetchone()
        warnings: dict[tuple[str, str], list[Counted]] = {}
        for type_, event, code, events, last in arrivals.execute(
            "SELECT type, event, code, events, last_at FROM event_warnings WHERE source = ? ORDER BY events DESC, code", (source,)
        ):  # fmt: skip
            warnings.setdefault((type_, event), []).append(Counted(code, events, _time(last)))
        refusals: dict[tuple[str, str], list[Counted]] = {}
        for type_, event, code, events, last, reason in arrivals.execute(
            "SELECT type, event, code, events, last_at, reason FROM event_refusals WHERE source = ? ORDER BY events DESC, code", (source,)
        ):  # fmt: skip
            refusals.setdefault((type_, event), []).append(Counted(code, events, _time(last), reason))
        names = [
            NamedEvents(
                type_, event, accepted, refused, _time(last), warnings.get((type_, event), ()), refusals.get((type_, event), ())
            )
            for type_, event, accepted, refused, last in arrivals.execute(
                "SELECT type, event, accepted, refused, last_at FROM named_events WHERE source = ? ORDER BY accepted DESC, type, event", (source,)
            )
        ]  # fmt: skip
    return OfSource(_time(since[0]) if since and since[0] else None, names)


class LastSeen(NamedTuple):
    accepted: int
    refused: int
    last_accepted_at: datetime | None


def last_seen(file: Path) -> Mapping[str, LastSeen]:
    """By source, over all names. Raises RetryableError."""
    if not file.exists():
        return {}
    with reading(file) as arrivals:
        rows = arrivals.execute(
            "SELECT source, sum(accepted), sum(refused), max(last_accepted_at) FROM named_events GROUP BY 1"
        ).fetchall()
    return {
        source: LastSeen(accepted, refused, _time(last) if last else None) for source, accepted, refused, last in rows
    }


def names_like(file: Path, text: str, limit: int) -> Sequence[tuple[str, str, str, int]]:
    """Source, type, name and how many were accepted, of names that contain the text, most first. Raises RetryableError."""
    if not file.exists():
        return ()
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    with reading(file) as arrivals:
        return arrivals.execute(
            "SELECT source, type, event, accepted FROM named_events WHERE event LIKE ? ESCAPE '\\' AND type <> '' "
            "ORDER BY accepted DESC, event LIMIT ?",
            (f"%{escaped}%", limit),
        ).fetchall()


def seconds(file: Path, since: int, until: int) -> Sequence[Second]:
    """Seconds since 1970, from `since` to before `until`; an hour back at the most. Raises RetryableError."""
    if not file.exists():
        return ()
    with reading(file) as arrivals:
        rows = arrivals.execute(
            "SELECT second, source, accepted, refused FROM arrival_seconds WHERE second >= ? AND second < ? ORDER BY 1",
            (since, until),
        ).fetchall()
    return [Second(*row) for row in rows]


class HourOfSource(NamedTuple):
    """`at` is the hour's first moment."""

    at: datetime
    accepted: int
    refused: int


def hours(file: Path, since: datetime) -> Mapping[str, Sequence[HourOfSource]]:
    """By source, oldest first. Raises RetryableError."""
    if not file.exists():
        return {}
    first = int(since.timestamp()) // HOUR_SECONDS
    found: dict[str, list[HourOfSource]] = {}
    with reading(file) as arrivals:
        for hour, source, accepted, refused in arrivals.execute(
            "SELECT hour, source, accepted, refused FROM arrival_hours WHERE hour >= ? ORDER BY hour", (first,)
        ):
            at = datetime.fromtimestamp(hour * HOUR_SECONDS, UTC)
            found.setdefault(source, []).append(HourOfSource(at, accepted, refused))
    return found


def _time(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1_000, UTC)
