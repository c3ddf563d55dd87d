"""One partition on its way into the warehouse: where it is, and the next part of it."""

from __future__ import annotations

import logging
from datetime import datetime
from typing import NamedTuple

import msgspec

from headrace.errors import PositionError
from headrace.loader.parts import PART_ENTRIES, Part, SharedParts, read_up_to
from headrace.log.base import LogReader
from headrace.warehouses.base import Position, Unfinished

logger = logging.getLogger(__name__)


class Progress(msgspec.Struct, frozen=True):
    """Where a partition is, and its last load. `error` is the last failure's text, None again after a load."""

    partition: int
    position: int = 0
    loaded_at: datetime | None = None
    seconds: float | None = None
    entries: int = 0
    error: str | None = None


class Failure(NamedTuple):
    """A load that did not come about at `when`; `error` is the warehouse's text."""

    partition: int
    incarnation: str
    start: int
    end: int
    when: datetime
    error: str


class Partition:
    """`stored` is the position in the warehouse, `next` where reading goes on, `limit` how many entries a load may have:
    it is halved when a load fails, and doubled again by each that does not. `refusal` is why the warehouse refused the
    one entry at `stored`. `unfinished` is the load that must be made again, exactly, before any other."""

    def __init__(self, reader: LogReader, load_events: int, shared: SharedParts) -> None:
        self.reader = reader
        self._shared = shared
        self.unfinished: Unfinished | None = None
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

    @property
    def has_room(self) -> bool:
        """Whether the load may have another part. Loads end where parts do, so that several loaders can share them."""
        if self.unfinished is not None:
            return self.next < self.unfinished.end
        return self.limit - self.taken >= min(PART_ENTRIES, self.limit)

    def part(self) -> Part:
        """Read on, within the load's limit. Raises PositionError when the position is beyond the log's end."""
        if self.unfinished is not None:
            part = read_up_to(self.reader, self.next, self.unfinished.end)
        else:
            part = self._shared.part(self.reader, self.next, min(PART_ENTRIES, self.limit))
        self.next = part.next
        for gap in part.gaps:
            logger.error("loader: partition %d lost events for good (%s): %s", self.number, gap.code, gap.reason)
        self.taken += len(part.entries)
        return part

    def failed(self, error: Exception) -> None:
        self.progress = msgspec.structs.replace(self.progress, error=str(error))

    def loaded(self, end: int, entries: int, seconds: float, now: datetime, load_events: int) -> None:
        self.stored = end
        self.taken = 0
        self.refusal = None
        self.limit = min(load_events, self.limit * 2)
        self.progress = Progress(self.number, end, now, seconds, entries)
