"""Selligent Marketing Cloud: identify fills a list of profiles, group a static segment, track, page, screen and alias a list of events.

What goes where is Segment's page of its own destination (https://segment.com/docs/connections/destinations/catalog/selligent-marketing-cloud/):
settings, userId = the business key, groupId = the api_name of a static segment that exists, the traits matchkey, userlist and method, and
`segment_events` as the usual list of events. Requests and answers are the vendor's own description of its API
(https://github.com/WPP-Public/wtd-selligent-api/blob/main/spec.yaml: rows are arrays in the order of `fields`; Data_LoadData is
`POST .../lists/{list}/data/load`, Data_DeleteSegmentData `DELETE .../segments/{segment}/data`).
Members are POSTed to `.../segments/{segment}/data`, as public clients do; that description has Data_LoadSegmentData at
`.../segments/{segment}/data/load`, for which `segment_path` is there.
2,500 rows or 20 MB a request: https://docs.tealium.com/server-side-connectors/selligent-by-marigold-connector/ .
2,500 requests a minute and key: https://getstarted.meetmarigold.com/engage/EN/Content/Technical_Documents/SelligentAPIRateLimitation.htm .

What public sources do not say, and what is therefore a setting or a mapping, never a guess about somebody's account:
- the fields of the list of events. Those of the default mapping are headrace's own names; the list must have them, or the mapping be changed;
- which list identify fills and which field of it is the business key: `list` and `list_key_field`; without them identify events are left out;
- whether field names distinguish capitals: they are sent as the traits are named;
- what becomes of a field that is null, or missing from a row: rows with the same fields go together, so that none is sent that the event lacks.

Values that are objects or arrays are sent as JSON text, since a field is one value.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Annotated, Any, ClassVar, Final, Literal, NamedTuple, cast
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from headrace.destinations import _selligent_answers
from headrace.destinations._answers import collected
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
from headrace.event import Event

MOST_ROWS: Final = 2_500
MOST_BYTES: Final = 20_000_000
MOST_STEPS: Final = 8
"""Requests one after the other in a call of `send`; what would come after them is tried again later."""
WARN_DAYS: Final = 30
_METHODS: Final = frozenset(("ADD", "REMOVE"))

_ROW: Final = {
    "message_id": "messageId",
    "type": "type",
    "timestamp": "timestamp",
    "user_id": "userId",
    "anonymous_id": "anonymousId",
}
_WITH_PROPERTIES: Final = {**_ROW, "email": "context.traits.email", "properties": "properties"}

_encode: Final = msgspec.json.Encoder().encode


class SelligentSettings(DestinationSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    api_key: Annotated[str, described("The key of the service account.", secret=True)]
    api_secret: Annotated[str, described("The secret of the service account.", secret=True)]
    url: Annotated[
        str,
        described(
            "The address at which one logs in to the Admin: https://company.slgnt.us or https://company.slgnt.eu."
        ),
    ]
    organization: Annotated[str, described("The organization, as at the top right of the Admin.")]
    api_secret_expires: Annotated[
        date | None, described("The day on which the service account expires; headrace warns from 30 days before.")
    ] = None
    allowed_events: Annotated[
        tuple[str, ...], described("Only track events of these names are sent, as a list. Empty: all of them.")
    ] = ()
    events_list: Annotated[
        str, described("The api_name of the list of events, which gets track, page, screen and alias.")
    ] = "segment_events"
    events_key_field: Annotated[
        str, described("The field of the list of events by which a repeated event is known again.")
    ] = "message_id"
    list: Annotated[
        str,
        described("The api_name of the list of profiles, which gets identify. Empty: identify events are left out."),
    ] = ""
    list_key_field: Annotated[
        str, described("The field of that list which is the business key; it gets the userId.")
    ] = ""
    segment_path: Annotated[
        Literal["data", "data/load"],
        described(
            "Where members of a static segment are POSTed to, after the segment's name; data/load for an API that has it there."
        ),
    ] = "data"
    requests_per_second: Annotated[
        float,
        msgspec.Meta(description="Requests a second at the most; 0 is no limit. The tool takes 2,500 a minute.", ge=0),
    ] = 40.0


class _Target(NamedTuple):
    """What rows of one request have in common."""

    method: str
    path: str
    key_field: str
    fields: tuple[str, ...]


class _Row(NamedTuple):
    target: _Target
    values: tuple[Any, ...]
    owner: str
    """Whose event it is; empty where nobody knows."""
    is_change: bool
    """It changes its owner's profile or membership; a row of the list of events changes nothing that is there."""


class SelligentMarketingCloudKind(HttpKind):
    title = "Selligent Marketing Cloud"
    summary = "Profiles, static segments and a list of events in Selligent Marketing Cloud (Marigold Engage)."
    docs_url = "https://segment.com/docs/connections/destinations/catalog/selligent-marketing-cloud/"
    tried = "a stand-in of the vendor's description of its API; not yet a live account"
    setup: ClassVar[Sequence[str]] = (
        "Ask your Selligent contact for a list of events (segment_events) with the fields of docs/destinations/selligent-marketing-cloud.md.",
        "In the Admin, under Access Management, Service Accounts, make an account of the type Custom with an expiration date; copy key and secret.",
        "Make each static segment that group calls name before the first call.",
    )
    drops_repeats = "By key: the events' list by message_id, profiles and segments by their own key, so that a repeat changes nothing."
    mapping: ClassVar[Mappings] = {
        "track": {**_WITH_PROPERTIES, "event": "event"},
        "page": {**_WITH_PROPERTIES, "event": "name"},
        "screen": {**_WITH_PROPERTIES, "event": "name"},
        "alias": {**_ROW, "previous_id": "previousId"},
        "identify": {"userId": "userId", "traits": "traits"},
        "group": {
            "userId": "userId",
            "groupId": "groupId",
            "matchkey": "traits.matchkey",
            "userlist": "traits.userlist",
            "method": "traits.method",
        },
    }
    required: ClassVar[Mapping[str, Sequence[str]]] = {
        "identify": ("userId",),
        "group": ("userId", "groupId", "matchkey", "userlist"),
    }
    batching = Batching(events=MOST_ROWS, bytes=4_000_000, wait_seconds=0.2)
    Settings = SelligentSettings

    def __init__(self, settings: DestinationSettings, place: Place) -> None:
        """Raises ConfigError for an address that is none, a key that cannot be a header, and a list without its key."""
        super().__init__(settings, place)
        own = self._own = cast("SelligentSettings", settings)
        for name in ("api_key", "api_secret"):
            value = getattr(own, name)
            if not value.strip() or not value.isascii() or not value.isprintable():
                raise ConfigError(f"destination: {name} must be the text that the service account shows")
        if not own.organization.strip() or not own.events_list.strip() or not own.events_key_field.strip():
            raise ConfigError("destination: organization, events_list and events_key_field must not be empty")
        if bool(own.list) != bool(own.list_key_field):
            raise ConfigError(
                "destination: list and list_key_field go together: the list of profiles, and its business key"
            )
        self._base = f"{_origin(own.url)}/Portal/Api/organizations/{quote(own.organization.strip(), safe='')}/lists/"
        self._headers = {
            "x-apikey": f"{own.api_key.strip()}:{own.api_secret.strip()}",
            "content-type": "application/json",
            "accept": "application/json",
        }
        self._allowed = frozenset(own.allowed_events)

    @property
    def time_limit_seconds(self) -> float:
        """Each step may take as long as a request, 10 seconds."""
        return 15.0 * MOST_STEPS

    def declines(self, event: Event) -> str | None:
        if event.type == "track" and self._allowed and event.event not in self._allowed:
            return "FILTERED_BY_RULES"
        return "UNSUPPORTED_EVENT_TYPE" if event.type == "identify" and not self._own.list else None

    def warnings(self) -> Sequence[str]:
        found = []
        expires = self._own.api_secret_expires
        if expires is not None:
            days = (expires - self.place.now().astimezone(UTC).date()).days
            remedy = "make a new one under Access Management, Service Accounts, and set api_key, api_secret and api_secret_expires"
            if days <= 0:
                found.append(f"destination {self.place.slug}: the service account expired on {expires}; {remedy}")
            elif days <= WARN_DAYS:
                found.append(
                    f"destination {self.place.slug}: the service account expires in {days} days, on {expires}; {remedy}"
                )
        if not self._own.list:
            found.append(
                f"destination {self.place.slug}: identify events are left out; set list and list_key_field to send them"
            )
        return found

    def refusals(self, batch: Sequence[Prepared]) -> Mapping[int, Result]:
        return _refused([self._row(prepared) for prepared in batch])

    def requests(self, batch: Sequence[Prepared]) -> Sequence[Outgoing]:
        steps = self._steps([self._row(prepared) for prepared in batch])
        return [outgoing for step in steps for outgoing in step]

    def results(self, outgoing: Outgoing, batch: Sequence[Prepared], answer: Answer) -> Sequence[Result]:
        of_group = batch[outgoing.events[0]].event.type == "group"
        return _selligent_answers.results(
            answer,
            len(outgoing.events),
            self.place.now(),
            is_segment=of_group,
            is_removal=outgoing.request.method == "DELETE",
        )

    async def send(self, batch: Sequence[Prepared], http: Http) -> Sequence[Result]:
        """Step by step, so that what is said of a user arrives in its order; requests of one step go at the same time. A later change of a
        profile or segment does not overtake an earlier one of the user that must be tried again; a row of the list of events may, since it
        stands for itself, unless the setting `ordered` says otherwise."""
        rows = [self._row(prepared) for prepared in batch]
        results = dict(_refused(rows))
        late: set[str] = set()
        for number, step in enumerate(self._steps(rows)):
            places = sorted(place for outgoing in step for place in outgoing.events)
            waiting = [place for place in places if number >= MOST_STEPS or self._waits(rows[place], late)]
            for place in waiting:
                results[place] = Result(
                    "retry", "WAITING_FOR_EARLIER", "an earlier event of this user has not gone through yet"
                )
            places = [place for place in places if place not in results]
            sent = await collected(self, [batch[place] for place in places], http) if places else ()
            for place, result in zip(places, sent, strict=True):
                results[place] = result
                row = rows[place]
                if (result.outcome == "retry" or result.is_whole_request) and isinstance(row, _Row) and row.is_change:
                    late.add(row.owner)
        return [results[place] for place in range(len(batch))]

    def _waits(self, row: _Row | str, late: Collection[str]) -> bool:
        return isinstance(row, _Row) and row.owner in late and (row.is_change or self.settings.ordered)

    def _steps(self, rows: Sequence[_Row | str]) -> Sequence[Sequence[Outgoing]]:
        """Requests by step. Rows of one target share a request up to its limits; a later row of a user goes no earlier than the row before it
        that changed the user's profile or segments, and in the same request only where the tool keeps the last of both, which is its default."""
        places_by_step: list[dict[_Target, list[int]]] = []
        sizes: dict[tuple[int, _Target], int] = {}
        last: dict[str, tuple[int, _Target]] = {}
        bodies: dict[int, bytes] = {}
        for place, row in enumerate(rows):
            if isinstance(row, str):
                continue
            body = bodies[place] = _encode(row.values)
            step, before = last.get(row.owner, (0, row.target)) if row.owner else (0, row.target)
            step += before != row.target
            while not self._has_room(places_by_step, sizes, step, row.target, len(body)):
                step += 1
            while len(places_by_step) <= step:
                places_by_step.append({})
            places_by_step[step].setdefault(row.target, []).append(place)
            sizes[step, row.target] = sizes.get((step, row.target), 2) + len(body) + 1
            if row.is_change:
                last[row.owner] = (step, row.target)
        return [
            [
                Outgoing(self._request(target, [bodies[place] for place in places]), places)
                for target, places in targets.items()
            ]
            for targets in places_by_step
        ]

    @staticmethod
    def _has_room(
        steps: Sequence[Mapping[_Target, Sequence[int]]],
        sizes: Mapping[tuple[int, _Target], int],
        step: int,
        target: _Target,
        size: int,
    ) -> bool:
        if step >= len(steps) or target not in steps[step]:
            return True
        return len(steps[step][target]) < MOST_ROWS and sizes[step, target] + size < MOST_BYTES

    def _request(self, target: _Target, rows: Sequence[bytes]) -> Request:
        asked = urlencode({"mode": "Sync", "keyFields": target.key_field, "fields": ",".join(target.fields)}, safe=",")
        return Request(
            target.method, f"{self._base}{target.path}?{asked}", self._headers, b"[" + b",".join(rows) + b"]"
        )

    def _row(self, prepared: Prepared) -> _Row | str:
        """Or why there is none."""
        fields = dict(prepared.fields or {})
        event = prepared.event
        match event.type:
            case "group":
                return self._membership(fields)
            case "identify":
                traits = fields.get("traits") or {}
                if not isinstance(traits, dict):
                    return "traits must be an object"
                values = {self._own.list_key_field: fields["userId"]}
                values |= {name: value for name, value in traits.items() if name not in values}
                user = str(fields["userId"])
                return _row(
                    f"{quote(self._own.list, safe='')}/data/load",
                    self._own.list_key_field,
                    values,
                    user,
                    is_change=True,
                )
        key = self._own.events_key_field
        if fields.get(key) in (None, ""):
            return (
                f"the field {key} is missing, by which the list of events knows a repeated event; add it to the mapping"
            )
        owner = event.user_id or ""
        return _row(f"{quote(self._own.events_list, safe='')}/data/load", key, fields, owner, is_change=False)

    def _membership(self, fields: Mapping[str, Any]) -> _Row | str:
        """groupId: the segment's api_name; matchkey: the field of userlist that is compared with userId; method: ADD, or REMOVE."""
        method = fields.get("method")
        method = "ADD" if method in (None, "") else method
        if not isinstance(method, str) or method.upper() not in _METHODS:
            return f"traits.method must be ADD or REMOVE, it is {str(method)[:100]!r}"
        for name in ("groupId", "matchkey", "userlist"):
            if not isinstance(fields[name], str):
                return f"{name} must be a text"
        user = str(fields["userId"])
        is_added = method.upper() == "ADD"
        path = (
            f"{quote(fields['userlist'], safe='')}/segments/{quote(fields['groupId'], safe='')}"
            f"/{self._own.segment_path if is_added else 'data'}"
        )
        row = _row(path, fields["matchkey"], {fields["matchkey"]: fields["userId"]}, user, is_change=True)
        return row if isinstance(row, str) or is_added else row._replace(target=row.target._replace(method="DELETE"))


def _refused(rows: Sequence[_Row | str]) -> Mapping[int, Result]:
    return {
        place: Result("failed", "PAYLOAD_VALIDATION_FAILED", row)
        for place, row in enumerate(rows)
        if isinstance(row, str)
    }


def _row(path: str, key_field: str, values: Mapping[str, Any], owner: str, *, is_change: bool) -> _Row | str:
    wrong = next((name for name in values if "," in name or not name.strip()), None)
    if wrong is not None:
        return (
            f"{wrong[:100]!r} cannot be the name of a field, since names are listed with commas; map it to another name"
        )
    fields = tuple(sorted(values, key=lambda name: (name != key_field, name)))
    return _Row(
        _Target("POST", path, key_field, fields), tuple(_cell(values[name]) for name in fields), owner, is_change
    )


def _cell(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    return _encode(value).decode() if isinstance(value, dict | list) else value


def _origin(url: str) -> str:
    """Without what the login's address may have behind it: /Portal, a query or a fragment."""
    parts = urlsplit(url.strip())
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
        raise ConfigError("destination: url must be like https://company.slgnt.us")
    path = "" if parts.path.lower().startswith("/portal") else parts.path.rstrip("/")
    return f"{parts.scheme}://{parts.netloc}{path}"
