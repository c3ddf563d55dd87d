"""A chunk: the lines of one append, compressed, with the books and checksums. Pure; every engine stores the same bytes.

Magic, length of the header and CRC32 of the header (4 bytes each), header (JSON), body (zstd), CRC32 of everything
before it. The header has a checksum of its own so that the books of a chunk with a damaged body are still known.
"""

from __future__ import annotations

import struct
import threading
import zlib
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import msgspec
import zstandard

from headrace import event
from headrace.errors import LogCorruptError
from headrace.event import LogEntry
from headrace.log import hourly as hours
from headrace.log.base import Tally
from headrace.log.hourly import Numbered

MAX_BODY_BYTES: Final = 1 << 28
"""No chunk is larger, uncompressed: what claims to be is not decompressed."""

_MAGIC: Final = b"HRC2"
_PREFIX: Final = struct.Struct("<4sII")
_CHECKSUM: Final = struct.Struct("<I")
_LEVEL: Final = 1


class Header(msgspec.Struct, frozen=True, array_like=True):
    """`tally` is what this chunk adds to the books, `totals` the books after it. `body_bytes` is the uncompressed size.
    `hourly` is in some chunks only: the books by hour of all chunks of this one's segment, up to and including it."""

    first: int
    entries: int
    body_bytes: int
    tally: Numbered
    totals: dict[str, Tally]
    hourly: Numbered | None = None

    @property
    def next(self) -> int:
        return self.first + self.entries

    @property
    def totals_before(self) -> dict[str, Tally]:
        return subtracted(self.totals, hours.by_source(self.tally))


class Chunk(NamedTuple):
    header: Header
    entries: Sequence[LogEntry]


class _Coders(threading.local):
    """zstd's contexts are dear to make and belong to one thread at a time."""

    def __init__(self) -> None:
        self.compressor = zstandard.ZstdCompressor(level=_LEVEL)
        self.decompressor = zstandard.ZstdDecompressor()


_coders: Final = _Coders()
_encoder: Final = msgspec.json.Encoder()
_decoder: Final = msgspec.json.Decoder(Header)


def encode(
    first: int,
    lines: Sequence[bytes],
    tally: Numbered,
    totals: Mapping[str, Tally],
    hourly: Numbered | None = None,
) -> bytes:
    """Raises ValueError for a chunk without lines or beyond MAX_BODY_BYTES."""
    body = event.join_lines(lines)
    if not lines or len(body) > MAX_BODY_BYTES:
        raise ValueError(f"chunk: {len(lines)} lines, {len(body)} bytes; it holds one line to {MAX_BODY_BYTES} bytes")
    header = _encoder.encode(Header(first, len(lines), len(body), tally, dict(totals), hourly))
    prefix = _PREFIX.pack(_MAGIC, len(header), zlib.crc32(header))
    data = b"".join((prefix, header, _coders.compressor.compress(body)))
    return data + _CHECKSUM.pack(zlib.crc32(data))


def decode(data: bytes) -> Chunk:
    """Raises LogCorruptError unless these are the bytes that `encode` made."""
    header, body = _parted(data)
    whole = memoryview(data)
    if zlib.crc32(whole[: -_CHECKSUM.size]) != _CHECKSUM.unpack(whole[-_CHECKSUM.size :])[0]:
        raise LogCorruptError("chunk: the checksum of its body does not fit")
    try:
        entries = event.decode_lines(_decompressed(body, header.body_bytes))
    except (zstandard.ZstdError, msgspec.DecodeError) as error:
        raise LogCorruptError(f"chunk: its body cannot be read: {error}") from error
    if len(entries) != header.entries:
        raise LogCorruptError(f"chunk: it holds {len(entries)} entries where {header.entries} are announced")
    return Chunk(header, entries)


def header_of(data: bytes) -> Header:
    """Its header, whatever became of its body. Raises LogCorruptError when that is damaged too."""
    return _parted(data)[0]


def added(books: Mapping[str, Tally], more: Mapping[str, Tally]) -> dict[str, Tally]:
    summed = dict(books)
    for source, tally in more.items():
        before = summed.get(source, Tally())
        summed[source] = Tally(before.accepted + tally.accepted, before.refused + tally.refused)
    return summed


def subtracted(books: Mapping[str, Tally], less: Mapping[str, Tally]) -> dict[str, Tally]:
    """What `books` has more than `less`; sources without any difference are left out, and nothing is below zero."""
    rest = {}
    for source, tally in books.items():
        before = less.get(source, Tally())
        more = Tally(max(0, tally.accepted - before.accepted), max(0, tally.refused - before.refused))
        if more != Tally():
            rest[source] = more
    return rest


def _parted(data: bytes) -> tuple[Header, memoryview]:
    whole = memoryview(data)
    if len(whole) < _PREFIX.size + _CHECKSUM.size:
        raise LogCorruptError(f"chunk: {len(whole)} bytes are too few")
    magic, length, checksum = _PREFIX.unpack_from(whole)
    header = whole[_PREFIX.size : _PREFIX.size + length]
    if magic != _MAGIC or len(header) != length or zlib.crc32(header) != checksum:
        raise LogCorruptError("chunk: the checksum of its header does not fit")
    try:
        return _decoder.decode(header), whole[_PREFIX.size + length : -_CHECKSUM.size]
    except msgspec.DecodeError as error:
        raise LogCorruptError(f"chunk: its header cannot be read: {error}") from error


def _decompressed(body: memoryview, size: int) -> bytes:
    claimed = zstandard.frame_content_size(body)
    if claimed != size or claimed > MAX_BODY_BYTES:
        raise LogCorruptError(f"chunk: its body claims {claimed} bytes where {size} are announced")
    return _coders.decompressor.decompress(body, max_output_size=size)
