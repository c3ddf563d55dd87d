"""What is archived: a manifest for each range of a partition's offsets. Pure.

A range counts from the moment at which its manifest is there, and only as the manifest says: files that no manifest
names do not count. A manifest's name has the range's first offset and the one after its last, so that a damaged one can
still be told by its extent; its checksum covers all of its content.

    <incarnation>/manifests/<partition>/<first>-<next>.json
    <incarnation>/manifests/<partition>/begun.json                     the files of the range that is being written
    <incarnation>/events/<source>/<YYYY>/<MM>/<DD>/<HH>/<partition>-<first>-<next>.ndjson.zst
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple
from urllib.parse import quote

import msgspec

from headrace.errors import ConfigError, LogCorruptError
from headrace.log.base import Gap, Hour, Tally

FORMAT: Final = 1
ENDING: Final = ".ndjson.zst"
BEGUN: Final = "begun.json"
_NAME: Final = re.compile(r"(\d{20})-(\d{20})\.json")


class Extent(NamedTuple):
    """Offsets from `first` to before `next`."""

    first: int
    next: int


class File(msgspec.Struct, frozen=True):
    """One source's entries of one hour. `path` is below the archive's root; `content_bytes` is the size uncompressed."""

    path: str
    source: str
    hour: datetime
    accepted: int
    refused: int
    entries: int
    bytes: int
    content_bytes: int
    sha256: str


class Lost(msgspec.Struct, frozen=True):
    source: str
    hour: datetime
    accepted: int
    refused: int


class GapSaid(msgspec.Struct, frozen=True):
    """A gap that the log reported while the range was read."""

    first: int
    next: int
    code: str
    reason: str
    lost: Sequence[Lost]


class Manifest(msgspec.Struct, frozen=True):
    """`runs` are the offsets of all entries, as [first, next] without anything missing in between; `totals` counts all entries and
    lost events that this archive has up to the end of the range, by source."""

    format: int
    incarnation: str
    partition: int
    first: int
    next: int
    written_at: datetime
    entries: int
    files: Sequence[File]
    runs: Sequence[Extent]
    gaps: Sequence[GapSaid]
    totals: dict[str, Tally]

    @property
    def hours(self) -> dict[Hour, Tally]:
        """What this range adds to the books, lost events included."""
        hours: dict[Hour, Tally] = {}
        for file in self.files:
            count(hours, Hour(file.source, file.hour), Tally(file.accepted, file.refused))
        for lost in (lost for gap in self.gaps for lost in gap.lost):
            count(hours, Hour(lost.source, lost.hour), Tally(lost.accepted, lost.refused))
        return hours

    @property
    def counted(self) -> dict[str, Tally]:
        """What this range adds to the totals."""
        return by_source(self.hours)


class Begun(msgspec.Struct, frozen=True):
    """Written before a range's files: what to take away if its manifest never came."""

    first: int
    next: int
    paths: Sequence[str]


class _Sealed(msgspec.Struct, frozen=True):
    sha256: str
    range: msgspec.Raw


def folder(incarnation: str, partition: int) -> str:
    return f"{incarnation}/manifests/{partition}"


def name(extent: Extent) -> str:
    return f"{extent.first:020}-{extent.next:020}.json"


def extents(names: Iterable[str]) -> list[Extent]:
    """What a folder's manifests cover, in order; other names are left alone."""
    found = (_NAME.fullmatch(one) for one in names)
    return sorted(Extent(int(one[1]), int(one[2])) for one in found if one is not None)


def file_path(incarnation: str, partition: int, hour: Hour, extent: Extent) -> str:
    """The source's name is the workspace's and plain; quoting it keeps any other from leaving its folder."""
    source = quote(hour.source, safe="") or "%"
    source = source.replace(".", "%2E") if source.strip(".") == "" else source
    return f"{incarnation}/events/{source}/{hour.hour:%Y/%m/%d/%H}/{partition}-{extent.first:020}-{extent.next:020}{ENDING}"


def encode(manifest: Manifest) -> bytes:
    content = msgspec.json.encode(manifest)
    return msgspec.json.format(msgspec.json.encode(_Sealed(_sha256(content), msgspec.Raw(content)))) + b"\n"


def decode(data: bytes) -> Manifest:
    """Raises LogCorruptError when it is damaged, ConfigError when a newer headrace wrote it."""
    try:
        # Indentation is for people; the checksum is of the content without it.
        sealed = msgspec.json.decode(msgspec.json.format(data, indent=-1), type=_Sealed)
        content = bytes(sealed.range)
        if _sha256(content) != sealed.sha256:
            raise LogCorruptError("archive: the manifest's checksum does not fit")
        found = msgspec.json.decode(content, type=Manifest)
    except msgspec.DecodeError as error:
        raise LogCorruptError(f"archive: the manifest cannot be read: {error}") from error
    if found.format > FORMAT:
        raise ConfigError(f"archive: a manifest has format {found.format}; update headrace, this one reads {FORMAT}")
    return found


def said(gap: Gap) -> GapSaid:
    lost = [Lost(hour.source, hour.hour, tally.accepted, tally.refused) for hour, tally in gap.lost_by_hour.items()]
    return GapSaid(gap.first, gap.next, gap.code, gap.reason, lost)


def gap_of(gap: GapSaid) -> Gap:
    hours = {Hour(lost.source, lost.hour): Tally(lost.accepted, lost.refused) for lost in gap.lost}
    return Gap(gap.first, gap.next, by_source(hours), gap.code, gap.reason, hours)


def count(hours: dict[Hour, Tally], hour: Hour, more: Tally) -> None:
    before = hours.get(hour, Tally())
    hours[hour] = Tally(before.accepted + more.accepted, before.refused + more.refused)


def by_source(hours: Mapping[Hour, Tally]) -> dict[str, Tally]:
    counts: dict[str, Tally] = {}
    for (source, _), tally in hours.items():
        before = counts.get(source, Tally())
        counts[source] = Tally(before.accepted + tally.accepted, before.refused + tally.refused)
    return counts


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
