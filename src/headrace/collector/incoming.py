"""From a request's body to events as sent: decompress, find the events' edges, read the envelope. Pure."""

from __future__ import annotations

import json
import re
import zlib
from typing import Any, Final

import msgspec

from headrace.errors import RequestError

EVENT_BYTES: Final = 32 * 1024
BATCH_BYTES: Final = 500 * 1024
BATCH_EVENTS: Final = 2_500
DEPTH: Final = 100

_GZIP_MAGIC: Final = b"\x1f\x8b"
_ABSENT: Final = msgspec.Raw()
_STRINGS: Final = re.compile(rb'"(?:[^"\\]|\\.)*+(?:"|\Z)', re.DOTALL)

Id = str | int | float | None


class Incoming(msgspec.Struct, gc=False):
    """An event's envelope as clients send it, snake_case and legacy keys included; everything else is passed over."""

    type: str | None = None
    action: str | None = None
    event: str | None = None
    name: str | None = None
    category: str | None = None
    channel: str | None = None
    messageId: Id = None  # noqa: N815 - the protocol's name, like those below
    message_id: Id = None
    userId: Id = None  # noqa: N815
    user_id: Id = None
    anonymousId: Id = None  # noqa: N815
    anonymous_id: Id = None
    groupId: Id = None  # noqa: N815
    group_id: Id = None
    previousId: Id = None  # noqa: N815
    previous_id: Id = None
    timestamp: Id = None
    originalTimestamp: Id = None  # noqa: N815
    original_timestamp: Id = None
    sentAt: Id = None  # noqa: N815
    sent_at: Id = None
    properties: msgspec.Raw = _ABSENT
    traits: msgspec.Raw = _ABSENT
    context: msgspec.Raw = _ABSENT
    integrations: msgspec.Raw = _ABSENT


class Body(msgspec.Struct, gc=False):
    """The object around a batch. What cannot be used of it (a key or time that is no text) counts as absent."""

    batch: list[msgspec.Raw] | None = None
    writeKey: Any = None  # noqa: N815
    write_key: Any = None
    sentAt: Any = None  # noqa: N815
    sent_at: Any = None
    context: msgspec.Raw = _ABSENT
    integrations: msgspec.Raw = _ABSENT

    @property
    def key(self) -> str | None:
        return _text_of(self.writeKey) or _text_of(self.write_key)


def _text_of(value: Any) -> str | None:
    return value if isinstance(value, str) else None


class _Key(msgspec.Struct):
    writeKey: Any = None  # noqa: N815
    write_key: Any = None


_body_decoder: Final = msgspec.json.Decoder(Body)
_key_decoder: Final = msgspec.json.Decoder(_Key)
_incoming_decoder: Final = msgspec.json.Decoder(Incoming)


def decompressed(body: bytes, encoding: bytes) -> bytes:
    """The body without its one layer of gzip, which is known by its first bytes too. Raises RequestError."""
    if not encoding and not body.startswith(_GZIP_MAGIC):
        return body
    if encoding.lower() not in (b"", b"identity", b"gzip", b"x-gzip"):
        raise RequestError(
            "bad_request",
            f"Content-Encoding {encoding.decode('latin-1')!r} is not supported; send gzip or none",
        )
    if body[:2] != _GZIP_MAGIC:
        if encoding and encoding.lower() != b"identity" and body[:1] not in b"{[":
            raise RequestError("bad_request", "the body says it is gzip and is not")
        return body
    stream = zlib.decompressobj(31)
    try:
        plain = stream.decompress(body, BATCH_BYTES + 1)
    except zlib.error as error:
        raise RequestError("bad_request", f"the gzip body is broken: {error}") from None
    if len(plain) > BATCH_BYTES or stream.unconsumed_tail:
        raise RequestError(
            "bad_request", f"the body is larger than {BATCH_BYTES} bytes after decompression; send smaller batches"
        )
    if not stream.eof:
        raise RequestError("bad_request", "the gzip body is cut short")
    if stream.unused_data or plain[:2] == _GZIP_MAGIC:
        raise RequestError("bad_request", "the body is compressed more than once; one layer of gzip is accepted")
    return plain


def write_key(body: bytes) -> str | None:
    """The key in a single call's body, None when there is none or the body cannot be read."""
    try:
        found = _key_decoder.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None
    key = found.writeKey or found.write_key
    return key if isinstance(key, str) else None


def batch(body: bytes) -> Body:
    """The batch with its events as raw JSON. Raises RequestError when no events can be told apart.

    A body that the strict parser refuses (NaN, half a surrogate pair in one event) is looked at once more, so that its good events
    are kept: each event then stands for itself, and the bad ones fail by themselves."""
    try:
        return _body_decoder.decode(body)
    except msgspec.ValidationError as error:
        raise RequestError("bad_request", f"the batch has a wrong form: {error}") from None
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        return _tolerant(body, error)


def _tolerant(body: bytes, error: Exception) -> Body:
    refusal = RequestError("bad_request", f"the body is not JSON: {error}")
    try:
        # Bytes that are no UTF-8 become half surrogate pairs, which the strict parser refuses in their own event.
        tree = json.loads(body.decode("utf-8", "surrogateescape"))
        events = tree.pop("batch")
        for shared in ("context", "integrations"):
            if shared in tree:
                tree[shared] = msgspec.Raw(json.dumps(tree[shared]).encode())
        found = msgspec.convert(tree, Body, strict=False)
        found.batch = [msgspec.Raw(json.dumps(event).encode()) for event in events]
    except (ValueError, RecursionError, KeyError, AttributeError, TypeError):
        raise refusal from None
    return found


def checked(raw: bytes | msgspec.Raw) -> bytes:
    """One event's JSON, neither too large nor too deep, and UTF-8 throughout. Raises RequestError."""
    text = bytes(raw)
    if len(text) > EVENT_BYTES:
        raise RequestError("event_too_large", f"the event has {len(text)} bytes; the limit is {EVENT_BYTES}")
    if not text.isascii():
        _check_utf8(text)
    # Brackets, counted by leaving them out: of few ones that is several times as fast as bytes.count.
    brackets = 2 * len(text) - len(text.replace(b"{", b"")) - len(text.replace(b"[", b""))
    if brackets > DEPTH and deeper_than(text, DEPTH):
        raise RequestError("too_deep", f"the event's JSON is nested deeper than {DEPTH} levels")
    return text


def incoming(raw: bytes | msgspec.Raw) -> Incoming:
    """One event's envelope. Raises RequestError with the code that fits."""
    text = checked(raw)
    try:
        return _incoming_decoder.decode(text)
    except msgspec.ValidationError:
        raise diagnosis(raw) from None
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise RequestError("bad_request", f"the event is not JSON: {error}") from None


def _check_utf8(text: bytes) -> None:
    """The envelope's decoder passes over the bytes of properties."""
    try:
        text.decode()
    except UnicodeDecodeError as error:
        raise RequestError("bad_request", f"the event is not UTF-8: {error.reason} at byte {error.start}") from None


def diagnosis(raw: bytes | msgspec.Raw) -> RequestError:
    """Why an envelope that is JSON does not fit: the first field in the order of the protocol's codes."""
    try:
        tree = msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        return RequestError("bad_request", f"the event is not JSON: {error}")
    if not isinstance(tree, dict):
        return RequestError("bad_request", "an event is a JSON object")
    for code, kind, names in (
        ("type_unknown", str, ("type", "action")),
        ("event_not_string", str, ("event",)),
        ("name_not_string", str, ("name", "category")),
        ("id_not_string", (str, int, float), ("userId", "user_id", "anonymousId", "anonymous_id", "groupId", "group_id",
                                              "previousId", "previous_id", "messageId", "message_id")),
    ):  # fmt: skip
        for name in names:
            value = tree.get(name)
            if value is not None and (not isinstance(value, kind) or isinstance(value, bool)):
                return RequestError(code, f"{name} must be text, it is {_kind_of(value)}")
    return RequestError("bad_request", "channel, timestamp and sentAt must be text")


def _kind_of(value: Any) -> str:
    names = {bool: "a boolean", int: "a number", float: "a number", str: "text", list: "an array", dict: "an object"}
    return names.get(type(value), "null")


def deeper_than(text: bytes, depth: int) -> bool:
    """Whether JSON is nested deeper. Slow: count the brackets first."""
    level = 0
    for byte in _STRINGS.sub(b"", text):
        if byte in b"{[":
            level += 1
            if level > depth:
                return True
        elif byte in b"}]":
            level -= 1
    return False
