"""Google Analytics 4: events of a web stream by the Measurement Protocol.

The protocol answers 2xx to whatever it receives, also to what it then throws away, to a wrong secret and to repeats. So the documented
rules are checked here, before an event is sent, and `validate` asks Google's validation server first.
Facts: https://developers.google.com/analytics/devguides/collection/protocol/ga4/reference (fields, reserved names),
https://developers.google.com/analytics/devguides/collection/protocol/ga4/sending-events (limits, timestamps) and
https://developers.google.com/analytics/devguides/collection/protocol/ga4/validating-events (validation server).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from copy import copy
from typing import Annotated, ClassVar, Final, Literal, cast
from urllib.parse import urlencode

import msgspec

from headrace.destinations import _google_analytics_4_rules as rules
from headrace.destinations._answers import collected, of_status, unreadable
from headrace.destinations._bodies import object_in, objects_in
from headrace.destinations._portions import portions
from headrace.destinations.base import (
    DELIVERED,
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

# sending-events, Limitations
MOST_EVENTS: Final = 25
MOST_BYTES: Final = 130_000
_ENVELOPE_BYTES: Final = 100
_OF_REQUEST: Final[Sequence[str]] = (
    *("client_id", "user_id", "consent", "user_location", "ip_override", "device", "user_agent", "user_data"),
)
_INDEX: Final = re.compile(r"index:? *\[?([0-9]{1,3})|events\[([0-9]{1,3})\]|events\.([0-9]{1,3})", re.ASCII)

_CLIENT: Final = 'integrations["Google Analytics 4"].client_id ?? anonymousId ?? userId ?? context.traits.email'
_EVENT: Final = {
    "client_id": _CLIENT,
    "user_id": "userId",
    "ip_override": "context.ip",
    "user_agent": "context.userAgent",
    "timestamp_micros": "timestamp",
    "params": "properties",
    "params.session_id": 'integrations["Google Analytics 4"].session_id',
    "params.page_location": "properties.page_location ?? context.page.url",
    "params.page_referrer": "properties.page_referrer ?? context.page.referrer",
}


class GoogleAnalytics4Settings(DestinationSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    measurement_id: Annotated[str, described("The web stream's measurement id, G- and letters.")]
    api_secret: Annotated[
        str, described("A Measurement Protocol API secret of the stream; Google has it in the address.", secret=True)
    ]
    endpoint: Annotated[
        str,
        described(
            "https://www.google-analytics.com, or https://region1.google-analytics.com to have data collected in the EU."
        ),
    ] = "https://www.google-analytics.com"
    event_names: Annotated[
        dict[str, str],
        described('Names of track events in Google Analytics, for example {"Order Completed": "purchase"}.'),
    ] = msgspec.field(default_factory=dict)
    over_limits: Annotated[
        Literal["leave_out", "fail"],
        msgspec.Meta(
            description="Parameters that are over Google's limits, which it would ignore: leave_out sends the event without them, "
            "fail makes the event a dead letter that names them."
        ),
    ] = "leave_out"
    validate: Annotated[
        bool,
        described(
            "Ask Google's validation server about each request before it is sent, and fail what it finds: for setting up."
        ),
    ] = False


class GoogleAnalytics4Kind(HttpKind):
    title = "Google Analytics 4"
    summary = "Web and campaign analytics: events of a web stream, grouped by client. Its answers say nothing: what breaks the rules fails here."
    docs_url = "https://developers.google.com/analytics/devguides/collection/protocol/ga4/reference"
    tried = "a stand-in of the documented API; not yet a live account"
    setup = (
        "In Admin > Data collection and modification > Data streams choose the web stream and copy its measurement id.",
        "There create a secret under Measurement Protocol API secrets.",
    )
    drops_repeats = "Not at all, except purchases of one transaction_id: an event that is sent again after a time-out may count twice."
    types = frozenset(("track", "page", "screen", "group"))
    mapping: ClassVar[Mappings] = {
        "track": {"name": "event", **_EVENT},
        "page": {
            "name": {"constant": "page_view"},
            **_EVENT,
            "params.page_location": "properties.url ?? context.page.url",
            "params.page_referrer": "properties.referrer ?? context.page.referrer",
            "params.page_title": "properties.title ?? context.page.title ?? name",
        },
        # screen_view is reserved for streams of apps
        "screen": {"name": {"constant": "screen_viewed"}, **_EVENT, "params.screen_name": "name ?? properties.name"},
        "group": {
            **{field: rule for field, rule in _EVENT.items() if not field.startswith("params")},
            "name": {"constant": "join_group"},
            "params.group_id": "groupId",
        },
    }
    required: ClassVar[Mapping[str, Sequence[str]]] = {"*": ("name", "client_id")}
    # each client's events become requests of at most 25; events of a hundred clients are a hundred requests
    batching = Batching(events=100, bytes=1_000_000)
    Settings = GoogleAnalytics4Settings

    def __init__(self, settings: DestinationSettings, place: Place) -> None:
        """Raises ConfigError for an endpoint that is no address and for an id that is no measurement id."""
        super().__init__(settings, place)
        self._own = own = cast("GoogleAnalytics4Settings", settings)
        if not own.endpoint.startswith(("https://", "http://")):
            raise ConfigError("destination: endpoint must begin with https://")
        if not re.fullmatch(r"G-[A-Za-z0-9]{4,20}", own.measurement_id, re.ASCII):
            raise ConfigError("destination: measurement_id must be G- and letters or digits; it is not the stream's id")
        self._is_check = False

    @property
    def time_limit_seconds(self) -> float:
        """Long enough for a request for each event of a batch: what is cancelled is sent again, and counted twice."""
        return 120.0

    def refusals(self, batch: Sequence[Prepared]) -> Mapping[int, Result]:
        found = {}
        for place, prepared in enumerate(batch):
            made = self._made(prepared)
            if isinstance(made, str):
                found[place] = Result("failed", "PAYLOAD_VALIDATION_FAILED", made[:1_000])
        return found

    def _made(self, prepared: Prepared) -> tuple[bytes, bytes] | str:
        """What the request says of the client, and the event itself; or why it cannot be sent."""
        fields = dict(prepared.fields or {})
        given = str(fields["name"])
        name = self._own.event_names.get(given) or rules.event_name(given)
        made = rules.made_event(name, fields, self.place.now())
        if isinstance(made, str):
            return made
        event, left_out = made
        properties, more_left_out = rules.user_properties(fields.pop("user_properties", None))
        if self._own.over_limits == "fail" and (left_out or more_left_out):
            return f"over the limits of Google Analytics: {', '.join((*left_out, *more_left_out))}"
        client = {field: fields[field] for field in _OF_REQUEST if field in fields}
        client["client_id"] = rules.client_id(str(client["client_id"]))
        if properties:
            client["user_properties"] = properties
        encoded = msgspec.json.encode(client, order="sorted"), msgspec.json.encode(event)
        if len(encoded[0]) + len(encoded[1]) > MOST_BYTES - _ENVELOPE_BYTES:
            return "the event alone is larger than the 130 kB that Google Analytics takes in a request"
        return encoded

    def requests(self, batch: Sequence[Prepared]) -> Sequence[Outgoing]:
        """Events that share everything that is said of the client share requests."""
        events_by_client: dict[bytes, list[tuple[int, bytes]]] = {}
        for place, prepared in enumerate(batch):
            made = self._made(prepared)
            if not isinstance(made, str):
                events_by_client.setdefault(made[0], []).append((place, made[1]))
        outgoing = []
        for client, events in events_by_client.items():
            room = MOST_BYTES - len(client) - _ENVELOPE_BYTES
            for portion in portions([len(event) for _, event in events], MOST_EVENTS, room):
                part = events[portion.start : portion.stop]
                request = self._request(client, [event for _, event in part])
                outgoing.append(Outgoing(request, [place for place, _ in part]))
        return outgoing

    def _request(self, client: bytes, events: Sequence[bytes]) -> Request:
        door = "debug/mp/collect" if self._is_check else "mp/collect"
        query = urlencode({"measurement_id": self._own.measurement_id, "api_secret": self._own.api_secret})
        strict = b',"validation_behavior":"ENFORCE_RECOMMENDATIONS"' if self._is_check else b""
        body = client[:-1] + strict + b',"events":[' + b",".join(events) + b"]}"
        url = f"{self._own.endpoint.rstrip('/')}/{door}?{query}"
        return Request("POST", url, {"content-type": "application/json"}, body)

    def results(self, outgoing: Outgoing, batch: Sequence[Prepared], answer: Answer) -> Sequence[Result]:
        del batch
        everything = of_status(answer, self.place.now(), whole=len(outgoing.events) > 1)
        if self._is_check and everything.outcome == "delivered":
            return _found(outgoing, answer)
        return [everything] * len(outgoing.events)

    async def send(self, batch: Sequence[Prepared], http: Http) -> Sequence[Result]:
        """With `validate` the validation server first; only what it finds nothing in goes to Google Analytics."""
        if not self._own.validate:
            return await super().send(batch, http)
        check = copy(self)
        check._is_check = True  # noqa: SLF001 -- of this class
        results = list(await collected(check, batch, http))
        sound = [place for place, result in enumerate(results) if result.outcome == "delivered"]
        if sound:
            sent = await super().send([batch[place] for place in sound], http)
            for place, result in zip(sound, sent, strict=True):
                results[place] = result
        return results


def _found(outgoing: Outgoing, answer: Answer) -> Sequence[Result]:
    """validating-events, Response: a list of messages, empty where all is well; the event's index stands in their texts."""
    body = object_in(answer.body)
    if not isinstance(body.get("validationMessages"), list):
        return [unreadable(answer)] * len(outgoing.events)
    count = len(outgoing.events)
    everything = DELIVERED
    reasons: dict[int, Result] = {}
    for message in objects_in(body["validationMessages"]):
        path, text = str(message.get("fieldPath", "")), str(message.get("description", ""))
        detail = f"{message.get('validationCode', '')} {path}: {text}".strip(" :")[:1_000]
        match = _INDEX.search(f"{path} {text}")
        index = int(next(group for group in match.groups() if group)) if match else count
        if index < count:
            reasons[index] = Result("failed", "MESSAGE_REJECTED", detail)
        else:
            everything = Result("failed", "MESSAGE_REJECTED", detail, is_whole_request=count > 1)
    return [reasons.get(index, everything) for index in range(count)]
