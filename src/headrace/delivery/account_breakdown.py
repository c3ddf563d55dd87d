"""What became of the events of a period, taken apart by source and by the event's name."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from headrace.delivery.account import OUTCOMES, Period, Place, minute_at
from headrace.delivery.account_tallies import read, reading

MOST_NAMES: Final = 200
NAMES: Final = "names are kept only of events that were retried or failed: what went through at once or was left out is counted by source alone"


class SourceFigures(msgspec.Struct, frozen=True):
    """accepted = waiting + filtered + retrying + failed + delivered, exactly."""

    source: str
    accepted: int = 0
    waiting: int = 0
    filtered: int = 0
    retrying: int = 0
    failed: int = 0
    delivered: int = 0


class NameFigures(msgspec.Struct, frozen=True):
    """Events that did not go through at once. `delivered` are those of them that went through later; `codes` are those of retrying and failed
    ones, the most frequent first."""

    source: str
    type: str
    event: str | None
    retrying: int = 0
    failed: int = 0
    delivered: int = 0
    codes: Sequence[str] = ()


class Breakdown(msgspec.Struct, frozen=True, kw_only=True):
    """`by_event` has the most frequent names, `more_events` is how many are not among them."""

    slug: str
    by_source: Sequence[SourceFigures] = ()
    by_event: Sequence[NameFigures] = ()
    more_events: int = 0
    notes: Sequence[str] = ()


def breakdown(place: Place, period: Period) -> Breakdown:
    """Of a destination. Raises RetryableError when the books cannot be read."""
    span = period.span
    until = min(span.until, minute_at(place.removed_at) + 1) if place.removed_at else span.until
    span = span._replace(until=max(until, span.since))
    found = read(place.file, span, minute_at(place.added_at))
    if found is None:
        return Breakdown(slug=place.slug)
    counts: dict[str, Counter[str]] = {}
    for count in found.counts:
        counts.setdefault(count.source, Counter())[count.outcome] += count.events
    for source, events in found.waiting_by_source.items():
        counts.setdefault(source, Counter())["waiting"] += events
    with reading(place.file) as books:
        names = _names(books, span.since * 60_000, span.until * 60_000)
    return Breakdown(
        slug=place.slug,
        by_source=by_source(counts),
        by_event=names[:MOST_NAMES],
        more_events=max(0, len(names) - MOST_NAMES),
        notes=(NAMES,),
    )


def by_source(counts: Mapping[str, Mapping[str, int]]) -> Sequence[SourceFigures]:
    """The one with most events first. `counts` are by source and outcome."""
    parts = ("waiting", *OUTCOMES)
    found = [
        SourceFigures(source, sum(of.get(part, 0) for part in parts), **{part: of.get(part, 0) for part in parts})
        for source, of in counts.items()
    ]
    return sorted((one for one in found if one.accepted), key=lambda one: (-one.accepted, one.source))


def _names(books: sqlite3.Connection, since: int, until: int) -> list[NameFigures]:
    figures: dict[tuple[str, str, str | None], Counter[str]] = {}
    codes: dict[tuple[str, str, str | None], Counter[str]] = {}
    for source, type_, name, outcome, code, events in books.execute(_NAMES, (since, until)):
        key = (source, type_, name)
        figures.setdefault(key, Counter())[outcome] += events
        if outcome != "delivered":
            codes.setdefault(key, Counter())[code] += events
    order = sorted(figures, key=lambda key: (-figures[key].total(), key[0], key[1], key[2] or ""))
    return [
        NameFigures(
            *key,
            retrying=figures[key]["retrying"],
            failed=figures[key]["failed"],
            delivered=figures[key]["delivered"],
            codes=[code for code, _ in codes.get(key, Counter()).most_common(5)],
        )
        for key in order
    ]


_NAMES: Final = (
    "SELECT source, type, name, outcome, code, count(*) FROM events WHERE received_at >= ? AND received_at < ? "
    "GROUP BY 1, 2, 3, 4, 5"
)
