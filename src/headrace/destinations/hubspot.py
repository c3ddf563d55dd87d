"""HubSpot: identify creates or updates contacts, track sends occurrences of custom events.

Contacts: https://developers.hubspot.com/docs/api-reference/crm-contacts-v3/batch/post-crm-v3-objects-contacts-batch-upsert
Events: https://developers.hubspot.com/docs/api-reference/legacy/events/send-event-data/guide
Errors: https://developers.hubspot.com/docs/api-reference/error-handling
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Annotated, Any, ClassVar, Final, cast

import msgspec

from headrace.destinations._answers import of_status, retry_after, said, unreadable
from headrace.destinations._bodies import object_in, objects_in
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

CONTACTS: Final = "/crm/v3/objects/contacts/batch/upsert"
EVENTS: Final = "/events/v3/send/batch"
MOST_CONTACTS: Final = 100  # .../docs/api-reference/latest/crm/objects/contacts/guide: batch operations
MOST_EVENTS: Final = 500  # the guide of events, Limits; as the four below
MOST_PROPERTIES: Final = 50
MOST_IN_NAME: Final = 50
MOST_IN_VALUE: Final = 256
MOST_IN_ADDRESS: Final = 1_024  # "URL and referrer properties"
LOCKED_SECONDS: Final = 2.0  # 423: "locks will last for 2 seconds"
MIGRATING: Final = 477  # "Migration in Progress", with Retry-After
# 429 names a policy, and no time where it is the day's, which ends at the account's midnight: asked again every hour
BURST_SECONDS: Final = 10.0
DAY_SECONDS: Final = 3_600.0

_ADDRESS: Final = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
_QUALIFIED: Final = re.compile(r"pe[0-9]+_[a-z][a-z0-9_-]*", re.ASCII)
_OTHERS: Final = re.compile(r"[^a-z0-9]+", re.ASCII)
_IDS: Final = uuid.UUID("5c0c6b1e-6a39-5f5e-9c35-0d6a8a4f7e21")


class HubspotSettings(DestinationSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    access_token: Annotated[
        str,
        described(
            "The private app's access token, with the scopes `crm.objects.contacts.write` and `analytics.behavioral_events.send`.",
            secret=True,
        ),
    ]
    hub_id: Annotated[
        str, described("The account's Hub ID, of which the names of custom events are made: `pe{hub_id}_{name}`.")
    ]
    event_names: Annotated[
        dict[str, str], described("The full names of custom events whose name in HubSpot is not made of the event's.")
    ] = msgspec.field(default_factory=dict)
    id_property: Annotated[
        str,
        described(
            "The contact property by which contacts are found. Other than `email` it holds the userId and must have unique values."
        ),
    ] = "email"
    matching_property: Annotated[
        str,
        described(
            "The custom events' customMatchingId property, which is given the userId. Empty: the e-mail address is used."
        ),
    ] = ""
    endpoint: Annotated[str, described("The API's address.")] = "https://api.hubapi.com"


class HubspotKind(HttpKind):
    title = "HubSpot"
    summary = "Contacts from identify, and occurrences of custom events from track."
    docs_url = "https://developers.hubspot.com/docs/api-reference/legacy/events/send-event-data/guide"
    tried = "a stand-in of the documented API; not yet a live account"
    setup = (
        "In HubSpot, make a private app with the scopes crm.objects.contacts.write and analytics.behavioral_events.send.",
        "Define each custom event and its properties in HubSpot, before the first is sent (Enterprise).",
    )
    # the schema of BehavioralEventHttpCompletionRequest: "when multiple events have the same ID within a year, the first will be accepted"
    drops_repeats = "By the messageId as the occurrence's uuid, within a year. Contacts are set, so the repeat of an identify changes nothing."
    types = frozenset(("identify", "track"))
    mapping: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        # names of properties: https://knowledge.hubspot.com/properties/hubspots-default-contact-properties
        "identify": {
            "id": "userId",
            "email": "traits.email ?? context.traits.email ?? anonymousId",
            "properties.firstname": "traits.firstName ?? traits.first_name",
            "properties.lastname": "traits.lastName ?? traits.last_name",
            "properties.phone": "traits.phone",
            "properties.jobtitle": "traits.title",
            "properties.company": "traits.company.name ?? traits.company",
            "properties.website": "traits.website",
            "properties.address": "traits.address.street",
            "properties.city": "traits.address.city ?? traits.city",
            "properties.state": "traits.address.state ?? traits.state",
            "properties.zip": "traits.address.postalCode ?? traits.address.postal_code",
            "properties.country": "traits.address.country ?? traits.country",
        },
        "track": {
            "eventName": "event",
            "id": "userId",
            "email": "context.traits.email ?? anonymousId",
            "occurredAt": "timestamp",
            "uuid": "messageId",
            "properties": "properties",
        },
    }
    required: ClassVar[Mapping[str, Sequence[str]]] = {"track": ("eventName",)}
    batching = Batching(events=MOST_EVENTS, bytes=2_000_000)
    Settings = HubspotSettings

    def __init__(self, settings: DestinationSettings, place: Place) -> None:
        """Raises ConfigError for an endpoint that is no address and a Hub ID that is no number."""
        super().__init__(settings, place)
        self._own = cast("HubspotSettings", settings)
        if not self._own.endpoint.startswith(("https://", "http://")):
            raise ConfigError("destination: endpoint must begin with https://, for example https://api.hubapi.com")
        if not self._own.hub_id.isascii() or not self._own.hub_id.isdecimal():
            raise ConfigError(
                "destination: hub_id must be the account's number, which HubSpot shows in its account menu"
            )
        self._base = self._own.endpoint.rstrip("/")
        self._headers = {"content-type": "application/json", "authorization": f"Bearer {self._own.access_token}"}

    def refusals(self, batch: Sequence[Prepared]) -> Mapping[int, Result]:
        found = {place: self._fault(prepared) for place, prepared in enumerate(batch)}
        return {
            place: Result("failed", "PAYLOAD_VALIDATION_FAILED", text)
            for place, text in found.items()
            if text is not None
        }

    def requests(self, batch: Sequence[Prepared]) -> Sequence[Outgoing]:
        sound = [place for place, prepared in enumerate(batch) if self._fault(prepared) is None]
        contacts = list(
            self._contacts(batch, [place for place in sound if batch[place].event.type == "identify"]).items()
        )
        made = []
        for begin in range(0, len(contacts), MOST_CONTACTS):
            part = contacts[begin : begin + MOST_CONTACTS]
            inputs = [
                {**contact, "idProperty": self._own.id_property, "objectWriteTraceId": str(number)}
                for number, (_, (contact, _)) in enumerate(part)
            ]
            made.append(self._outgoing(CONTACTS, inputs, [place for _, (_, places) in part for place in places]))
        events = [place for place in sound if batch[place].event.type == "track"]
        for begin in range(0, len(events), MOST_EVENTS):
            places = events[begin : begin + MOST_EVENTS]
            made.append(self._outgoing(EVENTS, [self._occurrence(batch[place]) for place in places], places))
        return made

    def _outgoing(self, path: str, inputs: Sequence[Any], places: Sequence[int]) -> Outgoing:
        return Outgoing(
            Request("POST", self._base + path, self._headers, msgspec.json.encode({"inputs": inputs})), places
        )

    def _contacts(
        self, batch: Sequence[Prepared], places: Sequence[int]
    ) -> Mapping[str, tuple[dict[str, Any], list[int]]]:
        """{id: (input, places)}: HubSpot refuses a request that names a contact twice, so the later event adds to the earlier one."""
        found: dict[str, tuple[dict[str, Any], list[int]]] = {}
        for place in places:
            fields = batch[place].fields or {}
            email, given = str(fields.get("email", "")), fields.get("properties")
            properties = {name: _text(value) for name, value in (given if isinstance(given, dict) else {}).items()}
            identity, key = email, email.lower()
            if self._own.id_property != "email":
                identity = key = str(fields["id"])
                properties |= {"email": email} if _ADDRESS.fullmatch(email) else {}
            contact, of_contact = found.setdefault(key, ({"id": identity, "properties": {}}, []))
            contact["properties"].update(properties)
            of_contact.append(place)
        return found

    def _occurrence(self, prepared: Prepared) -> dict[str, Any]:
        fields = dict(prepared.fields or {})
        made = {name: value for name, value in fields.items() if name not in ("id", "email", "properties")}
        made["eventName"] = self._full_name(str(fields["eventName"]))
        made["uuid"] = _uuid(fields.get("uuid"))
        made["properties"] = _event_properties(fields)
        if self._own.matching_property and fields.get("id"):
            made["properties"][self._own.matching_property] = str(fields["id"])
        if _ADDRESS.fullmatch(str(fields.get("email", ""))):
            made["email"] = fields["email"]
        return {name: value for name, value in made.items() if value is not None}

    def _full_name(self, name: str) -> str:
        if name in self._own.event_names:
            return self._own.event_names[name]
        return name if _QUALIFIED.fullmatch(name) else f"pe{self._own.hub_id}_{_internal(name)}"

    def _fault(self, prepared: Prepared) -> str | None:
        """What HubSpot would refuse the event for, and with it those beside it."""
        fields = prepared.fields or {}
        has_address = _ADDRESS.fullmatch(str(fields.get("email", ""))) is not None
        if prepared.event.type == "identify":
            if self._own.id_property != "email":
                return None if fields.get("id") else "the field id is missing"
            return None if has_address else "the field email is missing, or is no e-mail address"
        matching = self._own.matching_property and fields.get("id")
        if not (has_address or matching or fields.get("objectId") or fields.get("utk")):
            return "the field email or objectId or utk is missing"
        if self._full_name(str(fields["eventName"])).endswith(f"pe{self._own.hub_id}_"):
            return "the event's name has no letter or digit of which a name in HubSpot could be made: set event_names"
        return _too_much(_event_properties(fields))

    def results(self, outgoing: Outgoing, batch: Sequence[Prepared], answer: Answer) -> Sequence[Result]:
        is_taken = 200 <= answer.status < 300
        if not is_taken:
            return [self._refused(answer, is_alone=len(outgoing.events) == 1)] * len(outgoing.events)
        if outgoing.request.url.endswith(CONTACTS):
            return self._upserted(outgoing, batch, answer)
        # an accepted batch of events is 204 without a body, so another program's page is none
        return [DELIVERED if answer.status == 204 else unreadable(answer)] * len(outgoing.events)

    def _refused(self, answer: Answer, *, is_alone: bool) -> Result:
        now = self.place.now()
        result = of_status(answer, now, whole=not is_alone)
        wait = result.retry_after_seconds
        if answer.status == MIGRATING:
            return Result("retry", "SERVER_ERROR", said(answer), retry_after_seconds=retry_after(answer, now))
        if wait is None and answer.status == 423:
            wait = LOCKED_SECONDS
        elif wait is None and answer.status == 429:
            wait = DAY_SECONDS if object_in(answer.body).get("policyName") == "DAILY" else BURST_SECONDS
        return msgspec.structs.replace(result, retry_after_seconds=wait)

    def _upserted(self, outgoing: Outgoing, batch: Sequence[Prepared], answer: Answer) -> Sequence[Result]:
        """200: all of them. 207: errors name inputs by their objectWriteTraceId; who is in neither list is asked for alone."""
        whole = Result("failed", "MESSAGE_REJECTED", said(answer), is_whole_request=len(outgoing.events) > 1)
        if answer.is_cut:  # the results of 100 contacts may be longer than what is read; an upsert may be done twice
            return [DELIVERED if answer.status == 200 else whole] * len(outgoing.events)
        body = object_in(answer.body)
        if not isinstance(body.get("results"), list):
            return [unreadable(answer)] * len(outgoing.events)
        done = {str(found.get("objectWriteTraceId")) for found in objects_in(body["results"])}
        reasons, is_all_told = _reasons(body.get("errors"))
        contacts = self._contacts(batch, outgoing.events)
        is_known = is_all_told and (answer.status == 200 or len(body["results"]) + len(reasons) >= len(contacts))
        result_by_place: dict[int, Result] = {}
        for number, (_, places) in enumerate(contacts.values()):
            if str(number) in reasons:
                result = Result("failed", "MESSAGE_REJECTED", reasons[str(number)])
            else:
                result = DELIVERED if is_known or str(number) in done else whole
            result_by_place.update(dict.fromkeys(places, result))
        return [result_by_place[place] for place in outgoing.events]


def _reasons(errors: Any) -> tuple[Mapping[str, str], bool]:
    """{objectWriteTraceId: what HubSpot says of that input}, and whether every error named an input."""
    reasons: dict[str, str] = {}
    is_all_told = isinstance(errors, list) or not errors
    for error in errors if isinstance(errors, list) else ():
        context = error.get("context") if isinstance(error, dict) else None
        traces = context.get("objectWriteTraceId") if isinstance(context, dict) else None
        if not isinstance(traces, list) or not traces:
            is_all_told = False
            continue
        for trace in traces:
            reasons[str(trace)] = str(error.get("message") or error.get("category") or error)[:1_000]
    return reasons, is_all_told


def _event_properties(fields: Mapping[str, Any]) -> dict[str, str]:
    """Under internal names: small letters, digits and underscores. What is null is left out."""
    given = fields.get("properties")
    properties = given if isinstance(given, dict) else {}
    return {_internal(name): _text(value) for name, value in properties.items() if value is not None}


def _too_much(properties: Mapping[str, str]) -> str | None:
    """The first of the documented limits that they exceed."""
    if len(properties) > MOST_PROPERTIES:
        return f"{len(properties)} properties; HubSpot takes {MOST_PROPERTIES}: name those to send in allow_properties"
    for name, value in properties.items():
        most = MOST_IN_ADDRESS if "url" in name or "referrer" in name else MOST_IN_VALUE
        if len(name) > MOST_IN_NAME or not name[:1].isalpha():
            return f"the property {name[:100]} is no name that HubSpot takes: a letter first, {MOST_IN_NAME} characters at most"
        if len(value) > most:
            return f"the property {name} has {len(value)} characters; HubSpot takes {most}"
    return None


@lru_cache(maxsize=4_096)  # the same few names again and again
def _internal(name: str) -> str:
    """The form of HubSpot's own internal names.

    >>> _internal("Email Link Clicked"), _internal("campaignId")
    ('email_link_clicked', 'campaignid')
    """
    return _OTHERS.sub("_", name.lower()).strip("_")


def _text(value: Any) -> str:
    """Every property is text; of a checkbox with several values they are joined by `;`."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ";".join(value)
    return "" if value is None else msgspec.json.encode(value).decode()


def _uuid(identity: Any) -> str | None:
    """The id itself where it is a UUID, else the one that follows from it."""
    if identity is None:
        return None
    try:
        return str(uuid.UUID(str(identity)))
    except ValueError:
        return str(uuid.uuid5(_IDS, str(identity)))
