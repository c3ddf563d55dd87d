"""Braze: identify sets attributes, track records custom events or purchases, page and screen record custom events: all by POST /users/track.

https://www.braze.com/docs/api/endpoints/user_data/post_user_track/ is where a comment names no other address.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Final, cast

import msgspec

from headrace.destinations._answers import of_status, said, unreadable
from headrace.destinations._bodies import object_in
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

MOST_OBJECTS: Final = 75  # of each array in a request
MOST_QUANTITY: Final = 100  # https://www.braze.com/docs/api/objects_filters/purchase_object/
ARRAYS: Final = ("attributes", "events", "purchases")

_IDENTIFIERS: Final = ("external_id", "braze_id", "email", "user_alias", "phone")
_MAPPED_TRAITS: Final = frozenset(
    ("email", "firstName", "first_name", "lastName", "last_name", "phone", "gender", "birthday", "avatar")
)
_RESERVED: Final = frozenset(("external_id", "braze_id", "user_alias", "_update_existing_only", "push_token_import"))
_GENDERS: Final = {"male": "M", "female": "F", "other": "O"}  # of which the profile field has the first letters
_ADDRESS: Final = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_ACCEPTED: Final = ("success", "queued")

_WHO: Final = {"external_id": "userId", "email": "context.traits.email", "user_alias.alias_name": "anonymousId"}
_WHAT: Final = {"time": "timestamp", "properties": "properties"}

_Object = tuple[str, dict[str, Any]]
"""The array it belongs to, and the object."""


class BrazeSettings(DestinationSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    endpoint: Annotated[
        str, described("The REST endpoint of your Braze instance, for example `https://rest.iad-01.braze.com`.")
    ]
    api_key: Annotated[str, described("A REST API key with the permission `users.track`.", secret=True)]
    app_id: Annotated[str, described("The app's identifier, added to events and purchases. Empty: none.")] = ""
    alias_label: Annotated[
        str, described("The label of the user alias under which users without userId and e-mail address are kept.")
    ] = "anonymous_id"
    purchase_events: Annotated[
        tuple[str, ...],
        described(
            "Track events that are sent as purchases, one for each of `properties.products`. An empty list sends all as custom events."
        ),
    ] = ("Order Completed",)
    currency: Annotated[
        str, described("The ISO 4217 code for purchases whose event has no `properties.currency`. Empty: those fail.")
    ] = ""
    update_existing_only: Annotated[bool, described("Never make a profile; update those that there are.")] = False
    objects_together: Annotated[
        int,
        msgspec.Meta(
            description="Objects of all kinds together in a request; 50 for accounts of the plan Monthly Active Users CY 24-25. "
            "0: 75 of each kind.",
            ge=0,
            le=3 * MOST_OBJECTS,
        ),
    ] = 0


class BrazeKind(HttpKind):
    title = "Braze"
    summary = "Users' attributes, custom events and purchases, by the REST endpoint /users/track."
    docs_url = "https://www.braze.com/docs/api/endpoints/user_data/post_user_track/"
    tried = "a stand-in of the documented API; not yet a live account"
    setup = (
        "In Braze, make a REST API key with the permission users.track (Settings, APIs and Identifiers).",
        "Note your instance's REST endpoint (https://www.braze.com/docs/api/basics/).",
    )
    # "each event ingested into Braze has its own event ID, so duplicate events are treated as separate"
    drops_repeats = "Not at all for events and purchases: Braze counts a repeated one again. Attributes are set, so their repeat changes nothing."
    types = frozenset(("identify", "track", "page", "screen"))
    mapping: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "track": {**_WHO, "name": "event", **_WHAT},
        "page": {**_WHO, "name": {"constant": "Page Viewed"}, **_WHAT, "properties.name": "name ?? properties.name"},
        "screen": {
            **_WHO,
            "name": {"constant": "Screen Viewed"},
            **_WHAT,
            "properties.name": "name ?? properties.name",
        },
        # names of profile fields: https://www.braze.com/docs/api/objects_filters/user_attributes_object/
        "identify": {
            **_WHO,
            "email": "traits.email ?? context.traits.email",
            "first_name": "traits.firstName ?? traits.first_name",
            "last_name": "traits.lastName ?? traits.last_name",
            "phone": "traits.phone",
            "gender": "traits.gender",
            "dob": "traits.birthday",
            "image_url": "traits.avatar",
            "country": "traits.address.country ?? traits.country",
            "home_city": "traits.address.city ?? traits.city",
            "attributes": "traits",
        },
    }
    required: ClassVar[Mapping[str, Sequence[str]]] = {
        "*": ("external_id|braze_id|email|user_alias.alias_name|phone",),
        "track": ("name", "time"),
        "page": ("name", "time"),
        "screen": ("name", "time"),
    }
    batching = Batching(events=MOST_OBJECTS)
    Settings = BrazeSettings

    def __init__(self, settings: DestinationSettings, place: Place) -> None:
        """Raises ConfigError for an endpoint that is no address."""
        super().__init__(settings, place)
        self._own = cast("BrazeSettings", settings)
        if not self._own.endpoint.startswith(("https://", "http://")):
            raise ConfigError(
                "destination: endpoint must begin with https://, for example https://rest.iad-01.braze.com"
            )
        self._url = self._own.endpoint.rstrip("/") + "/users/track"
        self._headers = {"content-type": "application/json", "authorization": f"Bearer {self._own.api_key}"}

    def requests(self, batch: Sequence[Prepared]) -> Sequence[Outgoing]:
        return [
            Outgoing(Request("POST", self._url, self._headers, msgspec.json.encode(load.body())), load.events)
            for load in self._loads(batch)
        ]

    def refusals(self, batch: Sequence[Prepared]) -> Mapping[int, Result]:
        purchases = [place for place, prepared in enumerate(batch) if self._is_purchase(prepared)]
        found = {place: self._objects(batch[place]) for place in purchases}
        return {place: made for place, made in found.items() if isinstance(made, Result)}

    def _is_purchase(self, prepared: Prepared) -> bool:
        return prepared.event.type == "track" and (prepared.fields or {}).get("name") in self._own.purchase_events

    def results(self, outgoing: Outgoing, batch: Sequence[Prepared], answer: Answer) -> Sequence[Result]:
        """An answer tells of single objects by array and index, in 2xx (the others are taken) as in 400 (nothing is)."""
        is_taken = 200 <= answer.status < 300
        if not is_taken and answer.status != 400:
            return [self._refused(answer)] * len(outgoing.events)
        body = object_in(answer.body)
        if is_taken and body.get("message") not in _ACCEPTED:
            return [unreadable(answer)] * len(outgoing.events)
        reasons, is_all_told = self._reasons(outgoing, batch, body.get("errors"))
        others = DELIVERED
        if not is_taken or not is_all_told:
            code = "MESSAGE_REJECTED" if is_taken else "BAD_REQUEST"
            others = Result("failed", code, said(answer), is_whole_request=len(outgoing.events) > 1)
        return [
            Result("failed", "MESSAGE_REJECTED", reasons[place][:1_000]) if place in reasons else others
            for place in outgoing.events
        ]

    def _refused(self, answer: Answer) -> Result:
        result = of_status(answer, self.place.now())
        if answer.status == 404:  # "Unknown REST API Key": https://www.braze.com/docs/api/errors/
            return Result("failed", "INVALID_AUTHENTICATION", result.detail)
        reset = answer.headers.get(
            "x-ratelimit-reset", ""
        )  # UTC epoch seconds: https://www.braze.com/docs/api/api_limits/
        if answer.status == 429 and result.retry_after_seconds is None and re.fullmatch("[0-9]{1,12}", reset, re.ASCII):
            wait = max(0.0, int(reset) - self.place.now().timestamp())
            return msgspec.structs.replace(result, retry_after_seconds=wait)
        return result

    def _reasons(self, outgoing: Outgoing, batch: Sequence[Prepared], errors: Any) -> tuple[Mapping[int, str], bool]:
        """{place in the batch: what the tool says of it}, and whether each error spoke of an event that we know."""
        places: dict[tuple[str, int], int] = {}
        for load in self._loads([batch[place] for place in outgoing.events]) if len(outgoing.events) > 1 else ():
            places = {key: outgoing.events[event] for key, event in load.places()}
        reasons: dict[int, str] = {}
        is_all_told = True
        listed = errors if isinstance(errors, list) else [errors] if errors else []
        for error in listed:
            known = error if isinstance(error, dict) else {}
            array, index = known.get("input_array"), known.get("index")
            place = places.get((array, index)) if isinstance(array, str) and type(index) is int else None
            if len(outgoing.events) == 1:
                place = outgoing.events[0]
            if place is None:
                is_all_told = False
                continue
            text = str(known.get("type") or error)
            reasons[place] = f"{reasons[place]}; {text}" if place in reasons else text
        return reasons, is_all_told

    def _loads(self, batch: Sequence[Prepared]) -> Iterator[_Load]:
        """As few requests as the limits allow, in order; the objects of an event stay together unless they alone are too many."""
        load = _Load()
        for place, prepared in enumerate(batch):
            made = self._objects(prepared)
            if isinstance(made, Result):
                continue
            if load.objects and not self._fits(load, made):
                yield load
                load = _Load()
            for found in made:
                if not self._fits(load, [found]):
                    yield load
                    load = _Load()
                load.add(place, found)
        if load.objects:
            yield load

    def _fits(self, load: _Load, more: Sequence[_Object]) -> bool:
        if self._own.objects_together:
            return len(load.objects) + len(more) <= self._own.objects_together
        counts = Counter(array for array, _ in more)
        return all(load.counts[array] + count <= MOST_OBJECTS for array, count in counts.items())

    def _objects(self, prepared: Prepared) -> Sequence[_Object] | Result:
        fields = dict(prepared.fields or {})
        identity = self._identity(fields)
        if prepared.event.type == "identify":
            return [("attributes", {**_attributes(fields), **identity})]
        given = {name: value for name, value in fields.items() if name not in _IDENTIFIERS}
        if self._own.app_id:
            given.setdefault("app_id", self._own.app_id)
        if self._is_purchase(prepared):
            try:
                return [("purchases", {**identity, **purchase}) for purchase in self._purchases(given)]
            except ValueError as error:
                return Result("failed", "PAYLOAD_VALIDATION_FAILED", str(error))
        return [("events", {**identity, **given})]

    def _identity(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Exactly one of the identifiers, and whether a profile may be made, which an alias needs to be told."""
        only = {"_update_existing_only": True} if self._own.update_existing_only else {}
        alias = fields.get("user_alias")
        alias = alias if isinstance(alias, dict) else {}
        name = alias.get("alias_name")
        email = fields.get("email") or (name if isinstance(name, str) and _ADDRESS.fullmatch(name) else None)
        for identifier, value in (
            ("external_id", fields.get("external_id")),
            ("braze_id", fields.get("braze_id")),
            ("email", email),
        ):
            if value:
                return {identifier: value, **only}
        if not name:
            return {"phone": fields.get("phone"), **only}
        alias = {"alias_label": self._own.alias_label, **alias}
        return {"user_alias": alias, "_update_existing_only": self._own.update_existing_only}

    def _purchases(self, fields: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """https://www.braze.com/docs/api/objects_filters/purchase_object/; the order itself where it lists no products."""
        order = fields.pop("properties", None)
        order = dict(order) if isinstance(order, dict) else {}
        name = fields.pop("name")
        currency = order.pop("currency", None) or self._own.currency
        if not currency:
            raise ValueError("the purchase has no currency: send properties.currency, or set currency")
        products = order.pop("products", None)
        if not isinstance(products, list) or not products:
            price = next((order[key] for key in ("total", "revenue", "value") if order.get(key) is not None), None)
            products = [{"product_id": name, "price": price}]
        for number, product in enumerate(products, 1):
            line = dict(product) if isinstance(product, dict) else {}
            known = [line.pop(key, None) for key in ("product_id", "sku", "name")]
            identifier = next((str(value) for value in known if value not in (None, "")), None)
            for key, value in zip(("product_id", "sku", "name"), known, strict=True):
                if value is not None and str(value) != identifier:
                    line[key] = value
            price, quantity = line.pop("price", None), line.pop("quantity", 1)
            if identifier is None or type(price) not in (int, float):
                raise ValueError(
                    f"product {number} of the purchase needs a product_id, sku or name, and a price that is a number"
                )
            if type(quantity) is not int or not 1 <= quantity <= MOST_QUANTITY * MOST_OBJECTS:
                raise ValueError(f"product {number} of the purchase has the quantity {quantity!r}")
            made = {**fields, "product_id": identifier, "currency": currency, "price": price}
            if order or line:
                made["properties"] = {**order, **line}
            for sold in range(0, quantity, MOST_QUANTITY):
                yield {**made, "quantity": min(MOST_QUANTITY, quantity - sold)}


class _Load:
    """What goes into one request: objects, each with the place of its event."""

    def __init__(self) -> None:
        self.objects: list[tuple[int, _Object]] = []
        self.counts: Counter[str] = Counter()

    def add(self, place: int, found: _Object) -> None:
        self.objects.append((place, found))
        self.counts[found[0]] += 1

    @property
    def events(self) -> Sequence[int]:
        return list(dict.fromkeys(place for place, _ in self.objects))

    def body(self) -> Mapping[str, Sequence[Any]]:
        arrays = {array: [found for _, (name, found) in self.objects if name == array] for array in ARRAYS}
        return {array: found for array, found in arrays.items() if found}

    def places(self) -> Iterator[tuple[tuple[str, int], int]]:
        """((array, index), place): how an answer speaks of an object, and whose it is."""
        for array in ARRAYS:
            of_array = [place for place, (name, _) in self.objects if name == array]
            yield from (((array, index), place) for index, place in enumerate(of_array))


def _attributes(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Profile fields, and every trait that is none as a custom attribute. null takes an attribute away, which Braze does too."""
    traits = fields.get("attributes")
    custom = {
        name: value
        for name, value in (traits if isinstance(traits, dict) else {}).items()
        if name not in _MAPPED_TRAITS and name not in _RESERVED
    }
    profile = {name: value for name, value in fields.items() if name not in ("attributes", "user_alias")}
    profile = {name: value for name, value in profile.items() if name not in _RESERVED}
    gender = profile.get("gender")
    if isinstance(gender, str):
        profile["gender"] = _GENDERS.get(gender.lower(), gender)
    day = profile.get("dob")
    if isinstance(day, str) and _DAY.match(day):  # the day of a longer ISO 8601 time
        profile["dob"] = day[:10]
    return {**custom, **profile}
