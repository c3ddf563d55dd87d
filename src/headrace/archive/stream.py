"""One archived range, read in the order of its offsets over all of its files."""

from __future__ import annotations

import hashlib
import heapq
import io
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Final, NamedTuple

import msgspec
import zstandard

from headrace.archive import lines, manifest
from headrace.archive.manifest import File, Manifest
from headrace.archive.storage import RETRY_SECONDS, Storage
from headrace.errors import LogCorruptError, RetryableError
from headrace.event import LogEntry
from headrace.log.base import Gap, Hour, Tally

CORRUPT: Final = "log_corrupt"
REMOVED: Final = "log_removed"


class Stored(NamedTuple):
    offset: int
    entry: LogEntry
    size_bytes: int


class Missing(NamedTuple):
    """An entry of a file that is damaged or gone. Which of its entries were accepted is not known any more: the first
    ones count as accepted, so that the file's counts come out."""

    offset: int
    hour: Hour
    tally: Tally
    code: str
    reason: str


Found = Stored | Missing | Gap


class _Damage(NamedTuple):
    file: File
    code: str
    reason: str


def found_in(storage: Storage, range_: Manifest, sources: frozenset[str] | None) -> Iterator[Found]:
    """Everything in the range, of the chosen sources only where some are chosen (the log's gaps are all there).

    The compressed files are in memory as long as this is read, so no file can go away between two entries. Where a file
    cannot be used, those of all other sources are read too: only they tell which offsets it had. Raises RetryableError."""
    wanted = [file for file in range_.files if sources is None or file.source in sources]
    contents, damages = _opened(storage, range_, wanted)
    if damages and len(wanted) < len(range_.files):
        contents, damages = _opened(storage, range_, range_.files)
    entries: Iterator[Stored | Missing] = heapq.merge(*map(_entries, contents), key=_offset)
    if damages:
        entries = _completed(range_, entries, damages)
        if sources is not None:
            entries = (one for one in entries if _source(one) in sources)
    gaps = map(manifest.gap_of, range_.gaps)
    return heapq.merge(entries, gaps, key=_offset)


def _opened(storage: Storage, range_: Manifest, files: Sequence[File]) -> tuple[list[bytes], list[_Damage]]:
    contents, damages = [], []
    for file in files:
        try:
            content = storage.read(file.path)
        except FileNotFoundError:
            _confirm(storage, range_)
            damages.append(_Damage(file, REMOVED, f"archive: {file.path} is gone"))
            continue
        if hashlib.sha256(content).hexdigest() != file.sha256:
            damages.append(_Damage(file, CORRUPT, f"archive: the checksum of {file.path} does not fit"))
        else:
            contents.append(content)
    return contents, damages


def _confirm(storage: Storage, range_: Manifest) -> None:
    """A file that is not there is lost only if the rest is: without its manifest the whole archive is out of reach (a disk
    that is not mounted, another bucket)."""
    folder = manifest.folder(range_.incarnation, range_.partition)
    if manifest.name(manifest.Extent(range_.first, range_.next)) not in storage.names(folder):
        raise out_of_reach(folder)


def out_of_reach(folder: str) -> RetryableError:
    return RetryableError(f"archive: {folder} is out of reach; mount the disk or look at the bucket", RETRY_SECONDS)


def _entries(content: bytes) -> Iterator[Stored]:
    """Raises LogCorruptError: a file whose checksum fits was written like that."""
    try:
        stream = zstandard.ZstdDecompressor().stream_reader(content, read_across_frames=True)
        for line in io.BufferedReader(stream, 1 << 17):
            offset, entry = lines.decode(line)
            yield Stored(offset, entry, len(line))
    except (zstandard.ZstdError, msgspec.DecodeError) as error:
        raise LogCorruptError(f"archive: a file cannot be read although its checksum fits: {error}") from error


def _completed(
    range_: Manifest, entries: Iterator[Stored | Missing], damages: Sequence[_Damage]
) -> Iterator[Stored | Missing]:
    """With those in their places that the damaged files had."""
    missing = chain.from_iterable(map(_each, damages))
    following = next(entries, None)
    for run in range_.runs:
        for offset in range(run.first, run.next):
            if following is not None and following.offset == offset:
                yield following
                following = next(entries, None)
                continue
            one = next(missing, None)
            if one is not None:
                yield one._replace(offset=offset)


def _each(damage: _Damage) -> Iterator[Missing]:
    file = damage.file
    hour = Hour(file.source, file.hour)
    refused = file.refused
    for place in range(file.entries):
        if place < file.accepted:
            tally = Tally(1, 0)
        else:
            tally = Tally(0, refused if place == file.entries - 1 else min(1, refused))
            refused -= tally.refused
        yield Missing(-1, hour, tally, damage.code, damage.reason)


def _offset(found: Found) -> int:
    return found.first if isinstance(found, Gap) else found.offset


def _source(found: Stored | Missing) -> str:
    return found.entry.source if isinstance(found, Stored) else found.hour.source
