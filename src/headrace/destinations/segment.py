"""Segment: events go on to any receiver of Segment's tracking API: Segment itself, RudderStack, another headrace.

https://segment.com/docs/connections/sources/catalog/libraries/server/http-api/ says what is sent: `POST {endpoint}/batch`, the write
key as Basic user name, 32 KB an event and 500 KB a request.

Time: a receiver sets `timestamp = receivedAt - (sentAt - timestamp)` to correct the clock of the device that sent
(https://segment.com/docs/connections/spec/common/#timestamps). That correction was made when headrace accepted the event, and a second
one would add the way and every wait between: the event's own `sentAt` would date it late by as long as it waited here, and `sentAt` of
this request by the time of the way. So `timestamp` is the corrected one, and neither `sentAt` nor `originalTimestamp` is sent: without `sentAt`
there is nothing to shift by, and the timestamp arrives as it left. The device's own two texts stay in headrace's warehouse.

Not known from public sources: whether every receiver counts the 32 KB as headrace does (32,768 bytes of the event's JSON).
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Final, cast
from urllib.parse import urlsplit

import msgspec

from headrace.destinations._answers import DETAIL_CHARACTERS, of_status, said, unreadable
from headrace.destinations.base import (
    DELIVERED,
    Answer,
    Batching,
    DestinationSettings,
    HttpKind,
    Mappings,
    Outgoing,
    Place,
    Prepared,
    Request,
    Result,
    described,
)
from headrace.errors import ConfigError
from headrace.event import EMPTY_OBJECT, Event

EVENT_BYTES: Final = 32 * 1024
BATCH_BYTES: Final = 500 * 1000
"""Whether KB is 1,000 or 1,024 is not said: the smaller one holds either way."""
BATCH_EVENTS: Final = 2_500
"""https://segment.com/docs/connections/sources/catalog/libraries/server/http-api/#max-request-size"""
USUAL_EVENTS: Final = 100
_OPEN: Final = b'{"batch":['
_CLOSE: Final = b"]}"
_YES: Final = frozenset((b"", b"ok", b'"ok"'))
"""Bodies of receivers that answer without an object, in small letters; RudderStack answers OK (https://www.rudderstack.com/docs/api/http-api/)."""
_WRONG_PLACE: Final = frozenset((404, 405))
"""No tracking API at the endpoint, or a source that is disabled (docs/tracking-api.md, source_disabled): not the events' fault."""

_WHOLE: Final[Mappings] = {
    "*": {
        name: name
        for name in (
            *("type", "messageId", "timestamp", "userId", "anonymousId", "groupId", "previousId"),
            *("event", "name", "properties", "traits", "context", "integrations"),
        )
    }
}
"""The event's own form as rules, so that the setting `mapping` changes single fields of it."""

_FRAME_BYTES: Final = 1_000
"""More than the names, the type and the time of a form take."""
_WITH_TRAITS: Final = frozenset(("identify", "group"))
_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Any).decode


class SegmentSettings(DestinationSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    write_key: Annotated[str, described("The write key of the source that shall receive the events.", secret=True)]
    endpoint: Annotated[
        str,
        described(
            "The tracking API up to its version: https://events.eu1.segmentapis.com/v1 for Segment in the EU; of another headrace https://its.address/v1."
        ),
    ] = "https://api.segment.io/v1"


class SegmentKind(HttpKind):
    title = "Segment"
    summary = "Any tracking API that speaks Segment's language: Segment, RudderStack, another headrace. Events arrive unchanged, in batches."
    docs_url = "https://segment.com/docs/connections/sources/catalog/libraries/server/http-api/"
    tried = "a stand-in of the documented API, and headrace's own collector; not yet a live Segment workspace"
    setup: ClassVar[Sequence[str]] = (
        "In the receiving workspace add a source of the kind HTTP API and copy its write key.",
        "In a workspace of the EU, set endpoint to https://events.eu1.segmentapis.com/v1.",
    )
    drops_repeats = (
        "By messageId: Segment says for at least 24 hours, another headrace within the window that it is set to."
    )
    batching = Batching(events=BATCH_EVENTS, bytes=450_000)
    Settings = SegmentSettings

    def __init__(self, settings: DestinationSettings, place: Place) -> None:
        """Raises ConfigError for an endpoint that is no address and a write key that cannot be a header."""
        super().__init__(settings, place)
        own = cast("SegmentSettings", settings)
        parts = urlsplit(own.endpoint)
        if parts.scheme not in ("http", "https") or not parts.netloc or parts.query or parts.fragment:
            raise ConfigError("destination: endpoint must be like https://api.segment.io/v1")
        if not own.write_key.strip() or not own.write_key.isascii() or not own.write_key.isprintable():
            raise ConfigError("destination: write_key must be the text that the receiving source shows")
        self._url = f"{own.endpoint.rstrip('/')}/batch"
        key = own.write_key.strip()
        pair = key if ":" in key else f"{key}:"  # Jitsu's keys are id:secret
        basic = b64encode(pair.encode()).decode()
        self._headers = {"authorization": f"Basic {basic}", "content-type": "application/json"}
        if settings.mapping:
            self.mapping = _WHOLE  # type: ignore[misc]  # untouched, events pass as bytes; that is this class's mapping

    @property
    def limits(self) -> Batching:
        """A hundred events a request unless the settings say more: a refused request then concerns few."""
        wanted = self.settings.batch_events or USUAL_EVENTS
        return self.batching._replace(events=min(wanted, BATCH_EVENTS))

    def refusals(self, batch: Sequence[Prepared]) -> Mapping[int, Result]:
        found = {}
        for place, prepared in enumerate(batch):
            if _is_small(prepared):
                continue
            size = len(_form(prepared))
            if size > EVENT_BYTES:
                detail = f"the event has {size:,} bytes as it is sent; the receiver takes {EVENT_BYTES:,}"
                found[place] = Result("failed", "PAYLOAD_VALIDATION_FAILED", detail)
        return found

    def requests(self, batch: Sequence[Prepared]) -> Sequence[Outgoing]:
        forms = [_form(prepared) for prepared in batch]
        return [
            Outgoing(
                Request("POST", self._url, self._headers, _OPEN + b",".join(forms[place] for place in places) + _CLOSE),
                places,
            )
            for places in _parts([len(form) for form in forms])
        ]

    def results(self, outgoing: Outgoing, batch: Sequence[Prepared], answer: Answer) -> Sequence[Result]:
        """A tracking API answers 200 for every request that it can read (spec: Answer), and 400 for too large a one or broken JSON."""
        count = len(outgoing.events)
        if answer.status in _WRONG_PLACE:
            return [Result("failed", "INVALID_SETTINGS", said(answer))] * count
        if not 200 <= answer.status < 300:
            return [of_status(answer, self.place.now(), whole=count > 1)] * count
        if answer.body.strip().lower() in _YES:
            return [DELIVERED] * count
        if answer.is_cut and count > 1:  # so many rejections that they cannot be read: each event will say its own
            return [Result("failed", "MESSAGE_REJECTED", said(answer), is_whole_request=True)] * count
        rejected = _rejected(answer, [batch[place].event.message_id for place in outgoing.events])
        if rejected is None:
            return [unreadable(answer)] * count
        return [rejected.get(index, DELIVERED) for index in range(count)]


class _Form(msgspec.Struct, omit_defaults=True, rename="camel", gc=False):
    """What a client sends: the times are as the module says, and what only a server sets is left out."""

    type: str
    message_id: str
    timestamp: str
    user_id: str | None = None
    anonymous_id: str | None = None
    group_id: str | None = None
    previous_id: str | None = None
    event: str | None = None
    name: str | None = None
    properties: msgspec.Raw | None = None
    traits: msgspec.Raw | None = None
    context: msgspec.Raw | None = None
    integrations: msgspec.Raw | None = None


def _form(prepared: Prepared) -> bytes:
    if prepared.fields is not None:
        return _encode(prepared.fields)
    event = prepared.event
    has_traits = event.type in _WITH_TRAITS
    return _encode(
        _Form(
            type=event.type,
            message_id=event.message_id,
            timestamp=_time(event),
            user_id=event.user_id,
            anonymous_id=event.anonymous_id,
            group_id=event.group_id,
            previous_id=event.previous_id,
            event=event.event,
            name=event.name,
            properties=None if has_traits else _unless_empty(event.properties),
            traits=_unless_empty(event.properties) if has_traits else None,
            context=_unless_empty(event.context),
            integrations=_unless_empty(event.integrations),
        )
    )


def _is_small(prepared: Prepared) -> bool:
    """True only where the form is certainly small enough, which spares making it: objects stand in it as they are, and a character of a
    text takes six bytes at the most."""
    event = prepared.event
    texts = (
        event.message_id,
        event.user_id,
        event.anonymous_id,
        event.group_id,
        event.previous_id,
        event.event,
        event.name,
    )
    characters = sum(len(text) for text in texts if text)
    objects = len(event.properties) + len(event.context) + len(event.integrations)
    return prepared.fields is None and objects + 6 * characters + _FRAME_BYTES < EVENT_BYTES


def _time(event: Event) -> str:
    """With milliseconds as Segment writes it, and finer where the event's is."""
    at = event.timestamp
    return at.isoformat(timespec="microseconds" if at.microsecond % 1000 else "milliseconds").replace("+00:00", "Z")


def _unless_empty(value: msgspec.Raw) -> msgspec.Raw | None:
    return None if value == EMPTY_OBJECT else value


def _parts(sizes: Sequence[int]) -> Iterator[Sequence[int]]:
    """Places of events that go in one request, in order; those too large for any are left out."""
    whole = BATCH_BYTES - len(_OPEN + _CLOSE) + 1  # the first has no comma
    part: list[int] = []
    room = whole
    for place, size in enumerate(sizes):
        if size > EVENT_BYTES:
            continue
        if part and room < size + 1:
            yield part
            part, room = [], whole
        part.append(place)
        room -= size + 1
    if part:
        yield part


def _rejected(answer: Answer, message_ids: Sequence[str]) -> Mapping[int, Result] | None:
    """By place in the request; None where the answer is not a tracking API's, or speaks of an event that was not sent: then nobody knows
    what became of which."""
    try:
        told = _decode(answer.body)
    except (msgspec.DecodeError, RecursionError):
        return None
    if not isinstance(told, dict):
        return None
    if told.get("success") is True or told.get("ok") is True:
        return _listed(told.get("rejected") or (), message_ids)
    if told.get("success") is False or told.get("ok") is False:
        return _named(told.get("errors"), message_ids) or dict.fromkeys(
            range(len(message_ids)),
            Result("failed", "MESSAGE_REJECTED", said(answer), is_whole_request=len(message_ids) > 1),
        )
    return None


def _listed(entries: Any, message_ids: Sequence[str]) -> Mapping[int, Result] | None:
    """headrace: `{"success": true, "rejected": [{index, messageId, code, message}]}`."""
    if not isinstance(entries, Sequence) or isinstance(entries, str):
        return None
    found: dict[int, Result] = {}
    for entry in entries:
        index = _index(entry, message_ids)
        if index is None:
            return None
        detail = ": ".join(str(entry[name]) for name in ("code", "message") if entry.get(name))
        found[index] = Result("failed", "MESSAGE_REJECTED", detail[:DETAIL_CHARACTERS])
    return found


def _named(errors: Any, message_ids: Sequence[str]) -> Mapping[int, Result] | None:
    """Jitsu: `{"ok": false, "errors": ["Message ID: m-1: reason"]}`, an error for each event that it did not take; as its server
    (https://github.com/jitsucom/jitsu, BatchHandler) writes it. None unless each error names one of the events."""
    if not isinstance(errors, list) or not errors or len(set(message_ids)) < len(message_ids):
        return None
    texts = {place: f"Message ID: {message_id}: " for place, message_id in enumerate(message_ids)}
    found: dict[int, Result] = {}
    for error in errors:
        place = next(
            (place for place, text in texts.items() if isinstance(error, str) and error.startswith(text)), None
        )
        if place is None:
            return None
        detail = error.removeprefix(texts[place])
        found[place] = Result("failed", "MESSAGE_REJECTED", detail[:DETAIL_CHARACTERS])
    return found


def _index(entry: Any, message_ids: Sequence[str]) -> int | None:
    """The place that the entry names; the messageId, where it has one, must be that event's."""
    if not isinstance(entry, dict):
        return None
    index = entry.get("index")
    if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < len(message_ids):
        return None
    return index if entry.get("messageId") in (None, message_ids[index]) else None
