"""An entry of the log as the debugger shows it: a line of the list, and the whole. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, Final, Literal

import msgspec

from headrace.event import EMPTY_OBJECT, Event, LogEntry, RejectedEvent
from headrace.log.base import Gap

State = Literal["accepted", "refused"]
RAW_KEPT: Final = 32 * 1024
"""So much of a refused event's text is kept."""
_WITH_TRAITS: Final = frozenset(("identify", "group"))


class Shown(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A line of the list. What is not there is left out. `event` is the event's name, of pages and screens theirs. Of a refused event
    `type`, `event` and the ids are what it says of itself, as far as that can be read; `code` and `reason` are why it was refused."""

    partition: int
    offset: int
    source: str
    received_at: datetime
    state: State
    type: str | None = None
    event: str | None = None
    user_id: str | None = None
    anonymous_id: str | None = None
    message_id: str | None = None
    warnings: Sequence[str] = ()
    code: str = ""
    reason: str = ""


class Lost(msgspec.Struct, frozen=True):
    """Offsets of the log, from `first` to before `next`, that cannot be read any more, and about how many events that were."""

    partition: int
    first: int
    next: int
    events: int
    code: str
    reason: str


class Warned(msgspec.Struct, frozen=True):
    """What was odd about an accepted event, and what was done about it."""

    code: str
    text: str


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the log as it is stored. `text` is the event as one JSON object in the tracking API's words, its properties, traits and
    context byte for byte as they were sent; of a refused event it is what came. `is_cut`: only its beginning was kept."""

    shown: Shown
    text: str
    is_json: bool
    is_cut: bool = False
    warnings: Sequence[Warned] = ()
    timestamp: datetime | None = None
    """When it happened, by the clocks of both sides."""


class _Said(msgspec.Struct, rename="camel", gc=False):
    """What a refused event says of itself, whatever types its values have."""

    type: Any = None
    event: Any = None
    name: Any = None
    user_id: Any = None
    anonymous_id: Any = None
    message_id: Any = None


class _Form(msgspec.Struct, omit_defaults=True, rename="camel", gc=False):
    type: str
    message_id: str
    event: str | None = None
    name: str | None = None
    user_id: str | None = None
    anonymous_id: str | None = None
    group_id: str | None = None
    previous_id: str | None = None
    timestamp: datetime | None = None
    original_timestamp: str | None = None
    sent_at: str | None = None
    received_at: datetime | None = None
    properties: msgspec.Raw | None = None
    traits: msgspec.Raw | None = None
    context: msgspec.Raw | None = None
    integrations: msgspec.Raw | None = None


_decoder: Final = msgspec.json.Decoder(_Said)
_encoder: Final = msgspec.json.Encoder()
_NOTHING: Final = _Said()


def shown(partition: int, offset: int, entry: LogEntry) -> Shown:
    if isinstance(entry, Event):
        return Shown(
            partition=partition, offset=offset, source=entry.source, received_at=entry.received_at, state="accepted", type=entry.type,
            event=entry.event or entry.name, user_id=entry.user_id, anonymous_id=entry.anonymous_id, message_id=entry.message_id,
            warnings=entry.warnings,
        )  # fmt: skip
    said = _said(entry.raw)
    return Shown(
        partition=partition, offset=offset, source=entry.source, received_at=entry.received_at, state="refused", type=_text(said.type),
        event=_text(said.event) or _text(said.name), user_id=_text(said.user_id), anonymous_id=_text(said.anonymous_id),
        message_id=entry.message_id or _text(said.message_id), code=entry.code, reason=entry.reason,
    )  # fmt: skip


def lost(partition: int, gap: Gap) -> Lost:
    return Lost(partition, gap.first, gap.next, sum(sum(tally) for tally in gap.lost.values()), gap.code, gap.reason)


def stored(partition: int, offset: int, entry: LogEntry, warnings: Mapping[str, str]) -> Stored:
    """`warnings` says in words what each code of the entry's source means."""
    line = shown(partition, offset, entry)
    if isinstance(entry, RejectedEvent):
        is_json = False
        with suppress(msgspec.DecodeError, RecursionError):
            msgspec.json.decode(entry.raw)
            is_json = True
        # What was kept is cut within a character at the most.
        is_cut = len(entry.raw.encode()) > RAW_KEPT - 4 and not is_json
        return Stored(shown=line, text=entry.raw, is_json=is_json, is_cut=is_cut)
    return Stored(
        shown=line,
        text=_form(entry),
        is_json=True,
        warnings=[Warned(code, in_words(code, warnings)) for code in entry.warnings],
        timestamp=entry.timestamp,
    )


def in_words(code: str, warnings: Mapping[str, str]) -> str:
    """A warning is a code, or a code and what it is about.

    >>> in_words("id_number", {"id_number": "an id was a number"}), in_words("renamed:plan", {"renamed": "a name was changed"})
    ('an id was a number', 'a name was changed: plan')
    """
    kind, _, subject = code.partition(":")
    words = warnings.get(code) or warnings.get(kind, kind)
    return f"{words}: {subject}" if subject and code not in warnings else words


def _form(event: Event) -> str:
    has_traits = event.type in _WITH_TRAITS
    return _encoder.encode(
        _Form(
            event.type, event.message_id, event.event, event.name, event.user_id, event.anonymous_id, event.group_id, event.previous_id,
            event.timestamp, event.original_timestamp, event.sent_at, event.received_at,
            None if has_traits or event.type == "alias" else event.properties, event.properties if has_traits else None,
            _unless_empty(event.context), _unless_empty(event.integrations),
        )
    ).decode()  # fmt: skip


def _unless_empty(value: msgspec.Raw) -> msgspec.Raw | None:
    return None if value == EMPTY_OBJECT else value


def _said(raw: str) -> _Said:
    with suppress(msgspec.DecodeError, RecursionError):
        return _decoder.decode(raw)
    return _NOTHING


def _text(value: Any) -> str | None:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    return str(value) or None
