"""The data part of Selligent Marketing Cloud's REST API, as the vendor describes it.

Paths, parameters, rows and answers: https://github.com/WPP-Public/wtd-selligent-api/blob/main/spec.yaml (the vendor's Swagger)
Too many requests, 503: https://getstarted.meetmarigold.com/engage/EN/Content/Technical_Documents/SelligentAPIRateLimitation.htm
Rows and bytes of a request: https://docs.tealium.com/server-side-connectors/selligent-by-marigold-connector/
Members of a segment are taken at `segment_path` alone: `data` as clients have it, or `data/load` as that description has it.
Not described, and so chosen here: 401 for an unknown key, 400 beside ValidationFailed (as other calls of the same API have it), and the number
from which record_index counts: `first_index`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar
from urllib.parse import parse_qs, unquote, urlsplit

from headrace.destinations.base import Answer, Request

KEY, SECRET = "key-1", "secret-1"
LONGEST = 50
EVENT_FIELDS = frozenset(
    ("message_id", "type", "timestamp", "user_id", "anonymous_id", "email", "event", "previous_id", "properties")
)
LISTS: Mapping[str, frozenset[str]] = {
    "segment_events": EVENT_FIELDS,
    "customers": frozenset(("ID", "MAIL", "NAME", "PLAN", "ADDRESS")),
}
SHORT = frozenset(("MAIL", "NAME"))
"""Fields of at most 50 characters."""

Row = dict[str, Any]


class Tool:
    settings: ClassVar[Mapping[str, Any]] = {
        "api_key": KEY,
        "api_secret": SECRET,
        "url": "https://acme.slgnt.us",
        "organization": "Acme Retail",
        "list": "customers",
        "list_key_field": "ID",
    }
    wrong_key: ClassVar[Mapping[str, Any]] = {"api_secret": "of-last-year"}
    events: ClassVar[Sequence[Mapping[str, Any]]] = (
        {
            "type": "identify",
            "messageId": "i-1",
            "userId": "42",
            "traits": {"NAME": "Ada", "ADDRESS": {"city": "Gent"}},
        },
        {"type": "track", "event": "Order Completed", "messageId": "t-1", "userId": "42", "properties": {"total": 9.5}},
        {"type": "page", "name": "Home", "messageId": "p-1", "anonymousId": "a-1", "properties": {"path": "/"}},
        {"type": "screen", "name": "Start", "messageId": "s-1", "userId": "42"},
        {"type": "alias", "messageId": "l-1", "userId": "42", "previousId": "a-1"},
        {
            "type": "group",
            "messageId": "g-1",
            "userId": "ada@example.com",
            "groupId": "vips",
            "traits": {"matchkey": "MAIL", "userlist": "customers"},
        },
        {
            "type": "group",
            "messageId": "g-2",
            "userId": "bob@example.com",
            "groupId": "vips",
            "traits": {"matchkey": "MAIL", "userlist": "customers", "method": "REMOVE"},
        },
    )
    refused: ClassVar[Mapping[str, Any] | None] = {
        "type": "identify",
        "messageId": "too-long",
        "userId": "43",
        "traits": {"NAME": "x" * 51, "ADDRESS": None},
    }
    drops_repeats: ClassVar[bool] = True

    def __init__(self, first_index: int = 0, segment_path: str = "data") -> None:
        self.segment_path = segment_path
        self.taken: list[str] = []
        self.limited = 0
        self.broken = 0
        self.first_index = first_index
        self.rows: dict[str, dict[str, Row]] = {
            "segment_events": {},
            "customers": {"41": {"ID": "41", "MAIL": "ada@example.com"}, "40": {"ID": "40", "MAIL": "bob@example.com"}},
        }
        self.segments: dict[tuple[str, str], set[str]] = {("customers", "vips"): {"40"}}
        self.requests: list[Request] = []

    def answer(self, request: Request) -> Answer:
        self.requests.append(request)
        if self.limited:
            self.limited -= 1
            headers = {"x-ratelimit-limit": "2500, 2500;w=60", "x-ratelimit-remaining": "0", "x-ratelimit-reset": "5"}
            return Answer(429, headers, b"API calls quota exceeded! The maximum allowed is 2500 per minute")
        if self.broken:
            self.broken -= 1
            return Answer(503, {"content-type": "text/html"}, b"<html>Service Unavailable</html>")
        if request.headers.get("x-apikey") != f"{KEY}:{SECRET}":
            return Answer(
                401,
                {"content-type": "application/json"},
                b'{"Message":"Authorization has been denied for this request."}',
            )
        parts = urlsplit(request.url)
        if parts.netloc != "acme.slgnt.us" or request.headers.get("content-type") != "application/json":
            return Answer(404)
        path = [unquote(part) for part in parts.path.split("/")[1:]]
        if path[:5] != ["Portal", "Api", "organizations", "Acme Retail", "lists"]:
            return Answer(404)
        asked = {name: values[0] for name, values in parse_qs(parts.query, strict_parsing=True).items()}
        match (request.method, path[5:]):
            case ("POST", [name, "data", "load"]):
                return self._checked(request.body, asked, name, lambda rows: self._load(rows, name, asked["keyFields"]))
            case ("POST", [name, "segments", segment, *rest]) if rest == self.segment_path.split("/"):
                return self._checked(request.body, asked, name, lambda rows: self._join(rows, name, segment))
            case ("DELETE", [name, "segments", segment, "data"]):
                return self._checked(request.body, asked, name, lambda rows: self._leave(rows, name, segment))
        return Answer(404)

    def _checked(self, body: bytes, asked: Mapping[str, str], name: str, done: Any) -> Answer:
        if name not in LISTS:
            return _failed(404, "NotFound", f"List {name} does not exist")
        fields = asked.get("fields", "").split(",")
        if asked.get("mode") != "Sync" or asked.get("keyFields") not in fields or not set(fields) <= LISTS[name]:
            return _failed(400, "ValidationFailed", "keyFields or fields are not valid")
        sent = json.loads(body)
        if not isinstance(sent, list) or not 0 < len(sent) <= 2_500 or len(body) > 20_000_000:
            return _failed(400, "ValidationFailed", "the records are not valid")
        invalid = []
        rows: list[Row] = []
        for index, values in enumerate(sent, self.first_index):
            row = dict(zip(fields, values, strict=False))
            long = next((field for field in fields if field in SHORT and len(str(row.get(field, ""))) > LONGEST), None)
            if len(values) != len(fields):
                invalid.append(_invalid(index, None, "Record contains incorrect number of fields", "InvalidFieldCount"))
            elif any(isinstance(value, dict | list) for value in values):
                invalid.append(_invalid(index, None, "A value has the wrong type", "InvalidType"))
            elif long:
                text = f"Length of string ({len(row[long])}) exceeds maximum field length ({LONGEST})"
                invalid.append(_invalid(index, long, text, "MaxStringLengthExceeded"))
            else:
                rows.append(row)
        counts: Mapping[str, int] | None = done(rows)
        if counts is None:
            return _failed(404, "NotFound", "the segment does not exist")
        told = {
            "errors": None,
            "result_code": "PartiallySucceeded" if invalid else "Succeeded",
            "number_of_inserted_records": 0,
            "number_of_updated_records": 0,
            "number_of_deleted_records": 0,
            "number_of_failed_records": len(invalid),
            "number_of_duplicate_records": 0,
            "number_of_records_not_found": 0,
            "invalid_records": invalid,
            **counts,
        }
        return Answer(200, {"content-type": "application/json; charset=utf-8"}, json.dumps(told).encode())

    def _load(self, rows: Sequence[Row], name: str, key: str) -> Mapping[str, int]:
        inserted = updated = 0
        for row in rows:
            known = self.rows[name].get(str(row[key]))
            inserted += known is None
            updated += known is not None
            self.rows[name][str(row[key])] = {**(known or {}), **row}
            self._took(row[key] if name == "segment_events" else f"profile {row[key]}")
        return {"number_of_inserted_records": inserted, "number_of_updated_records": updated}

    def _join(self, rows: Sequence[Row], name: str, segment: str) -> Mapping[str, int] | None:
        members = self.segments.get((name, segment))
        if members is None:
            return None
        missing = 0
        for row in rows:
            found = self._found(name, row)
            missing += found is None
            if found is not None:
                members.add(found)
                self._took(f"{found} in {segment}")
        return {"number_of_inserted_records": len(rows) - missing, "number_of_records_not_found": missing}

    def _leave(self, rows: Sequence[Row], name: str, segment: str) -> Mapping[str, int] | None:
        members = self.segments.get((name, segment))
        if members is None:
            return None
        missing = 0
        for row in rows:
            found = self._found(name, row)
            missing += found not in members
            if found is not None:
                members.discard(found)
            self._took(f"{found} not in {segment}")
        return {"number_of_deleted_records": len(rows) - missing, "number_of_records_not_found": missing}

    def _found(self, name: str, wanted: Row) -> str | None:
        return next((key for key, row in self.rows[name].items() if wanted.items() <= row.items()), None)

    def _took(self, what: str) -> None:
        if what not in self.taken:
            self.taken.append(what)


def _invalid(index: int, field: str | None, text: str, code: str) -> dict[str, Any]:
    return {"record_index": index, "field_name": field, "message": text, "validation_code": code}


def _failed(status: int, code: str, text: str) -> Answer:
    told = {"errors": [{"error_code": "ERR_VALIDATION", "description": text}], "result_code": code}
    return Answer(status, {"content-type": "application/json; charset=utf-8"}, json.dumps(told).encode())
