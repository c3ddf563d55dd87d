"""A partition from its archived beginning to the log's end, as one `LogReader`."""

from __future__ import annotations

import logging
from bisect import bisect_right
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from headrace.archive import manifest, stream
from headrace.archive.manifest import Extent, Manifest
from headrace.archive.storage import Storage
from headrace.archive.stream import CORRUPT, REMOVED, Found, Missing, Stored
from headrace.errors import LogCorruptError, PositionError
from headrace.event import LogEntry
from headrace.log.base import UNKNOWN_HOUR, UNKNOWN_SOURCE, Bounds, Gap, Hour, Hourly, LogReader, Slice, Tally

logger = logging.getLogger(__name__)

_MOST_UNTOLD: Final = 1_000_000_000
"""Offsets leap by as much after a crash of the collector: leaps are not entries."""


class _Open(NamedTuple):
    """The range that is read, at `at`; `rest` begins with what is there."""

    extent: Extent
    at: int
    rest: Iterator[Found]


class ArchivedReader:
    """Offsets before the log's first come from the archive, all others from the log. For one thread at a time.

    With `sources` only files of those sources are read, and entries of others are left out of what the log says too: slices
    move on without them. Totals, hours and bounds concern all sources. Where a file of the archive
    is damaged or gone, a gap tells how many of its entries were between those of the same slice."""

    def __init__(
        self,
        storage: Storage,
        partition: int,
        incarnation: str,
        log: LogReader | None,
        sources: Collection[str] | None = None,
    ) -> None:
        """`log` is this reader's own, and closed with it; None where there is only the archive left."""
        self.partition = partition
        self.incarnation = incarnation
        self._storage = storage
        self._log = log
        self._sources = None if sources is None else frozenset(sources)
        self._folder = manifest.folder(incarnation, partition)
        self._extents: list[Extent] | None = None
        self._manifest: tuple[Extent, Manifest] | None = None
        self._open: _Open | None = None
        self._reported: set[int] = set()

    def bounds(self) -> Bounds:
        extents = self._known()
        if self._log is None:
            return Bounds(extents[0].first, extents[-1].next) if extents else Bounds(0, 0)
        bounds = self._log.bounds()
        first = min(extents[0].first, bounds.first) if extents and bounds.next else bounds.first
        return Bounds(first, bounds.next)

    def totals(self) -> Mapping[str, Tally]:
        if self._log is not None:
            return self._log.totals()
        for extent in reversed(self._known(anew=True)):
            found = self._read_manifest(extent)
            if isinstance(found, Manifest):
                return found.totals
        return {}

    def hourly(self) -> Hourly:
        if self._log is not None:
            return self._log.hourly()
        hours: dict[Hour, Tally] = {}
        for extent in self._known(anew=True):
            found = self._read_manifest(extent)
            if isinstance(found, Manifest):
                for hour, tally in found.hours.items():
                    manifest.count(hours, hour, tally)
        return Hourly(UNKNOWN_HOUR, hours)

    def read(self, offset: int, *, max_entries: int, max_bytes: int) -> Slice:
        """Like the port's. Raises RetryableError while the archive cannot be used, never a gap for that."""
        bounds = self._log.bounds() if self._log is not None else None
        if bounds is not None and bounds.next and offset >= bounds.first:
            return self._from_log(offset, max_entries, max_bytes)
        extent, following = self._around(offset)
        if extent is not None:
            return self._from_archive(extent, offset, max_entries, max_bytes)
        if following is not None:
            end = min(following.first, bounds.first) if bounds is not None and bounds.next else following.first
            lost = self._between(offset, following)
            reason = f"archive: offsets {offset} to {end - 1} are in no manifest of {self._folder}"
            return self._lost(offset, end, lost, REMOVED, reason)
        if self._log is not None:
            return self._from_log(offset, max_entries, max_bytes)
        end = self.bounds().next
        if offset > end:
            raise PositionError(f"archive: {self._folder} ends at offset {end}, but the stored position is {offset}")
        return Slice((), offset)

    def retain(self, needed: int, others: Collection[int] = ()) -> Sequence[Path]:
        """The log's; nothing of the archive is removed."""
        return () if self._log is None else self._log.retain(needed, others)

    def close(self) -> None:
        self._open = None
        if self._log is not None:
            self._log.close()

    # From the log.

    def _from_log(self, offset: int, max_entries: int, max_bytes: int) -> Slice:
        assert self._log is not None  # noqa: S101 - its callers have looked
        found = self._log.read(offset, max_entries=max_entries, max_bytes=max_bytes)
        if self._sources is None:
            return found
        entries = [entry for entry in found.entries if entry.source in self._sources]
        gaps = [chosen for gap in found.gaps if (chosen := self._of_sources(gap)) is not None]
        return Slice(entries, found.next, gaps, found.size_bytes)

    def _of_sources(self, gap: Gap) -> Gap | None:
        """What a gap lost of the chosen sources, or of unknown ones; None when that is nothing."""
        if self._sources is None:
            return gap
        wanted = {*self._sources, UNKNOWN_SOURCE}
        hours = {hour: tally for hour, tally in gap.lost_by_hour.items() if hour.source in wanted}
        return Gap(gap.first, gap.next, manifest.by_source(hours), gap.code, gap.reason, hours) if hours else None

    # From the archive.

    def _from_archive(self, extent: Extent, offset: int, max_entries: int, max_bytes: int) -> Slice:
        found = self._at(extent, offset)
        if isinstance(found, str):
            if extent not in self._known():
                return self.read(offset, max_entries=max_entries, max_bytes=max_bytes)
            lost = self._lost_in(extent) if offset == extent.first else {}
            return self._lost(offset, extent.next, lost, CORRUPT, found)
        self._open = None  # should this fail, what was read of it is read again
        entries: list[LogEntry] = []
        missing: list[Missing] = []
        size_bytes = 0
        for one in found:
            if isinstance(one, Gap):
                if entries or missing:
                    return self._slice(extent, one.first, one, found, entries, missing, size_bytes)
                self._open = _Open(extent, one.next, found)
                gap = self._of_sources(one)
                if gap is not None:
                    self._report(gap)
                return Slice((), one.next, (gap,) if gap is not None else ())
            size = one.size_bytes if isinstance(one, Stored) else 0
            taken = len(entries) + len(missing)
            if taken and (taken >= max_entries or size_bytes + size > max_bytes):
                return self._slice(extent, one.offset, one, found, entries, missing, size_bytes)
            size_bytes += size
            if isinstance(one, Stored):
                entries.append(one.entry)
            else:
                missing.append(one)
        return Slice(entries, extent.next, self._gaps(missing), size_bytes)

    def _slice(
        self,
        extent: Extent,
        following: int,
        one: Found,
        rest: Iterator[Found],
        entries: Sequence[LogEntry],
        missing: Sequence[Missing],
        size_bytes: int,
    ) -> Slice:
        """What ends before `one`, which is read next."""
        self._open = _Open(extent, following, _pushed_back(one, rest))
        return Slice(entries, following, self._gaps(missing), size_bytes)

    def _at(self, extent: Extent, offset: int) -> Iterator[Found] | str:
        """What is in the range from the offset on, or why it cannot be read."""
        if self._open is not None and (self._open.extent, self._open.at) == (extent, offset):
            return self._open.rest
        found = self._read_manifest(extent)
        if isinstance(found, str):
            return found
        rest = stream.found_in(self._storage, found, self._sources)
        for one in rest:
            if (one.next - 1 if isinstance(one, Gap) else one.offset) >= offset:
                return _pushed_back(one, rest)
        return iter(())

    def _gaps(self, missing: Sequence[Missing]) -> Sequence[Gap]:
        if not missing:
            return ()
        hours: dict[Hour, Tally] = {}
        for one in missing:
            manifest.count(hours, one.hour, one.tally)
        code = CORRUPT if any(one.code == CORRUPT for one in missing) else REMOVED
        reason = "; ".join(sorted({one.reason for one in missing}))
        gap = Gap(missing[0].offset, missing[-1].offset + 1, manifest.by_source(hours), code, reason, hours)
        self._report(gap)
        return (gap,)

    # Manifests.

    def _known(self, *, anew: bool = False) -> list[Extent]:
        if self._extents is None or anew:
            self._extents = manifest.extents(self._storage.names(self._folder))
        return self._extents

    def _around(self, offset: int) -> tuple[Extent | None, Extent | None]:
        """The range that has the offset, and otherwise the first one after it."""
        for anew in (False, True):
            extents = self._known(anew=anew)
            index = bisect_right(extents, offset, key=lambda extent: extent.first)
            if index and offset < extents[index - 1].next:
                return extents[index - 1], None
            # Ranges are added at the end: only there, or in a hole, the list may be too old.
            if anew:
                return None, extents[index] if index < len(extents) else None
        raise AssertionError

    def _read_manifest(self, extent: Extent) -> Manifest | str:
        """Or why it cannot be read."""
        if self._manifest is not None and self._manifest[0] == extent:
            return self._manifest[1]
        name = f"{self._folder}/{manifest.name(extent)}"
        try:
            found = manifest.decode(self._storage.read(name))
        except FileNotFoundError:
            if not self._known(anew=True):
                raise stream.out_of_reach(self._folder) from None
            return f"{name} is gone"
        except LogCorruptError as error:
            return f"{name}: {error}"
        if (found.incarnation, found.partition, found.first, found.next) != (self.incarnation, self.partition, *extent):
            return f"{name}: it belongs to another range"
        self._manifest = (extent, found)
        return found

    # What was lost.

    def _lost_in(self, extent: Extent) -> dict[str, Tally]:
        """What a range has whose manifest is damaged, by the books of its neighbours."""
        extents = self._known()
        index = extents.index(extent)
        following = extents[index + 1] if index + 1 < len(extents) else None
        return self._between(extent.first, following) if following is not None else {}

    def _between(self, offset: int, following: Extent) -> dict[str, Tally]:
        """What the books count from an offset, where a range ends, to the beginning of another; empty when not known."""
        extents = self._known()
        index = extents.index(following)
        after = self._read_manifest(following)
        if isinstance(after, str):
            return {}
        before: Mapping[str, Tally] = {}
        earlier = [extent for extent in extents[:index] if extent.next == offset]
        if earlier:
            found = self._read_manifest(earlier[-1])
            if isinstance(found, str):
                return {}
            before = found.totals
        elif offset > extents[0].first:
            return {}
        return _more(_more(after.totals, after.counted), before)

    def _lost(self, offset: int, end: int, lost: dict[str, Tally], code: str, reason: str) -> Slice:
        if not lost:
            lost = {UNKNOWN_SOURCE: Tally((end - offset) % _MOST_UNTOLD)}
        self._open = None
        gap = self._of_sources(Gap(offset, end, lost, code, reason))
        if gap is None:
            return Slice((), end)
        self._report(gap)
        return Slice((), end, (gap,))

    def _report(self, gap: Gap) -> None:
        if gap.first not in self._reported:
            self._reported.add(gap.first)
            count = sum(map(sum, gap.lost.values()))
            logger.error(
                "archive: partition %d at offset %d: %s; lost: %d events", self.partition, gap.first, gap.reason, count
            )


def incarnations(storage: Storage) -> Sequence[str]:
    """The logs that the archive holds something of."""
    return [name for name in storage.folders("") if not name.startswith(".")]


def partitions(storage: Storage, incarnation: str) -> Sequence[int]:
    """The partitions of a log that the archive holds something of."""
    return sorted(int(name) for name in storage.folders(f"{incarnation}/manifests") if name.isdigit())


def _pushed_back(one: Found, rest: Iterator[Found]) -> Iterator[Found]:
    yield one
    yield from rest


def _more(books: Mapping[str, Tally], less: Mapping[str, Tally]) -> dict[str, Tally]:
    rest = {}
    for source, tally in books.items():
        before = less.get(source, Tally())
        more = Tally(max(0, tally.accepted - before.accepted), max(0, tally.refused - before.refused))
        if more != Tally():
            rest[source] = more
    return rest
