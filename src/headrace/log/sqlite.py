"""The embedded log: a folder a partition, a SQLite file a segment, a row a group commit.

WAL with synchronous=FULL: an append returns when it is synced, and readers in other processes see only what is. After
a failed append the segment is dead: nothing is tried again in it, the next append opens a new one (_segment.py says
how the failed chunk stays invisible). Every start of a writer opens a new segment too, with its first append: where
the last one was not closed in good order, its end may have been lost with a torn -wal, so the new one starts far
enough beyond that no offset can be used twice, and a reader that was further on finds out.
"""

from __future__ import annotations

import fcntl
import logging
import os
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from headrace.config import LogConfig
from headrace.errors import ConfigError, FolderInUseError, HeadraceError, LogUnavailableError
from headrace.log import _segment, chunk, hourly
from headrace.log._segment import BEYOND, Mark, Row, Segment, SegmentHeader
from headrace.log._sqlite_reader import SqliteReader
from headrace.log.base import Hour, Tally
from headrace.log.hourly import Carried, Numbered

logger = logging.getLogger(__name__)

INCARNATION: Final = "incarnation"
WRITER_LOCK: Final = "writer.lock"
LEAP: Final = 1_000_000_000
"""How far offsets go on after a segment that was not closed: more than one can hold."""
CHECKPOINT_BYTES: Final = 4_000_000

_never_closed: Final[list[Segment]] = []


class SqliteLog:
    """The partitions below a folder."""

    def __init__(self, folder: Path, config: LogConfig, now: Callable[[], float] = time.time) -> None:
        self._folder = folder
        self._config = config
        self._now = now

    def partitions(self) -> Sequence[int]:
        if not self._folder.is_dir():
            return []
        return sorted(int(entry.name) for entry in self._folder.iterdir() if entry.is_dir() and entry.name.isdigit())

    def writer(self, partition: int) -> SqliteWriter:
        """Raises FolderInUseError, LogUnavailableError, and ConfigError for segments of another log."""
        return SqliteWriter(self._place(partition), partition, self.incarnation(), self._config, self._now)

    def reader(self, partition: int) -> SqliteReader:
        """The partition need not exist yet."""
        return SqliteReader(self._place(partition), partition, self.incarnation(), self._config, self._now)

    def incarnation(self) -> str:
        """The identity of this very log, made at first use; the first of several processes decides it."""
        file = self._folder / INCARNATION
        try:
            if not file.exists():
                self._make_incarnation(file)
            return file.read_text().strip()
        except OSError as error:
            raise ConfigError(
                f"log: cannot make {self._folder}: {error.strerror}; make room or give --data another folder"
            ) from error

    def _make_incarnation(self, file: Path) -> None:
        if any(_segment.starts_in(self._place(partition)) for partition in self.partitions()) and not file.exists():
            raise ConfigError(f"log: {self._folder} has segments, but no {file.name}; bring the file back")
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = self._folder / f".{INCARNATION}-{uuid.uuid4().hex}"
        draft.write_text(uuid.uuid4().hex)
        _segment.make_durable(draft)
        with suppress(FileExistsError):
            os.link(draft, file)
        draft.unlink()
        _segment.make_durable(self._folder)

    def _place(self, partition: int) -> Path:
        return self._folder / str(partition)


class SqliteWriter:
    """The one writer of a partition; calls are serialised by the caller."""

    def __init__(
        self, folder: Path, partition: int, incarnation: str, config: LogConfig, now: Callable[[], float]
    ) -> None:
        self.partition = partition
        self.incarnation = incarnation
        self.next = 0
        self.totals: Mapping[str, Tally] = {}
        self._folder = folder
        self._config = config
        self._now = now
        self._segment: Segment | None = None
        """The one that is written; None before the first append and when it is dead."""
        self._dead: list[Segment] = []
        self._created_at = 0.0
        self._segment_bytes = 0
        self._unchecked_bytes = 0
        self._carried = Carried({}, 0)
        """The books by hour before the segment, or before the next one where none is written."""
        self._hourly: Numbered = {}
        """The same of the segment's own chunks."""
        self._chunks = 0
        self._previous: tuple[int | None, int | None] = (None, None)
        """Start and end of the segment before the one that will be opened next."""
        self._lock: int | None = _locked(folder, partition)
        try:
            self._resume()
        except BaseException:
            self.close()
            raise

    def append(self, lines: Sequence[bytes], tally: Mapping[Hour, Tally]) -> int:
        segment = self._segment
        if segment is None or self._is_full():
            segment = self._open_next()
        first, more = self.next, hourly.numbered(tally)
        totals = chunk.added(self.totals, hourly.by_source(more))
        whole = None if (self._chunks + 1) % hourly.CHUNKS else hourly.added(self._hourly, more)
        row = Row(first, first + len(lines), chunk.encode(first, lines, more, totals, whole))
        try:
            segment.insert(row)
        except BaseException as error:
            self._bury(segment, row.next)
            if isinstance(error, (HeadraceError, MemoryError)):
                raise self._unavailable(error) from error
            raise
        self.next = row.next
        self.totals = totals
        hourly.add(self._hourly, more)
        self._chunks += 1
        self._segment_bytes += len(row.content)
        self._unchecked_bytes += len(row.content)
        if self._unchecked_bytes >= CHECKPOINT_BYTES:
            self._checkpoint(segment)
        return first

    def close(self) -> None:
        if self._segment is not None:
            try:
                _segment.write_mark(self._segment.path, self._mark(self.next))
            except OSError as error:
                logger.warning("log: cannot mark the end of %s: %s; offsets will leap", self._segment.path, error)
            self._segment.close()
        for segment in self._dead:
            segment.close()
        self._segment, self._dead = None, []
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _is_full(self) -> bool:
        return self._segment_bytes >= self._config.segment_bytes or (
            self._now() - self._created_at >= self._config.segment_seconds and self._segment_bytes > 0
        )

    def _open_next(self) -> Segment:
        """Raises LogUnavailableError; the writer may be asked again."""
        old = self._segment
        start, end = (old.start, self.next) if old is not None else self._previous
        created_at, before = self._now(), self._whole()
        header = SegmentHeader(
            _segment.FORMAT,
            self.incarnation,
            self.partition,
            self.next,
            created_at,
            dict(self.totals),
            start,
            end,
            *before,
        )
        try:
            segment = Segment.create(self._folder, header)
        except (HeadraceError, OSError) as error:
            self._discard(_segment.path_of(self._folder, self.next))
            raise self._unavailable(error) from error
        for closed in (*self._dead, *([old] if old is not None else [])):
            closed.close()
        self._dead = []
        self._segment, self._created_at = segment, created_at
        self._carried, self._hourly, self._chunks = before, {}, 0
        self._segment_bytes = self._unchecked_bytes = 0
        return segment

    def _whole(self) -> Carried:
        """The books by hour at the log's end."""
        return hourly.carried(hourly.added(self._carried.books, self._hourly), self._carried.since)

    def _mark(self, following: int) -> Mark:
        return Mark(self.next, following, dict(self.totals), *self._whole())

    def _discard(self, path: Path) -> None:
        """What is left of a segment that could not be opened. Readers may know its name already: it is used up."""
        if not path.exists():
            return
        if self._segment is not None:
            self._retire(self._segment)
        try:
            for file in _segment.files_of(path):
                file.unlink(missing_ok=True)
        except OSError:
            self._previous = (self.next, self.next)
        self.next += 1

    def _retire(self, segment: Segment) -> None:
        """Nothing more is written to it; it stays open until another is."""
        self._dead.append(segment)
        self._previous = (segment.start, self.next)
        self._segment = None

    def _bury(self, segment: Segment, following: int) -> None:
        """The segment is dead; the offsets of the failed chunk are spent."""
        with suppress(OSError):
            _segment.write_mark(segment.path, self._mark(following))
        self._retire(segment)
        self.next = following

    def _checkpoint(self, segment: Segment) -> None:
        self._unchecked_bytes = 0
        try:
            segment.checkpoint()
        except HeadraceError as error:
            logger.error("%s; a new segment follows it", error)  # noqa: TRY400 - the text says all
            self._retire(segment)
            self._dead.remove(segment)
            _never_closed.append(segment)

    def _resume(self) -> None:
        """Find the end of what an earlier writer left."""
        starts = _segment.starts_in(self._folder)
        if not starts:
            return
        start = starts[-1]
        mark = _segment.mark_of(_segment.path_of(self._folder, start))
        segment = Segment.open(_segment.path_of(self._folder, start), is_closed=mark is not None)
        try:
            header = segment.header()
            tail = segment.tail(mark.end if mark else BEYOND)
            hours = segment.hourly(BEYOND if tail.end is None else tail.end) if mark is None else {}
        finally:
            segment.close()
        if header is not None and header.incarnation != self.incarnation:
            raise ConfigError(f"log: {segment.path} belongs to another log ({header.incarnation}); take it away")
        end: int | None
        if mark is not None:
            self.totals, end, following = mark.totals, mark.end, mark.next
            self._carried = Carried(mark.hourly, mark.since)
        else:
            self.totals, end = tail.totals, tail.end
            following = (start if end is None else end) + LEAP
            # Without the header nobody knows the hours before: they are told as one, from the next hour on each by itself.
            since = header.since if header else int(self._now()) // 3_600 + 1
            self._carried = Carried(hourly.added(header.hourly if header else {}, hours), since)
            if end is None:
                logger.error("log: the end of %s cannot be read; a new segment follows it", segment.path)
        self._previous = (start, end)
        self.next = max(following, start + 1)

    def _unavailable(self, error: BaseException) -> LogUnavailableError:
        return LogUnavailableError(f"log: cannot store in {self._folder}: {error}; make room or mend the disk")


def _locked(folder: Path, partition: int) -> int:
    """The descriptor that holds the partition for one writer."""
    try:
        if not folder.is_dir():
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _segment.make_durable(folder.parent)
        lock = os.open(folder / WRITER_LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise LogUnavailableError(f"log: cannot open {folder}: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise FolderInUseError(
            f"log: another process writes partition {partition} in {folder}; stop it first"
        ) from None
    return lock
