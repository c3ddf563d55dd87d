"""HubSpot's batch upsert of contacts and batch of custom events, as documented.

Contacts: https://developers.hubspot.com/docs/api-reference/crm-contacts-v3/batch/post-crm-v3-objects-contacts-batch-upsert
Events, their limits and identifiers: https://developers.hubspot.com/docs/api-reference/legacy/events/send-event-data/guide
Statuses, 207 and objectWriteTraceId: https://developers.hubspot.com/docs/api-reference/error-handling
429 and policyName: https://developers.hubspot.com/docs/developer-tooling/platform/usage-guidelines
What a batch of events answers when one of them is wrong is not documented: this one refuses it whole, with HubSpot's form of an error.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar

from headrace.destinations.base import Answer, Request

TOKEN = "pat-na1-3f0c7a52-made-up"
HUB = "1234567"
ADDRESS = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
NAME = re.compile(r"[a-z][a-z0-9_]{0,49}", re.ASCII)
UNDEFINED = f"pe{HUB}_never_defined"
PROPERTIES = frozenset(
    (
        "email",
        "firstname",
        "lastname",
        "phone",
        "jobtitle",
        "company",
        "website",
        "address",
        "city",
        "state",
        "zip",
        "country",
    )
)


class Tool:
    settings: ClassVar[Mapping[str, Any]] = {
        "endpoint": "https://api.hubapi.com",
        "access_token": TOKEN,
        "hub_id": HUB,
    }
    wrong_key: ClassVar[Mapping[str, Any]] = {"access_token": "another"}
    events: ClassVar[tuple[Mapping[str, Any], ...]] = (
        {
            "type": "track",
            "event": "Email Opened",
            "messageId": "t-1",
            "userId": "42",
            "timestamp": "2026-03-01T09:00:00.125Z",
            "properties": {"email_id": "e1", "campaign_id": "spring", "machine_open": True},
            "context": {"traits": {"email": "ada@example.com"}},
        },
        {
            "type": "identify",
            "messageId": "i-1",
            "userId": "42",
            "traits": {"email": "ada@example.com", "plan": "team"},
        },
        {"type": "track", "event": "Email Opened", "messageId": "t-2", "anonymousId": "tom@example.org"},
        {"type": "identify", "messageId": "i-2", "traits": {"email": "tom@example.org", "firstName": "Tom"}},
        {
            "type": "track",
            "event": "Email Link Clicked",
            "messageId": "a8f5f167-f44f-4964-a6f0-3fa0a3a0e5bb",
            "userId": "42",
            "context": {"traits": {"email": "ada@example.com"}},
        },
    )
    refused: ClassVar[Mapping[str, Any] | None] = {
        "type": "track",
        "event": "Never defined",
        "messageId": "bad-1",
        "anonymousId": "tom@example.org",
    }
    drops_repeats: ClassVar[bool] = True

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.limited = 0
        self.broken = 0
        self.contacts: dict[str, dict[str, str]] = {}

    def answer(self, request: Request) -> Answer:
        if self.limited:
            self.limited -= 1
            return _error(429, "You have reached your ten_secondly_rolling limit.", policyName="TEN_SECONDLY_ROLLING")
        if self.broken:
            self.broken -= 1
            return Answer(502, {}, b"")
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return _error(401, "Authentication credentials not found.", category="INVALID_AUTHENTICATION")
        if request.headers.get("content-type") != "application/json":
            return _error(415, "the content type must be application/json")
        try:
            sent = json.loads(request.body)
        except ValueError:
            return _error(400, "Invalid input JSON")
        inputs = sent.get("inputs") if isinstance(sent, dict) else None
        if not isinstance(inputs, list) or not inputs:
            return _error(400, "inputs is required")
        if (request.method, request.url) == ("POST", "https://api.hubapi.com/crm/v3/objects/contacts/batch/upsert"):
            return self._upsert(inputs)
        if (request.method, request.url) == ("POST", "https://api.hubapi.com/events/v3/send/batch"):
            return self._send(inputs)
        return _error(404, "resource not found")

    def _upsert(self, inputs: list[Any]) -> Answer:
        if len(inputs) > 100:
            return _error(400, "no more than 100 inputs")
        ids = [contact["id"].lower() for contact in inputs]
        if len(set(ids)) < len(ids):
            return _error(400, f"Duplicate IDs found in batch input: {ids}. IDs must be unique")
        results, errors = [], []
        for contact in inputs:
            trace = contact.get("objectWriteTraceId")
            unknown = sorted(contact["properties"].keys() - PROPERTIES)
            text = f"Property {unknown[0]} does not exist" if unknown else None
            if contact.get("idProperty") != "email" or not ADDRESS.fullmatch(contact["id"]):
                text = f"Email address {contact['id']} is invalid"
            if text:
                traces = {"objectWriteTraceId": [trace]} if trace else {}
                errors.append({"status": "error", "category": "VALIDATION_ERROR", "message": text, "context": traces})
                continue
            name = contact["id"].lower()
            if name not in self.contacts:
                self.taken.append(f"contact {name}")
            self.contacts.setdefault(name, {}).update(contact["properties"])
            results.append({"id": "7", "new": False, "properties": {"email": name}, "objectWriteTraceId": trace})
        body = {"status": "COMPLETE", "results": results, "startedAt": "2026-03-01T12:00:00Z"}
        return _said(207, {**body, "numErrors": len(errors), "errors": errors}) if errors else _said(200, body)

    def _send(self, inputs: list[Any]) -> Answer:
        if len(inputs) > 500:
            return _error(400, "no more than 500 inputs")
        for occurrence in inputs:
            text = _wrong(occurrence)
            if text:
                return _error(400, text)
        for occurrence in inputs:
            name = f"{occurrence['eventName']} {occurrence.get('uuid') or uuid.uuid4()}"
            if name not in self.taken:  # "the first will be accepted and all others will be rejected"
                self.taken.append(name)
        return Answer(204)


def _wrong(occurrence: Any) -> str | None:
    if not isinstance(occurrence.get("properties"), dict):
        return "properties is required"
    name = str(occurrence.get("eventName"))
    if not NAME.fullmatch(name.removeprefix(f"pe{HUB}_")) or name == UNDEFINED or not name.startswith(f"pe{HUB}_"):
        return f"the event {name} is not defined"
    if (
        not occurrence.get("objectId")
        and not occurrence.get("utk")
        and not ADDRESS.fullmatch(occurrence.get("email", ""))
    ):
        return "an identifier is required"
    if len(occurrence["properties"]) > 50:
        return "too many properties"
    for key, value in occurrence["properties"].items():
        most = 1_024 if "url" in key or "referrer" in key else 256
        if not NAME.fullmatch(key) or not isinstance(value, str) or len(value) > most:
            return f"the property {key} is not valid"
    datetime.fromisoformat(occurrence["occurredAt"])
    uuid.UUID(occurrence["uuid"])
    return None


def _error(status: int, text: str, **more: Any) -> Answer:
    body = {"status": "error", "message": text, "correlationId": "aeb5f871-7f07-4993-9211-075dc63e7cbf"}
    return _said(status, {"category": "VALIDATION_ERROR", **body, **more})


def _said(status: int, body: Mapping[str, Any]) -> Answer:
    return Answer(status, {"content-type": "application/json"}, json.dumps(body).encode())
