from __future__ import annotations

import random
import struct
import zlib
from datetime import UTC, datetime

import msgspec
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace import event
from headrace.errors import LogCorruptError
from headrace.event import Event, RejectedEvent
from headrace.log import chunk
from headrace.log.base import Tally
from headrace.log.hourly import Numbered

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
COUNTS = st.builds(Tally, st.integers(0, 10**12), st.integers(0, 10**12))
TALLIES = st.dictionaries(st.text(max_size=5), COUNTS, max_size=4)
HOURS = st.dictionaries(
    st.text(max_size=5), st.dictionaries(st.integers(0, 10**7), COUNTS, min_size=1, max_size=3), max_size=4
)


def events(count: int) -> list[Event | RejectedEvent]:
    return [
        Event("shop", "track", str(number), AT, AT, "Bought") if number % 3 else
        RejectedEvent("shop", "collector", "bad_json", "no JSON", "{" * number, AT)
        for number in range(count)
    ]  # fmt: skip


def encoded(count: int = 20, first: int = 7) -> bytes:
    return chunk.encode(
        first, [event.encode(e) for e in events(count)], {"shop": {492_500: Tally(14, 6)}}, {"shop": Tally(114, 9)}
    )


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**62), st.integers(1, 50), HOURS, TALLIES, st.none() | HOURS)
def test_what_is_encoded_is_decoded(
    first: int, count: int, tally: Numbered, totals: dict[str, Tally], hourly: Numbered | None
) -> None:
    decoded = chunk.decode(chunk.encode(first, [event.encode(e) for e in events(count)], tally, totals, hourly))
    assert events(count) == list(decoded.entries)
    header = decoded.header
    assert (first, count, first + count) == (header.first, header.entries, header.next)
    assert (tally, totals, hourly) == (header.tally, header.totals, header.hourly)


def test_no_flipped_bit_goes_unnoticed() -> None:
    data = encoded()
    for bit in range(len(data) * 8):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(LogCorruptError):
            chunk.decode(bytes(flipped))


def test_no_other_length_goes_unnoticed() -> None:
    data = encoded()
    for length in range(len(data)):
        with pytest.raises(LogCorruptError):
            chunk.decode(data[:length])
    with pytest.raises(LogCorruptError):
        chunk.decode(data + b"\0")


def test_the_header_is_readable_whatever_became_of_the_body() -> None:
    data = bytearray(encoded())
    data[-10] ^= 1
    with pytest.raises(LogCorruptError):
        chunk.decode(bytes(data))
    assert {"shop": {492_500: Tally(14, 6)}} == chunk.header_of(bytes(data)).tally


def test_random_bytes_raise_nothing_else() -> None:
    chosen = random.Random(4)
    for length in range(200):
        with pytest.raises(LogCorruptError):
            chunk.decode(chosen.randbytes(length))


def test_a_body_that_grows_beyond_its_announced_size_is_not_decompressed() -> None:
    data = _with_body(zstandard.ZstdCompressor().compress(b"\n" * 50_000_000), announced=100)
    with pytest.raises(LogCorruptError, match="50000000 bytes where 100 are announced"):
        chunk.decode(data)


def test_a_body_beyond_the_limit_is_not_decompressed(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded()
    assert chunk.decode(data)
    monkeypatch.setattr(chunk, "MAX_BODY_BYTES", 100)
    with pytest.raises(LogCorruptError, match="claims"):
        chunk.decode(data)


def test_a_chunk_that_could_not_be_read_back_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunk, "MAX_BODY_BYTES", 100)
    with pytest.raises(ValueError, match="one line to 100 bytes"):
        encoded()
    with pytest.raises(ValueError, match="0 lines"):
        chunk.encode(0, [], {}, {})


@settings(max_examples=30, deadline=None)
@given(TALLIES, TALLIES)
def test_the_difference_of_books_is_what_was_added(books: dict[str, Tally], more: dict[str, Tally]) -> None:
    assert {s: t for s, t in more.items() if t != Tally()} == chunk.subtracted(chunk.added(books, more), books)


def _with_body(body: bytes, announced: int) -> bytes:
    """A chunk with checksums that fit, around a body that does not."""
    header = msgspec.json.encode(chunk.Header(0, 1, announced, {}, {}))
    data = struct.pack("<4sII", b"HRC2", len(header), zlib.crc32(header)) + header + body
    return data + struct.pack("<I", zlib.crc32(data))
