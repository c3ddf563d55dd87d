"""Reads a partition of the embedded log, beside its writer or without one."""

from __future__ import annotations

import contextlib
import itertools
import logging
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from headrace.config import LogConfig
from headrace.errors import LogCorruptError, PositionError
from headrace.event import Event, LogEntry
from headrace.log import _segment, chunk
from headrace.log._segment import Row, SegmentHeader
from headrace.log.base import Bounds, Gap, Slice, Tally
from headrace.log.chunk import Header

logger = logging.getLogger(__name__)

LOST: Final = "removed.json"


class _Removed(msgspec.Struct, frozen=True):
    """What a forced removal took from a reader at `position`: its books before, so that the loss can be counted."""

    position: int
    totals: dict[str, Tally]


class _Open(NamedTuple):
    start: int
    connection: sqlite3.Connection
    header: SegmentHeader


class _Cut(NamedTuple):
    """The entries of the chunk that was read last, should the next read begin inside it."""

    first: int
    entries: Sequence[LogEntry]


class SqliteReader:
    """For one thread. Connections stay open while their segment exists."""

    def __init__(
        self, folder: Path, partition: int, incarnation: str, config: LogConfig, now: Callable[[], float]
    ) -> None:
        self.partition = partition
        self.incarnation = incarnation
        self._folder = folder
        self._config = config
        self._now = now
        self._opened: dict[int, _Open] = {}
        self._cut = _Cut(-1, ())
        self._known: tuple[int, Mapping[str, Tally]] = (-1, {})
        """An offset and the books of everything before it, from the last read."""
        self._reported: set[int] = set()

    # The ends.

    def bounds(self) -> Bounds:
        segments = self._segments()
        if not segments:
            return Bounds(0, 0)
        return Bounds(segments[0].start, self._next(segments[-1]))

    def totals(self) -> Mapping[str, Tally]:
        segments = self._segments()
        return self._totals_of(segments[-1], None) if segments else {}

    def _next(self, segment: _Open) -> int:
        end = _segment.marked_end(_segment.path_of(self._folder, segment.start))
        try:
            return _segment.last_next(segment.connection, end) or segment.start
        except _segment.DAMAGE as error:
            _segment.refuse_passing(error)
            self._report(segment.start, f"log: the end of segment {segment.start} cannot be read: {error}")
            return segment.start

    def _totals_of(self, segment: _Open, end: int | None) -> Mapping[str, Tally]:
        """The books at a segment's end."""
        if end is None:
            end = _segment.marked_end(_segment.path_of(self._folder, segment.start))
        try:
            row = _segment.last(segment.connection, end)
            return segment.header.totals if row is None else row.checked().totals
        except _segment.DAMAGE as error:
            _segment.refuse_passing(error)
        return _salvaged(segment.connection) or segment.header.totals

    @staticmethod
    def salvaged_totals(path: Path) -> Mapping[str, Tally]:
        """The latest books that can still be read in a damaged segment."""
        try:
            connection = _segment.open_read(path)
        except _segment.DAMAGE:
            return {}
        try:
            found = _salvaged(connection)
            if found is None:
                header = _segment.header_of(connection)
                found = header.totals if header else {}
        except _segment.DAMAGE:
            return {}
        else:
            return found
        finally:
            connection.close()

    # Reading.

    def read(self, offset: int, *, max_entries: int, max_bytes: int) -> Slice:
        segments = self._segments()
        if not segments:
            if offset > 0:
                raise self._beyond(offset, 0)
            return Slice((), offset)
        first = segments[0]
        if offset < first.start:
            gaps = () if offset == 0 and not first.header.totals else (self._removed_before(offset, first),)
            return Slice((), first.start, gaps)
        index = max(i for i, segment in enumerate(segments) if segment.start <= offset)
        segment = segments[index]
        following = segments[index + 1] if index + 1 < len(segments) else None
        end = following.header.previous_end if following else None
        if following is not None and offset >= following.header.previous_end:
            return Slice((), following.start)
        if following is None and offset > self._next(segment):
            raise self._beyond(offset, self._next(segment))
        return self._read_in(segment, following, offset, end, max_entries, max_bytes)

    def _read_in(
        self,
        segment: _Open,
        following: _Open | None,
        offset: int,
        end: int | None,
        max_entries: int,
        max_bytes: int,
    ) -> Slice:
        entries: list[LogEntry] = []
        size = 0
        position = offset
        if end is None:
            end = _segment.marked_end(_segment.path_of(self._folder, segment.start))
        try:
            for row in _segment.from_offset(segment.connection, offset, end):
                if entries and (len(entries) >= max_entries or size >= max_bytes):
                    break
                if row.first > position:
                    raise LogCorruptError(f"offsets {position} to {row.first - 1} are missing")
                header, decoded = self._entries(row)
                part = decoded[position - row.first :][: max_entries - len(entries)]
                entries.extend(part)
                size += header.size_bytes * len(part) // max(1, len(decoded))
                position += len(part)
                if position == row.next:
                    self._known = (position, header.totals)
        except _segment.DAMAGE as error:
            _segment.refuse_passing(error)
            if entries:  # what is good first; the next read meets the damage at its beginning
                return Slice(entries, position, (), size)
            return self._lost(segment, following, position, end, error)
        if not entries and following is not None:
            damage = LogCorruptError(f"offsets {position} to {following.header.previous_end - 1} are missing")
            return self._lost(segment, following, position, end, damage)
        return Slice(entries, position, (), size)

    def _entries(self, row: Row) -> tuple[Header, Sequence[LogEntry]]:
        """The decoded chunk; one that is read in parts is decoded once."""
        header = row.checked()
        if self._cut.first != row.first:
            self._cut = _Cut(row.first, chunk.unpack(row.packed, header))
        return header, self._cut.entries

    def _lost(self, segment: _Open, following: _Open | None, position: int, end: int | None, error: Exception) -> Slice:
        """The damage at `position`: from there to the next chunk that can be read, counted by the books on both sides."""
        reason = f"{_segment.path_of(self._folder, segment.start).name}: {error}"
        self._report(position, f"log: partition {self.partition}, offset {position}: {reason}")
        after = self._readable_after(segment.connection, position, end)
        if after is not None:
            header = after.checked()
            totals_after = chunk.difference(header.totals, header.tally)
            resume = after.first
        elif following is not None:
            totals_after, resume = following.header.totals, following.start
        else:
            return Slice((), position)  # the last chunk: counted when another follows it
        lost = chunk.difference(totals_after, self._totals_at(segment, position, end))
        self._known = (resume, totals_after)
        return Slice((), resume, (Gap(position, resume, lost, "log_corrupt", reason),))

    def _readable_after(self, connection: sqlite3.Connection, position: int, end: int | None) -> Row | None:
        """The first intact chunk beyond `position`. Damaged pages are jumped over by asking for later and later keys."""
        probe, step = position + 1, 1
        limit = end if end is not None else position + (1 << 40)
        while probe <= limit:
            try:
                for row in _segment.from_offset(connection, probe, end):
                    if row.first > position and _is_intact(row):
                        return row
            except _segment.DAMAGE as error:
                _segment.refuse_passing(error)
                probe, step = probe + step, step * 2
            else:
                return None
        return None

    def _totals_at(self, segment: _Open, position: int, end: int | None) -> Mapping[str, Tally]:
        """The books of everything before `position`, from the last read or from the readable chunks before it."""
        if self._known[0] == position:
            return self._known[1]
        before: Mapping[str, Tally] = segment.header.totals
        probe = segment.start - 1
        while (row := self._readable_after(segment.connection, probe, end)) is not None and row.first < position:
            if row.next > position:
                return _partly(row, position)
            before, probe = row.checked().totals, row.first
        return before

    def _beyond(self, offset: int, following: int) -> PositionError:
        return PositionError(
            f"log: partition {self.partition} in {self._folder} ends at offset {following}, but the stored position is {offset}; "
            "the warehouse was loaded from another log, or the log's files were taken away"
        )

    # Segments that are there.

    def _segments(self) -> list[_Open]:
        starts = _segment.starts(self._folder)
        for gone in self._opened.keys() - set(starts):
            self._opened.pop(gone).connection.close()
        found = []
        for start in starts:
            opened = self._opened.get(start) or self._open(start)
            if opened is not None:
                found.append(opened)
        return found

    def _open(self, start: int) -> _Open | None:
        path = _segment.path_of(self._folder, start)
        connection = None
        try:
            connection = _segment.open_read(path)
            header = _segment.header_of(connection)
        except _segment.DAMAGE as error:
            if connection is not None:
                connection.close()
            _segment.refuse_passing(error)
            self._report(start, f"log: the segment {path} cannot be opened: {error}; what it held counts as lost")
            return None
        if header is None:  # being made
            connection.close()
            return None
        opened = _Open(start, connection, header)
        self._opened[start] = opened
        return opened

    def _report(self, subject: int, text: str) -> None:
        if subject not in self._reported:
            self._reported.add(subject)
            logger.error(text)

    # Retention.

    def retain(self, needed: int) -> Sequence[Path]:
        segments = self._segments()
        closed = itertools.pairwise(segments)
        sizes = {
            segment.start: _segment.size_bytes(_segment.path_of(self._folder, segment.start)) for segment in segments
        }
        total = sum(sizes.values())
        removed: list[Path] = []
        for segment, following in closed:
            age = self._now() - following.header.created_at
            forced = bool(self._config.max_bytes) and total > self._config.max_bytes
            is_loaded = following.header.previous_end <= needed
            is_due = total > self._config.retention_bytes or age > self._config.retention_seconds
            if not (forced or (is_loaded and is_due)):
                break
            if not is_loaded:
                self._note_loss(segment, following, needed)
            path = _segment.path_of(self._folder, segment.start)
            self._opened.pop(segment.start).connection.close()
            for file in _segment.files_of(path):
                file.unlink(missing_ok=True)
            removed.append(path)
            total -= sizes[segment.start]
        if removed:
            _segment.sync_folder(self._folder)
        return removed

    def _note_loss(self, segment: _Open, following: _Open, needed: int) -> None:
        position = max(needed, segment.start)
        logger.error(
            "log: max_bytes forces segment %s out although offsets %d to %d were not loaded; they are lost",
            _segment.path_of(self._folder, segment.start), position, following.header.previous_end - 1,
        )  # fmt: skip
        if needed >= segment.start:
            noted = _Removed(needed, dict(self._totals_at(segment, needed, following.header.previous_end)))
            (self._folder / LOST).write_bytes(msgspec.json.encode(noted))

    def _removed_before(self, offset: int, first: _Open) -> Gap:
        lost: dict[str, Tally] = {}
        before: Mapping[str, Tally] | None = {} if offset == 0 else None
        with contextlib.suppress(OSError, msgspec.DecodeError):
            noted = msgspec.json.decode((self._folder / LOST).read_bytes(), type=_Removed)
            if noted.position == offset:
                before = noted.totals
        if before is not None:
            lost = chunk.difference(first.header.totals, before)
        reason = f"offsets {offset} to {first.start - 1} were removed before they were read"
        self._report(offset, f"log: partition {self.partition}: {reason}")
        return Gap(offset, first.start, lost, "log_removed", reason)

    def close(self) -> None:
        for opened in self._opened.values():
            opened.connection.close()
        self._opened.clear()


def _is_intact(row: Row) -> bool:
    try:
        chunk.unpack(row.packed, row.checked())
    except LogCorruptError:
        return False
    return True


def _partly(row: Row, position: int) -> dict[str, Tally]:
    """The books inside an intact chunk, counted by its entries."""
    header = row.checked()
    totals = chunk.difference(header.totals, header.tally)
    for entry in chunk.unpack(row.packed, header)[: position - row.first]:
        totals = chunk.added(totals, {entry.source: Tally(1, 0) if isinstance(entry, Event) else Tally(0, 1)})
    return totals


def _salvaged(connection: sqlite3.Connection) -> Mapping[str, Tally] | None:
    found = None
    with contextlib.suppress(*_segment.DAMAGE):
        for row in _segment.from_offset(connection, 0, None):
            with contextlib.suppress(LogCorruptError):
                found = row.checked().totals
    return found
