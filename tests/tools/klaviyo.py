"""Klaviyo's endpoints for events and profiles, as specified.

Bodies, limits, headers, answers: https://github.com/klaviyo/openapi, openapi/stable/apis/{create_event,bulk_create_events,
create_or_update_profile,bulk_import_profiles}.json, revision 2026-07-15
What a valid address is, dropped repeats: https://developers.klaviyo.com/en/docs/events_api_overview
401, 429 with Retry-After, forms of errors: https://developers.klaviyo.com/en/docs/rate_limits_and_error_handling
A repeated unique_id makes a bulk request fail, as the specification says, and not only be dropped, as the guide says: the harder of the two.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar

from headrace.destinations.base import Answer, Request

API_KEY = "pk_made_up_0123456789abcdef"
ADDRESS = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
PHONE = re.compile(r"\+[1-9][0-9]{6,14}", re.ASCII)
LONG_ADDRESS = f"{'x' * 100}@example.org"
OF_PROFILE = frozenset(
    (
        *("email", "phone_number", "external_id", "anonymous_id", "_kx", "first_name", "last_name", "organization"),
        *("locale", "title", "image", "location", "properties"),
    )
)


class Tool:
    settings: ClassVar[Mapping[str, Any]] = {"endpoint": "https://a.klaviyo.com", "api_key": API_KEY}
    wrong_key: ClassVar[Mapping[str, Any]] = {"api_key": "pk_another"}
    events: ClassVar[tuple[Mapping[str, Any], ...]] = (
        {
            "type": "track",
            "event": "Email Opened",
            "messageId": "t-1",
            "userId": "42",
            "timestamp": "2026-03-01T09:00:00.125Z",
            "properties": {"email_id": "e1", "campaign_id": "spring"},
            "context": {"traits": {"email": "ada@example.com"}},
        },
        {"type": "track", "event": "Email Opened", "messageId": "t-2", "anonymousId": "tom@example.org"},
        {
            "type": "identify",
            "messageId": "i-1",
            "userId": "42",
            "traits": {"email": "ada@example.com", "plan": "team"},
        },
        {"type": "identify", "messageId": "i-2", "userId": "43", "traits": {"phone": "+15005550006"}},
        {"type": "page", "messageId": "p-1", "userId": "42", "name": "Home", "properties": {"path": "/"}},
        {"type": "screen", "messageId": "s-1", "userId": "42", "name": "Start"},
    )
    refused: ClassVar[Mapping[str, Any] | None] = {
        "type": "track",
        "event": "Email Opened",
        "messageId": "bad-1",
        "anonymousId": LONG_ADDRESS,
    }
    drops_repeats: ClassVar[bool] = True

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.limited = 0
        self.broken = 0

    def answer(self, request: Request) -> Answer:
        if self.limited:
            self.limited -= 1
            return _refused(429, "throttled", "Request was throttled.", headers={"retry-after": "7"})
        if self.broken:
            self.broken -= 1
            return _refused(503, "server_error", "Service unavailable.")
        if request.headers.get("authorization") != f"Klaviyo-API-Key {API_KEY}":
            return _refused(401, "not_authenticated", "Missing or invalid private key.")
        if not re.fullmatch(r"20[0-9]{2}-[0-9]{2}-[0-9]{2}", request.headers.get("revision", "")):
            return _refused(400, "invalid", "the header revision is required")
        if request.headers.get("content-type") != "application/vnd.api+json" or request.method != "POST":
            return _refused(415, "unsupported_media_type", "JSON:API by POST is expected")
        if len(request.body) > 5_000_000:
            return _refused(413, "payload_too_large", "the request is larger than 5 MB")
        return self._at(request.url.removeprefix("https://a.klaviyo.com"), json.loads(request.body)["data"])

    def _at(self, path: str, data: Any) -> Answer:
        if path == "/api/events":
            return self._events([data], [(data["attributes"]["profile"], [data])], "/data/attributes", is_bulk=False)
        if path == "/api/event-bulk-create-jobs":
            entries = data["attributes"]["events-bulk-create"]["data"]
            pairs = [(entry["attributes"]["profile"], entry["attributes"]["events"]["data"]) for entry in entries]
            return self._events(entries, pairs, "/data/attributes/events-bulk-create/data", is_bulk=True)
        if path == "/api/profile-import":
            return self._profiles([data], "/data", 201)
        if path == "/api/profile-bulk-import-jobs":
            return self._profiles(data["attributes"]["profiles"]["data"], "/data/attributes/profiles/data", 202)
        return _refused(404, "not_found", "no such path")

    def _events(
        self, entries: Sequence[Any], pairs: Sequence[tuple[Any, Sequence[Any]]], pointer: str, *, is_bulk: bool
    ) -> Answer:
        if is_bulk and any(entry["type"] != "event-bulk-create" for entry in entries):
            return _refused(400, "invalid", "type must be event-bulk-create")
        if sum(len(events) for _, events in pairs) > 1_000:
            return _refused(400, "invalid", "more than 1,000 events")
        names: list[str] = []
        for number, (profile, events) in enumerate(pairs):
            place = f"{pointer}/{number}" if is_bulk else pointer
            wrong = _wrong_profile(profile["data"])
            if wrong:
                return _refused(400, "invalid", wrong, f"{place}/attributes/profile/data/attributes")
            for event in events:
                wrong = _wrong_event(event["attributes"])
                if wrong:
                    return _refused(400, "invalid", wrong, f"{place}/attributes/events/data/0/attributes")
                name = _name(event["attributes"], profile["data"]["attributes"])
                if is_bulk and (name in self.taken or name in names):
                    return _refused(
                        400, "invalid", "repeated", f"{place}/attributes/events/data/0/attributes/unique_id"
                    )
                names.append(name)
        self.taken += [name for name in names if name not in self.taken]
        return Answer(202)

    def _profiles(self, profiles: Sequence[Any], pointer: str, status: int) -> Answer:
        for number, profile in enumerate(profiles):
            wrong = _wrong_profile(profile)
            if wrong:
                return _refused(400, "invalid", wrong, f"{pointer}/{number}/attributes")
        for profile in profiles:
            name = f"profile {json.dumps([profile['attributes'].get(key) for key in ('external_id', 'email')])}"
            if name not in self.taken:
                self.taken.append(name)
        return Answer(status, {}, json.dumps({"data": {"type": "profile", "id": "01H"}}).encode())


def _name(event: Mapping[str, Any], profile: Mapping[str, Any]) -> str:
    who = profile.get("external_id") or profile.get("email") or profile.get("phone_number")
    return " ".join((str(who), event["metric"]["data"]["attributes"]["name"], event.get("unique_id", event["time"])))


def _wrong_profile(profile: Mapping[str, Any]) -> str | None:
    attributes = profile["attributes"]
    if profile["type"] != "profile" or attributes.keys() - OF_PROFILE:
        return f"unknown attributes: {sorted(attributes.keys() - OF_PROFILE)}"
    if not any(attributes.get(name) for name in ("email", "phone_number", "external_id", "_kx")):
        return "an identifier is required"
    email = attributes.get("email", "a@b.c")
    if not ADDRESS.fullmatch(email) or len(email) >= 100:
        return "Invalid email address"
    return None if PHONE.fullmatch(attributes.get("phone_number", "+15005550006")) else "Invalid phone number"


def _wrong_event(event: Mapping[str, Any]) -> str | None:
    metric = event["metric"]["data"]
    if metric["type"] != "metric" or not 0 < len(metric["attributes"]["name"]) < 128:
        return "the metric's name is not valid"
    if not isinstance(event["properties"], dict) or len(event["properties"]) > 400:
        return "properties must be an object of at most 400"
    if not 1 <= len(event.get("unique_id", "x")) <= 255:
        return "unique_id has 1 to 255 characters"
    if type(event.get("value", 1)) not in (int, float):
        return "value must be a number"
    datetime.fromisoformat(event["time"])
    return None


def _refused(
    status: int, code: str, detail: str, pointer: str = "/data", headers: Mapping[str, str] | None = None
) -> Answer:
    error = {"id": "752f7ece-af20-44e0-aa3a-b13290d98e72", "status": status, "code": code, "title": "Invalid input."}
    body = {"errors": [{**error, "detail": detail, "source": {"pointer": pointer}}]}
    return Answer(status, {"content-type": "application/vnd.api+json", **(headers or {})}, json.dumps(body).encode())
