"""A stand-in of Amplitude's HTTP V2 API: https://amplitude.com/docs/apis/analytics/http-v2 unless another address stands beside a fact."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

from headrace.destinations.base import Answer, Request

KEY: Final = "a1b2c3d4e5f60718293a4b5c6d7e8f90"
INVALID_IDS: Final = frozenset(
    (
        *("anonymous", "nil", "none", "null", "n/a", "na", "undefined", "unknown", "{}", "lmy47d", "0", "-1"),
        "00000000-0000-0000-0000-000000000000",
    )
)
FLOATS: Final = ("price", "revenue", "location_lat", "location_lng")
TEXTS: Final = ("event_type", "user_id", "device_id", "insert_id", "app_version", "platform", "os_name", "ip")
OBJECTS: Final = ("event_properties", "user_properties", "groups", "group_properties")


class Tool:
    """Takes a request whole or refuses it whole, and names the events that are the reason; drops a known insert_id of the same device
    (https://amplitude.com/docs/apis/analytics/http-api-batching-retries)."""

    settings: ClassVar[Mapping[str, Any]] = {"api_key": KEY, "endpoint": "https://api.eu.amplitude.com"}
    wrong_key: ClassVar[Mapping[str, Any]] = {"api_key": "0" * 32}
    events: ClassVar[Sequence[Mapping[str, Any]]] = (
        {
            "type": "track",
            "event": "Email Opened",
            "messageId": "m-1",
            "userId": "42",
            "timestamp": "2026-03-01T12:00:00.123Z",
            "properties": {"email_id": "e1", "campaign_id": "spring"},
            "context": {"ip": "203.0.113.7", "userAgent": "Mail/1", "traits": {"email": "ada@example.com"}},
        },
        {"type": "identify", "messageId": "m-2", "userId": "42", "traits": {"plan": "gold"}},
        {"type": "page", "messageId": "m-3", "anonymousId": "ada@example.com", "name": "Home", "properties": {}},
        {"type": "screen", "messageId": "m-4", "userId": "42", "name": "Start"},
        {"type": "group", "messageId": "m-5", "userId": "42", "groupId": "acme", "traits": {"employees": 7}},
    )
    refused: ClassVar[Mapping[str, Any] | None] = {
        "type": "track",
        "event": "Order Completed",
        "messageId": "m-9",
        "userId": "42",
        "properties": {"revenue": "a lot"},
    }
    drops_repeats: ClassVar[bool] = True

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.limited = 0
        self.broken = 0
        self._known: set[tuple[str, str]] = set()

    def answer(self, request: Request) -> Answer:
        if self.broken:
            self.broken -= 1
            return Answer(503, {}, b"Service Unavailable")
        if request.method != "POST" or request.url != "https://api.eu.amplitude.com/2/httpapi":
            return _said(400, error="Invalid request path")
        if request.headers.get("content-type") != "application/json":
            return _said(400, error="Invalid request path")
        if len(request.body) > 1_000_000:
            return _said(413, error="Payload too large")
        try:
            sent = json.loads(request.body)
        except ValueError:
            return _said(400, error="Invalid JSON request body")
        missing = [name for name in ("api_key", "events") if name not in sent]
        if missing:
            return _said(400, error="Request missing required field", missing_field=missing[0])
        if sent["api_key"] != KEY:
            return _said(400, error="Invalid API key")
        return self._of_events(sent["events"], sent.get("options", {}).get("min_id_length", 5))

    def _of_events(self, events: Sequence[Mapping[str, Any]], shortest: int) -> Answer:
        if len(events) > 2_000:
            return _said(413, error="Payload too large")
        if self.limited:
            self.limited -= 1
            return _said(
                429,
                error="Too many requests for some devices and users",
                eps_threshold=30,
                throttled_users={"42": 31},
                throttled_events=[0],
            )
        invalid: dict[str, list[int]] = {}
        missing: dict[str, list[int]] = {}
        for index, event in enumerate(events):
            for field in _invalid_fields(event):
                invalid.setdefault(field, []).append(index)
            for field in _missing_fields(event, shortest):
                missing.setdefault(field, []).append(index)
        if invalid or missing:
            return _said(
                400,
                error="Invalid field values on some events" if invalid else "Request missing required field",
                events_with_invalid_fields=invalid,
                events_with_missing_fields=missing,
            )
        for event in events:
            self._take(event)
        return _said(200, events_ingested=len(events), payload_size_bytes=50, server_upload_time=1_772_366_405_000)

    def _take(self, event: Mapping[str, Any]) -> None:
        key = (event.get("device_id") or event["user_id"], event["insert_id"])
        if key not in self._known:
            self._known.add(key)
            if not event["insert_id"].endswith("-group"):
                self.taken.append(event["insert_id"])


def _invalid_fields(event: Mapping[str, Any]) -> Sequence[str]:
    return [
        *(name for name in TEXTS if not isinstance(event.get(name, ""), str)),
        *(name for name in OBJECTS if not isinstance(event.get(name, {}), dict)),
        *(name for name in FLOATS if not isinstance(event.get(name, 0), int | float)),
        *(name for name in ("user_id", "device_id") if event.get(name) in INVALID_IDS),
        *(("time",) if type(event.get("time", 0)) is not int else ()),
        *(("event_type",) if str(event.get("event_type")).startswith("[Amplitude]") else ()),
        *(("group_properties",) if event.get("event_type") == "$groupidentify" and not event.get("groups") else ()),
    ]


def _missing_fields(event: Mapping[str, Any], shortest: int) -> Sequence[str]:
    has_id = any(len(str(event.get(name, ""))) >= shortest for name in ("user_id", "device_id"))
    return [
        *(() if event.get("event_type") else ("event_type",)),
        *(() if has_id else ("user_id",)),
        *(() if event.get("insert_id") else ("insert_id",)),  # optional there, but nothing of ours may go without
    ]


def _said(status: int, **body: Any) -> Answer:
    return Answer(status, {"content-type": "application/json"}, json.dumps({"code": status, **body}).encode())
