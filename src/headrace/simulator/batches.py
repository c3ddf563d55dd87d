"""Events as they go out: each ready as JSON with a messageId, together as bodies that the tracking API takes."""

from __future__ import annotations

import gzip
import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple

import msgspec

BATCH_BYTES: Final = 480_000
"""The tracking API takes 500 KB; this leaves room for its envelope."""
_SENT_AT_BYTES: Final = 40
_RAW_OBJECT: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_NAMESPACE: Final = uuid.UUID("0c7d9f0e-3f0b-5d42-9c55-2f1f5c0d7b16")
_NOTHING: Final = frozenset((b"null", b'""'))


class Ready(NamedTuple):
    """An event to send. `line` is its place in the input, from 1."""

    line: int
    body: bytes
    name: str
    message_id: str
    has_sent_at: bool

    @property
    def size(self) -> int:
        """What it adds to a body at the most."""
        return len(self.body) + 1 + (0 if self.has_sent_at else _SENT_AT_BYTES)


def ready(line: int, event: bytes) -> Ready:
    """The event as it came. Where it has no messageId it gets one made of its line and text, so that sending it again, also by
    sending the whole file again, is no second event.

    Raises ValueError that says why it is no JSON object."""
    try:
        msgspec.json.decode(event)  # the raw values below are not checked, and one bad event spoils a whole body
        fields = _RAW_OBJECT.decode(event)
    except msgspec.ValidationError:
        raise ValueError("not a JSON object") from None
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise ValueError(f"not JSON: {error}") from None
    message_id = _text(fields, "messageId") or _text(fields, "message_id")
    body = event.strip()
    if not message_id:
        message_id = str(uuid.uuid5(_NAMESPACE, f"{line} {body.decode('utf-8', 'replace')}"))
        fields["messageId"] = msgspec.Raw(msgspec.json.encode(message_id))
        body = msgspec.json.encode(fields)
    name = _text(fields, "event") or _text(fields, "type") or _text(fields, "action") or "(none)"
    return Ready(line, body, name, message_id, _has(fields, "sentAt") or _has(fields, "sent_at"))


def body_of(batch: Sequence[Ready], now: datetime) -> bytes:
    """The request's body, gzipped. Events without sentAt get `now`, as SDKs do: once for all where none has its own."""
    sent_at = msgspec.json.encode(now.isoformat(timespec="milliseconds").replace("+00:00", "Z"))
    if not any(event.has_sent_at for event in batch):
        text = b'{"batch":[' + b",".join(event.body for event in batch) + b'],"sentAt":' + sent_at + b"}"
    else:
        text = b'{"batch":[' + b",".join(_dated(event, sent_at) for event in batch) + b"]}"
    return gzip.compress(text, 1, mtime=0)


def _dated(event: Ready, sent_at: bytes) -> bytes:
    if event.has_sent_at:
        return event.body
    # A messageId is there, hence so is a comma's left side; a null sentAt before it is overruled by the later one.
    return event.body[:-1] + b',"sentAt":' + sent_at + b"}"


def _has(fields: dict[str, msgspec.Raw], name: str) -> bool:
    value = fields.get(name)
    return value is not None and bytes(value).strip() not in _NOTHING


def _text(fields: dict[str, msgspec.Raw], name: str) -> str:
    """The text of a field; empty when it is missing, blank or null. A number's digits count as text."""
    value = fields.get(name)
    if value is None or bytes(value) == b"null":
        return ""
    try:
        return msgspec.json.decode(value, type=str).strip()
    except (msgspec.ValidationError, UnicodeDecodeError):
        return bytes(value).decode(errors="replace")
