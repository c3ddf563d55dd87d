"""The books: what was received and what became of it, in events, by source. Pure.

received = accepted + refused; accepted = loaded + duplicates + filtered + rejected + pending.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import msgspec

from headrace.event import Hour
from headrace.log.base import UNKNOWN_HOUR, Hourly, Tally
from headrace.warehouses.base import Books
from headrace.workspace.records import Source


class SourceBooks(msgspec.Struct, frozen=True):
    """`lag_seconds` is the age of the oldest accepted event that is not in the warehouse yet, 0 when none is pending.
    `last_event_at` is the receipt of the last loaded event."""

    source: str
    schema: str
    kind: str
    nickname: str
    enabled: bool
    removed: bool
    received: int
    accepted: int
    refused: int
    loaded: int
    duplicates: int
    filtered: int
    rejected: int
    pending: int
    lag_seconds: float = 0.0
    last_event_at: datetime | None = None


def sum_tallies(partitions: Iterable[Mapping[str, Tally]]) -> dict[str, Tally]:
    """The collectors' books of all partitions as one."""
    total: dict[str, Tally] = {}
    for partition in partitions:
        for slug, tally in partition.items():
            before = total.get(slug, Tally())
            total[slug] = Tally(before.accepted + tally.accepted, before.refused + tally.refused)
    return total


def balance(
    sources: Iterable[Source],
    tallies: Mapping[str, Tally],
    loaded: Mapping[str, Books],
    *,
    lag_seconds: float,
    last_event_at: Mapping[str, datetime],
) -> list[SourceBooks]:
    """One entry for each source that is there or ever sent something.

    `loaded` must have been read before `tallies`: then nothing can be loaded that is not accepted yet, and the sums hold exactly."""
    by_slug = {source.slug: source for source in sources}
    slugs = [slug for slug, source in by_slug.items() if source.removed_at is None or slug in tallies]
    entries = []
    for slug in (*slugs, *sorted(tallies.keys() - by_slug.keys())):
        source = by_slug.get(slug)
        tally, books = tallies.get(slug, Tally()), loaded.get(slug, Books())
        pending = tally.accepted - books.loaded - books.duplicates - books.filtered - books.rejected
        entries.append(
            SourceBooks(
                source=slug,
                schema=source.schema if source else "",
                kind=source.kind if source else "",
                nickname=source.nickname if source else "",
                enabled=source.enabled if source else False,
                removed=source is None or source.removed_at is not None,
                received=tally.accepted + tally.refused,
                accepted=tally.accepted,
                refused=tally.refused,
                loaded=books.loaded,
                duplicates=books.duplicates,
                filtered=books.filtered,
                rejected=books.rejected,
                pending=pending,
                lag_seconds=lag_seconds if pending else 0.0,
                last_event_at=last_event_at.get(slug),
            )
        )
    return entries


class HourBooks(msgspec.Struct, frozen=True):
    """One hour (its first moment, UTC) of a source in one warehouse; None is all that is too old or too damaged to be told by hour.

    `accepted = loaded + duplicates + filtered + rejected + pending` in each. `is_balanced` is false when the warehouse has everything of the
    log and yet something of the hour is pending, or more was taken than accepted."""

    source: str
    hour: datetime | None
    accepted: int
    refused: int
    loaded: int
    duplicates: int
    filtered: int
    rejected: int
    pending: int
    is_balanced: bool


def by_hour(hourly: Hourly, loaded: Mapping[Hour, Books], since: datetime, *, is_at_end: bool) -> list[HourBooks]:
    """Newest first, hours from `since` on, older ones and unknown ones as one entry a source. `loaded` must have been read before `hourly`."""
    tallies: dict[Hour, Tally] = {}
    stored: dict[Hour, Books] = {}
    known = max(since, hourly.since)

    def folded(key: Hour) -> Hour:
        return key if key.hour >= known else Hour(key.source, UNKNOWN_HOUR)

    for key, tally in hourly.tallies.items():
        before = tallies.get(folded(key), Tally())
        tallies[folded(key)] = Tally(before.accepted + tally.accepted, before.refused + tally.refused)
    for key, books in loaded.items():
        stored[folded(key)] = stored.get(folded(key), Books()).plus(books)
    return [
        _hour(key, tallies.get(key, Tally()), stored.get(key, Books()), is_at_end=is_at_end)
        for key in sorted(tallies.keys() | stored.keys(), key=lambda key: (key.hour, key.source), reverse=True)
    ]


def _hour(key: Hour, tally: Tally, books: Books, *, is_at_end: bool) -> HourBooks:
    pending = tally.accepted - books.loaded - books.duplicates - books.filtered - books.rejected
    return HourBooks(
        source=key.source,
        hour=None if key.hour == UNKNOWN_HOUR else key.hour,
        accepted=tally.accepted,
        refused=tally.refused,
        loaded=books.loaded,
        duplicates=books.duplicates,
        filtered=books.filtered,
        rejected=books.rejected,
        pending=pending,
        is_balanced=pending >= 0 and not (is_at_end and pending),
    )


COUNTS: Sequence[str] = (
    "received", "accepted", "refused", "loaded", "duplicates", "filtered", "rejected", "pending",
)  # fmt: skip


def totals(entries: Sequence[SourceBooks]) -> dict[str, int]:
    return {count: sum(getattr(entry, count) for entry in entries) for count in COUNTS}
