"""The embedded log: a folder a partition, a SQLite file a segment, a row a group commit.

WAL with synchronous=FULL: a commit returns when it is synced, and readers in other processes see only what is. After
a failed append the segment is dead: nothing is retried in it, the next append opens a new one (see _segment.py for
how the failed chunk stays invisible). Offsets of a failed chunk are never used again.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import sqlite3
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from headrace.config import LogConfig
from headrace.errors import ConfigError, FolderInUseError, LogUnavailableError
from headrace.log import _segment, chunk
from headrace.log._segment import SegmentHeader
from headrace.log._sqlite_reader import SqliteReader
from headrace.log.base import Tally

logger = logging.getLogger(__name__)

INCARNATION: Final = "incarnation"
WRITER_LOCK: Final = "writer.lock"
UNREADABLE_SPAN: Final = 1_000_000_000_000
"""How far the next segment starts beyond one whose end cannot be read: more than a segment can hold."""


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
        """Raises FolderInUseError and LogUnavailableError."""
        return SqliteWriter(self._place(partition), partition, self.incarnation(), self._config, self._now)

    def reader(self, partition: int) -> SqliteReader:
        """The partition need not exist yet."""
        return SqliteReader(self._place(partition), partition, self.incarnation(), self._config, self._now)

    def incarnation(self) -> str:
        """The identity of this very log, made at first use; the first of several processes decides it."""
        file = self._folder / INCARNATION
        try:
            return file.read_text().strip()
        except FileNotFoundError:
            pass
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            draft = self._folder / f".{INCARNATION}-{uuid.uuid4().hex}"
            with draft.open("x") as written:
                written.write(uuid.uuid4().hex)
                written.flush()
                os.fsync(written.fileno())
            with contextlib.suppress(FileExistsError):
                os.link(draft, file)
            draft.unlink()
            _segment.sync_folder(self._folder)
            return file.read_text().strip()
        except OSError as error:
            raise ConfigError(
                f"log: cannot make {self._folder}: {error.strerror}; make room or give --data another folder"
            ) from None

    def _place(self, partition: int) -> Path:
        return self._folder / str(partition)


class SqliteWriter:
    """The one writer of a partition; calls are serialised by the caller."""

    def __init__(
        self, folder: Path, partition: int, incarnation: str, config: LogConfig, now: Callable[[], float]
    ) -> None:
        self.partition = partition
        self.incarnation = incarnation
        self._folder = folder
        self._config = config
        self._now = now
        self._packer = chunk.Packer()
        self._connection: sqlite3.Connection | None = None
        """The segment being written; None when it is dead or not there yet."""
        self._dead: sqlite3.Connection | None = None
        self._start = 0
        self._created_at = 0.0
        self._written_bytes = 0
        self.next = 0
        self._end = 0
        """Where the last durable chunk ends; `next` is beyond it after a failure."""
        self.totals: Mapping[str, Tally] = {}
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(folder / WRITER_LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise LogUnavailableError(f"log: cannot open {folder}: {error.strerror}") from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise FolderInUseError(
                f"log: another process writes partition {partition} in {folder}; stop it first"
            ) from None
        self._resume()

    def append(self, lines: Sequence[bytes], tally: Mapping[str, Tally]) -> int:
        first = self.next
        following = first + len(lines)
        totals = chunk.added(self.totals, tally)
        packed = self._packer.pack(first, lines, tally, totals)
        try:
            if self._connection is None or self._is_full():
                self._open_next()
            if self._connection is not None:
                _segment.insert(self._connection, first, following, packed)
        except (sqlite3.Error, OSError) as error:
            self._bury(following)
            raise LogUnavailableError(
                f"log: cannot store in {self._folder}: {error}; make room or mend the disk"
            ) from None
        self.next = self._end = following
        self.totals = totals
        self._written_bytes += len(packed.header) + len(packed.body)
        return first

    def close(self) -> None:
        for connection in (self._connection, self._dead):
            if connection is not None:
                with contextlib.suppress(sqlite3.Error):
                    connection.close()
        self._connection = self._dead = None
        os.close(self._lock)

    def _is_full(self) -> bool:
        return (
            self._written_bytes >= self._config.segment_bytes
            or self._now() - self._created_at >= self._config.segment_seconds
        ) and self._end > self._start

    def _bury(self, following: int) -> None:
        """The segment is dead; the offsets of the failed chunk are spent."""
        if self._connection is not None:
            _segment.mark_end(_segment.path_of(self._folder, self._start), self._end)
            if self._dead is not None:
                with contextlib.suppress(sqlite3.Error):
                    self._dead.close()
            # Kept open until the next segment is there: as long as this process holds it, no reader recovers the failed chunk.
            self._dead, self._connection = self._connection, None
            self.next = following

    def _open_next(self) -> None:
        """Raises sqlite3.Error and OSError; the writer may be asked again."""
        created_at = self._now()
        header = SegmentHeader(
            _segment.FORMAT, self.incarnation, self.partition, self.next, self._end, dict(self.totals), created_at
        )
        path = _segment.path_of(self._folder, self.next)
        connection = _segment.create(path, header)
        for old in (self._connection, self._dead):
            if old is not None:
                with contextlib.suppress(sqlite3.Error):
                    old.close()
        self._connection, self._dead = connection, None
        self._start, self._created_at, self._written_bytes = self.next, created_at, 0

    def _resume(self) -> None:
        """Go on after the last durable chunk: in its segment, or in a new one when that is marked dead or damaged."""
        for start in reversed(_segment.starts(self._folder)):
            path = _segment.path_of(self._folder, start)
            try:
                if self._resume_in(path, start):
                    return
            except _segment.DAMAGE as error:
                logger.error("log: the end of %s cannot be read (%s); a new segment follows it", path, error)  # noqa: TRY400 - the text says all
                self._end = self.next = start + UNREADABLE_SPAN
                self.totals = SqliteReader.salvaged_totals(path)
                return
            for file in _segment.files_of(path):  # never completed: nothing was stored in it
                file.unlink(missing_ok=True)

    def _resume_in(self, path: Path, start: int) -> bool:
        connection = _segment.open_written(path)
        header = _segment.header_of(connection)
        if header is None:
            connection.close()
            return False
        if header.incarnation != self.incarnation:
            connection.close()
            raise ConfigError(f"log: {path} belongs to another log ({header.incarnation}); take it out of the folder")
        end = _segment.marked_end(path)
        row = _segment.last(connection, end)
        self.totals = header.totals if row is None else row.checked().totals
        self._start, self._end = start, start if row is None else row.next
        self.next = self._end
        if end is None:
            self._connection, self._created_at = connection, header.created_at
            self._written_bytes = _segment.size_bytes(path)
        else:
            self.next = max(self._end, _segment.last_next(connection, None) or 0) + 1
            connection.close()
        return True
