"""The one word that every room speaks: an event, as the collector accepted it and the log keeps it.

The log keeps one JSON array a line (`Event` begins with "e", `RejectedEvent` with "r"). Fields are only ever
added at the end, with a default, so that data of every earlier release opens.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final, Literal, NamedTuple

import msgspec

EventType = Literal["track", "identify", "page", "screen", "group", "alias"]
EVENT_TYPES: Final[frozenset[str]] = frozenset(("track", "identify", "page", "screen", "group", "alias"))

EMPTY_OBJECT: Final = msgspec.Raw(b"{}")


class Event(msgspec.Struct, frozen=True, array_like=True, tag_field="entry", tag="e", gc=False):
    """An accepted event.

    `source` is the source's slug, `message_id` the key of de-duplication within it. `properties` holds the
    traits of identify and group. `properties`, `context` and `integrations` are JSON objects as they were sent
    (well-formed and writable again, not yet parsed). `received_at` and `timestamp` are UTC; `original_timestamp`
    and `sent_at` are the client's own texts. `name` belongs to page and screen.
    """

    source: str
    type: EventType
    message_id: str
    received_at: datetime
    timestamp: datetime
    event: str | None = None
    name: str | None = None
    user_id: str | None = None
    anonymous_id: str | None = None
    group_id: str | None = None
    previous_id: str | None = None
    original_timestamp: str | None = None
    sent_at: str | None = None
    properties: msgspec.Raw = EMPTY_OBJECT
    context: msgspec.Raw = EMPTY_OBJECT
    integrations: msgspec.Raw = EMPTY_OBJECT
    warnings: tuple[str, ...] = ()


class RejectedEvent(msgspec.Struct, frozen=True, array_like=True, tag_field="entry", tag="r", gc=False):
    """What a known source sent and the collector refused (stage `collector`), or the loader could not turn into a
    row (stage `loader`) or read back (stage `log`). `raw` is the text as it came, up to 32 KB. `events` is how many events this stands for:
    one, except where the log lost a range of them."""

    source: str
    stage: Literal["collector", "loader", "log"]
    code: str
    reason: str
    raw: str
    received_at: datetime
    message_id: str | None = None
    events: int = 1


LogEntry = Event | RejectedEvent


class Hour(NamedTuple):
    """What the books are kept by: a source's events received in one hour (its first moment, UTC)."""

    source: str
    hour: datetime


def hour_of(received_at: datetime) -> datetime:
    """The first moment of its hour; `received_at` is in UTC."""
    return received_at.replace(minute=0, second=0, microsecond=0)


_encoder: Final = msgspec.json.Encoder()
_decoder: Final = msgspec.json.Decoder(LogEntry)


def encode(entry: LogEntry) -> bytes:
    """One line of the log, without its newline."""
    return _encoder.encode(entry)


def decode_lines(lines: bytes) -> Sequence[LogEntry]:
    """The entries of newline-separated lines. Raises msgspec.DecodeError when they are not what `encode` wrote."""
    return _decoder.decode_lines(lines)


def join_lines(lines: Iterable[bytes]) -> bytes:
    """The body of a chunk: what `decode_lines` takes back."""
    return b"\n".join(lines)
