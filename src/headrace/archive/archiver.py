"""The loop from the log to the archive: wait until a range is due, read it, store it. One thread for all partitions.

The position is the archive itself: reading goes on where the last manifest ends. After a kill whatever belongs to a range
without a manifest is taken away and the range is made again, so every entry is in exactly one range that counts.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

import msgspec

from headrace.archive import manifest
from headrace.archive.manifest import Begun, Extent
from headrace.archive.storage import RETRY_SECONDS, Storage
from headrace.archive.writer import RangeWriter
from headrace.config import ArchiveConfig
from headrace.errors import HeadraceError, LogCorruptError, PositionError, RetryableError
from headrace.log.base import LogReader, Tally

logger = logging.getLogger(__name__)

POLL_SECONDS: Final = 1.0
PART_ENTRIES: Final = 2_048
PART_BYTES: Final = 2_000_000
EVENT_BYTES: Final = 1_000
"""An event's size as long as none was archived: with it the log's offsets tell how much is waiting."""
LONGEST_WAIT_SECONDS: Final = 60.0


class Progress(msgspec.Struct, frozen=True):
    """Where a partition is: everything before `position` is archived, None while that is not known. `waiting` counts offsets
    of the log that are not archived yet. `error` is the last failure's text, None again after a range."""

    partition: int
    position: int | None = None
    waiting: int = 0
    archived_at: datetime | None = None
    entries: int = 0
    bytes: int = 0
    error: str | None = None


class Outcome(NamedTuple):
    """A range that is archived: offsets from `start` to before `end`. `is_full`: more may be due."""

    partition: int
    entries: int
    start: int
    end: int
    is_full: bool


class _Partition:
    """`stored` is where the archive ends, None until it was asked; `totals` its counts there."""

    def __init__(self, reader: LogReader) -> None:
        self.reader = reader
        self.number = reader.partition
        self.stored: int | None = None
        self.totals: dict[str, Tally] = {}
        self.waits_since: float | None = None
        self.entry_bytes: float = EVENT_BYTES
        self.is_unfinished = True
        """Whether files of a range that never came may be there."""
        self.progress = Progress(reader.partition)


class Archiver:
    """Archives the partitions of one log. One a log at a time; `step` and `run` from one thread."""

    def __init__(
        self,
        readers: Sequence[LogReader],
        storage: Storage,
        config: ArchiveConfig,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """The readers are the archiver's own."""
        self._storage = storage
        self._config = config
        self._now = now
        self._monotonic = monotonic
        self._partitions = [_Partition(reader) for reader in readers]

    def progress(self) -> Sequence[Progress]:
        """By partition; may be asked from any thread."""
        return [partition.progress for partition in self._partitions]

    def stored(self, partition: int) -> int:
        """Offsets before this one are archived for good, so the log need not keep them for the archive's sake; 0 while that is
        not known. May be asked from any thread."""
        return next((one.progress.position or 0 for one in self._partitions if one.number == partition), 0)

    def run(self, stop: threading.Event) -> None:
        """Archive until told to stop; what is waiting then stays in the log.

        A storage that cannot be used now is tried again for ever. Raises PositionError when the archive is of another log."""
        while not stop.is_set():
            try:
                outcome = self.step()
            except RetryableError as error:
                stop.wait(min(error.retry_after_seconds, LONGEST_WAIT_SECONDS))
                continue
            if outcome is None:
                stop.wait(POLL_SECONDS)

    def step(self, *, force: bool = False) -> Outcome | None:
        """One range, of the first partition in turn that has one due; None when none has. With `force` whatever waits is due.

        Raises RetryableError (call again: the same range is made anew) and PositionError (never go on)."""
        failed: RetryableError | None = None
        for partition in list(self._partitions):
            try:
                outcome = self._archived(partition, force=force)
            except RetryableError as error:
                self._note(partition, error)
                failed = error
                continue
            except HeadraceError as error:
                self._note(partition, error)
                raise
            if outcome is not None:
                self._partitions.remove(partition)
                self._partitions.append(partition)
                return outcome
        if failed is not None:
            raise failed
        return None

    def _note(self, partition: _Partition, error: Exception) -> None:
        if partition.progress.error != str(error):
            logger.error("archive: partition %d: %s", partition.number, error)
        partition.progress = msgspec.structs.replace(partition.progress, error=str(error))

    def _archived(self, partition: _Partition, *, force: bool) -> Outcome | None:
        at = self._place(partition)
        end = partition.reader.bounds().next
        if at > end:
            raise PositionError(
                f"archive: partition {partition.number} of the log ends at offset {end}, but the archive ends at offset {at}; "
                "bring back the files that belong together"
            )
        waiting = end - at
        if waiting != partition.progress.waiting:
            partition.progress = msgspec.structs.replace(partition.progress, waiting=waiting)
        if not self._is_due(partition, at, waiting, force=force):
            return None
        return self._range(partition, at, end)

    def _is_due(self, partition: _Partition, at: int, waiting: int, *, force: bool) -> bool:
        if not waiting:
            partition.waits_since = None
            return False
        if force or waiting * partition.entry_bytes >= self._config.range_bytes:
            return True
        interval = self._config.interval_seconds
        if partition.waits_since is None:
            oldest = partition.reader.read(at, max_entries=1, max_bytes=1).entries
            # After a restart what waits has its age already; a clock that is wrong makes it no older than it can be.
            age = (self._now() - oldest[0].received_at).total_seconds() if oldest else 0.0
            partition.waits_since = self._monotonic() - min(max(age, 0.0), interval)
        return self._monotonic() - partition.waits_since >= interval

    def _place(self, partition: _Partition) -> int:
        """Where the archive ends. Takes away what an interrupted range left."""
        folder = manifest.folder(partition.reader.incarnation, partition.number)
        if partition.stored is None:
            extents = manifest.extents(self._storage.names(folder))
            if extents:
                partition.totals = self._totals(folder, extents)
            # An archive that is new begins where the log does: what went before was loaded and is nobody's loss.
            first = partition.reader.bounds().first if not extents else 0
            partition.stored = max((extent.next for extent in extents), default=first)
            partition.progress = msgspec.structs.replace(partition.progress, position=partition.stored)
        if partition.is_unfinished:
            self._clean(partition, folder)
            partition.is_unfinished = False
        return partition.stored

    def _totals(self, folder: str, extents: Sequence[Extent]) -> dict[str, Tally]:
        """Of the last manifest that can be read; a damaged one after it goes uncounted, and reading it says so."""
        for extent in reversed(extents):
            try:
                return dict(manifest.decode(self._storage.read(f"{folder}/{manifest.name(extent)}")).totals)
            except (LogCorruptError, FileNotFoundError) as error:
                logger.error("archive: %s/%s: %s", folder, manifest.name(extent), error)  # noqa: TRY400 - the text says all
        return {}

    def _clean(self, partition: _Partition, folder: str) -> None:
        if self._storage.drafts.is_dir():
            for draft in self._storage.drafts.glob(f"{partition.number}-*"):
                draft.unlink(missing_ok=True)
        try:
            begun = msgspec.json.decode(self._storage.read(f"{folder}/{manifest.BEGUN}"), type=Begun)
        except FileNotFoundError:
            return
        except msgspec.DecodeError as error:
            logger.error("archive: %s/%s: %s; files may be left over", folder, manifest.BEGUN, error)  # noqa: TRY400 - the text says all
            return
        if manifest.name(Extent(begun.first, begun.next)) not in self._storage.names(folder):
            for path in begun.paths:
                self._storage.remove(path)

    def _range(self, partition: _Partition, at: int, end: int) -> Outcome | None:
        reader = partition.reader
        writer = RangeWriter(self._storage, reader.incarnation, partition.number, at, partition.totals)
        try:
            is_full = self._fill(partition, writer, end)
            if writer.is_empty:
                partition.waits_since = None
                return None
            # Should this fail, nobody knows how far it came: even the manifest may be there, so the next try looks anew.
            partition.stored, partition.is_unfinished = None, True
            made = writer.commit(self._now())
            partition.is_unfinished = False
        except FileNotFoundError as error:
            raise RetryableError(f"archive: a file went away while it was written: {error}", RETRY_SECONDS) from error
        finally:
            writer.discard()
        partition.stored, partition.totals = made.next, dict(made.totals)
        partition.waits_since = None
        if made.entries:
            partition.entry_bytes = writer.content_bytes / made.entries
        size = sum(file.bytes for file in made.files)
        waiting = max(0, end - made.next)
        partition.progress = Progress(partition.number, made.next, waiting, made.written_at, made.entries, size)
        return Outcome(partition.number, made.entries, at, made.next, is_full)

    def _fill(self, partition: _Partition, writer: RangeWriter, end: int) -> bool:
        """Read up to `end` or what a range may hold; whether it is the latter. Raises PositionError."""
        while writer.next < end:
            room = self._config.range_bytes - writer.content_bytes
            if room <= 0:
                return True
            at = writer.next
            found = partition.reader.read(at, max_entries=PART_ENTRIES, max_bytes=min(PART_BYTES, room))
            if found.next == at:
                return False
            first = found.next - len(found.entries)
            for place, entry in enumerate(found.entries):
                if not writer.add(first + place, entry):
                    return True
            for gap in found.gaps:
                writer.skip(found.next, gap)
            writer.skip(found.next)
        return False
