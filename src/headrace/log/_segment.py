"""A segment: one SQLite database file of a partition, named after the offset at which it starts.

Readers and the writer open it through SQLite only; nothing else in a process may open the file, since closing a second descriptor drops SQLite's locks.

How a chunk that was never acknowledged stays invisible: when an append fails, its frames may already be in the
write-ahead log, and SQLite takes them for good when somebody opens the file anew. So the writer notes beside the dead segment where it ends
(`<segment>.end`, before anything else), and the next segment starts after the failed chunk's offsets and records the same
end in its header. Readers ignore everything past it. As long as the writer's process lives, readers see nothing of the failed chunk,
because the shared index of the write-ahead log moves only after the sync.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from headrace.errors import LogCorruptError, LogUnavailableError
from headrace.log import chunk
from headrace.log.base import Tally
from headrace.log.chunk import Header, Packed

FORMAT: Final = 1
SUFFIX: Final = ".sqlite"
END_SUFFIX: Final = ".end"
BUSY_SECONDS: Final = 5.0
DAMAGE: Final = (sqlite3.Error, MemoryError, LogCorruptError)
"""How damaged pages show: SQLite asks for absurd amounts of memory, too, when a length is wrong."""

_SCHEMA: Final = """
CREATE TABLE segment (header BLOB NOT NULL);
CREATE TABLE chunk (
    first INTEGER PRIMARY KEY, next INTEGER NOT NULL,
    header BLOB NOT NULL, header_sum INTEGER NOT NULL, body BLOB NOT NULL, sum INTEGER NOT NULL
);
"""
_ROWS: Final = "SELECT first, next, header, header_sum, body, sum FROM chunk"

_PASSING: Final = frozenset(
    (
        sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_READONLY, sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_PERM,
    )
)  # fmt: skip


def refuse_passing(error: Exception) -> None:
    """Called with what DAMAGE lists: an error that says nothing about the stored bytes (a lock, no descriptors left, a disk that does not
    answer) raises LogUnavailableError, so that nobody takes readable events for lost."""
    if isinstance(error, sqlite3.Error):
        code = getattr(error, "sqlite_errorcode", None)
        if code is not None and code & 0xFF in _PASSING:
            raise LogUnavailableError(f"log: cannot read now: {error}; it is tried again") from error


class SegmentHeader(msgspec.Struct, frozen=True):
    """`previous_end` is where the segment before this one ends; what lies there beyond it is void."""

    format: int
    incarnation: str
    partition: int
    start: int
    previous_end: int
    totals: dict[str, Tally]
    created_at: float


class Row(msgspec.Struct, frozen=True):
    """A stored chunk, unchecked."""

    first: int
    next: int
    packed: Packed

    def checked(self) -> Header:
        """Raises LogCorruptError."""
        header = chunk.unpack_header(self.packed.header, self.packed.header_sum)
        if (header.first, header.next) != (self.first, self.next):
            raise LogCorruptError("the chunk's header belongs to another place")
        return header


def starts(folder: Path) -> list[int]:
    """The start offsets of the segments in a partition's folder, in order."""
    try:
        names = [entry.name for entry in folder.iterdir()]
    except FileNotFoundError:
        return []
    return sorted(
        int(name[: -len(SUFFIX)]) for name in names if name.endswith(SUFFIX) and name[: -len(SUFFIX)].isdigit()
    )


def path_of(folder: Path, start: int) -> Path:
    return folder / f"{start:020}{SUFFIX}"


def files_of(path: Path) -> list[Path]:
    """The database with its journal, shared index and mark of its end."""
    return [path, *(path.with_name(path.name + ending) for ending in ("-wal", "-shm", END_SUFFIX))]


def size_bytes(path: Path) -> int:
    """What the segment takes on disk."""
    total = 0
    for file in files_of(path):
        with contextlib.suppress(FileNotFoundError):
            total += file.stat().st_size
    return total


def create(path: Path, header: SegmentHeader) -> sqlite3.Connection:
    """A new segment, durable with its directory entry. Raises sqlite3.Error and OSError; then no file is left behind, if possible."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=BUSY_SECONDS)
    try:
        connection.execute("PRAGMA page_size = 8192")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.executescript(f"BEGIN; {_SCHEMA}")
        connection.execute("INSERT INTO segment VALUES (?)", (msgspec.json.encode(header),))
        connection.execute("COMMIT")
        sync_folder(path.parent)
    except (sqlite3.Error, OSError):
        with contextlib.suppress(sqlite3.Error):
            connection.close()
        for file in files_of(path):
            with contextlib.suppress(OSError):
                file.unlink()
        raise
    return connection


def open_written(path: Path) -> sqlite3.Connection:
    """An existing segment for its writer."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=BUSY_SECONDS)
    connection.execute("PRAGMA synchronous = FULL")
    return connection


def open_read(path: Path) -> sqlite3.Connection:
    """An existing segment for a reader: never made, never written (but a dead writer's journal is recovered)."""
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        timeout=BUSY_SECONDS,
    )
    connection.execute("PRAGMA query_only = ON")
    return connection


def header_of(connection: sqlite3.Connection) -> SegmentHeader | None:
    """None when the segment was never completed: it holds nothing then. Raises LogCorruptError."""
    try:
        row = connection.execute("SELECT header FROM segment").fetchone()
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):
            return None
        raise
    if row is None:
        return None
    try:
        return msgspec.json.decode(row[0], type=SegmentHeader)
    except (msgspec.DecodeError, TypeError) as error:
        raise LogCorruptError(f"the segment's header cannot be read: {error}") from None


def insert(connection: sqlite3.Connection, first: int, following: int, packed: Packed) -> None:
    """One durable commit. Raises sqlite3.Error: then the segment is dead."""
    connection.execute(
        "INSERT INTO chunk VALUES (?, ?, ?, ?, ?, ?)",
        (first, following, packed.header, packed.header_sum, packed.body, packed.sum),
    )


def last(connection: sqlite3.Connection, end: int | None) -> Row | None:
    """The last chunk before `end`. Raises what DAMAGE lists."""
    row = connection.execute(f"{_ROWS} WHERE next <= ? ORDER BY first DESC LIMIT 1", (_bound(end),)).fetchone()
    return None if row is None else _row(row)


def last_next(connection: sqlite3.Connection, end: int | None) -> int | None:
    """Where the last chunk before `end` ends, without reading it."""
    sql = "SELECT next FROM chunk WHERE next <= ? ORDER BY first DESC LIMIT 1"
    row = connection.execute(sql, (_bound(end),)).fetchone()
    return None if row is None else int(row[0])


def from_offset(connection: sqlite3.Connection, offset: int, end: int | None) -> Iterator[Row]:
    """The chunks that hold `offset` or come after it, before `end`. Raises what DAMAGE lists on the way."""
    start = connection.execute("SELECT max(first) FROM chunk WHERE first <= ?", (offset,)).fetchone()[0]
    sql = f"{_ROWS} WHERE first >= ? AND next > ? AND next <= ? ORDER BY first"
    for row in connection.execute(sql, (offset if start is None else start, offset, _bound(end))):
        yield _row(row)


def _bound(end: int | None) -> int:
    return 2**63 - 1 if end is None else end


def _row(row: tuple[int, int, bytes, int, bytes, int]) -> Row:
    """Raises LogCorruptError when a damaged record has values of other types."""
    first, following, header, header_sum, body, total = row
    if tuple(map(type, row)) != (int, int, bytes, int, bytes, int):
        raise LogCorruptError("the chunk's record has values of other types")
    return Row(first, following, Packed(header, header_sum, body, total))


def mark_end(path: Path, end: int) -> None:
    """Note where a dead segment ends. Best effort: the disk may be what fails."""
    with contextlib.suppress(OSError):
        path.with_name(path.name + END_SUFFIX).write_text(str(end))


def marked_end(path: Path) -> int | None:
    try:
        return int(path.with_name(path.name + END_SUFFIX).read_text())
    except (OSError, ValueError):
        return None


def sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
