"""Klaviyo: identify creates or updates profiles; track, page and screen create events.

Several at once go to the bulk endpoints, one alone to the endpoint for one: /api/event-bulk-create-jobs or /api/events, and
/api/profile-bulk-import-jobs or /api/profile-import. That matters for repeats. Of the bulk endpoint the specification says that a repeated
unique_id makes the whole request fail, the guide that it is dropped; of the single one both say that only the first is kept. So whichever
holds, an event of a refused request is sent by itself, and its repeat then does no harm.

Specification: https://github.com/klaviyo/openapi (openapi/stable/apis/), revision 2026-07-15
Guide: https://developers.klaviyo.com/en/docs/events_api_overview
Errors: https://developers.klaviyo.com/en/docs/rate_limits_and_error_handling
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Final, NamedTuple, cast

import msgspec

from headrace.destinations._answers import of_status, said, unreadable
from headrace.destinations._bodies import object_in, objects_in
from headrace.destinations._portions import portions
from headrace.destinations.base import (
    DELIVERED,
    Answer,
    Batching,
    DestinationSettings,
    HttpKind,
    Outgoing,
    Place,
    Prepared,
    Request,
    Result,
    described,
)
from headrace.errors import ConfigError

EVENT: Final = "/api/events"
EVENTS: Final = "/api/event-bulk-create-jobs"
PROFILE: Final = "/api/profile-import"
PROFILES: Final = "/api/profile-bulk-import-jobs"
MOST_EVENTS: Final = 1_000  # bulk_create_events; an import takes 10,000 profiles
MOST_BYTES: Final = 5_000_000  # of both bulk endpoints
MOST_IN_METRIC: Final = 127  # "must be less than 128 characters"
MOST_IN_ID: Final = 255  # the guide, Limitations; as the next
MOST_PROPERTIES: Final = 400

_ENVELOPE_BYTES: Final = 200
_ACCEPTED: Final[Mapping[str, tuple[int, ...]]] = {EVENT: (202,), EVENTS: (202,), PROFILE: (200, 201), PROFILES: (202,)}
_ADDRESS: Final = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
_PHONE: Final = re.compile(r"\+[1-9][0-9]{6,14}", re.ASCII)  # E.164
_POINTER: Final = re.compile(r"/data/attributes/(?:events-bulk-create|profiles)/data/([0-9]{1,6})(?:/|$)", re.ASCII)
_TRAITS: Final[Mapping[str, Sequence[str]]] = {
    "email": ("email",),
    "phone_number": ("phone",),
    "first_name": ("firstName", "first_name"),
    "last_name": ("lastName", "last_name"),
    "organization": ("company",),
    "title": ("title",),
    "image": ("avatar",),
}
"""Traits that a profile's attribute holds, so that they are no properties of it too."""
_WHO: Final = {"profile.external_id": "userId", "profile.email": "context.traits.email ?? anonymousId"}
_WHAT: Final = {
    "time": "timestamp",
    "unique_id": "messageId",
    "properties": "properties",
    "value": "properties.value ?? properties.revenue ?? properties.total",
    "value_currency": "properties.currency",
}
_NAMED: Final = {**_WHAT, "properties.name": "name ?? properties.name"}


class _Item(NamedTuple):
    """What stands for one or several events of a batch."""

    body: dict[str, Any]
    places: list[int]


class KlaviyoSettings(DestinationSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    api_key: Annotated[
        str,
        described("A private API key with the scopes `events:write`, `profiles:write` and `lists:write`.", secret=True),
    ]
    endpoint: Annotated[str, described("The API's address.")] = "https://a.klaviyo.com"
    revision: Annotated[str, described("The API's revision, a date. Klaviyo keeps one for two years.")] = "2026-07-15"
    backfill: Annotated[
        bool, described("Record events without starting flows, for a replay of what happened long ago.")
    ] = False


class KlaviyoKind(HttpKind):
    title = "Klaviyo"
    summary = "Profiles from identify, and events that flows and segments can use."
    docs_url = "https://developers.klaviyo.com/en/reference/events_api_overview"
    tried = "a stand-in of the documented API; not yet a live account"
    setup = (
        "In Klaviyo, make a private API key with the scopes events:write, profiles:write and lists:write (Settings, API keys).",
    )
    drops_repeats = "By the messageId as unique_id of the same profile and metric. Profiles are set, so their repeat changes nothing."
    types = frozenset(("identify", "track", "page", "screen"))
    mapping: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "track": {**_WHO, "metric": "event", **_WHAT},
        "page": {**_WHO, "metric": {"constant": "Page Viewed"}, **_NAMED},
        "screen": {**_WHO, "metric": {"constant": "Screen Viewed"}, **_NAMED},
        "identify": {
            **_WHO,
            "profile.email": "traits.email ?? context.traits.email ?? anonymousId",
            "profile.phone_number": "traits.phone",
            "profile.first_name": "traits.firstName ?? traits.first_name",
            "profile.last_name": "traits.lastName ?? traits.last_name",
            "profile.organization": "traits.company.name ?? traits.company",
            "profile.title": "traits.title",
            "profile.image": "traits.avatar",
            "profile.location.address1": "traits.address.street",
            "profile.location.city": "traits.address.city",
            "profile.location.region": "traits.address.state",
            "profile.location.zip": "traits.address.postalCode ?? traits.address.postal_code",
            "profile.location.country": "traits.address.country",
            "profile.properties": "traits",
        },
    }
    required: ClassVar[Mapping[str, Sequence[str]]] = {"track": ("metric",), "page": ("metric",), "screen": ("metric",)}
    batching = Batching(events=MOST_EVENTS, bytes=3_000_000)
    Settings = KlaviyoSettings

    def __init__(self, settings: DestinationSettings, place: Place) -> None:
        """Raises ConfigError for an endpoint that is no address."""
        super().__init__(settings, place)
        self._own = cast("KlaviyoSettings", settings)
        if not self._own.endpoint.startswith(("https://", "http://")):
            raise ConfigError("destination: endpoint must begin with https://, for example https://a.klaviyo.com")
        self._base = self._own.endpoint.rstrip("/")
        self._headers = {
            "content-type": "application/vnd.api+json",
            "accept": "application/vnd.api+json",
            "authorization": f"Klaviyo-API-Key {self._own.api_key}",
            "revision": self._own.revision,
        }

    def refusals(self, batch: Sequence[Prepared]) -> Mapping[int, Result]:
        found = {place: _fault(prepared) for place, prepared in enumerate(batch)}
        return {
            place: Result("failed", "PAYLOAD_VALIDATION_FAILED", text)
            for place, text in found.items()
            if text is not None
        }

    def requests(self, batch: Sequence[Prepared]) -> Sequence[Outgoing]:
        sound = [place for place, prepared in enumerate(batch) if _fault(prepared) is None]
        profiles = _profiles(batch, [place for place in sound if batch[place].event.type == "identify"])
        events = self._events(batch, [place for place in sound if batch[place].event.type != "identify"])
        return [*self._outgoing(PROFILE, PROFILES, profiles), *self._outgoing(EVENT, EVENTS, events)]

    def _outgoing(self, single: str, bulk: str, items: Sequence[_Item]) -> Iterator[Outgoing]:
        sizes = [len(msgspec.json.encode(_in_bulk(bulk, item.body))) for item in items]
        for portion in portions(sizes, MOST_EVENTS, MOST_BYTES - _ENVELOPE_BYTES):
            part = [items[number] for number in portion]
            places = [place for item in part for place in item.places]
            if len(part) == 1:
                yield self._request(single, part[0].body, places)
                continue
            many = {"data": [_in_bulk(bulk, item.body) for item in part]}
            kind, name = (
                ("event-bulk-create-job", "events-bulk-create")
                if bulk == EVENTS
                else ("profile-bulk-import-job", "profiles")
            )
            yield self._request(bulk, {"type": kind, "attributes": {name: many}}, places)

    def _request(self, path: str, data: Mapping[str, Any], places: Sequence[int]) -> Outgoing:
        return Outgoing(
            Request("POST", self._base + path, self._headers, msgspec.json.encode({"data": data})), tuple(places)
        )

    def _events(self, batch: Sequence[Prepared], places: Sequence[int]) -> Sequence[_Item]:
        """One for each unique_id of a profile and metric: a repeat in the same request would be the end of all of it."""
        found: dict[str, _Item] = {}
        for place in places:
            fields = dict(batch[place].fields or {})
            made = {name: value for name, value in fields.items() if name not in ("profile", "metric")}
            made["properties"] = fields.get("properties") or {}
            if type(made.get("value")) not in (int, float):
                made.pop("value", None)
            if not isinstance(made.get("value_currency"), str) or "value" not in made:
                made.pop("value_currency", None)
            if "unique_id" in made:
                made["unique_id"] = _identity(str(made["unique_id"]))
            if self._own.backfill:
                made["backfill"] = True
            profile = _profile(fields)
            made["metric"] = {"data": {"type": "metric", "attributes": {"name": fields["metric"]}}}
            made["profile"] = {"data": {"type": "profile", "attributes": profile}}
            known = made.get("unique_id", f"place {place}")
            key = msgspec.json.encode(
                (known, fields["metric"], profile.get("external_id"), profile.get("email"))
            ).decode()
            found.setdefault(key, _Item({"type": "event", "attributes": made}, [])).places.append(place)
        return list(found.values())

    def results(self, outgoing: Outgoing, batch: Sequence[Prepared], answer: Answer) -> Sequence[Result]:
        path = outgoing.request.url.removeprefix(self._base)
        if 200 <= answer.status < 300:
            is_empty = path in (EVENT, EVENTS)
            is_taken = answer.status in _ACCEPTED[path] and (is_empty or "data" in object_in(answer.body))
            return [DELIVERED if is_taken else unreadable(answer)] * len(outgoing.events)
        reasons = _reasons(answer) if answer.status == 400 else {}
        whole = of_status(answer, self.place.now(), whole=len(outgoing.events) > 1)
        if not reasons or path not in (EVENTS, PROFILES):
            return [whole] * len(outgoing.events)
        items = self._events(batch, outgoing.events) if path == EVENTS else _profiles(batch, outgoing.events)
        result_by_place: dict[int, Result] = {}
        for number, item in enumerate(items):
            told = Result("failed", "MESSAGE_REJECTED", reasons[number]) if number in reasons else whole
            result_by_place.update(dict.fromkeys(item.places, told))
        return [result_by_place[place] for place in outgoing.events]


def _reasons(answer: Answer) -> Mapping[int, str]:
    """{index in the request: what Klaviyo says of it}; the pointer of an error leads to one of `data`."""
    reasons: dict[int, str] = {}
    for error in objects_in(object_in(answer.body).get("errors")):
        source = error.get("source")
        pointer = source.get("pointer") if isinstance(source, dict) else None
        found = _POINTER.match(pointer) if isinstance(pointer, str) else None
        if found is not None and not found.string.endswith("/unique_id"):  # a repeat: see above
            text = error.get("detail") or error.get("title") or said(answer)
            reasons[int(found[1])] = f"{text} ({pointer})"[:1_000]
    return reasons


def _in_bulk(path: str, body: dict[str, Any]) -> Mapping[str, Any]:
    """As it stands among others: an event's profile stands beside it there, not in it."""
    if path != EVENTS:
        return body
    attributes = dict(body["attributes"])
    profile = attributes.pop("profile")
    events = {"data": [{**body, "attributes": attributes}]}
    return {"type": "event-bulk-create", "attributes": {"profile": profile, "events": events}}


def _profiles(batch: Sequence[Prepared], places: Sequence[int]) -> Sequence[_Item]:
    """One for each profile; a later event adds to an earlier one, since nothing says in which order an import works."""
    found: dict[tuple[Any, ...], _Item] = {}
    for place in places:
        attributes = _profile(batch[place].fields or {})
        key = tuple(attributes.get(name) for name in ("external_id", "email", "phone_number", "_kx"))
        item = found.setdefault(key, _Item({"type": "profile", "attributes": {}}, []))
        merged = item.body["attributes"]
        for name, value in attributes.items():
            inner = merged.get(name)
            merged[name] = {**inner, **value} if isinstance(inner, dict) and isinstance(value, dict) else value
        item.places.append(place)
    return list(found.values())


def _profile(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Without an address that is none and a number that is not E.164, which Klaviyo refuses; that stays among the properties."""
    given = fields.get("profile")
    made = dict(given) if isinstance(given, dict) else {}
    if not _ADDRESS.fullmatch(str(made.get("email", ""))):
        made.pop("email", None)
    if not _PHONE.fullmatch(str(made.get("phone_number", ""))):
        made.pop("phone_number", None)
    given_traits = made.get("properties")
    if isinstance(given_traits, dict):
        held = {trait for name, traits in _TRAITS.items() if name in made for trait in traits}
        made["properties"] = {
            name: value for name, value in given_traits.items() if name not in held or isinstance(value, dict)
        }
    return made


def _fault(prepared: Prepared) -> str | None:
    """What Klaviyo would refuse the event for, and with it those beside it."""
    fields = prepared.fields or {}
    profile = _profile(fields)
    if not any(profile.get(name) for name in ("external_id", "email", "phone_number", "_kx")):
        return "the field profile.external_id or profile.email is missing"
    if prepared.event.type == "identify":
        return None
    if len(str(fields["metric"])) > MOST_IN_METRIC:
        return f"the metric's name has {len(str(fields['metric']))} characters; Klaviyo takes {MOST_IN_METRIC}"
    properties = fields.get("properties")
    if isinstance(properties, dict) and len(properties) > MOST_PROPERTIES:
        return f"{len(properties)} properties; Klaviyo takes {MOST_PROPERTIES}: name those to send in allow_properties"
    return None


def _identity(text: str) -> str:
    return text if len(text) <= MOST_IN_ID else hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
