"""A stand-in of the Measurement Protocol of Google Analytics 4 and of its validation server.

https://developers.google.com/analytics/devguides/collection/protocol/ga4/reference unless another address stands beside a fact.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final
from urllib.parse import parse_qsl, urlsplit

from headrace.destinations.base import Answer, Request

MEASUREMENT_ID: Final = "G-TEST123456"
SECRET: Final = "aBcDeFgHiJkLmNoPqRsTuV"
NOW_MICROS: Final = 1_772_366_405_000_000
RESERVED: Final = frozenset(("error", "session_start", "first_visit", "user_engagement", "screen_view", "ad_click"))
NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,39}", re.ASCII)


class Tool:
    """Answers 2xx to whatever it receives, also to what it then drops, to a wrong secret and to a repeat. Its own limit of requests is
    silent too: 429 and 503 stand for what a gateway on the way may say, which is not documented."""

    settings: ClassVar[Mapping[str, Any]] = {
        "measurement_id": MEASUREMENT_ID,
        "api_secret": SECRET,
        "endpoint": "https://region1.google-analytics.com",
    }
    wrong_key: ClassVar[Mapping[str, Any]] = {}
    events: ClassVar[Sequence[Mapping[str, Any]]] = (
        {
            "type": "track",
            "event": "Email Opened",
            "messageId": "m-1",
            "userId": "42",
            "timestamp": "2026-03-01T12:00:00.123Z",
            "properties": {"email_id": "e1", "machine_open": False, "tags": ["a", "b"]},
            "context": {"ip": "203.0.113.7", "userAgent": "Mail/1"},
        },
        {"type": "page", "messageId": "m-2", "anonymousId": "ada@example.com", "name": "Home"},
        {"type": "screen", "messageId": "m-3", "userId": "42", "name": "Start"},
        {"type": "group", "messageId": "m-4", "userId": "42", "groupId": "acme", "traits": {"employees": 7}},
    )
    refused: ClassVar[Mapping[str, Any] | None] = {
        "type": "track",
        "event": "Session Start",
        "messageId": "m-9",
        "userId": "42",
    }
    drops_repeats: ClassVar[bool] = False

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.limited = 0
        self.broken = 0

    def answer(self, request: Request) -> Answer:
        address = urlsplit(request.url)
        if self.broken:
            self.broken -= 1
            return Answer(503, {}, b"Service Unavailable")
        if self.limited:
            self.limited -= 1
            return Answer(429, {"retry-after": "20"}, b"Too Many Requests")
        if request.method != "POST" or address.netloc != "region1.google-analytics.com":
            return Answer(404)
        try:
            sent = json.loads(request.body)
        except ValueError:
            sent = {}
        faults = _faults(sent, len(request.body))
        if address.path == "/debug/mp/collect":  # it does not look at the secret (guide: validating events)
            return Answer(
                200, {"content-type": "application/json"}, json.dumps({"validationMessages": faults}).encode()
            )
        if address.path != "/mp/collect":
            return Answer(404)
        query = dict(parse_qsl(address.query))
        if query == {"measurement_id": MEASUREMENT_ID, "api_secret": SECRET} and not faults:
            self.taken += [f"{sent['client_id']} {json.dumps(event)}" for event in sent["events"]]
        return Answer(204)


def _faults(sent: Mapping[str, Any], size: int) -> Sequence[Mapping[str, str]]:
    events = sent.get("events", [])
    faults = []
    if size >= 130_000 or not 1 <= len(events) <= 25:
        faults.append(_fault("events", "EXCEEDED_MAX_ENTITIES", "Request has too many events or bytes."))
    if not re.fullmatch(r"[1-9][0-9]*\.[1-9][0-9]*", str(sent.get("client_id")), re.ASCII):
        faults.append(
            _fault("client_id", "VALUE_INVALID", "client_id must be two positive numbers joined by a period.")
        )
    for index, event in enumerate(events):
        name = event.get("name", "")
        if not NAME.fullmatch(name):
            faults.append(_fault("events", "NAME_INVALID", f"Event at index: [{index}] has invalid name [{name}]."))
        if name in RESERVED:
            faults.append(_fault("events", "NAME_RESERVED", f"Event at index: [{index}] has reserved name [{name}]."))
        at = event.get("timestamp_micros", NOW_MICROS)
        if not NOW_MICROS - 72 * 3_600_000_000 <= at <= NOW_MICROS:
            faults.append(_fault("events", "VALUE_INVALID", f"Event at index: [{index}] has invalid timestamp."))
        faults += [
            _fault("events", "VALUE_INVALID", f"Event at index: [{index}] has invalid value for param [{key}].")
            for key, value in _params_over_limits(event.get("params", {}))
        ]
    return faults


def _params_over_limits(params: Mapping[str, Any]) -> Sequence[tuple[str, Any]]:
    longest = {"page_location": 1_000, "page_referrer": 420, "page_title": 300}
    return [
        *(
            (key, value)
            for key, value in params.items()
            if not NAME.fullmatch(key)
            or not isinstance(value, str | int | float | list)
            or isinstance(value, bool)
            or (isinstance(value, str) and len(value) > longest.get(key, 100))
        ),
        *list(params.items())[25:],
    ]


def _fault(path: str, code: str, text: str) -> Mapping[str, str]:
    return {"fieldPath": path, "description": text, "validationCode": code}
