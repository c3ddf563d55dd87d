"""A stand-in of Mixpanel's ingestion API: https://docs.mixpanel.com/reference/import-events unless another address stands beside a fact."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, ClassVar, Final
from urllib.parse import parse_qsl, urlsplit

from headrace.destinations.base import Answer, Request

TOKEN: Final = "2f0c4b5e6d7f8a9b0c1d2e3f4a5b6c7d"
NOW_MILLISECONDS: Final = 1_788_220_800_000
"""2026-09-01, after every event of the tests."""
DISALLOWED: Final = frozenset(
    (
        *("anon", "anonymous", "nil", "none", "null", "n/a", "na", "undefined", "unknown", "<nil>", "0", "-1"),
        *("true", "false", "[]", "{}", "00000000-0000-0000-0000-000000000000"),
    )
)


class Tool:
    """/import takes what is valid and names the rest; of events with the same name, time, distinct_id and $insert_id one is kept.
    /engage and /groups set (https://docs.mixpanel.com/reference/profile-set), so a repeat changes nothing."""

    settings: ClassVar[Mapping[str, Any]] = {"project_token": TOKEN, "endpoint": "https://api-eu.mixpanel.com"}
    wrong_key: ClassVar[Mapping[str, Any]] = {"project_token": "0" * 32}
    events: ClassVar[Sequence[Mapping[str, Any]]] = (
        {
            "type": "track",
            "event": "Email Opened",
            "messageId": "m-1",
            "userId": "42",
            "timestamp": "2026-03-01T12:00:00.123Z",
            "properties": {"email_id": "e1", "campaign_id": "spring"},
            "context": {"ip": "203.0.113.7", "userAgent": "Mail/1"},
        },
        {"type": "identify", "messageId": "m-2", "userId": "42", "anonymousId": "a-1", "traits": {"plan": "gold"}},
        {"type": "page", "messageId": "m:3 with other characters", "anonymousId": "ada@example.com", "name": "Home"},
        {"type": "screen", "messageId": "m-4", "userId": "42", "name": "Start"},
        {"type": "group", "messageId": "m-5", "userId": "42", "groupId": "acme", "traits": {"employees": 7}},
    )
    refused: ClassVar[Mapping[str, Any] | None] = {
        "type": "track",
        "event": "Order Completed",
        "messageId": "m-9",
        "userId": "42",
        "properties": {"items": list(range(300))},
    }
    drops_repeats: ClassVar[bool] = True

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.limited = 0
        self.broken = 0
        self._known: set[str] = set()

    def answer(self, request: Request) -> Answer:
        address = urlsplit(request.url)
        query = dict(parse_qsl(address.query))
        if self.broken:
            self.broken -= 1
            return Answer(502, {}, b"Bad Gateway")
        if self.limited:
            self.limited -= 1
            return _said(429, error="Project exceeded rate limits. Please retry the request with exponential backoff.")
        if request.method != "POST" or address.netloc != "api-eu.mixpanel.com" or query.get("strict") != "1":
            return _said(404, error="not found")
        if request.headers.get("content-type") != "application/json":
            return _said(400, error="unknown content-type")
        if len(request.body) > 2_097_152:
            return _said(413, error="request exceeds max limit of 2097152 bytes")
        sent = json.loads(request.body)
        if not isinstance(sent, list) or not 1 <= len(sent) <= 2_000:
            return _said(413, error="too many events")
        return self._at_door(address.path, query, request, sent)

    def _at_door(
        self, path: str, query: Mapping[str, str], request: Request, sent: Sequence[Mapping[str, Any]]
    ) -> Answer:
        if path == "/import":
            wanted = "Basic " + b64encode(f"{TOKEN}:".encode()).decode()
            if request.headers.get("authorization") != wanted:
                return _said(401, error="Invalid credentials")
            return self._take(sent, _event_fault, _event_key)
        if path not in ("/engage", "/groups") or query.get("ip") != "0":
            return _said(404, error="not found")
        if any(update.get("$token") != TOKEN for update in sent):
            return _said(401, error="Invalid credentials")
        return self._take(sent, _group_fault if path == "/groups" else _profile_fault, _update_key)

    def _take(
        self,
        sent: Sequence[Mapping[str, Any]],
        fault: Callable[[Mapping[str, Any]], tuple[str, str] | None],
        key: Callable[[Mapping[str, Any]], str],
    ) -> Answer:
        failed = []
        for index, item in enumerate(sent):
            found = fault(item)
            if found:
                failed.append({"index": index, "field": found[0], "message": found[1]})
            elif key(item) not in self._known:
                self._known.add(key(item))
                if name := _name(item):
                    self.taken.append(name)
        imported = len(sent) - len(failed)
        if failed:
            error = "some data points in the request failed validation"
            return _said(400, error=error, failed_records=failed, num_records_imported=imported)
        return _said(200, num_records_imported=imported)


def _name(item: Mapping[str, Any]) -> str | None:
    """What stands for the messageId; None for what comes beside an event: the joining of ids, a user's groups."""
    if "event" in item:
        return None if item["event"] == "$identify" else str(item["properties"]["$insert_id"])
    if "$union" in item:
        return None
    return f"{item.get('$distinct_id') or item.get('$group_id')} {json.dumps(item['$set'])}"


def _event_key(item: Mapping[str, Any]) -> str:
    properties = item["properties"]
    return json.dumps([item["event"], *(properties[name] for name in ("time", "distinct_id", "$insert_id"))])


def _update_key(item: Mapping[str, Any]) -> str:
    return json.dumps(item, sort_keys=True)


def _event_fault(item: Mapping[str, Any]) -> tuple[str, str] | None:
    properties = item.get("properties")
    if set(item) != {"event", "properties"} or not isinstance(properties, dict) or not item["event"]:
        return "event", "must have event and properties"
    time, who, insert_id = (properties.get(name) for name in ("time", "distinct_id", "$insert_id"))
    if type(time) is not int or not 31_536_000_000 <= time <= NOW_MILLISECONDS + 3_600_000:
        return "properties.time", "'properties.time' is invalid: must be specified as seconds since epoch"
    if not isinstance(who, str) or who.lower() in DISALLOWED:
        return "properties.distinct_id", "'properties.distinct_id' is invalid"
    if not isinstance(insert_id, str) or not re.fullmatch(r"[A-Za-z0-9-]{1,36}", insert_id) or insert_id in DISALLOWED:
        return "properties.$insert_id", "'properties.$insert_id' is invalid"
    if "ip" not in properties:
        return "properties.ip", "the sender's own address would be taken"  # not Mixpanel's rule, ours
    if len(json.dumps(item)) >= 1_000_000:
        return "event", "must be smaller than 1MB"
    return _value_fault("properties", properties, 3)


def _value_fault(path: str, value: Any, depth: int) -> tuple[str, str] | None:
    if not isinstance(value, dict | list):
        return None
    if len(value) >= 255 or depth < 0:
        return path, f"'{path}' is invalid: too many items or levels"
    items = value.items() if isinstance(value, dict) else enumerate(value)
    faults = (_value_fault(f"{path}.{name}", item, depth - 1) for name, item in items)
    return next((fault for fault in faults if fault), None)


def _profile_fault(item: Mapping[str, Any]) -> tuple[str, str] | None:
    if not item.get("$distinct_id") or not isinstance(item.get("$set", item.get("$union")), dict):
        return "$distinct_id", "missing"
    return None


def _group_fault(item: Mapping[str, Any]) -> tuple[str, str] | None:
    if not item.get("$group_key") or not item.get("$group_id") or not isinstance(item.get("$set"), dict):
        return "$group_key", "missing"
    return None


def _said(code: int, **body: Any) -> Answer:
    said = {"code": code, "status": HTTPStatus(code).phrase, **body}
    return Answer(code, {"content-type": "application/json"}, json.dumps(said).encode())
