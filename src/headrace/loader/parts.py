"""What is read of the log at once, and how the loaders of several warehouses share it.

Loaders at the head of the log read the same entries within a second of each other: the first one's part is kept, with the rows that its
events became, until all have taken it. A lagging loader reads for itself and leaves the kept ones alone.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from headrace.errors import RejectedEventError
from headrace.event import Event, LogEntry
from headrace.loader.blocks import Block, SharedBlocks
from headrace.loader.rows import Row, rows
from headrace.log.base import Gap, LogReader

PART_ENTRIES: Final = 2_048
PART_BYTES: Final = 2_000_000
"""A part is in memory as Python values, about ten times its size."""
KEPT_BYTES: Final = 8_000_000

RowsOf = Callable[[Event], Sequence[Row]]
"""`rows.rows`, or the same out of what another loader has worked out already."""


class Part(NamedTuple):
    """Entries up to before `next`. `is_last`: the log ended with it when it was read."""

    entries: Sequence[LogEntry]
    gaps: Sequence[Gap]
    size_bytes: int
    next: int
    is_last: bool
    rows: RowsOf | None = None
    """None: nobody has worked out the rows."""


def read(reader: LogReader, offset: int, wanted: int, rows_of: RowsOf | None = None) -> Part:
    """Up to `wanted` entries from `offset` on. Raises PositionError when that is beyond the log's end."""
    entries: list[LogEntry] = []
    gaps: list[Gap] = []
    size_bytes = 0
    is_last = False
    while len(entries) < wanted and size_bytes < PART_BYTES and not is_last:
        found = reader.read(offset, max_entries=wanted - len(entries), max_bytes=PART_BYTES - size_bytes)
        entries.extend(found.entries)
        gaps.extend(found.gaps)
        size_bytes += found.size_bytes
        is_last = found.next == offset
        offset = found.next
    return Part(entries, gaps, size_bytes, offset, is_last, rows_of)


def read_up_to(reader: LogReader, offset: int, end: int) -> Part:
    """At least one entry and none from `end` on, which is where some load once ended."""
    wanted = min(PART_ENTRIES, end - offset)
    while wanted > 1:
        part = read(reader, offset, wanted)
        if part.next <= end:
            return part
        wanted //= 2
    return read(reader, offset, 1)


class _Shared:
    """The rows of a part's events, worked out once. Two threads that work out the same event at once do no harm."""

    def __init__(self) -> None:
        self._rows_by_event: dict[int, Sequence[Row] | RejectedEventError] = {}

    def rows(self, event: Event) -> Sequence[Row]:
        # The part holds its events, so that none of them can be another one at the same address.
        found = self._rows_by_event.get(id(event))
        if found is None:
            try:
                found = rows(event)
            except RejectedEventError as error:
                found = error
            self._rows_by_event[id(event)] = found
        if isinstance(found, RejectedEventError):
            raise RejectedEventError(found.code, found.reason)
        return found


class SharedParts:
    """The parts that other loaders will want next. Safe to use from several threads; each loader has readers of its own."""

    def __init__(self, kept_bytes: int = KEPT_BYTES) -> None:
        self._kept_bytes = kept_bytes
        self._turn = threading.Lock()
        self._loaders = 0
        self._size_bytes = 0
        self._kept: dict[tuple[int, int, int], tuple[Part, int]] = {}
        """By partition, offset and entries wanted, oldest first: the part, and how many loaders have it still to come."""
        self._blocks = SharedBlocks()
        self._front: dict[int, int] = {}
        """By partition, up to where anybody has read: the one who reads on from there keeps what it reads."""

    def join(self) -> None:
        with self._turn:
            self._loaders += 1

    def leave(self) -> None:
        with self._turn:
            self._loaders -= 1

    def block(self, of_table: Sequence[Row]) -> Block:
        """These rows of one table as a block, perhaps one that another loader has worked on."""
        return self._blocks.of(of_table, self._loaders)

    def part(self, reader: LogReader, offset: int, wanted: int) -> Part:
        """Up to `wanted` entries from `offset` on. Raises PositionError when that is beyond the log's end."""
        key = (reader.partition, offset, wanted)
        if self._loaders <= 1:
            return read(reader, offset, wanted)
        with self._turn:
            kept = self._kept.get(key)
            if kept is not None:
                return self._taken(key, *kept)
            is_front = offset >= self._front.get(reader.partition, 0)
        part = read(reader, offset, wanted, _Shared().rows)
        if is_front and part.entries:
            with self._turn:
                self._keep(key, part)
        return part

    def _taken(self, key: tuple[int, int, int], part: Part, still_to_come: int) -> Part:
        if part.is_last and self._front.get(key[0], 0) > part.next:
            part = part._replace(is_last=False)  # the log has gone on since it was read
        if still_to_come <= 1:
            del self._kept[key]
            self._size_bytes -= part.size_bytes
        else:
            self._kept[key] = (part, still_to_come - 1)
        return part

    def _keep(self, key: tuple[int, int, int], part: Part) -> None:
        self._front[key[0]] = max(part.next, self._front.get(key[0], 0))
        if key in self._kept:
            return
        self._kept[key] = (part, self._loaders - 1)
        self._size_bytes += part.size_bytes
        while self._size_bytes > self._kept_bytes and len(self._kept) > 1:
            oldest = next(iter(self._kept))
            self._size_bytes -= self._kept.pop(oldest)[0].size_bytes
