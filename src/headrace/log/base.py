"""The port of the log: one writer a partition appends chunks of events, any number of readers read at their own offset.

A partition is an ordered sequence of entries (accepted and refused events), each with an offset. Offsets are never
used twice; gaps are legal. An append is one chunk: durable as a whole, or not there. The incarnation names this very
log: a reader whose stored position carries another incarnation must stop loudly, because its offsets mean nothing here.

Beside its entries each chunk carries the books: how many events each source got accepted and refused, from the log's
first day up to and including this chunk, and in which hours of receipt those of this chunk came. The totals outlive
retention and unreadable chunks for ever, the hours for a bounded number of hours (`Hourly.since`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple, Protocol

import msgspec

from headrace.event import Event, LogEntry
from headrace.event import Hour as Hour  # noqa: PLC0414 -- a word of this port too
from headrace.event import hour_of as hour_of  # noqa: PLC0414 -- as above


class Tally(NamedTuple):
    """Events of one source that the collector answered for."""

    accepted: int = 0
    refused: int = 0


UNKNOWN_HOUR: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""Stands for hours that nobody knows any more: before `Hourly.since`, or in damaged chunks."""


UNKNOWN_SOURCE: Final = ""
"""Stands in the books for lost entries whose source nobody knows any more."""


def tallied(entries: Iterable[LogEntry]) -> dict[Hour, Tally]:
    """What these entries add to the books."""
    tallies: dict[Hour, Tally] = {}
    for entry in entries:
        hour = Hour(entry.source, hour_of(entry.received_at))
        accepted, refused = tallies.get(hour, Tally())
        if isinstance(entry, Event):
            tallies[hour] = Tally(accepted + 1, refused)
        else:
            tallies[hour] = Tally(accepted, refused + entry.events)
    return tallies


class Hourly(NamedTuple):
    """The books at one moment by source and hour. Summed over its hours each source has its totals exactly.

    Hours from `since` on have a tally of their own; all that is older or cannot be told is under UNKNOWN_HOUR."""

    since: datetime
    tallies: Mapping[Hour, Tally]


class Bounds(NamedTuple):
    """`first` is the oldest offset that is still stored, `next` the offset that the next entry will get at the least."""

    first: int
    next: int


class Gap(msgspec.Struct, frozen=True):
    """Entries that were acknowledged and cannot be read any more: offsets from `first` to before `next`.

    `lost` counts them by source, `hours` the same by hour of receipt, under the hours under which `LogReader.hourly` has
    them; `reason` says what happened and which file it concerns."""

    first: int
    next: int
    lost: dict[str, Tally]
    code: str  # log_corrupt | log_removed
    reason: str
    hours: Mapping[Hour, Tally] = {}

    @property
    def lost_by_hour(self) -> Mapping[Hour, Tally]:
        """`hours`, or all of `lost` under UNKNOWN_HOUR where a log cannot tell them."""
        return self.hours or {Hour(source, UNKNOWN_HOUR): tally for source, tally in self.lost.items()}


class Slice(msgspec.Struct, frozen=True):
    """What one read yields: entries in order, and where the next read goes on.

    Entries have the offsets right before `next`, with none missing between them (`ArchivedReader` with a choice of sources
    excepted): a slice ends where offsets are missing or were lost, and a read that begins there says so without entries.
    `entries` may be empty while `next` moves on (a gap in the offsets). `gaps` are what was lost on the way.
    `size_bytes` is the entries' uncompressed size."""

    entries: Sequence[LogEntry]
    next: int
    gaps: Sequence[Gap] = ()
    size_bytes: int = 0


class LogWriter(Protocol):
    """The one writer of a partition; opening a second one raises FolderInUseError."""

    partition: int

    @property
    def incarnation(self) -> str: ...

    @property
    def next(self) -> int:
        """The offset of the next entry."""
        ...

    @property
    def totals(self) -> Mapping[str, Tally]:
        """The books up to the last durable chunk."""
        ...

    def append(self, lines: Sequence[bytes], tally: Mapping[Hour, Tally]) -> int:
        """Store the lines (each one `event.encode`) as one chunk and return the offset of the first.

        Blocks until the chunk is durable. `tally` is what this chunk adds to the books, by source and `hour_of` the
        events' received_at; it counts with the chunk or not at all.
        Raises LogUnavailableError when it could not be stored: then no reader will ever see any of it, and the
        same writer may be called again (it moves on to a new segment by itself)."""
        ...

    def close(self) -> None: ...


class LogReader(Protocol):
    """Reads one partition, from any process. Sees only what is durable."""

    partition: int

    @property
    def incarnation(self) -> str: ...

    def bounds(self) -> Bounds: ...

    def totals(self) -> Mapping[str, Tally]:
        """The books at the log's end: accepted and refused events by source since the log began."""
        ...

    def hourly(self) -> Hourly:
        """The same by source and hour of receipt, all of one moment. Asked by status and alerts, every few seconds."""
        ...

    def read(self, offset: int, *, max_entries: int, max_bytes: int) -> Slice:
        """Entries from `offset` on; at least one chunk when there is one, cut inside a chunk when it is larger
        than max_entries, so any offset that a Slice gave may be read from. Empty at the log's end.

        Unreadable or removed entries are reported as gaps, never skipped in silence.
        Raises PositionError when `offset` is beyond the log's end: the position belongs to another log."""
        ...

    def retain(self, needed: int, others: Collection[int] = ()) -> Sequence[Path]:
        """Remove segments past the retention by size or age, none that holds an offset >= `needed`, except where
        the hard limit forces it (logged as an error; reading from there yields a gap `log_removed`). `others` are the positions
        of further readers beyond `needed`: for each of them, too, a gap will tell exactly what it lost.
        Returns the files removed. Call it from one process only."""
        ...

    def close(self) -> None: ...


class LogDriver(Protocol):
    """Opens the partitions below one folder (or cluster)."""

    def partitions(self) -> Sequence[int]:
        """The partitions that exist."""
        ...

    def writer(self, partition: int) -> LogWriter: ...

    def reader(self, partition: int) -> LogReader: ...
