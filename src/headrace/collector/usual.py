"""The quick path at the door: the event that is as SDKs send it, with nothing to mend, to warn of or to refuse.

The rules are in accept.py alone. Here are only cheap tests that none of them has anything to do; whatever is unusual
about an event makes it None here, and it is judged there with care. tests/unit/test_usual.py holds the two together.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final, Literal, cast

import msgspec

from headrace.collector import clock, incoming
from headrace.collector.merging import merged_below
from headrace.errors import RequestError
from headrace.event import EMPTY_OBJECT, Event, EventType
from headrace.sources.base import SourceKind

MESSAGE_ID_CHARACTERS: Final = 100
"""A messageId of so many characters is hashed."""

_OBJECT: Final = bytearray(b"{")
"""`raw >= _OBJECT` says that raw JSON is an object: no other value begins with so high a byte. Only bytearray compares with
any buffer; 0.07 us, where a look at `bytes(raw)` takes 0.2."""
_UNUSUAL: Final = (RequestError, msgspec.DecodeError, RecursionError, ValueError, OverflowError)

_WITH_TRAITS: Final = frozenset(("identify", "group"))
_WITH_CATEGORY: Final = frozenset(("page", "screen"))

_Text = Annotated[str, msgspec.Meta(min_length=1)]
_MessageId = Annotated[str, msgspec.Meta(min_length=1, max_length=MESSAGE_ID_CHARACTERS - 1)]


class _Usual(msgspec.Struct, gc=False):
    """`Incoming` with fields that take only what needs no rule, so that decoding is most of the test."""

    type: EventType | None = None
    event: str | None = None
    messageId: _MessageId | None = None  # noqa: N815 - the protocol's name, like those below
    userId: _Text | None = None  # noqa: N815
    anonymousId: _Text | None = None  # noqa: N815
    timestamp: _Text | None = None
    originalTimestamp: _Text | None = None  # noqa: N815
    sentAt: _Text | None = None  # noqa: N815
    properties: msgspec.Raw = EMPTY_OBJECT
    traits: msgspec.Raw = EMPTY_OBJECT
    context: msgspec.Raw = EMPTY_OBJECT
    integrations: msgspec.Raw = EMPTY_OBJECT
    name: str | None = None
    category: str | None = None
    groupId: _Text | None = None  # noqa: N815
    previousId: _Text | None = None  # noqa: N815
    channel: Literal["server"] | None = None
    action: None = None
    message_id: None = None
    user_id: None = None
    anonymous_id: None = None
    group_id: None = None
    previous_id: None = None
    original_timestamp: None = None
    sent_at: None = None


_parse: Final = datetime.fromisoformat
_decode: Final = msgspec.json.Decoder(_Usual).decode


class Shortcut:
    """What is the same for all events of a request."""

    def __init__(self, source: SourceKind, received_at: datetime, sent_at: str | None, event_type: str | None) -> None:
        """`sent_at` is the batch's and goes before the events' own, `event_type` the path's and goes before theirs."""
        self._slug = source.slug
        self._received_at = received_at
        self._latest = received_at + clock.FUTURE_ALLOWED
        self._corrects = source.settings.clock_skew == "correct"
        self._sent_at = sent_at
        self._shift = self._shift_of(sent_at)
        self._type = event_type

    def events(self, raws: Iterable[bytes | msgspec.Raw]) -> list[Event | None]:
        """None in the places of those that must be judged with care. Whether they ask for the peer's address is not looked at."""
        found: list[Event | None] = []
        for raw in raws:
            try:
                event = self._event(_decode(incoming.checked(raw)))
            except _UNUSUAL:
                event = None
            found.append(event)
        return found

    def _event(self, sent: _Usual) -> Event | None:
        """Raises ValueError and OverflowError for times that are unusual."""
        kind = self._type or sent.type
        if kind is None or not _is_identified(sent, kind):
            return None
        properties = sent.traits if kind in _WITH_TRAITS else sent.properties
        context, integrations = sent.context, sent.integrations
        if not (properties >= _OBJECT and context >= _OBJECT and integrations >= _OBJECT):
            return None
        if sent.category is not None and kind in _WITH_CATEGORY:
            properties = merged_below({"category": sent.category}, properties)
        original = sent.timestamp or sent.originalTimestamp
        sent_at, shift = self._sent_at, self._shift
        if sent_at is None and sent.sentAt is not None:
            sent_at = sent.sentAt
            shift = self._shift_of(sent_at)
        if original is None:
            moment = self._received_at
        else:
            moment = _parse(original)
            if moment.tzinfo is not UTC:
                return None
            if shift is not None:
                moment += shift
            elif not self._corrects and moment > self._latest:
                return None
        return Event(
            self._slug, cast("EventType", kind), sent.messageId or "", self._received_at, moment, sent.event, sent.name, sent.userId, sent.anonymousId,
            sent.groupId if kind == "group" else None, sent.previousId if kind == "alias" else None, original, sent_at,
            properties, context, integrations,
        )  # fmt: skip

    def _shift_of(self, sent_at: str | None) -> timedelta | None:
        """What `clock.event_time` moves all events by that were sent at this time: its formula, turned round."""
        moment = clock.parse(sent_at) if sent_at is not None and self._corrects else None
        return None if moment is None else self._received_at - moment


def _is_identified(sent: _Usual, kind: str) -> bool:
    """Whether the ids and the name that this type needs are there, none of them blank or with a NUL."""
    message_id, user_id, anonymous_id = sent.messageId, sent.userId, sent.anonymousId
    if message_id is None or message_id.isspace() or "\x00" in message_id:
        return False
    if anonymous_id is None:
        if user_id is None:
            return False
    elif anonymous_id.isspace() or "\x00" in anonymous_id:
        return False
    if user_id is not None and (user_id.isspace() or "\x00" in user_id):
        return False
    if kind == "track":
        return sent.event is not None and sent.event != "" and not sent.event.isspace()
    if kind == "alias":
        return user_id is not None and _is_usable(sent.previousId)
    return kind != "group" or _is_usable(sent.groupId)


def _is_usable(text: str | None) -> bool:
    return text is not None and not text.isspace() and "\x00" not in text
