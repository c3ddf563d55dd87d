"""An entry of the log as one line of JSON that people and other tools can read, and back. Pure.

What turns back is exactly what was: the texts of properties, context and integrations byte for byte. They may contain line
breaks (between the values; within strings JSON has none); these become spaces, and `lineBreaks` says where they were.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final, Literal, NamedTuple

import msgspec
from msgspec import UNSET, UnsetType

from headrace.event import Event, EventType, LogEntry, RejectedEvent

_BREAKS: Final = {"n": 10, "r": 13}
_Breaks = dict[str, list[tuple[str, int]]]
"""By the name of a text, where it has which of them."""


class _EventLine(
    msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, tag_field="entry", tag="event", gc=False
):
    offset: int
    source: str
    type: EventType
    message_id: str
    received_at: datetime
    timestamp: datetime
    properties: msgspec.Raw
    context: msgspec.Raw
    integrations: msgspec.Raw
    event: str | None = None
    name: str | None = None
    user_id: str | None = None
    anonymous_id: str | None = None
    group_id: str | None = None
    previous_id: str | None = None
    original_timestamp: str | None = None
    sent_at: str | None = None
    warnings: tuple[str, ...] = ()
    line_breaks: _Breaks | UnsetType = UNSET


class _RejectedLine(
    msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, tag_field="entry", tag="rejected", gc=False
):
    offset: int
    source: str
    stage: Literal["collector", "loader", "log"]
    code: str
    reason: str
    raw: str
    received_at: datetime
    message_id: str | None = None
    events: int = 1


class Archived(NamedTuple):
    offset: int
    entry: LogEntry


_encoder: Final = msgspec.json.Encoder()
_decoder: Final = msgspec.json.Decoder(_EventLine | _RejectedLine)


def encode(offset: int, entry: LogEntry) -> bytes:
    """One line, without its newline."""
    if isinstance(entry, RejectedEvent):
        return _encoder.encode(
            _RejectedLine(
                offset, entry.source, entry.stage, entry.code, entry.reason, entry.raw, entry.received_at,
                entry.message_id, entry.events,
            )
        )  # fmt: skip
    line = _event_line(offset, entry, entry.properties, entry.context, entry.integrations)
    if b"\n" not in line and b"\r" not in line:
        return line
    breaks: _Breaks = {}
    properties = _on_one_line("properties", entry.properties, breaks)
    context = _on_one_line("context", entry.context, breaks)
    integrations = _on_one_line("integrations", entry.integrations, breaks)
    return _event_line(offset, entry, properties, context, integrations, breaks)


def _event_line(
    offset: int,
    entry: Event,
    properties: msgspec.Raw,
    context: msgspec.Raw,
    integrations: msgspec.Raw,
    breaks: _Breaks | UnsetType = UNSET,
) -> bytes:
    return _encoder.encode(
        _EventLine(
            offset, entry.source, entry.type, entry.message_id, entry.received_at, entry.timestamp, properties, context,
            integrations, entry.event, entry.name, entry.user_id, entry.anonymous_id, entry.group_id, entry.previous_id,
            entry.original_timestamp, entry.sent_at, entry.warnings, breaks,
        )
    )  # fmt: skip


def decode(line: bytes) -> Archived:
    """Raises msgspec.DecodeError when it is not what `encode` wrote."""
    found = _decoder.decode(line)
    if isinstance(found, _RejectedLine):
        return Archived(
            found.offset,
            RejectedEvent(
                found.source, found.stage, found.code, found.reason, found.raw, found.received_at, found.message_id,
                found.events,
            ),
        )  # fmt: skip
    properties, context, integrations = found.properties, found.context, found.integrations
    if found.line_breaks is not UNSET:
        properties = _as_it_was(properties, found.line_breaks.get("properties"))
        context = _as_it_was(context, found.line_breaks.get("context"))
        integrations = _as_it_was(integrations, found.line_breaks.get("integrations"))
    return Archived(
        found.offset,
        Event(
            found.source, found.type, found.message_id, found.received_at, found.timestamp, found.event, found.name,
            found.user_id, found.anonymous_id, found.group_id, found.previous_id, found.original_timestamp, found.sent_at,
            properties, context, integrations, found.warnings,
        ),
    )  # fmt: skip


def _on_one_line(name: str, raw: msgspec.Raw, breaks: _Breaks) -> msgspec.Raw:
    text = bytearray(raw)
    places = [(kind, place) for kind, code in _BREAKS.items() for place, byte in enumerate(text) if byte == code]
    for _, place in places:
        text[place] = 32
    if places:
        breaks[name] = places
    return msgspec.Raw(bytes(text))


def _as_it_was(raw: msgspec.Raw, places: list[tuple[str, int]] | None) -> msgspec.Raw:
    if places is None:
        return raw
    text = bytearray(raw)
    for kind, place in places:
        if place >= len(text) or kind not in _BREAKS:
            raise msgspec.ValidationError(f"lineBreaks: there is no place {place} for {kind!r}")
        text[place] = _BREAKS[kind]
    return msgspec.Raw(bytes(text))
