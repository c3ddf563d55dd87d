"""The books by source and hour of receipt. Pure.

Within the log hours are numbers (hours since 1970) below their source, so that they are small on the disk. Every chunk
says what it adds; every CHUNKS-th one of a segment says what the segment holds up to there, so that few must be read; a
segment's header says what was before it. A chunk that does not count (a failed append) is therefore not counted here
either. What cannot be said by hour is never guessed away: it is under UNKNOWN_HOUR, and all hours together are the totals.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Final, NamedTuple

from headrace.log.base import UNKNOWN_HOUR, Hour, Hourly, Tally

CHUNKS: Final = 256
"""How many chunks of a segment are read at the most to know its books by hour."""
KEPT_HOURS: Final = 35 * 24
"""So many hours are carried from segment to segment, the newest in which anything came: 35 days of a busy log. Hours are
counted, not days back from now, so that a clock that was wrong for a moment costs nothing."""
KEPT_ENTRIES: Final = 100_000
"""(source, hour) pairs carried at the most, about 2.5 MB a segment; beyond it the oldest hours go."""

UNKNOWN: Final = 0
"""UNKNOWN_HOUR as a number."""
_SECONDS: Final = 3_600

Numbered = dict[str, dict[int, Tally]]
"""By source and number of the hour."""


class Carried(NamedTuple):
    """Hours from `since` on are complete; earlier ones are left out."""

    books: Numbered
    since: int


def number(hour: datetime) -> int:
    return int(hour.timestamp()) // _SECONDS


def moment(hour: int) -> datetime:
    return datetime.fromtimestamp(hour * _SECONDS, UTC)


def numbered(tallies: Mapping[Hour, Tally]) -> Numbered:
    books: Numbered = {}
    for (source, hour), tally in tallies.items():
        books.setdefault(source, {})[number(hour)] = tally
    return books


def by_hour(books: Numbered) -> dict[Hour, Tally]:
    return {
        Hour(source, UNKNOWN_HOUR if hour == UNKNOWN else moment(hour)): tally
        for source, hours in books.items()
        for hour, tally in hours.items()
    }


def by_source(books: Numbered) -> dict[str, Tally]:
    return {source: summed(hours.values()) for source, hours in books.items()}


def summed(tallies: Iterable[Tally]) -> Tally:
    accepted = refused = 0
    for tally in tallies:
        accepted += tally.accepted
        refused += tally.refused
    return Tally(accepted, refused)


def add(books: Numbered, more: Numbered) -> None:
    """Add to `books`, in place."""
    for source, hours in more.items():
        mine = books.setdefault(source, {})
        for hour, tally in hours.items():
            before = mine.get(hour)
            mine[hour] = tally if before is None else summed((before, tally))


def added(books: Numbered, more: Numbered) -> Numbered:
    both = {source: dict(hours) for source, hours in books.items()}
    add(both, more)
    return both


def subtracted(books: Numbered, less: Numbered) -> Numbered:
    """What `books` has more than `less`; nothing is below zero."""
    rest: Numbered = {}
    for source, hours in books.items():
        mine = less.get(source, {})
        for hour, tally in hours.items():
            before = mine.get(hour, Tally())
            more = Tally(max(0, tally.accepted - before.accepted), max(0, tally.refused - before.refused))
            if more != Tally():
                rest.setdefault(source, {})[hour] = more
    return rest


def carried(books: Numbered, since: int) -> Carried:
    """What goes into the next segment's header: no more than KEPT_HOURS and KEPT_ENTRIES."""
    counts: dict[int, int] = {}
    for hours in books.values():
        for hour in hours:
            if hour >= since:
                counts[hour] = counts.get(hour, 0) + 1
    entries = 0
    kept = sorted(counts, reverse=True)
    for place, hour in enumerate(kept):
        entries += counts[hour]
        if place >= KEPT_HOURS or entries > KEPT_ENTRIES:
            since = hour + 1
            break
    left = {source: {h: t for h, t in hours.items() if h >= since} for source, hours in books.items()}
    return Carried({source: hours for source, hours in left.items() if hours}, since)


def complete(found: Carried, totals: Mapping[str, Tally]) -> Hourly:
    """The answer of a reader: what the totals have more than the hours is of an unknown or an earlier hour."""
    books: Numbered = {}
    for source, total in totals.items():
        hours = {hour: tally for hour, tally in found.books.get(source, {}).items() if hour >= max(found.since, 1)}
        told = summed(hours.values())
        rest = Tally(max(0, total.accepted - told.accepted), max(0, total.refused - told.refused))
        books[source] = hours if rest == Tally() else {**hours, UNKNOWN: rest}
    return Hourly(moment(found.since), by_hour(books))


def shared_out(lost: Mapping[str, Tally], likely: Numbered, guess: int = UNKNOWN) -> Numbered:
    """What was lost by source, by hour: the likely hours where they come to just that, otherwise the guess."""
    books: Numbered = {}
    for source, tally in lost.items():
        hours = likely.get(source, {})
        books[source] = dict(hours) if hours and summed(hours.values()) == tally else {guess: tally}
    return books


def first_hour(books: Numbered) -> int:
    """The least hour in a chunk's tally: where what is missing right before that chunk most probably belongs."""
    return min((hour for hours in books.values() for hour in hours), default=UNKNOWN)
