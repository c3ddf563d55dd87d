"""One stream over the log: frame after frame of what comes, without a gap and without a repetition."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from heapq import merge
from typing import Final, NamedTuple

import msgspec

from headrace.debugger.choice import Choice
from headrace.debugger.position import Position
from headrace.debugger.shown import Lost, Shown, lost, shown
from headrace.errors import RetryableError
from headrace.event import LogEntry
from headrace.log.base import LogReader, Slice

FRAME_ENTRIES: Final = 2_000
"""So many entries of the log are looked at for a frame at the most, of all partitions together."""
FRAME_BYTES: Final = 1_500_000
SLICE_ENTRIES: Final = 500
SLICE_BYTES: Final = 500_000
KEPT_SLICES: Final = 16


class Frame(msgspec.Struct, frozen=True, kw_only=True):
    """What a stream sends at once. `entries` are those that fit, in the order of each partition; `looked_at` counts all that were read
    for them. `position` goes on after this frame. `behind_entries` and `behind_seconds` tell how far the stream is from the log's end: it
    lags, and loses nothing. `passed_over` counts what was left out because the reader asked for that. `problem`: the log cannot be
    read at the moment; it is tried again."""

    at: datetime
    position: str
    entries: Sequence[Shown] = ()
    looked_at: int = 0
    lost: Sequence[Lost] = ()
    behind_entries: int = 0
    behind_seconds: float = 0.0
    passed_over: int = 0
    problem: str = ""

    @property
    def says_something(self) -> bool:
        return bool(self.entries or self.lost or self.passed_over or self.problem)


class Slices:
    """The log's readers, for streams that are all about at the same place: what one has read is there for the others. For one thread."""

    def __init__(self, readers: Sequence[LogReader]) -> None:
        self._readers = {reader.partition: reader for reader in readers}
        self._kept: dict[tuple[int, int], Slice] = {}
        self.incarnation = readers[0].incarnation
        self.read_entries = 0

    @property
    def partitions(self) -> Sequence[int]:
        return list(self._readers)

    def end(self) -> Position:
        return Position(
            self.incarnation, {partition: reader.bounds().next for partition, reader in self._readers.items()}
        )

    def read(self, partition: int, offset: int) -> Slice:
        """Raises RetryableError."""
        kept = self._kept.get((partition, offset))
        if kept is not None:
            return kept
        found = self._readers[partition].read(offset, max_entries=SLICE_ENTRIES, max_bytes=SLICE_BYTES)
        if found.entries:
            self.read_entries += len(found.entries)
            self._kept[partition, offset] = found
            while len(self._kept) > KEPT_SLICES:
                del self._kept[next(iter(self._kept))]
        return found

    def close(self) -> None:
        for reader in self._readers.values():
            reader.close()


class _Part(NamedTuple):
    """What a partition gave for a frame."""

    entries: Sequence[tuple[int, LogEntry]]
    lost: Sequence[Lost]
    next: int
    is_at_end: bool


class Tail:
    """For one thread at a time."""

    def __init__(self, slices: Slices, choice: Choice, start: Position, now: Callable[[], datetime]) -> None:
        self._slices = slices
        self._choice = choice
        self._offsets = dict(start.offsets)
        self._now = now

    @property
    def position(self) -> Position:
        return Position(self._slices.incarnation, dict(self._offsets))

    def frame(self, passed_over: int = 0, looked_at: int = 0) -> Frame:
        """The next one; it may be empty. `looked_at` is of frames before it that were not told. Raises PositionError."""
        parts: dict[int, _Part] = {}
        problem = ""
        most = max(SLICE_ENTRIES, FRAME_ENTRIES // max(len(self._offsets), 1))
        for partition, at in self._offsets.items():
            try:
                parts[partition] = self._part(partition, at, most, FRAME_BYTES // len(self._offsets))
            except RetryableError as error:  # the other partitions go on
                problem = str(error)
        ordered = merge(*(_lines(partition, part) for partition, part in parts.items()), key=_time)
        chosen = [line for entry, line in ordered if self._choice.fits(entry, line)]
        self._offsets.update({partition: part.next for partition, part in parts.items()})
        behind_entries, behind_seconds = self._behind(parts)
        return Frame(
            at=self._now(),
            position=str(self.position),
            entries=chosen,
            looked_at=looked_at + sum(len(part.entries) for part in parts.values()),
            lost=[one for part in parts.values() for one in part.lost],
            behind_entries=behind_entries,
            behind_seconds=behind_seconds,
            passed_over=passed_over,
            problem=problem,
        )

    def _part(self, partition: int, at: int, most_entries: int, most_bytes: int) -> _Part:
        entries: list[tuple[int, LogEntry]] = []
        gaps: list[Lost] = []
        size_bytes = 0
        while len(entries) < most_entries and size_bytes < most_bytes:
            found = self._slices.read(partition, at)
            if found.next == at:
                return _Part(entries, gaps, at, is_at_end=True)
            entries += enumerate(found.entries, found.next - len(found.entries))
            gaps += (lost(partition, gap) for gap in found.gaps)
            size_bytes += found.size_bytes
            at = found.next
        return _Part(entries, gaps, at, is_at_end=False)

    def _behind(self, parts: Mapping[int, _Part]) -> tuple[int, float]:
        """Entries, and seconds since the last entry of the partition that lags the most was received."""
        lagging = [part for part in parts.values() if not part.is_at_end and part.entries]
        if not lagging:
            return 0, 0.0
        entries = self.position.entries_to(self._slices.end())
        if not entries:
            return 0, 0.0
        oldest = min(part.entries[-1][1].received_at for part in lagging)
        return entries, round(max(0.0, (self._now() - oldest).total_seconds()), 1)


def _lines(partition: int, part: _Part) -> Sequence[tuple[LogEntry, Shown]]:
    return [(entry, shown(partition, offset, entry)) for offset, entry in part.entries]


def _time(each: tuple[LogEntry, Shown]) -> datetime:
    return each[0].received_at
