"""Mixpanel: events by /import in strict mode, user profiles by /engage, group profiles by /groups.

Facts: https://docs.mixpanel.com/reference/import-events, https://docs.mixpanel.com/reference/profile-set,
https://docs.mixpanel.com/reference/group-set-property, https://docs.mixpanel.com/reference/user-profile-limits and the OpenAPI files in
https://github.com/mixpanel/docs. /import takes events of any age since 1971: the five days are a limit of /track, which is not used.

Not known from public sources: the exact form in which /engage and /groups name single bad records under strict=1 (`per-record error
messages`); what is read here is /import's `failed_records`, and the documented `1`, `0` and `{"status": 0, "error": ...}`.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Annotated, Any, ClassVar, Final, NamedTuple, cast
from urllib.parse import quote

import msgspec

from headrace.destinations._answers import of_status, unreadable
from headrace.destinations._bodies import object_in, objects_in
from headrace.destinations._epoch import epoch_milliseconds
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

MOST_OBJECTS: Final = 2_000
MOST_BYTES: Final = 2_000_000
"""The documentation says 10 MB in one place and 2,097,152 bytes in another (413): the smaller one holds either way."""
_INSERT_ID: Final = re.compile(r"[A-Za-z0-9-]{1,36}", re.ASCII)
# https://docs.mixpanel.com/reference/import-events#propertiesdistinct_id; $insert_id has the same list
_NOT_INSERT_IDS: Final = frozenset(
    (
        *("anon", "anonymous", "nil", "none", "null", "na", "undefined", "unknown", "0", "-1", "true", "false"),
        "00000000-0000-0000-0000-000000000000",
    )
)

_WHO: Final = "userId ?? anonymousId ?? context.traits.email"
_EVENT: Final = {
    "properties": "properties",
    "properties.$os": "context.os.name",
    "properties.$app_version_string": "context.app.version",
    "properties.$manufacturer": "context.device.manufacturer",
    "properties.$model": "context.device.model",
    "properties.$carrier": "context.network.carrier",
    "properties.$current_url": "context.page.url",
    "properties.$referrer": "context.page.referrer",
    "properties.time": "timestamp",
    "properties.distinct_id": _WHO,
    "properties.$device_id": "anonymousId",
    "properties.$user_id": "userId",
    "properties.$insert_id": "messageId",
    "properties.ip": "context.ip",
}


class MixpanelSettings(DestinationSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    project_token: Annotated[str, described("The project's token (Project settings > Overview).", secret=True)]
    project_id: Annotated[str, described("The project's id, where a service account is used.")] = ""
    service_account: Annotated[
        str,
        described("The user name of a service account with the role Owner or Admin; without one the token is used."),
    ] = ""
    service_account_secret: Annotated[str, described("The service account's secret.", secret=True)] = ""
    endpoint: Annotated[
        str,
        described(
            "The project's region: https://api.mixpanel.com, https://api-eu.mixpanel.com or https://api-in.mixpanel.com."
        ),
    ] = "https://api.mixpanel.com"


class _Object(NamedTuple):
    """What goes to one of the three doors, for the event at this place of the batch."""

    door: str
    body: bytes
    place: int


class MixpanelKind(HttpKind):
    title = "Mixpanel"
    summary = "Product analytics: events, user profiles from identify, group profiles from group."
    docs_url = "https://docs.mixpanel.com/reference/import-events"
    tried = "a stand-in of the documented API; not yet a live account"
    setup = (
        "Copy the project token from Project settings > Overview.",
        "Better than the token alone is a service account with the role Owner or Admin (Organization settings > Service accounts).",
    )
    drops_repeats = (
        "By $insert_id, which is made of the messageId, together with event name, time and distinct_id; profiles are set, "
        "so that a repeat changes nothing."
    )
    types = frozenset(("track", "identify", "page", "screen", "group"))
    mapping: ClassVar[Mappings] = {
        "track": {"event": "event", **_EVENT},
        "page": {"event": {"constant": "Page Viewed"}, **_EVENT, "properties.name": "name ?? properties.name"},
        "screen": {"event": {"constant": "Screen Viewed"}, **_EVENT, "properties.name": "name ?? properties.name"},
        "identify": {
            "$distinct_id": _WHO,
            "$set": "traits",
            "$set.$email": "traits.email",
            "$set.$name": "traits.name",
            "$set.$first_name": "traits.firstName",
            "$set.$last_name": "traits.lastName",
            "$set.$phone": "traits.phone",
            "$set.$avatar": "traits.avatar",
            "time": "timestamp",
            "$device_id": "anonymousId",
            "$user_id": "userId",
            "$insert_id": "messageId",
        },
        "group": {
            "$group_key": {"constant": "company"},
            "$group_id": "groupId",
            "$set": "traits",
            "$distinct_id": _WHO,
        },
    }
    required: ClassVar[Mapping[str, Sequence[str]]] = {
        "track": ("event", "properties.distinct_id", "properties.$insert_id"),
        "page": ("event", "properties.distinct_id", "properties.$insert_id"),
        "screen": ("event", "properties.distinct_id", "properties.$insert_id"),
        "identify": ("$distinct_id",),
        "group": ("$group_key", "$group_id"),
    }
    batching = Batching(events=MOST_OBJECTS, bytes=1_800_000)
    Settings = MixpanelSettings

    def __init__(self, settings: DestinationSettings, place: Place) -> None:
        """Raises ConfigError for an endpoint that is no address, and for half a service account."""
        super().__init__(settings, place)
        self._own = own = cast("MixpanelSettings", settings)
        if not own.endpoint.startswith(("https://", "http://")):
            raise ConfigError("destination: endpoint must begin with https://")
        given = [bool(own.service_account), bool(own.service_account_secret), bool(own.project_id)]
        if any(given) and not all(given):
            raise ConfigError(
                "destination: a service account needs service_account, service_account_secret and project_id together"
            )
        base = own.endpoint.rstrip("/")
        project = f"&project_id={quote(own.project_id, safe='')}" if own.project_id else ""
        user = own.service_account or own.project_token
        self._authorization = "Basic " + b64encode(f"{user}:{own.service_account_secret}".encode()).decode()
        # ip=0: else Mixpanel would place people where this server stands
        self._url_by_door = {
            "import": f"{base}/import?strict=1{project}",
            "engage": f"{base}/engage?ip=0&strict=1",
            "groups": f"{base}/groups?ip=0&strict=1",
        }

    def requests(self, batch: Sequence[Prepared]) -> Sequence[Outgoing]:
        objects = [
            _Object(door, msgspec.json.encode(made), place)
            for place, prepared in enumerate(batch)
            for door, made in self._objects(prepared)
        ]
        outgoing = []
        for door in self._url_by_door:
            own = [item for item in objects if item.door == door]
            for portion in portions([len(item.body) for item in own], MOST_OBJECTS, MOST_BYTES - 2):
                part = own[portion.start : portion.stop]
                outgoing.append(Outgoing(self._request(door, part), [item.place for item in part]))
        return outgoing

    def _request(self, door: str, objects: Sequence[_Object]) -> Request:
        headers = {"content-type": "application/json", "accept": "application/json"}
        if door == "import":
            headers["authorization"] = self._authorization
        body = b"[" + b",".join(item.body for item in objects) + b"]"
        return Request("POST", self._url_by_door[door], headers, body)

    def _objects(self, prepared: Prepared) -> Sequence[tuple[str, Mapping[str, Any]]]:
        fields = dict(prepared.fields or {})
        if prepared.event.type == "identify":
            return self._of_identify(fields)
        if prepared.event.type == "group":
            return self._of_group(fields)
        properties = dict(fields["properties"])
        properties["time"] = epoch_milliseconds(properties.get("time"))
        properties["$insert_id"] = insert_id(str(properties["$insert_id"]))
        # https://docs.mixpanel.com/reference/import-events#geoip-enrichment: without an ip the sender's would be taken; 0 says none
        properties.setdefault("ip", 0)
        return [("import", {**fields, "properties": properties})]

    def _of_identify(self, fields: Mapping[str, Any]) -> Sequence[tuple[str, Mapping[str, Any]]]:
        """The profile; and where both ids are known an event that joins them, in the words of both ways in which projects merge ids:
        https://docs.mixpanel.com/docs/tracking-methods/id-management and https://docs.mixpanel.com/reference/create-identity"""
        device, user = fields.get("$device_id"), fields.get("$user_id")
        profile = self._update(fields, "$distinct_id", "$set")
        if not device or not user or device == user:
            return [("engage", profile)]
        properties = {
            "time": epoch_milliseconds(fields.get("time")),
            "distinct_id": user,
            "$user_id": user,
            "$device_id": device,
            "$identified_id": user,
            "$anon_id": device,
            "$insert_id": insert_id(f"{fields.get('$insert_id')}-identify"),
            "ip": 0,
        }
        return [("import", {"event": "$identify", "properties": properties}), ("engage", profile)]

    def _of_group(self, fields: Mapping[str, Any]) -> Sequence[tuple[str, Mapping[str, Any]]]:
        group = ("groups", self._update(fields, "$group_key", "$group_id", "$set"))
        if not fields.get("$distinct_id"):
            return [group]
        belongs = {str(fields["$group_key"]): [fields["$group_id"]]}
        return [group, ("engage", self._update({**fields, "$union": belongs}, "$distinct_id", "$union"))]

    def _update(self, fields: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
        return {"$token": self._own.project_token, **{name: fields.get(name, {}) for name in names}}

    def results(self, outgoing: Outgoing, batch: Sequence[Prepared], answer: Answer) -> Sequence[Result]:
        """What Mixpanel does not name in `failed_records` it has taken."""
        del batch
        everything = of_status(answer, self.place.now(), whole=len(set(outgoing.events)) > 1)
        if answer.status not in (200, 400):
            return [everything] * len(outgoing.events)
        body = object_in(answer.body)
        reasons = _reasons(body, len(outgoing.events))
        if reasons:
            return [reasons.get(index, DELIVERED) for index in range(len(outgoing.events))]
        if everything.outcome == "delivered":
            everything = _of_200(answer, body, whole=len(set(outgoing.events)) > 1)
        return [everything] * len(outgoing.events)


def insert_id(message_id: str) -> str:
    """At most 36 letters, digits and `-`; what does not fit becomes the beginning of its hash, as Mixpanel recommends.

    >>> insert_id("m-1"), insert_id("id with spaces")
    ('m-1', 'bd1e442c96c6045c725994464547f529e9b7')
    """
    if _INSERT_ID.fullmatch(message_id) and message_id.lower() not in _NOT_INSERT_IDS:
        return message_id
    return sha256(message_id.encode("utf-8", "surrogatepass")).hexdigest()[:36]


def _reasons(body: Mapping[str, Any], count: int) -> Mapping[int, Result]:
    """https://docs.mixpanel.com/troubleshooting/errors/400-bad-request: a 400 is a partial success."""
    reasons = {}
    for failed in objects_in(body.get("failed_records")):
        index = failed.get("index")
        if type(index) is int and 0 <= index < count:
            reason = f"{failed.get('field', '')}: {failed.get('message', '')}".strip(": ")
            reasons[index] = Result("failed", "MESSAGE_REJECTED", (reason or "refused without a reason")[:1_000])
    return reasons


def _of_200(answer: Answer, body: Mapping[str, Any], *, whole: bool) -> Result:
    """/import says code 200; the profiles' doors say 1 or 0, or the same as `status`, and 200 also where they refuse."""
    text = answer.body.strip()
    if text == b"1" or body.get("code") == 200 or body.get("status") in (1, "OK"):
        return DELIVERED
    if text == b"0" or body.get("status") in (0, "error"):
        detail = str(body.get("error") or "Mixpanel answered 0: nothing in the request is valid")[:1_000]
        return Result("failed", "MESSAGE_REJECTED", detail, is_whole_request=whole)
    return unreadable(answer)
