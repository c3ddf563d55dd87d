"""One range on its way into the archive: entries become draft files by source and hour, then all of it counts at once."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import IO, Final, cast

import msgspec
import zstandard

from headrace.archive import lines, manifest
from headrace.archive.manifest import Begun, Extent, File, Manifest
from headrace.archive.storage import RETRY_SECONDS, Storage
from headrace.errors import RetryableError
from headrace.event import Event, LogEntry
from headrace.log.base import Gap, Hour, Tally, hour_of

MOST_FILES: Final = 128
"""Files of one range at the most: each takes about 1.5 MB of memory while it is written. More sources make more ranges."""
LEVEL: Final = 1
"""As the log: 3 takes twice the time and made e-mail events no smaller."""
PIECE_BYTES: Final = 65_536
"""Lines are compressed so much at a time: with a call each it costs a fifth more."""


class _HashedFile:
    """A file that knows the checksum and the size of what was written."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("xb")
        self._hash = hashlib.sha256()
        self.bytes = 0

    def write(self, data: bytes) -> int:
        self._hash.update(data)
        self.bytes += len(data)
        return self._file.write(data)

    def close(self) -> None:
        self._file.close()

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()


class _Draft:
    """The file of one source and hour."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.accepted = self.refused = self.entries = self.content_bytes = 0
        self.file = _HashedFile(path)
        self._lines: list[bytes] = []
        self._waiting_bytes = 0
        compressor = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True)
        self._stream = compressor.stream_writer(cast("IO[bytes]", self.file), closefd=False)

    def add(self, line: bytes, entry: LogEntry) -> None:
        self._lines.append(line)
        self._waiting_bytes += len(line)
        if self._waiting_bytes >= PIECE_BYTES:
            self._compress()
        self.content_bytes += len(line) + 1
        self.entries += 1
        if isinstance(entry, Event):
            self.accepted += 1
        else:
            self.refused += entry.events

    def _compress(self) -> None:
        if self._lines:
            self._lines.append(b"")
            self._stream.write(b"\n".join(self._lines))
            self._lines, self._waiting_bytes = [], 0

    def close(self) -> None:
        self._compress()
        self._stream.close()  # type: ignore[no-untyped-call]
        self.file.close()


class _Run(msgspec.Struct):
    """The entries without anything missing in between that are being added."""

    first: int
    next: int


class RangeWriter:
    """Takes entries in the order of their offsets; `commit` makes them count, `discard` leaves nothing behind."""

    def __init__(
        self, storage: Storage, incarnation: str, partition: int, first: int, totals: Mapping[str, Tally]
    ) -> None:
        """`totals` is what the archive has before the range."""
        self._storage = storage
        self._incarnation = incarnation
        self._partition = partition
        self._first = first
        self._totals = totals
        self._drafts: dict[Hour, _Draft] = {}
        self._runs: list[Extent] = []
        self._run = _Run(first, first)
        self._gaps: list[Gap] = []
        self.next = first
        self.entries = 0
        self.content_bytes = 0

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to say of it, not even that something was lost."""
        return not self.entries and not self._gaps

    def add(self, offset: int, entry: LogEntry) -> bool:
        """False, and nothing is added, when the range must end here."""
        hour = Hour(entry.source, hour_of(entry.received_at))
        draft = self._drafts.get(hour)
        if draft is None:
            if len(self._drafts) >= MOST_FILES:
                return False
            draft = self._drafts[hour] = self._new_draft()
        line = lines.encode(offset, entry)
        try:
            draft.add(line, entry)
        except OSError as error:
            raise self._unavailable(error) from error
        if offset != self._run.next:
            self._end_run(offset)
        self._run.next = offset + 1
        self.entries += 1
        self.content_bytes += len(line) + 1
        self.next = offset + 1
        return True

    def _end_run(self, following: int) -> None:
        if self._run.next > self._run.first:
            self._runs.append(Extent(self._run.first, self._run.next))
        self._run = _Run(following, following)

    def skip(self, following: int, gap: Gap | None = None) -> None:
        """Offsets up to `following` hold nothing (any more)."""
        if gap is not None:
            self._gaps.append(gap)
        self.next = following

    def commit(self, now: datetime) -> Manifest:
        """Store what was added. The files first, whose names are written down before, then the manifest."""
        extent = Extent(self._first, self.next)
        folder = manifest.folder(self._incarnation, self._partition)
        files = []
        for hour, draft in sorted(self._drafts.items()):
            try:
                draft.close()
            except OSError as error:
                raise self._unavailable(error) from error
            path = manifest.file_path(self._incarnation, self._partition, hour, extent)
            counts = (draft.accepted, draft.refused, draft.entries, draft.file.bytes, draft.content_bytes)
            files.append(File(path, hour.source, hour.hour, *counts, draft.file.sha256))
        self._end_run(self.next)
        made = Manifest(
            manifest.FORMAT, self._incarnation, self._partition, *extent, now, self.entries, files, self._runs,
            [manifest.said(gap) for gap in self._gaps], {},
        )  # fmt: skip
        made = msgspec.structs.replace(made, totals=_added(self._totals, made.counted))
        self._storage.write(
            f"{folder}/{manifest.BEGUN}", msgspec.json.encode(Begun(*extent, [file.path for file in files]))
        )
        for file, (_, draft) in zip(files, sorted(self._drafts.items()), strict=True):
            self._storage.put(file.path, draft.path)
        self._storage.write(f"{folder}/{manifest.name(extent)}", manifest.encode(made))
        self._drafts.clear()
        return made

    def discard(self) -> None:
        for draft in self._drafts.values():
            with suppress(OSError, zstandard.ZstdError):
                draft.close()
            with suppress(OSError):
                draft.path.unlink(missing_ok=True)
        self._drafts.clear()

    def _new_draft(self) -> _Draft:
        try:
            self._storage.drafts.mkdir(mode=0o700, parents=True, exist_ok=True)
            return _Draft(self._storage.drafts / f"{self._partition}-{uuid.uuid4().hex}")
        except OSError as error:
            raise self._unavailable(error) from error

    def _unavailable(self, error: OSError) -> RetryableError:
        return RetryableError(
            f"archive: cannot write in {self._storage.drafts}: {error}; make room or mend the disk", RETRY_SECONDS
        )


def _added(books: Mapping[str, Tally], more: Mapping[str, Tally]) -> dict[str, Tally]:
    summed = dict(books)
    for source, tally in more.items():
        before = summed.get(source, Tally())
        summed[source] = Tally(before.accepted + tally.accepted, before.refused + tally.refused)
    return summed
