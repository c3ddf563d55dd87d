"""The decision at the door, a plain function of bytes: which events of a request are accepted, which refused and why."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, cast
from uuid import uuid4

import msgspec
from msgspec.structs import astuple

from headrace.collector import clock, incoming
from headrace.collector.incoming import Body, Id, Incoming
from headrace.collector.merging import merged_below
from headrace.collector.usual import MESSAGE_ID_CHARACTERS, Shortcut
from headrace.errors import RequestError
from headrace.event import EMPTY_OBJECT, EVENT_TYPES, Event, EventType, RejectedEvent, encode
from headrace.log.base import Hour, Tally, hour_of
from headrace.sources.base import Draft, SourceKind

RAW_KEPT: Final = 32 * 1024
REQUEST_BYTES: Final = 8 * incoming.BATCH_BYTES
"""What a request's events may come to in the log: a batch's context is repeated in each of them."""
_TOO_LARGE_TOGETHER: Final = (
    "with the batch's context in each of them the events are too large together; send smaller batches"
)
_KEYS: Final = re.compile(r"hr_[A-Za-z0-9]{18}(?=[A-Za-z0-9]{4})")

WARNINGS: Final = {
    "id_number": "an id was a number; it is stored as text",
    "message_id_hashed": "messageId has 100 characters or more; its SHA-256 is stored",
    "timestamp_number": "timestamp was a number; it was read as seconds or milliseconds since 1970",
    clock.TIMESTAMP_UNREADABLE: "timestamp is not ISO-8601; the time of receipt stands for it",
    clock.TIMESTAMP_IN_FUTURE: "timestamp is more than five minutes in the future; the time of receipt stands for it",
}
"""The collector's warnings; sources add their own."""

# Segment's mobile libraries by context.library.name, and Segment's flag for "take the connection's address".
_DIRECT: Final = re.compile(rb'analytics-(?:ios|android|swift|kotlin|react-native|flutter)|"direct"\s*:\s*true')
_ASKING: Final = re.compile(rb'"d(?:evice|irect)"')
_WITH_TRAITS: Final = frozenset(("identify", "group"))
_NO_BATCH: Final = Body()
_WITH_CATEGORY: Final = frozenset(("page", "screen"))
"""Their `category` at the top level is an older form of the property of that name."""
_BROWSER_CHANNELS: Final = frozenset(("browser", "client", "mobile", "web"))


class Origin(msgspec.Struct, frozen=True):
    """What the connection tells: the peer's address, whether a browser or pixel sent this, and its user agent (pixels only)."""

    ip: str | None = None
    direct: bool = False
    user_agent: str | None = None
    sent_at: str | None = None
    """From the header SentAt, used where the body has none."""
    may_be_asked: bool = True
    """False when it is known of a batch with a context for all that none of its events asks for the address (`may_be_asked` of the whole body)."""


class Refusal(msgspec.Struct, frozen=True, rename="camel"):
    """An entry of the answer's `rejected`."""

    index: int
    message_id: str | None
    code: str
    message: str


class Acceptance(msgspec.Struct):
    """What a request comes to. `lines` are the log's; `accepted` counts events, `refusals` those that were not."""

    source: str
    received_at: datetime
    lines: list[bytes]
    accepted: int
    refusals: list[Refusal]
    events: list[Event] | None = None
    """The accepted events, for a dry run only."""

    @property
    def hour(self) -> Hour:
        """What the log's books keep it under."""
        return Hour(self.source, hour_of(self.received_at))

    @property
    def tally(self) -> Tally:
        return Tally(self.accepted, len(self.refusals))

    @property
    def size_bytes(self) -> int:
        return sum(map(len, self.lines))

    def answer(self) -> dict[str, Any]:
        return {"success": True, "accepted": self.accepted, "rejected": self.refusals}


def single(
    raw: bytes,
    event_type: str | None,
    source: SourceKind,
    received_at: datetime,
    origin: Origin,
    *,
    dry: bool = False,
) -> Acceptance:
    """A call of one event; `event_type` from the path wins over the body's."""
    return _judged([raw], event_type, _NO_BATCH, source, received_at, origin, dry=dry)


def batched(body: Body, source: SourceKind, received_at: datetime, origin: Origin, *, dry: bool = False) -> Acceptance:
    """A batch. Raises RequestError when there is nothing to judge: `empty_batch`, or too many events."""
    if not body.batch:
        raise RequestError("empty_batch", 'the body has no batch, or an empty one; send {"batch": [event, ...]}')
    if len(body.batch) > incoming.BATCH_EVENTS:
        raise RequestError(
            "bad_request", f"the batch has {len(body.batch)} events; the limit is {incoming.BATCH_EVENTS}"
        )
    return _judged(body.batch, None, body, source, received_at, origin, dry=dry)


def unreadable(raw: bytes, error: RequestError, source: SourceKind, received_at: datetime) -> Acceptance:
    """A body of a known source that is no event at all: one refused event, its text kept."""
    entry = _rejected(raw, error, source.slug, received_at, None)
    return Acceptance(source.slug, received_at, [encode(entry)], 0, [Refusal(0, None, error.code, error.reason)])


def _judged(
    raws: Sequence[bytes | msgspec.Raw],
    event_type: str | None,
    body: Body,
    source: SourceKind,
    received_at: datetime,
    origin: Origin,
    *,
    dry: bool,
) -> Acceptance:
    judge = _Judge(source, received_at, origin, body)
    found = judge.usual(raws, event_type)
    if all(found) and not dry:  # a tenth of the time is saved where none of the rest is needed
        lines = [encode(event) for event in found if event]
        if sum(map(len, lines)) <= REQUEST_BYTES:
            return Acceptance(source.slug, received_at, lines, len(lines), [])
    lines = []
    refusals: list[Refusal] = []
    events: list[Event] = []
    size_bytes = 0
    for index, (raw, usual) in enumerate(zip(raws, found, strict=True)):
        sent = None
        try:
            event = usual
            if event is None:
                sent = incoming.incoming(raw)
                event = judge.event(sent, event_type)
            line = encode(event)
            size_bytes += len(line)
            if size_bytes > REQUEST_BYTES:
                raise RequestError("event_too_large", _TOO_LARGE_TOGETHER)  # noqa: TRY301 - refused like any other event
        except RequestError as error:
            message_id = _text(sent.messageId or sent.message_id) if sent else None
            refusals.append(Refusal(index, message_id, error.code, error.reason))
            lines.append(encode(_rejected(raw, error, source.slug, received_at, message_id)))
        else:
            lines.append(line)
            if dry:
                events.append(event)
    accepted = len(lines) - len(refusals)
    return Acceptance(source.slug, received_at, lines, accepted, refusals, events if dry else None)


class _Judge:
    """What is the same for all events of a request."""

    def __init__(self, source: SourceKind, received_at: datetime, origin: Origin, body: Body) -> None:
        self.source = source
        self.slug = source.slug
        self.clock_skew = source.settings.clock_skew
        self.received_at = received_at
        self.origin = origin
        self.refusal: RequestError | None = None
        """Why no event of the batch can be accepted."""
        self.context: msgspec.Raw | None = None
        self.integrations: msgspec.Raw | None = None
        self.sent_at: str | None = None
        if body is not _NO_BATCH:
            self.context = self._shared(body.context, "the batch's context")
            self.integrations = self._shared(body.integrations, "the batch's integrations")
            self.sent_at = _text(body.sentAt) or _text(body.sent_at)
        self._parsed_sent_at: tuple[str, datetime | None] = ("", None)

    def _shared(self, raw: msgspec.Raw, name: str) -> msgspec.Raw | None:
        if not len(raw):
            return None
        try:
            shared = _object(raw, "bad_request", name)
        except RequestError as error:
            self.refusal = error
            return None
        return None if shared == EMPTY_OBJECT else shared

    def usual(self, raws: Sequence[bytes | msgspec.Raw], event_type: str | None) -> Sequence[Event | None]:
        """The events that need no care, None in the places of the others."""
        origin = self.origin
        if (
            self.source.refines
            or self.refusal is not None
            or self.context is not None
            or self.integrations is not None
            or origin.sent_at is not None
            or (origin.ip and origin.direct)
        ):
            return [None] * len(raws)
        events = Shortcut(self.source, self.received_at, self.sent_at, event_type).events(raws)
        # Most requests are known by one search through all contexts together not to ask for the address.
        if origin.ip and may_be_asked(b"".join([event.context for event in events if event is not None])):
            return [None if event is None or _asks_for_address(bytes(event.context)) else event for event in events]
        return events

    def event(self, sent: Incoming, event_type: str | None) -> Event:
        """Raises RequestError with the protocol's code. The warmest place of the collector, hence flat."""
        if self.refusal is not None:
            raise self.refusal
        warnings: list[str] = []
        kind = event_type or _type_of(sent)
        timestamp = sent.timestamp
        name = sent.event
        title = sent.name
        message_id = _id(sent.messageId, sent.message_id, warnings)
        user_id = _id(sent.userId, sent.user_id, warnings)
        anonymous_id = _id(sent.anonymousId, sent.anonymous_id, warnings)
        group_id = _id(sent.groupId, sent.group_id, warnings) if kind == "group" else None
        previous_id = _id(sent.previousId, sent.previous_id, warnings) if kind == "alias" else None
        original = timestamp if type(timestamp) is str and timestamp else _timestamp(sent, warnings)
        sent_at = self.sent_at or _text(sent.sentAt) or _text(sent.sent_at) or self.origin.sent_at
        properties = _properties(sent, kind)
        context = self._context(sent)
        integrations = (
            EMPTY_OBJECT if self.integrations is None and not len(sent.integrations) else self._integrations(sent)
        )
        if self.source.refines:
            draft = Draft(
                kind, name, title, message_id, user_id, anonymous_id, group_id, previous_id, original, sent_at,
                properties, context, integrations, warnings,
            )  # fmt: skip
            self.source.refine(draft)
            (
                kind, name, title, message_id, user_id, anonymous_id, group_id, previous_id, original, sent_at,
                properties, context, integrations, warnings,
            ) = astuple(draft)  # fmt: skip
        _check_identity(kind, name, user_id, anonymous_id, group_id, previous_id)
        moment, warning = clock.event_time(self.received_at, original, self._moment(sent_at), self.clock_skew)
        if warning:
            warnings.append(warning)
        if len(context) + len(integrations) > incoming.EVENT_BYTES:
            raise RequestError("event_too_large", "with the batch's context the event has more than 32 KB")
        return Event(
            self.slug, cast("EventType", kind), _message_id(message_id, warnings), self.received_at, moment, name, title, user_id,
            anonymous_id, group_id, previous_id, original, sent_at, properties, context, integrations, tuple(warnings),
        )  # fmt: skip

    def _context(self, sent: Incoming) -> msgspec.Raw:
        context = sent.context
        text = bytes(context)
        if not text.startswith(b"{"):
            context = _object(context, "bad_request", "context") if text else EMPTY_OBJECT
        origin = self.origin
        if self.context is not None:
            context = merged_below(self.context, context)
            text = bytes(context)
        if origin.ip and (
            origin.direct or sent.channel in _BROWSER_CHANNELS or (origin.may_be_asked and _asks_for_address(text))
        ):
            known = {"ip": origin.ip}
            if origin.user_agent:
                known["userAgent"] = origin.user_agent
            context = merged_below(known, context)
        return context

    def _integrations(self, sent: Incoming) -> msgspec.Raw:
        integrations = EMPTY_OBJECT
        if len(sent.integrations):
            integrations = _object(sent.integrations, "bad_request", "integrations")
        if self.integrations is not None:
            integrations = merged_below(self.integrations, integrations)
        return integrations

    def _moment(self, sent_at: str | None) -> datetime | None:
        if sent_at is None or self.clock_skew == "keep":
            return None
        if sent_at != self._parsed_sent_at[0]:
            self._parsed_sent_at = (sent_at, clock.parse(sent_at))
        return self._parsed_sent_at[1]


def _properties(sent: Incoming, kind: str) -> msgspec.Raw:
    """Traits, of those that have them."""
    if kind in _WITH_TRAITS:
        return _object(sent.traits, "traits_not_object", "traits") if len(sent.traits) else EMPTY_OBJECT
    properties = EMPTY_OBJECT
    if len(sent.properties):
        properties = _object(sent.properties, "properties_not_object", "properties")
    if sent.category is not None and kind in _WITH_CATEGORY:
        properties = merged_below({"category": sent.category}, properties)
    return properties


def _check_identity(
    kind: str,
    name: str | None,
    user_id: str | None,
    anonymous_id: str | None,
    group_id: str | None,
    previous_id: str | None,
) -> None:
    if kind == "track" and (not name or name.isspace()):
        raise RequestError("event_not_defined", "a track call needs the event's name in `event`")
    if kind == "alias":
        if user_id is None or previous_id is None:
            raise RequestError("id_required", "an alias call needs userId and previousId")
    elif user_id is None and anonymous_id is None:
        raise RequestError("no_user_anon_id", "an event needs userId or anonymousId")
    if kind == "group" and group_id is None:
        raise RequestError("id_required", "a group call needs groupId")


def _message_id(message_id: str | None, warnings: list[str]) -> str:
    if message_id is None:
        return str(uuid4())
    if len(message_id) >= MESSAGE_ID_CHARACTERS:
        warnings.append("message_id_hashed")
        return hashlib.sha256(message_id.encode()).hexdigest()
    return message_id


def _type_of(sent: Incoming) -> str:
    kind = sent.type or sent.action
    if kind in EVENT_TYPES:
        return kind
    if kind is not None and kind.lower() in EVENT_TYPES:
        return kind.lower()
    what = "missing" if kind is None else repr(kind)
    raise RequestError("type_unknown", f"type must be one of {', '.join(sorted(EVENT_TYPES))}; it is {what}")


def may_be_asked(text: bytes) -> bool:
    """Whether an event of this JSON can ask for the address. One search for both names costs half of two with `in`."""
    return _ASKING.search(text) is not None


def _asks_for_address(context: bytes) -> bool:
    """Whether a mobile library sent this (those name their device), or Segment's flag `direct` is set."""
    return may_be_asked(context) and _DIRECT.search(context) is not None


def _id(value: Id, other: Id, warnings: list[str]) -> str | None:
    """Text, from either spelling; blank counts as missing, a number becomes text with a warning, NUL is taken out (no
    warehouse stores it)."""
    if value is None:
        if other is None:
            return None
        return _id(other, None, warnings)
    if type(value) is not str:
        warnings.append("id_number")
        return str(value)
    if "\x00" in value:
        value = value.replace("\x00", "")
    return value if value and not value.isspace() else _id(other, None, warnings)


def _text(value: Any) -> str | None:
    """Text or a number as text; anything else counts as absent."""
    if type(value) is str:
        return value or None
    return str(value) if type(value) in (int, float) else None


def _timestamp(sent: Incoming, warnings: list[str]) -> str | None:
    for value in (sent.timestamp, sent.originalTimestamp, sent.original_timestamp):
        if isinstance(value, str):
            if value:
                return value
        elif value is not None:
            warnings.append("timestamp_number")
            return clock.from_epoch(value) or str(value)
    return None


def _object(raw: msgspec.Raw, code: str, name: str) -> msgspec.Raw:
    text = bytes(raw)
    if text.startswith(b"{"):
        return raw
    if text == b"null":
        return EMPTY_OBJECT
    raise RequestError(code, f"{name} must be an object")


def _rejected(
    raw: bytes | msgspec.Raw, error: RequestError, slug: str, received_at: datetime, message_id: str | None
) -> RejectedEvent:
    text = bytes(raw)[:RAW_KEPT].decode("utf-8", "replace")
    if "hr_" in text:  # write keys are never stored
        text = _KEYS.sub("hr_***", text)
    return RejectedEvent(slug, "collector", error.code, error.reason, text, received_at, message_id)
