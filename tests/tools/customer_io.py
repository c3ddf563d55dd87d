"""A stand-in of Customer.io's Track API, v2/batch and v1/events: https://docs.customer.io/integrations/api/track/"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

from headrace.destinations.base import Answer, Request

SITE: Final = "5e1f6a7b8c9d0e1f2a3b"
KEY: Final = "0a1b2c3d4e5f6a7b8c9d"
EVENTS: Final = ("event", "page", "screen")
ULID: Final = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}", re.ASCII)
ADDRESS: Final = "https://track-eu.customer.io/api/"


class Tool:
    """Takes the valid items of a batch and names the others in a 207. An event's `id` drops repeats; attributes are set."""

    settings: ClassVar[Mapping[str, Any]] = {
        "site_id": SITE,
        "api_key": KEY,
        "endpoint": "https://track-eu.customer.io",
    }
    wrong_key: ClassVar[Mapping[str, Any]] = {"api_key": "f" * 20}
    events: ClassVar[Sequence[Mapping[str, Any]]] = (
        {
            "type": "track",
            "event": "Email Opened",
            "messageId": "m-1",
            "userId": "42",
            "timestamp": "2026-03-01T12:00:00.123Z",
            "properties": {"email_id": "e1"},
            "context": {"ip": "203.0.113.7", "traits": {"email": "ada@example.com"}},
        },
        {"type": "identify", "messageId": "m-2", "userId": "42", "traits": {"plan": "gold"}},
        {"type": "page", "messageId": "m-3", "anonymousId": "a-1", "properties": {"url": "https://example.com/"}},
        {"type": "screen", "messageId": "m-4", "userId": "42", "name": "Start"},
        {"type": "group", "messageId": "m-5", "userId": "42", "groupId": "acme", "traits": {"employees": 7}},
    )
    refused: ClassVar[Mapping[str, Any] | None] = {
        "type": "track",
        "event": "An event whose name has more than a hundred bytes, which is the longest that the Track API takes as a name",
        "messageId": "m-9",
        "userId": "42",
    }
    drops_repeats: ClassVar[bool] = True

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.limited = 0
        self.broken = 0

    def answer(self, request: Request) -> Answer:
        wanted = "Basic " + b64encode(f"{SITE}:{KEY}".encode()).decode()
        if self.broken:
            self.broken -= 1
            return Answer(503, {}, b"Service Unavailable")
        if request.method != "POST" or request.headers.get("content-type") != "application/json":
            return Answer(404)
        if request.headers.get("authorization") != wanted:
            return _said(401, {"meta": {"error": "Unauthorized request"}})
        if self.limited:
            self.limited -= 1
            return Answer(429, {}, b"Too Many Requests")
        if request.url == ADDRESS + "v1/events":
            return self._unknown(json.loads(request.body))
        if request.url == ADDRESS + "v2/batch":
            return self._batch(request.body)
        return Answer(404)

    def _unknown(self, event: Mapping[str, Any]) -> Answer:
        fault = _event_fault(event)
        if fault or event.get("type") not in EVENTS or not event.get("anonymous_id") or "data" not in event:
            return _said(400, {"meta": {"error": fault[1] if fault else "malformed"}})
        self._keep(event["id"])
        return _said(200, {})

    def _batch(self, body: bytes) -> Answer:
        items = json.loads(body).get("batch", ())
        if len(body) >= 500_000 or not items or any(len(json.dumps(item)) > 33_000 for item in items):
            return _said(400, {"errors": [{"reason": "too_large", "field": "batch", "message": "request too large"}]})
        errors = []
        for index, item in enumerate(items):
            fault = _item_fault(item)
            if fault:
                errors.append({"batch_index": index, "reason": "invalid", "field": fault[0], "message": fault[1]})
            else:
                self._keep(item.get("id") or json.dumps(item, sort_keys=True))
        return _said(207, {"errors": errors}) if errors else _said(200, {})

    def _keep(self, identity: str) -> None:
        if identity not in self.taken:
            self.taken.append(identity)


def _item_fault(item: Mapping[str, Any]) -> tuple[str, str] | None:
    identifiers = item.get("identifiers", {})
    if item.get("type") == "object" and item.get("action") == "identify":
        is_sound = set(identifiers) == {"object_type_id", "object_id"} and str(identifiers["object_type_id"]).isdigit()
        return None if is_sound else ("identifiers", "must be an object type and an id")
    if item.get("type") != "person":
        return "type", "unknown type"
    if len(identifiers) != 1 or not set(identifiers) <= {"id", "email", "phone", "cio_id"}:
        return "identifiers", "must be one of id, email, phone, cio_id"
    if len(str(next(iter(identifiers.values()))).encode()) > 150:
        return "identifiers", "cannot be longer than 150 bytes"
    if item.get("action") == "identify":
        return _attributes_fault(item.get("attributes", {}))
    return _event_fault(item) if item.get("action") in EVENTS else ("action", "unknown action")


def _attributes_fault(attributes: Mapping[str, Any]) -> tuple[str, str] | None:
    """https://docs.customer.io/journeys/invalid-api-requests"""
    if len(attributes) > 300:
        return "attributes", "cannot identify more than 300 attributes in one request"
    for name, value in attributes.items():
        if len(name.encode()) > 150 or len(str(value).encode()) > 1_000:
            return f"attributes.{name}", "cannot be longer than 1000 bytes"
    return None


def _event_fault(event: Mapping[str, Any]) -> tuple[str, str] | None:
    name = event.get("name")
    if not isinstance(name, str) or not name.strip():
        return "name", "event name must not be blank"
    if len(name.encode()) > 100:
        return "name", "event name cannot be longer than 100 bytes"
    if not ULID.fullmatch(str(event.get("id"))):
        return "id", "must be a ULID"
    if type(event.get("timestamp", 0)) is not int or event.get("timestamp", 0) > 4_102_444_800:
        return "timestamp", "must be in seconds"
    return None


def _said(status: int, body: Mapping[str, Any]) -> Answer:
    return Answer(status, {"content-type": "application/json"}, json.dumps(body).encode())
