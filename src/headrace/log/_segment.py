"""A segment: one SQLite file of a partition, named after the offset at which it starts, with a header and a row a chunk.

SQLite drops a process's locks on a file when any descriptor of it is closed, so a segment that is open is never opened
by path except through SQLite. Its -wal carries no locks and may be.

Why a failed chunk stays invisible. A commit writes frames to the -wal, syncs it, and only then moves the shared index
(-shm) by which readers see them. After a failed sync the frames are there and may be valid: nobody sees them as long
as some process has the segment open, since the index stays; but the first to open it afterwards recovers them. So

- the dead segment's connection stays open until the next segment is durable with `previous_end` in its header;
- a mark beside the dead segment (`.end`) says the same, for a process that is killed before it can open another;
- readers look for both after they have opened a segment, and ignore everything from that offset on;
- the next segment starts after the failed chunk's offsets, so that these are never used twice.

Without room even for the mark, an append that failed before a kill may be seen: like one killed before its answer.

Closing a dead connection may move the -wal into the file. That is safe: its own index ends before the failed chunk, and
what precedes it was durable before; every page is written anew before its sync, so no sync is merely repeated.
After a failed checkpoint that is not so (an earlier, partial one may have written pages that were never
synced), so such a connection is never closed: the next process reads the whole -wal again. For the same reason the writer
checkpoints by itself: SQLite's automatic checkpoint hides its errors and tries again.
"""

from __future__ import annotations

import os
import sqlite3
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple, Self, TypeVar
from urllib.parse import quote

import msgspec

from headrace.errors import ConfigError, LogCorruptError, LogUnavailableError
from headrace.log import chunk, hourly
from headrace.log.base import UNKNOWN_SOURCE, Tally
from headrace.log.hourly import Numbered

FORMAT: Final = 2
"""2 keeps the books by hour too. 1 was that of the unreleased 0.1: it is refused, never read wrongly."""
BEYOND: Final = (1 << 63) - 1
"""An offset past every other."""
BUSY_SECONDS: Final = 5.0

_PAGE_BYTES: Final = 4_096
_SUFFIX: Final = ".sqlite"
_DIGITS: Final = 20
_DAMAGE: Final = frozenset(
    (
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_TOOBIG,
        sqlite3.SQLITE_ERROR,  # our statements are constant: a table is missing
    )
)
"""Codes that say the bytes are wrong. All others (locked, no descriptors left, the disk cannot be read now) may pass:
they must never count as a loss."""
_TABLES: Final = """
CREATE TABLE segment (header BLOB NOT NULL, checksum INTEGER NOT NULL);
CREATE TABLE chunk (first INTEGER PRIMARY KEY, next INTEGER NOT NULL, content BLOB NOT NULL);
"""
_ROW: Final = "SELECT first, next, content FROM chunk"

_Stored = TypeVar("_Stored", bound=msgspec.Struct)


class SegmentHeader(msgspec.Struct, frozen=True):
    """`totals` are the books before the segment's first chunk, `hourly` the same by hour from the hour `since` on. `previous_end` is where the segment that starts at
    `previous_start` ends, whatever it seems to hold; None when that cannot be told."""

    format: int
    incarnation: str
    partition: int
    start: int
    created_at: float
    totals: dict[str, Tally]
    previous_start: int | None = None
    previous_end: int | None = None
    hourly: Numbered = {}
    since: int = 0


class Mark(msgspec.Struct, frozen=True):
    """Beside a segment that was closed in good order or is dead: where it ends, with the books there. `next` is the
    first offset that was never used."""

    end: int
    next: int
    totals: dict[str, Tally]
    hourly: Numbered = {}
    since: int = 0


class Row(NamedTuple):
    first: int
    next: int
    content: bytes


class Tail(NamedTuple):
    """Where a segment ends, with the books there. `end` is None when its pages are too damaged to tell."""

    end: int | None
    totals: dict[str, Tally]


def path_of(folder: Path, start: int) -> Path:
    return folder / f"{start:0{_DIGITS}}{_SUFFIX}"


def starts_in(folder: Path) -> list[int]:
    """Where the segments in a partition's folder start, in order."""
    try:
        names = os.listdir(folder)  # noqa: PTH208 - asked at every poll; names are all that is needed
    except FileNotFoundError:
        return []
    except OSError as error:
        raise LogUnavailableError(f"log: cannot list {folder}: {error}") from error
    length = _DIGITS + len(_SUFFIX)
    return sorted(int(n[:_DIGITS]) for n in names if len(n) == length and n.endswith(_SUFFIX) and n[:_DIGITS].isdigit())


def files_of(path: Path) -> list[Path]:
    """Database, journal, shared index and mark, in the order in which they are removed: without its first nothing is left of it."""
    return [path, *(path.with_name(path.name + ending) for ending in ("-wal", "-shm", ".end"))]


def size_bytes(path: Path) -> int:
    """What the segment takes on disk."""
    total = 0
    for file in files_of(path):
        with suppress(FileNotFoundError):
            total += file.stat().st_size
    return total


def make_durable(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk. Never for a database that is open."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_mark(path: Path, mark: Mark) -> None:
    """Raises OSError; a mark that is not whole does not count."""
    file = files_of(path)[-1]
    content = msgspec.json.encode(mark)
    file.write_bytes(b"%d %b" % (zlib.crc32(content), content))
    make_durable(file)
    make_durable(path.parent)


def mark_of(path: Path) -> Mark | None:
    try:
        checksum, _, content = files_of(path)[-1].read_bytes().partition(b" ")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise LogUnavailableError(f"log: cannot read the mark of {path}: {error}") from error
    return _checked(content, int(checksum) if checksum.isdigit() else None, Mark)


class Segment:
    """One segment, open. Raises LogCorruptError where its bytes are damaged and LogUnavailableError when it cannot be
    used now. For one thread at a time."""

    def __init__(self, path: Path, *, is_closed: bool = False) -> None:
        """Raises FileNotFoundError. A closed segment that has no -wal (so nobody has it open otherwise) is read without
        locks and without -shm: that works on a full disk too."""
        self.path = path
        self.start = int(path.name[:_DIGITS])
        is_settled = is_closed and not files_of(path)[1].exists()
        # Otherwise readers write too: -shm, and the -wal's content into the file when they are the last to close it.
        address = f"file:{quote(str(path.absolute()))}?{'mode=ro&immutable=1' if is_settled else 'mode=rw'}"
        try:
            with _translated(path):
                self._connection = sqlite3.connect(
                    address, uri=True, isolation_level=None, check_same_thread=False, timeout=BUSY_SECONDS
                )
                self._connection.execute("PRAGMA cell_size_check = ON")
        except LogUnavailableError:
            if not path.exists():
                raise FileNotFoundError(path) from None
            raise

    @classmethod
    def create(cls, folder: Path, header: SegmentHeader) -> Segment:
        """Make a segment, durable with its name, and open it for writing. After a failure the file may be there or not."""
        path = path_of(folder, header.start)
        with _translated(path):
            _draft(folder / "draft", header).rename(path)
            make_durable(folder)
            segment = cls(path)
            try:
                segment.become_writable()
                make_durable(folder)
            except BaseException:
                segment.close()
                raise
            return segment

    @classmethod
    def open(cls, path: Path, *, is_closed: bool) -> Self:
        """Open for reading. Raises FileNotFoundError. `is_closed`: its writer will never write to it again.

        Without a living writer SQLite recovers whatever was written to the -wal, durable or not (a kill between the
        two), so this makes it durable before anyone sees it."""
        segment = cls(path, is_closed=is_closed)
        try:
            with suppress(LogCorruptError):
                segment.span_before(0)
            with _translated(path), suppress(FileNotFoundError):
                make_durable(files_of(path)[1])
        except BaseException:
            segment.close()
            raise
        return segment

    def become_writable(self) -> None:
        self._connection.execute("PRAGMA wal_autocheckpoint = 0")
        self._connection.execute("PRAGMA synchronous = FULL")
        # The first transaction makes the -wal, whose name must be durable before anything in it counts.
        self._connection.execute(f"PRAGMA user_version = {FORMAT}")

    def header(self) -> SegmentHeader | None:
        """None when it is damaged. Raises ConfigError when a headrace with another format wrote the segment."""
        header = None
        with suppress(LogCorruptError), _translated(self.path):
            row = self._connection.execute("SELECT header, checksum FROM segment").fetchone()
            header = None if row is None else _checked(row[0], row[1], SegmentHeader)
        if header is not None and header.format > FORMAT:
            raise ConfigError(f"log: {self.path} has format {header.format}; update headrace, this one reads {FORMAT}")
        if header is not None and header.format < FORMAT:
            raise ConfigError(
                f"log: {self.path} has format {header.format}, of a headrace that was never released; this one reads "
                f"{FORMAT}: load its events with the headrace that wrote it, or begin with another data folder"
            )
        return header if header is not None and header.start == self.start else None

    def insert(self, row: Row) -> None:
        """Durable when it returns; after any error the segment is dead."""
        with _translated(self.path):
            self._connection.execute("INSERT INTO chunk VALUES (?, ?, ?)", row)

    def checkpoint(self) -> None:
        """Move what no reader holds back from the -wal into the file."""
        with _translated(self.path):
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()

    def from_offset(self, offset: int) -> Row | None:
        """The first chunk that starts at the offset or after it."""
        return self._one(f"{_ROW} WHERE first >= ? ORDER BY first LIMIT 1", offset)

    def before(self, offset: int) -> Row | None:
        """The last chunk that starts before the offset."""
        return self._one(f"{_ROW} WHERE first < ? ORDER BY first DESC LIMIT 1", offset)

    def span_before(self, offset: int) -> tuple[int, int] | None:
        """First and next of the last chunk that starts before the offset."""
        row = self._one("SELECT first, next, x'' FROM chunk WHERE first < ? ORDER BY first DESC LIMIT 1", offset)
        return None if row is None else (row.first, row.next)

    def header_after(self, offset: int, limit: int = BEYOND) -> chunk.Header | None:
        """The first readable chunk header from the offset on and before the limit; where damaged pages are in the
        way, the least that can be reached from the other side."""
        with suppress(LogCorruptError):
            return next(self._headers(offset, limit, "ASC"), None)
        found = None
        with suppress(LogCorruptError):
            for header in self._headers(offset, limit, "DESC"):
                found = header
        return found

    def tail(self, limit: int = BEYOND) -> Tail:
        """Where it ends before the limit; entries with damaged headers there count as UNKNOWN_SOURCE."""
        header = self.header()
        end, totals, unknown = self.start, header.totals if header else {}, 0
        try:
            for row in self._rows(self.start, limit, "DESC"):
                end = max(end, row.next)
                found = header_in(row)
                if found is not None:
                    totals = found.totals
                    break
                unknown += row.next - row.first
        except LogCorruptError:
            with suppress(LogCorruptError):
                for found in self._headers(self.start, limit, "ASC"):
                    totals = found.totals
            return Tail(None, totals)
        return Tail(end, chunk.added(totals, {UNKNOWN_SOURCE: Tally(unknown)} if unknown else {}))

    def hourly(self, limit: int = BEYOND) -> Numbered:
        """The books by hour of its chunks before the limit. What a damaged header hides counts for the hour of the next
        chunk; what damaged pages or a damaged end hide is missing."""
        known: Numbered = {}
        totals: Mapping[str, Tally] | None = None
        headers: list[chunk.Header] = []
        try:
            for found in self._headers(self.start, limit, "DESC"):
                if found.hourly is not None:
                    known, totals = found.hourly, found.totals
                    break
                headers.append(found)
            else:
                header = self.header()
                totals = header.totals if header else None
        except LogCorruptError:
            totals = None
        for found in reversed(headers):
            if totals is not None:
                missed = chunk.subtracted(found.totals_before, totals)
                hourly.add(known, hourly.shared_out(missed, {}, hourly.first_hour(found.tally)))
            hourly.add(known, found.tally)
            totals = found.totals
        return known

    def readable_hours(self, limit: int) -> Numbered:
        """The same of all chunks whose headers can be read, and no others."""
        known: Numbered = {}
        with suppress(LogCorruptError):
            for found in self._headers(self.start, limit, "ASC"):
                hourly.add(known, found.tally)
        return known

    def close(self) -> None:
        """The last one to close a segment moves the -wal into the file; where that fails both stay as they are."""
        with suppress(sqlite3.Error):
            self._connection.close()

    def _one(self, sql: str, offset: int) -> Row | None:
        with _translated(self.path):
            row = self._connection.execute(sql, (offset,)).fetchone()
        return None if row is None else self._plausible(row)

    def _rows(self, offset: int, limit: int, order: str) -> Iterator[Row]:
        sql = f"{_ROW} WHERE first >= ? AND first < ? ORDER BY first {order}"
        with _translated(self.path):
            for row in self._connection.execute(sql, (offset, limit)):
                yield self._plausible(row)

    def _headers(self, offset: int, limit: int, order: str) -> Iterator[chunk.Header]:
        return (header for row in self._rows(offset, limit, order) if (header := header_in(row)) is not None)

    def _plausible(self, row: tuple[object, object, object]) -> Row:
        # Damage can change the type of a value.
        first, after, content = row
        if isinstance(first, int) and isinstance(after, int) and isinstance(content, bytes) and first < after:
            return Row(first, after, content)
        raise LogCorruptError(f"log: {self.path}: the row of offset {first!r} is damaged")


def header_in(row: Row) -> chunk.Header | None:
    """None when it is damaged or not that of the row's offsets."""
    with suppress(LogCorruptError):
        header = chunk.header_of(row.content)
        return header if (header.first, header.next) == (row.first, row.next) else None
    return None


def _draft(draft: Path, header: SegmentHeader) -> Path:
    """A whole segment under a name that does not count, durable. Only the writer of the partition makes one."""
    _remove_draft(draft)
    try:
        connection = sqlite3.connect(draft, isolation_level=None)
        try:
            connection.executescript(
                f"PRAGMA page_size = {_PAGE_BYTES}; PRAGMA journal_mode = MEMORY; PRAGMA synchronous = OFF; {_TABLES}"
            )
            encoded = msgspec.json.encode(header)
            connection.execute("INSERT INTO segment VALUES (?, ?)", (encoded, zlib.crc32(encoded)))
            connection.execute("PRAGMA journal_mode = WAL")
        finally:
            connection.close()
        make_durable(draft)
    except BaseException:
        # On a full disk readers need the little room that it takes.
        _remove_draft(draft)
        raise
    return draft


def _remove_draft(draft: Path) -> None:
    for file in (*files_of(draft), draft.with_name(draft.name + "-journal")):
        file.unlink(missing_ok=True)


def _checked(content: object, checksum: object, kind: type[_Stored]) -> _Stored | None:
    if isinstance(content, bytes) and zlib.crc32(content) == checksum:
        with suppress(msgspec.DecodeError):
            return msgspec.json.decode(content, type=kind)
    return None


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    """SQLite's and the system's errors as ours: what is damaged, and what may go better next time."""
    try:
        yield
    except sqlite3.Error as error:
        # Errors of the sqlite3 module itself have no code: a text that is not UTF-8, for example.
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)
        if code & 0xFF in _DAMAGE:
            raise LogCorruptError(f"log: {path}: {error}") from error
        raise LogUnavailableError(f"log: {path}: {error}") from error
    except FileNotFoundError:
        raise
    except OSError as error:
        raise LogUnavailableError(f"log: {path}: {error}") from error
