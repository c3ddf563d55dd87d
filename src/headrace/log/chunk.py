"""A chunk: the entries of one group commit, compressed, with the books beside them and checksums over both. Pure."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
import zstandard

from headrace.errors import LogCorruptError
from headrace.event import LogEntry, decode_lines, join_lines
from headrace.log.base import Tally

LEVEL: Final = 1
LARGEST_BODY: Final = 256_000_000
"""Uncompressed bytes that a chunk can hold; a larger size in a header is damage."""


class Header(msgspec.Struct, frozen=True, array_like=True):
    """Offsets `first` to before `first + count`. `tally` is what this chunk adds, `totals` the books after it."""

    first: int
    count: int
    size_bytes: int
    tally: dict[str, Tally]
    totals: dict[str, Tally]

    @property
    def next(self) -> int:
        return self.first + self.count


class Packed(msgspec.Struct, frozen=True):
    """A chunk as an engine stores it. `header_sum` covers the header, `sum` header and body."""

    header: bytes
    header_sum: int
    body: bytes
    sum: int


_header_decoder: Final = msgspec.json.Decoder(Header)


class Packer:
    """Packs chunks with one compressor; for one thread."""

    def __init__(self) -> None:
        self._compressor = zstandard.ZstdCompressor(level=LEVEL, write_checksum=False)

    def pack(
        self, first: int, lines: Sequence[bytes], tally: Mapping[str, Tally], totals: Mapping[str, Tally]
    ) -> Packed:
        plain = join_lines(lines)
        header = msgspec.json.encode(Header(first, len(lines), len(plain), dict(tally), dict(totals)))
        body = self._compressor.compress(plain)
        header_sum = zlib.crc32(header)
        return Packed(header, header_sum, body, zlib.crc32(body, header_sum))


def unpack_header(header: bytes, header_sum: int) -> Header:
    """Raises LogCorruptError."""
    if zlib.crc32(header) != header_sum:
        raise LogCorruptError("the chunk's header does not fit its checksum")
    try:
        return _header_decoder.decode(header)
    except msgspec.DecodeError as error:
        raise LogCorruptError(f"the chunk's header cannot be read: {error}") from None


def unpack(packed: Packed, header: Header) -> Sequence[LogEntry]:
    """The entries. Raises LogCorruptError."""
    if zlib.crc32(packed.body, packed.header_sum) != packed.sum or header.size_bytes > LARGEST_BODY:
        raise LogCorruptError("the chunk's body does not fit its checksum")
    try:
        plain = zstandard.ZstdDecompressor().decompress(packed.body, max_output_size=header.size_bytes)
        entries = decode_lines(plain)
    except (zstandard.ZstdError, msgspec.DecodeError) as error:
        raise LogCorruptError(f"the chunk's body cannot be read: {error}") from None
    if len(entries) != header.count:
        raise LogCorruptError(f"the chunk has {len(entries)} entries instead of {header.count}")
    return entries


def added(totals: Mapping[str, Tally], tally: Mapping[str, Tally]) -> dict[str, Tally]:
    """The books after a tally."""
    after = dict(totals)
    for source, more in tally.items():
        before = after.get(source, Tally())
        after[source] = Tally(before.accepted + more.accepted, before.refused + more.refused)
    return after


def difference(after: Mapping[str, Tally], before: Mapping[str, Tally]) -> dict[str, Tally]:
    """What was added between two states of the books; sources without any are left out."""
    found = {}
    for source, tally in after.items():
        earlier = before.get(source, Tally())
        if tally != earlier:
            found[source] = Tally(tally.accepted - earlier.accepted, tally.refused - earlier.refused)
    return found
