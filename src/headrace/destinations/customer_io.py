"""Customer.io: people, objects and events by the Track API v2, in batches; events of unknown people by v1, which alone has them.

Facts: https://docs.customer.io/integrations/api/track/ and its OpenAPI file https://docs.customer.io/files/journeys-track.json
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Annotated, Any, ClassVar, Final, cast

import msgspec

from headrace.destinations._answers import of_status, unreadable
from headrace.destinations._bodies import object_in, objects_in
from headrace.destinations._epoch import epoch_milliseconds, epoch_seconds
from headrace.destinations._portions import portions
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

# v2 API limits: a batch below 500 kb, each item 32 kb or smaller; whether kb is 1,000 or 1,024 is not said
MOST_BATCH_BYTES: Final = 499_000
MOST_ITEM_BYTES: Final = 32_000
MOST_ITEMS: Final = 1_000
"""No number is documented."""
_ENVELOPE_BYTES: Final = len(b'{"batch":[]}')
_IDENTIFIERS: Final = ("cio_id", "id", "email", "phone")
_SOMEBODY: Final = "identifiers.id|identifiers.email|identifiers.phone|identifiers.cio_id|anonymous_id"
_CROCKFORD: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_ULID: Final = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}", re.ASCII)
_ADDRESS: Final = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")

_WHO: Final = {
    "identifiers.id": "userId",
    "identifiers.email": "context.traits.email",
    "anonymous_id": "anonymousId",
    "timestamp": "timestamp",
    "dedupe": "messageId",
}


class CustomerIoSettings(DestinationSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    site_id: Annotated[str, described("The workspace's site id (Settings > API credentials > Track API keys).")]
    api_key: Annotated[str, described("The Track API key that belongs to the site id.", secret=True)]
    endpoint: Annotated[
        str, described("The account's region: https://track.customer.io, or https://track-eu.customer.io in the EU.")
    ] = "https://track.customer.io"


class CustomerIoKind(HttpKind):
    title = "Customer.io"
    summary = "Messages for people: attributes from identify, objects from group, events that start campaigns."
    docs_url = "https://docs.customer.io/integrations/api/track/"
    tried = "a stand-in of the documented API; not yet a live account"
    setup = (
        "Create a Track API key under Settings > API credentials and copy site id and key.",
        "People without a userId are known by their e-mail address: allow `email` as an identifier in the workspace's settings.",
        "For group events create an object type under Objects; the first one has the id 1.",
    )
    drops_repeats = "By the event's id, a ULID that is made of time and messageId; attributes are set, so that a repeat changes nothing."
    types = frozenset(("track", "identify", "page", "screen", "group"))
    mapping: ClassVar[Mappings] = {
        "track": {**_WHO, "name": "event", "attributes": "properties"},
        "page": {
            **_WHO,
            # v1: the name of a page view should be its URL
            "name": "properties.url ?? context.page.url ?? name",
            "attributes": "properties",
            "attributes.title": "properties.title ?? name",
        },
        "screen": {**_WHO, "name": "name ?? properties.name", "attributes": "properties"},
        "identify": {
            "identifiers.id": "userId",
            "identifiers.email": "traits.email ?? context.traits.email",
            "anonymous_id": "anonymousId",
            "timestamp": "timestamp",
            "attributes": "traits",
            "attributes.anonymous_id": "anonymousId",
            "attributes.created_at": "traits.created_at ?? traits.createdAt",
        },
        "group": {
            "object.object_type_id": {"constant": "1"},
            "object.object_id": "groupId",
            "attributes": "traits",
            "identifiers.id": "userId",
            "identifiers.email": "context.traits.email",
            "anonymous_id": "anonymousId",
        },
    }
    required: ClassVar[Mapping[str, Sequence[str]]] = {
        "track": ("name", _SOMEBODY),
        "page": ("name", _SOMEBODY),
        "screen": ("name", _SOMEBODY),
        "identify": (_SOMEBODY,),
        "group": ("object.object_type_id", "object.object_id"),
    }
    # events of unknown people are a request each
    batching = Batching(events=200, bytes=400_000)
    Settings = CustomerIoSettings

    def __init__(self, settings: DestinationSettings, place: Place) -> None:
        """Raises ConfigError for an endpoint that is no address."""
        super().__init__(settings, place)
        own = cast("CustomerIoSettings", settings)
        if not own.endpoint.startswith(("https://", "http://")):
            raise ConfigError("destination: endpoint must begin with https://")
        self._base = own.endpoint.rstrip("/")
        authorization = "Basic " + b64encode(f"{own.site_id}:{own.api_key}".encode()).decode()
        self._headers = {"content-type": "application/json", "authorization": authorization}

    def refusals(self, batch: Sequence[Prepared]) -> Mapping[int, Result]:
        found = {}
        for place, prepared in enumerate(batch):
            made = _item(prepared)
            if isinstance(made, str):
                found[place] = Result("failed", "PAYLOAD_VALIDATION_FAILED", made)
        return found

    def requests(self, batch: Sequence[Prepared]) -> Sequence[Outgoing]:
        items: list[tuple[int, bytes]] = []
        unknown: list[tuple[int, bytes]] = []
        for place, prepared in enumerate(batch):
            made = _item(prepared)
            if not isinstance(made, str):
                is_known, item = made
                (items if is_known else unknown).append((place, item))
        outgoing = [Outgoing(self._request("v1/events", item), (place,)) for place, item in unknown]
        for portion in portions([len(item) for _, item in items], MOST_ITEMS, MOST_BATCH_BYTES - _ENVELOPE_BYTES):
            part = items[portion.start : portion.stop]
            body = b'{"batch":[' + b",".join(item for _, item in part) + b"]}"
            outgoing.append(Outgoing(self._request("v2/batch", body), [place for place, _ in part]))
        return outgoing

    def _request(self, door: str, body: bytes) -> Request:
        return Request("POST", f"{self._base}/api/{door}", self._headers, body)

    def results(self, outgoing: Outgoing, batch: Sequence[Prepared], answer: Answer) -> Sequence[Result]:
        """v2/batch, 207: at least one item was invalid, all others are accepted; `batch_index` says which."""
        del batch
        count = len(outgoing.events)
        everything = of_status(answer, self.place.now(), whole=count > 1)
        if everything.outcome != "delivered":
            return [everything] * count
        if answer.body.strip() and not _is_object(answer.body):
            return [unreadable(answer)] * count
        reasons = {}
        for error in objects_in(object_in(answer.body).get("errors")):
            index = error.get("batch_index")
            if type(index) is int and 0 <= index < count:
                words = (str(error[name]) for name in ("reason", "field", "message") if error.get(name))
                detail = ": ".join(words)[:1_000] or "refused without a reason"
                reasons[index] = Result("failed", "MESSAGE_REJECTED", detail)
        if answer.status == 207 and not reasons:
            return [
                Result("failed", "MESSAGE_REJECTED", everything.detail or "207", is_whole_request=count > 1)
            ] * count
        return [reasons.get(index, DELIVERED) for index in range(count)]


def _item(prepared: Prepared) -> tuple[bool, bytes] | str:
    """An item of a batch, or an event of somebody unknown (False); or why it can be neither."""
    fields = dict(prepared.fields or {})
    person = _person(fields)
    if prepared.event.type == "group":
        made: Mapping[str, Any] | str = _group(fields, person)
    elif prepared.event.type == "identify":
        made = _identify(fields, person)
    else:
        made = _event(prepared.event.type, fields, person)
    if isinstance(made, str):
        return made
    item = msgspec.json.encode(made)
    if len(item) > MOST_ITEM_BYTES:
        return f"it is {len(item):,} bytes; Customer.io takes {MOST_ITEM_BYTES:,} an event"
    return made["type"] in ("person", "object"), item


def _person(fields: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The one identifier: several are refused. An anonymousId that is an address, as platforms for e-mail send it, is one."""
    given = fields.get("identifiers")
    given = given if isinstance(given, dict) else {}
    for name in _IDENTIFIERS:
        if given.get(name) not in (None, ""):
            return {name: str(given[name])}
    anonymous = str(fields.get("anonymous_id", ""))
    return {"email": anonymous} if _ADDRESS.fullmatch(anonymous) else None


def _event(event_type: str, fields: Mapping[str, Any], person: Mapping[str, Any] | None) -> Mapping[str, Any]:
    action = "event" if event_type == "track" else event_type
    at = fields.get("timestamp")
    said = {"name": fields["name"], "id": ulid(str(fields.get("dedupe", "")), epoch_milliseconds(at))}
    if at is not None:
        said["timestamp"] = epoch_seconds(at)
    attributes = fields.get("attributes", {})
    if person is None:
        return {"type": action, "anonymous_id": fields["anonymous_id"], **said, "data": attributes}
    return {"type": "person", "action": action, "identifiers": person, **said, "attributes": attributes}


def _identify(fields: Mapping[str, Any], person: Mapping[str, Any] | None) -> Mapping[str, Any] | str:
    if person is None:
        return "identify needs a userId or an e-mail address; Customer.io keeps no attributes of unknown people"
    given = fields.get("attributes", {})
    attributes = dict(given) if isinstance(given, dict) else {}
    if "created_at" in attributes:  # a reserved attribute, in seconds
        attributes["created_at"] = epoch_seconds(attributes["created_at"])
    made = {"type": "person", "action": "identify", "identifiers": person, "attributes": attributes}
    at = fields.get("timestamp")
    return made if at is None else {**made, "timestamp": epoch_seconds(at)}


def _group(fields: Mapping[str, Any], person: Mapping[str, Any] | None) -> Mapping[str, Any]:
    group = {name: str(value) for name, value in fields["object"].items()}
    made = {"type": "object", "action": "identify", "identifiers": group, "attributes": fields.get("attributes", {})}
    return {**made, "cio_relationships": [{"identifiers": person}]} if person else made


def ulid(message_id: str, at_milliseconds: Any) -> str:
    """Always the same one for a messageId and a time; a messageId that is a ULID stays itself. https://github.com/ulid/spec

    >>> ulid("01ARZ3NDEKTSV4RRFFQ69G5FAV", 0), ulid("m-1", 1772366400123)
    ('01ARZ3NDEKTSV4RRFFQ69G5FAV', '01KJMMA2KVMHGV8WPB86MYRFFE')
    """
    if _ULID.fullmatch(message_id):
        return message_id
    at = at_milliseconds if type(at_milliseconds) is int and 0 <= at_milliseconds < 1 << 48 else 0
    chance = int.from_bytes(sha256(message_id.encode("utf-8", "surrogatepass")).digest()[:10], "big")
    number = at << 80 | chance
    return "".join(_CROCKFORD[number >> shift & 31] for shift in range(125, -1, -5))


def _is_object(body: bytes) -> bool:
    return body.strip() == b"{}" or bool(object_in(body))
