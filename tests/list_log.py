"""A log in memory: a LogReader over a list of chunks, for tests that need no disk."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from headrace.errors import PositionError
from headrace.event import LogEntry, encode
from headrace.log.base import Bounds, Gap, Slice, Tally


class ListLog:
    """The port is `log.base.LogReader`; `append` makes a chunk. A Gap takes the offsets that it names."""

    def __init__(self, partition: int = 0, incarnation: str = "log-1") -> None:
        self.partition = partition
        self.incarnation = incarnation
        self.retained: list[int] = []
        self._entries: dict[int, LogEntry] = {}
        self._gaps: list[Gap] = []
        self._next = 0

    def append(self, entries: Iterable[LogEntry]) -> None:
        for entry in entries:
            self._entries[self._next] = entry
            self._next += 1

    def lose(self, lost: dict[str, Tally], code: str = "log_corrupt", reason: str = "segment 1: checksum") -> None:
        size = sum(sum(tally) for tally in lost.values())
        self._gaps.append(Gap(self._next, self._next + size, lost, code, reason))
        self._next += size

    def skip(self, offsets: int) -> None:
        self._next += offsets

    def bounds(self) -> Bounds:
        return Bounds(0, self._next)

    def totals(self) -> Mapping[str, Tally]:
        return {}

    def read(self, offset: int, *, max_entries: int, max_bytes: int) -> Slice:
        if offset > self._next:
            raise PositionError(f"log: offset {offset} is beyond the end, {self._next}")
        entries: list[LogEntry] = []
        gaps: list[Gap] = []
        size_bytes = 0
        while offset < self._next and len(entries) < max_entries and size_bytes < max_bytes:
            gap = next((gap for gap in self._gaps if gap.first == offset), None)
            if gap is not None:
                gaps.append(gap)
                offset = gap.next
                continue
            if offset in self._entries:
                entries.append(self._entries[offset])
                size_bytes += len(encode(entries[-1]))
            offset += 1
        return Slice(entries, offset, gaps, size_bytes)

    def retain(self, needed: int) -> Sequence[Path]:
        self.retained.append(needed)
        return ()

    def close(self) -> None:
        pass
