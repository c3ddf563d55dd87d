"""One partition on its way into the warehouse: where it is, and the next part of it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple

import msgspec

from headrace.errors import PositionError
from headrace.event import LogEntry
from headrace.log.base import Gap, LogReader
from headrace.warehouses.base import Position

logger = logging.getLogger(__name__)

PART_ENTRIES: Final = 2_048
PART_BYTES: Final = 2_000_000
"""A part is in memory as Python values, about ten times its size."""


class Progress(msgspec.Struct, frozen=True):
    """Where a partition is, and its last load. `error` is the last failure's text, None again after a load."""

    partition: int
    position: int = 0
    loaded_at: datetime | None = None
    seconds: float | None = None
    entries: int = 0
    error: str | None = None


class Part(NamedTuple):
    """`is_last`: the log ended with it."""

    entries: Sequence[LogEntry]
    gaps: Sequence[Gap]
    size_bytes: int
    is_last: bool


class Partition:
    """`stored` is the position in the warehouse, `next` where reading goes on, `limit` how many entries a load may have:
    it is halved when a load fails, and doubled again by each that does not. `refusal` is why the warehouse refused the
    one entry at `stored`."""

    def __init__(self, reader: LogReader, load_events: int) -> None:
        self.reader = reader
        self.number = reader.partition
        self.stored = 0
        self.next = 0
        self.is_placed = False
        self.limit = load_events
        self.taken = 0
        self.refusal: str | None = None
        self.progress = Progress(reader.partition)

    def place(self, position: Position | None) -> None:
        """Go on from where the warehouse is. Raises PositionError when it was loaded from another log."""
        incarnation = self.reader.incarnation
        if position is not None and position.incarnation != incarnation:
            raise PositionError(
                f"loader: partition {self.number} of this log is {incarnation}, but the warehouse was loaded from "
                f"{position.incarnation}; give it the data folder it belongs to, or a warehouse of its own"
            )
        self.stored = 0 if position is None else position.next
        self.is_placed = True
        self.again()
        self.progress = msgspec.structs.replace(self.progress, position=self.stored)

    def again(self) -> None:
        """Read from the warehouse's position again."""
        self.next = self.stored
        self.taken = 0

    def waiting(self) -> int:
        """Entries that are not read yet, gaps in the offsets included."""
        return self.reader.bounds().next - self.next

    def part(self) -> Part:
        """Read on, within the load's limit. Raises PositionError when the position is beyond the log's end."""
        entries: list[LogEntry] = []
        gaps: list[Gap] = []
        size_bytes = 0
        is_last = False
        wanted = min(PART_ENTRIES, self.limit - self.taken)
        while len(entries) < wanted and size_bytes < PART_BYTES and not is_last:
            found = self.reader.read(self.next, max_entries=wanted - len(entries), max_bytes=PART_BYTES - size_bytes)
            entries.extend(found.entries)
            gaps.extend(found.gaps)
            size_bytes += found.size_bytes
            is_last = found.next == self.next
            self.next = found.next
        for gap in gaps:
            logger.error("loader: partition %d lost events for good (%s): %s", self.number, gap.code, gap.reason)
        self.taken += len(entries)
        return Part(entries, gaps, size_bytes, is_last)

    def failed(self, error: Exception) -> None:
        self.progress = msgspec.structs.replace(self.progress, error=str(error))

    def loaded(self, end: int, entries: int, seconds: float, now: datetime, load_events: int) -> None:
        self.stored = end
        self.taken = 0
        self.refusal = None
        self.limit = min(load_events, self.limit * 2)
        self.progress = Progress(self.number, end, now, seconds, entries)
