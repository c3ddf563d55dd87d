"""A receiver of Segment's tracking API, as documented.

Requests, keys and limits: https://segment.com/docs/connections/sources/catalog/libraries/server/http-api/
Fields by type, times, repeats: https://segment.com/docs/connections/spec/common/
What Segment does not say of an event that it does not take, this one says as headrace does (docs/tracking-api.md): 401 for an unknown key,
`rejected` for single events. Segment answers 200 to both and drops them.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar
from urllib.parse import urlsplit

from headrace.destinations.base import Answer, Request

WRITE_KEY = "k1r9e5ZzV0w4bXyQ"
RECEIVED = datetime(2026, 3, 1, 12, 0, 9, tzinfo=UTC)
EVENT_BYTES = 32 * 1024
BATCH_BYTES = 500 * 1000


class Tool:
    settings: ClassVar[Mapping[str, Any]] = {"write_key": WRITE_KEY, "endpoint": "https://api.segment.io/v1"}
    wrong_key: ClassVar[Mapping[str, Any]] = {"write_key": "another"}
    events: ClassVar[tuple[Mapping[str, Any], ...]] = (
        {
            "type": "track",
            "event": "Email Opened",
            "messageId": "t-1",
            "userId": "42",
            "timestamp": "2026-03-01T09:00:00.125Z",
            "sentAt": "2026-03-01T11:59:59Z",
            "properties": {"email_id": "e1", "campaign_id": "spring"},
            "context": {"traits": {"email": "ada@example.com"}},
            "integrations": {"All": True},
        },
        {"type": "identify", "messageId": "i-1", "userId": "42", "traits": {"plan": "team"}},
        {"type": "page", "messageId": "p-1", "anonymousId": "a-1", "name": "Home", "properties": {"path": "/"}},
        {"type": "screen", "messageId": "s-1", "anonymousId": "a-1", "name": "Start"},
        {"type": "group", "messageId": "g-1", "userId": "42", "groupId": "acme", "traits": {"employees": 7}},
        {"type": "alias", "messageId": "l-1", "userId": "42", "previousId": "a-1"},
    )
    refused: ClassVar[Mapping[str, Any] | None] = {"type": "track", "event": "Email Opened", "messageId": "nobody"}
    drops_repeats: ClassVar[bool] = True

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.limited = 0
        self.broken = 0
        self.kept: dict[str, dict[str, Any]] = {}
        """Events by messageId as the receiver keeps them."""

    def answer(self, request: Request) -> Answer:
        if self.limited:
            self.limited -= 1
            # Rate limits: 429, and Retry-After in seconds
            return Answer(429, {"retry-after": "7", "x-ratelimit-reset": "7"}, b"")
        if self.broken:
            self.broken -= 1
            return Answer(503, {}, b"")
        if (request.method, urlsplit(request.url).path) != ("POST", "/v1/batch"):
            return _said(404, {"success": False, "code": "not_found", "message": "no such route"})
        key = "Basic " + base64.b64encode(f"{WRITE_KEY}:".encode()).decode()
        if request.headers.get("authorization") != key:
            return _said(401, {"success": False, "code": "invalid_write_key", "message": "unknown write key"})
        if request.headers.get("content-type") != "application/json":
            return _bad("the content type must be application/json")
        return self._batch(request.body)

    def _batch(self, body: bytes) -> Answer:
        if len(body) > BATCH_BYTES:
            return _bad("the request is larger than 500 KB")
        try:
            sent = json.loads(body)
        except ValueError:
            return _bad("malformed JSON")
        batch = sent.get("batch") if isinstance(sent, dict) else None
        if not isinstance(batch, list) or not 0 < len(batch) <= 2_500:
            return _bad("a batch has 1 to 2,500 events")
        if any(
            len(json.dumps(event, separators=(",", ":"), ensure_ascii=False).encode()) > EVENT_BYTES for event in batch
        ):
            return _bad("an event is larger than 32 KB")
        refusals = []
        for index, event in enumerate(batch):
            code = _wrong(event)
            if code is None:
                self._keep(event, sent.get("sentAt"))
            else:
                refusals.append(
                    {"index": index, "messageId": event.get("messageId"), "code": code, "message": "refused"}
                )
        return _said(200, {"success": True, **({"rejected": refusals} if refusals else {})})

    def _keep(self, event: Mapping[str, Any], batch_sent_at: str | None) -> None:
        """spec/common: timestamp = receivedAt - (sentAt - originalTimestamp); repeats are known by messageId."""
        if event["messageId"] in self.kept:
            return
        at = datetime.fromisoformat(event["timestamp"]) if "timestamp" in event else RECEIVED
        sent_at = event.get("sentAt", batch_sent_at)
        if sent_at is not None:
            at = RECEIVED - (datetime.fromisoformat(sent_at) - at)
        self.kept[event["messageId"]] = {**event, "timestamp": at, "receivedAt": RECEIVED}
        self.taken.append(event["messageId"])


def _wrong(event: Mapping[str, Any]) -> str | None:
    if event.get("type") not in ("track", "identify", "page", "screen", "group", "alias"):
        return "type_unknown"
    if not event.get("messageId"):
        return "message_id_missing"
    if not event.get("userId") and not event.get("anonymousId"):
        return "no_user_anon_id"
    if event["type"] == "track" and not isinstance(event.get("event"), str):
        return "event_not_defined"
    if event["type"] == "group" and not event.get("groupId"):
        return "id_required"
    if event["type"] == "alias" and not event.get("previousId"):
        return "id_required"
    objects = (event.get(name, {}) for name in ("properties", "traits", "context", "integrations"))
    return None if all(isinstance(value, dict) for value in objects) else "properties_not_object"


def _bad(reason: str) -> Answer:
    return _said(400, {"success": False, "code": "bad_request", "message": reason})


def _said(status: int, body: Any) -> Answer:
    return Answer(status, {"content-type": "application/json"}, json.dumps(body).encode())
