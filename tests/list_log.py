"""A log in memory: a LogReader over a list of chunks, for tests that need no disk."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from headrace.errors import PositionError
from headrace.event import LogEntry, encode
from headrace.log.base import UNKNOWN_HOUR, Bounds, Gap, Hour, Hourly, Slice, Tally, tallied


class ListLog:
    """The port is `log.base.LogReader`; `append` makes a chunk. A Gap takes the offsets that it names."""

    def __init__(self, partition: int = 0, incarnation: str = "log-1") -> None:
        self.partition = partition
        self.incarnation = incarnation
        self.retained: list[int] = []
        self._entries: dict[int, LogEntry] = {}
        self._gaps: list[Gap] = []
        self._first = 0
        self._next = 0
        self._tallies: dict[Hour, Tally] = {}

    def append(self, entries: Iterable[LogEntry]) -> None:
        added = list(entries)
        for entry in added:
            self._entries[self._next] = entry
            self._next += 1
        self._count(tallied(added))

    def lose(
        self,
        lost: dict[str, Tally],
        code: str = "log_corrupt",
        reason: str = "segment 1: checksum",
        hours: Mapping[Hour, Tally] | None = None,
    ) -> None:
        """Entries that were acknowledged and cannot be read any more. `hours` is `lost` by hour, where it is known."""
        size = sum(sum(tally) for tally in lost.values())
        gap = Gap(self._next, self._next + size, lost, code, reason, hours or {})
        self._gaps.append(gap)
        self._next += size
        self._count(gap.lost_by_hour)

    def skip(self, offsets: int) -> None:
        self._next += offsets

    def forget(self, before: int) -> None:
        """What retention does: offsets before this one are gone, read or not."""
        self._entries = {offset: entry for offset, entry in self._entries.items() if offset >= before}
        self._first = before

    def bounds(self) -> Bounds:
        return Bounds(self._first, self._next)

    def totals(self) -> Mapping[str, Tally]:
        totals: dict[str, Tally] = {}
        for (source, _), tally in self._tallies.items():
            before = totals.get(source, Tally())
            totals[source] = Tally(before.accepted + tally.accepted, before.refused + tally.refused)
        return totals

    def hourly(self) -> Hourly:
        return Hourly(UNKNOWN_HOUR, dict(self._tallies))

    def read(self, offset: int, *, max_entries: int, max_bytes: int) -> Slice:
        if offset > self._next:
            raise PositionError(f"log: offset {offset} is beyond the end, {self._next}")
        if offset < self._first:
            reason = f"offsets {offset} to {self._first - 1} were removed"
            return Slice((), self._first, (Gap(offset, self._first, {}, "log_removed", reason),))
        gap = next((gap for gap in self._gaps if gap.first == offset), None)
        if gap is not None:
            return Slice((), gap.next, (gap,))
        entries: list[LogEntry] = []
        size_bytes = 0
        while offset in self._entries and len(entries) < max_entries and size_bytes < max_bytes:
            entries.append(self._entries[offset])
            size_bytes += len(encode(entries[-1]))
            offset += 1
        lost = {gap.first for gap in self._gaps}
        while not entries and offset < self._next and offset not in self._entries and offset not in lost:
            offset += 1
        return Slice(entries, offset, (), size_bytes)

    def retain(self, needed: int, others: Collection[int] = ()) -> Sequence[Path]:
        self.retained.append(needed)
        return ()

    def close(self) -> None:
        pass

    def _count(self, tallies: Mapping[Hour, Tally]) -> None:
        for hour, tally in tallies.items():
            before = self._tallies.get(hour, Tally())
            self._tallies[hour] = Tally(before.accepted + tally.accepted, before.refused + tally.refused)
