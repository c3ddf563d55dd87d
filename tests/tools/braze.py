"""Braze's POST /users/track, as documented.

Arrays, limits, answers: https://www.braze.com/docs/api/endpoints/user_data/post_user_track/
Objects: https://www.braze.com/docs/api/objects_filters/event_object/, .../purchase_object/, .../user_attributes_object/
Errors: https://www.braze.com/docs/api/errors/; limits and their headers: https://www.braze.com/docs/api/api_limits/
The documentation says only that `errors` holds error messages. That one is {"type", "input_array", "index"}, and that a request of which
nothing is valid gets 400, is how public clients of Braze have it in their own tests.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar

from headrace.destinations.base import Answer, Request

API_KEY = "7e5c0a9d-1b2f-4c3e-8d6a-9f0e1d2c3b4a"
RESET = 1_772_366_412  # seven seconds after the suite's clock
IDENTIFIERS = ("external_id", "braze_id", "email", "user_alias", "phone")
ADDRESS = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")


class Tool:
    settings: ClassVar[Mapping[str, Any]] = {"endpoint": "https://rest.iad-01.braze.com", "api_key": API_KEY}
    wrong_key: ClassVar[Mapping[str, Any]] = {"api_key": "another"}
    events: ClassVar[tuple[Mapping[str, Any], ...]] = (
        {
            "type": "track",
            "event": "Email Opened",
            "messageId": "t-1",
            "anonymousId": "tom@example.org",
            "timestamp": "2026-03-01T09:00:00.125Z",
            "properties": {"email_id": "e1", "campaign_id": "spring"},
            "context": {"traits": {"email": "tom@example.org"}},
        },
        {
            "type": "identify",
            "messageId": "i-1",
            "userId": "42",
            "traits": {"email": "ada@example.com", "plan": "team"},
        },
        {"type": "page", "messageId": "p-1", "anonymousId": "a-1", "name": "Home", "properties": {"path": "/"}},
        {"type": "screen", "messageId": "s-1", "anonymousId": "a-1", "name": "Start"},
        {
            "type": "track",
            "event": "Order Completed",
            "messageId": "o-1",
            "userId": "42",
            "properties": {"currency": "EUR", "products": [{"product_id": "mug", "price": 12.5, "quantity": 2}]},
        },
    )
    refused: ClassVar[Mapping[str, Any] | None] = {
        "type": "identify",
        "messageId": "bad-1",
        "userId": "43",
        "traits": {"email": "nobody at home"},
    }
    drops_repeats: ClassVar[bool] = False

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.limited = 0
        self.broken = 0

    def answer(self, request: Request) -> Answer:
        if self.limited:
            self.limited -= 1
            return _said(429, {"message": "Over rate limit"}, {"x-ratelimit-reset": str(RESET)})
        if self.broken:
            self.broken -= 1
            return _said(500, {"message": "Internal Server Error"})
        if (request.method, request.url) != ("POST", "https://rest.iad-01.braze.com/users/track"):
            return _said(404, {"message": "Not Found"})
        if request.headers.get("authorization") != f"Bearer {API_KEY}":
            return _said(401, {"message": "Invalid API key"})
        try:
            sent = json.loads(request.body)
        except ValueError:
            return _said(400, {"message": "Bad Request"})
        if request.headers.get("content-type") != "application/json" or not isinstance(sent, dict):
            return _said(400, {"message": "Bad Request"})
        return self._tracked(sent)

    def _tracked(self, sent: Mapping[str, Any]) -> Answer:
        arrays = {array: sent.get(array, []) for array in ("attributes", "events", "purchases")}
        if any(len(objects) > 75 for objects in arrays.values()):
            return _said(400, {"message": "Max Input Length Exceeded"})
        errors = []
        counts = {}
        for array, objects in arrays.items():
            wrong = {index: text for index, found in enumerate(objects) if (text := _wrong(array, found))}
            errors += [{"type": text, "input_array": array, "index": index} for index, text in wrong.items()]
            kept = [found for index, found in enumerate(objects) if index not in wrong]
            self.taken += [_name(array, found) for found in kept]
            if kept:
                counts[f"{array}_processed"] = len(kept)
        if not counts:
            message = "Valid data must be provided in the 'attributes', 'events', or 'purchases' fields."
            return _said(400, {"message": message, "errors": errors})
        return _said(201, {"message": "success", **counts, **({"errors": errors} if errors else {})})


def _name(array: str, found: Mapping[str, Any]) -> str:
    """What stands for an event: Braze keeps no id of it."""
    who = next(found[name] for name in IDENTIFIERS if name in found)
    return " ".join((array, json.dumps(who), str(found.get("name", found.get("product_id"))), str(found.get("time"))))


def _wrong(array: str, found: Any) -> str | None:
    if not isinstance(found, dict) or not any(found.get(name) for name in IDENTIFIERS):
        return "'external_id', 'braze_id', 'user_alias', 'email' or 'phone' is required"
    if array != "attributes" and sum(name in found for name in IDENTIFIERS) != 1:
        return "only one identifier is allowed"
    alias = found.get("user_alias")
    if alias is not None and (not alias.get("alias_name") or not alias.get("alias_label")):
        return "'user_alias' needs 'alias_name' and 'alias_label'"
    if alias is not None and found.get("_update_existing_only") is not False:
        return "the profile does not exist"
    if "email" in found and not ADDRESS.fullmatch(str(found["email"])):
        return "The value provided for the 'email' field is not a valid email."
    if array == "attributes":
        return None
    try:
        datetime.fromisoformat(found["time"])
    except (KeyError, ValueError):
        return "'time' is required in ISO 8601"
    if array == "events":
        return None if isinstance(found.get("name"), str) and found["name"] else "'name' is required"
    return _wrong_purchase(found)


def _wrong_purchase(found: Mapping[str, Any]) -> str | None:
    if not isinstance(found.get("product_id"), str) or not 0 < len(found["product_id"]) <= 255:
        return "'product_id' is required"
    if not isinstance(found.get("currency"), str) or len(found["currency"]) != 3:
        return "'currency' must be an ISO 4217 code"
    if type(found.get("price")) not in (int, float):
        return "'price' is required"
    return (
        None
        if type(found.get("quantity", 1)) is int and 1 <= found.get("quantity", 1) <= 100
        else "'quantity' is too large"
    )


def _said(status: int, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Answer:
    return Answer(status, {"content-type": "application/json", **(headers or {})}, json.dumps(body).encode())
