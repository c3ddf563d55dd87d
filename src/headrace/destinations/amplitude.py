"""Amplitude: events, user properties and group properties by its HTTP V2 API.

Identify and group events go the same way, as Amplitude's predefined event types `$identify` and `$groupidentify`, instead of by the
Identify and Group Identify APIs: their updates then share the requests, the insert_id and the errors per event of everything else.
Facts: https://amplitude.com/docs/apis/analytics/http-v2 and https://amplitude.com/docs/apis/analytics/http-api-batching-retries
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Final, cast

import msgspec

from headrace.destinations._answers import of_status, unreadable
from headrace.destinations._bodies import indexes_in, object_in
from headrace.destinations._epoch import epoch_milliseconds
from headrace.destinations._portions import portions
from headrace.destinations.base import (
    Answer,
    Batching,
    DestinationSettings,
    Http,
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

# https://amplitude.com/docs/apis/analytics/http-v2: up to 2,000 events and under 1 MB a request, else 413
MOST_OBJECTS: Final = 2_000
MOST_BYTES: Final = 1_000_000
# as above, 429: pause 30 seconds for that user or device
PAUSE_SECONDS: Final = 30.0
# https://amplitude.com/docs/apis/analytics/batch-event-upload: 500,000 events of a user in the last 24 hours; asked again every hour
QUOTA_PAUSE_SECONDS: Final = 3_600.0
# https://amplitude.com/docs/apis/analytics/http-v2, Invalid IDs
INVALID_IDS: Final = frozenset(
    (
        *("anonymous", "nil", "none", "null", "n/a", "na", "undefined", "unknown", "", "{}", "lmy47d", "0", "-1"),
        "00000000-0000-0000-0000-000000000000",
    )
)
_ENVELOPE_BYTES: Final = 1_000
_OF_GROUP: Final[Sequence[str]] = ("user_id", "device_id", "time", "ip")

_WHO: Final = {
    "user_id": "userId",
    "device_id": "context.device.id ?? anonymousId ?? context.traits.email",
    "time": "timestamp",
    "insert_id": "messageId",
    "ip": "context.ip",
}
_WHERE: Final = {
    "app_version": "context.app.version",
    "platform": "context.device.type",
    "os_name": "context.os.name",
    "os_version": "context.os.version",
    "device_manufacturer": "context.device.manufacturer",
    "device_model": "context.device.model",
    "carrier": "context.network.carrier",
    "country": "context.location.country",
    "region": "context.location.region",
    "city": "context.location.city",
    "language": "context.locale",
}
_TRACKED: Final = {**_WHO, **_WHERE, "user_properties": "context.traits"}


class AmplitudeSettings(DestinationSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    api_key: Annotated[str, described("The project's API key.", secret=True)]
    endpoint: Annotated[
        str, described("The project's region: https://api2.amplitude.com, or https://api.eu.amplitude.com in the EU.")
    ] = "https://api2.amplitude.com"
    min_id_length: Annotated[
        int,
        msgspec.Meta(description="Amplitude drops ids that are shorter; its own default would be 5.", ge=1, le=100),
    ] = 1


class AmplitudeKind(HttpKind):
    title = "Amplitude"
    summary = "Product analytics: events, user properties from identify, group properties from group."
    docs_url = "https://amplitude.com/docs/apis/analytics/http-v2"
    tried = "a stand-in of the documented API; not yet a live account"
    setup = (
        "Open the project in Organization settings > Projects and copy its API key.",
        "Group events need Amplitude's Accounts add-on.",
    )
    drops_repeats = (
        "By insert_id, which is the messageId: Amplitude ignores the same one of the same device within 7 days."
    )
    types = frozenset(("track", "identify", "page", "screen", "group"))
    mapping: ClassVar[Mappings] = {
        "track": {
            "event_type": "event",
            **_TRACKED,
            "event_properties": "properties",
            "revenue": "properties.revenue",
        },
        "page": {
            "event_type": {"constant": "Page Viewed"},
            **_TRACKED,
            "event_properties": "properties",
            "event_properties.name": "name ?? properties.name",
        },
        "screen": {
            "event_type": {"constant": "Screen Viewed"},
            **_TRACKED,
            "event_properties": "properties",
            "event_properties.name": "name ?? properties.name",
        },
        "identify": {
            "event_type": {"constant": "$identify"},
            **_WHO,
            **_WHERE,
            "user_properties.$set": "traits",
        },
        "group": {
            **_WHO,
            "group_type": {"constant": "company"},
            "group_value": "groupId",
            "group_properties.$set": "traits",
        },
    }
    required: ClassVar[Mapping[str, Sequence[str]]] = {
        "*": ("user_id|device_id", "insert_id"),
        "track": ("event_type",),
        "page": ("event_type",),
        "screen": ("event_type",),
        "identify": ("event_type",),
        "group": ("group_type", "group_value"),
    }
    # a group event is two of Amplitude's, so half of what a request takes
    batching = Batching(events=MOST_OBJECTS // 2, bytes=800_000)
    Settings = AmplitudeSettings

    def __init__(self, settings: DestinationSettings, place: Place) -> None:
        """Raises ConfigError for an endpoint that is no address."""
        super().__init__(settings, place)
        self._own = cast("AmplitudeSettings", settings)
        if not self._own.endpoint.startswith(("https://", "http://")):
            raise ConfigError("destination: endpoint must begin with https://")
        self._url = self._own.endpoint.rstrip("/") + "/2/httpapi"

    def refusals(self, batch: Sequence[Prepared]) -> Mapping[int, Result]:
        """Ids that Amplitude refuses would fail their neighbours' request too."""
        found: dict[int, Result] = {}
        for place, prepared in enumerate(batch):
            fields = prepared.fields or {}
            for name in ("user_id", "device_id"):
                value = fields.get(name)
                if isinstance(value, str) and value.lower() in INVALID_IDS:
                    detail = f"{name} {value!r} is one of the values that Amplitude refuses as an id"
                    found[place] = Result("failed", "PAYLOAD_VALIDATION_FAILED", detail)
        return found

    def requests(self, batch: Sequence[Prepared]) -> Sequence[Outgoing]:
        refused = self.refusals(batch)
        objects: list[bytes] = []
        places: list[int] = []
        for place, prepared in enumerate(batch):
            if place not in refused:
                made = [msgspec.json.encode(fields) for fields in _objects(prepared)]
                objects += made
                places += [place] * len(made)
        return [
            Outgoing(self._request(objects[portion.start : portion.stop]), places[portion.start : portion.stop])
            for portion in portions([len(item) for item in objects], MOST_OBJECTS, MOST_BYTES - _ENVELOPE_BYTES)
        ]

    def _request(self, objects: Sequence[bytes]) -> Request:
        envelope = {
            "api_key": self._own.api_key,
            "events": msgspec.Raw(b"[" + b",".join(objects) + b"]"),
            "options": {"min_id_length": self._own.min_id_length},
        }
        return Request("POST", self._url, {"content-type": "application/json"}, msgspec.json.encode(envelope))

    async def send(self, batch: Sequence[Prepared], http: Http) -> Sequence[Result]:
        """The events beside those that Amplitude named go once more together, as its guide to batching says, and not each alone."""
        results = list(await super().send(batch, http))
        rest = [place for place, result in enumerate(results) if result.is_whole_request]
        if 0 < len(rest) < len(batch):
            again = await super().send([batch[place] for place in rest], http)
            for place, result in zip(rest, again, strict=True):
                results[place] = result
        return results

    def results(self, outgoing: Outgoing, batch: Sequence[Prepared], answer: Answer) -> Sequence[Result]:
        """Nothing of a request that Amplitude refuses is taken, also not the events that it does not name."""
        everything = of_status(answer, self.place.now(), whole=len(set(outgoing.events)) > 1)
        body = object_in(answer.body)
        if everything.outcome == "delivered" and body.get("code") != 200:  # a portal on the way says 200 too
            everything = unreadable(answer)
        if answer.status == 400:
            return _refused(outgoing, everything, body)
        if answer.status == 429:
            return _limited(outgoing, batch, everything, body)
        return [everything] * len(outgoing.events)


def _objects(prepared: Prepared) -> Sequence[Mapping[str, Any]]:
    """Amplitude's events for one of ours: a group is the group's properties, and the user's being in it."""
    fields = dict(prepared.fields or {})
    fields["time"] = epoch_milliseconds(fields.get("time"))
    if prepared.event.type != "group":
        return [fields]
    kind, value = str(fields.pop("group_type")), fields.pop("group_value")
    properties = fields.pop("group_properties", {})
    who = {name: fields[name] for name in _OF_GROUP if name in fields}
    belongs: dict[str, Any] = {
        **who,
        "event_type": "$identify",
        "insert_id": fields["insert_id"],
        "groups": {kind: value},
        "user_properties": {"$set": {kind: value}},
    }
    group: dict[str, Any] = {
        **who,
        "event_type": "$groupidentify",
        "insert_id": f"{fields['insert_id']}-group",
        "groups": {kind: value},
        "group_properties": properties,
    }
    return [belongs, group]


def _refused(outgoing: Outgoing, everything: Result, body: Mapping[str, Any]) -> Sequence[Result]:
    """https://amplitude.com/docs/apis/analytics/http-v2, 400 response: invalid, missing and silenced, by index."""
    error = str(body.get("error", ""))
    if error == "Invalid API key" or body.get("missing_field") == "api_key":
        return [Result("failed", "INVALID_AUTHENTICATION", everything.detail)] * len(outgoing.events)
    reasons: dict[int, Result] = {}
    for index in indexes_in(body.get("throttled_events")):
        reasons[index] = Result("retry", "429", everything.detail, retry_after_seconds=PAUSE_SECONDS)
    for index in indexes_in(body.get("silenced_events")):
        reasons[index] = Result("failed", "MESSAGE_REJECTED", "Amplitude has silenced the event's device")
    for said_of, word in (("events_with_missing_fields", "missing"), ("events_with_invalid_fields", "invalid")):
        by_field = body.get(said_of)
        for field, indexes in by_field.items() if isinstance(by_field, dict) else ():
            for index in indexes_in(indexes):
                reasons[index] = Result("failed", "MESSAGE_REJECTED", f"{word} field {field} ({error})"[:1_000])
    return [reasons.get(index, everything) for index in range(len(outgoing.events))]


def _limited(
    outgoing: Outgoing, batch: Sequence[Prepared], everything: Result, body: Mapping[str, Any]
) -> Sequence[Result]:
    """As above, 429 response. Events of other users need not wait for those that are throttled."""
    throttled = set(indexes_in(body.get("throttled_events")))
    exceeded = {
        str(name)
        for said_of in ("exceeded_daily_quota_users", "exceeded_daily_quota_devices")
        for name in _names(body.get(said_of))
    }
    made = []
    for index, place in enumerate(outgoing.events):
        fields = batch[place].fields or {}
        if exceeded & {str(fields.get("user_id")), str(fields.get("device_id"))}:
            wait: float | None = QUOTA_PAUSE_SECONDS
        elif index in throttled or not (throttled or exceeded):
            wait = everything.retry_after_seconds or PAUSE_SECONDS
        else:
            wait = None
        made.append(msgspec.structs.replace(everything, retry_after_seconds=wait))
    return made


def _names(value: Any) -> Sequence[str]:
    return list(value) if isinstance(value, dict) else []
