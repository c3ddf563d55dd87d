"""The rules of the two Selligent sources."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from headrace.collector import accept
from headrace.collector.accept import Origin
from headrace.event import Event, RejectedEvent, decode_lines, encode, join_lines
from headrace.sources import base

NOW = datetime(2026, 11, 3, 12, 0, tzinfo=UTC)
KINDS = ("selligent-marketing-cloud", "selligent")
TWELVE = Path(__file__).parent.parent / "cases" / "selligent-events.ndjson"
PROPERTIES = {"email_id": "48213", "email_subject": "Hi", "campaign_id": "1207", "campaign_name": "August"}


def judged(event: dict[str, Any], kind: str = KINDS[0], **settings: Any) -> Event | RejectedEvent:
    source = base.configured(kind, "selligent", settings)
    acceptance = accept.single(json.dumps(event).encode(), None, source, NOW, Origin("203.0.113.7"))
    return decode_lines(join_lines(acceptance.lines))[0]


def accepted(event: dict[str, Any], **settings: Any) -> Event:
    entry = judged(event, **settings)
    assert isinstance(entry, Event), entry
    return entry


def opened(**more: Any) -> dict[str, Any]:
    base_event = {
        "type": "track",
        "event": "Email Opened",
        "properties": PROPERTIES,
        "timestamp": "2026-08-03T09:41:07Z",
    }
    return {**base_event, **more}


@pytest.mark.parametrize("kind", KINDS)
def test_the_twelve_events_of_the_platform_are_accepted_without_a_warning(kind: str) -> None:
    for line in TWELVE.read_text().splitlines():
        event = json.loads(line)
        entry = judged(event, kind)
        assert isinstance(entry, Event)
        assert (event["messageId"], ()) == (entry.message_id, entry.warnings)
        assert (event.get("userId"), event.get("anonymousId")) == (entry.user_id, entry.anonymous_id)
        assert datetime.fromisoformat(event["timestamp"]) == entry.timestamp


def test_the_address_alone_becomes_the_anonymous_id() -> None:
    event = accepted(opened(context={"traits": {"email": "tom.w@example.org"}}))
    assert (None, "tom.w@example.org") == (event.user_id, event.anonymous_id)


def test_nobody_at_all_is_refused() -> None:
    entry = judged(opened())
    assert isinstance(entry, RejectedEvent)
    assert entry.code == "no_user_anon_id"


def test_envelope_values_among_the_properties_are_promoted_where_the_top_level_lacks_them() -> None:
    among = {
        **PROPERTIES,
        "user_id": "C-1",
        "event": "Email Opened",
        "timestamp": "2026-08-03T09:41:07Z",
        "sentAt": "2026-08-03T09:42:00Z",
    }
    event = accepted({"type": "track", "properties": among})
    assert ("Email Opened", "C-1", "2026-08-03T09:42:00Z") == (event.event, event.user_id, event.sent_at)
    assert event.timestamp == datetime(2026, 8, 3, 9, 41, 7, tzinfo=UTC)
    assert {"promoted:event", "promoted:user_id", "promoted:timestamp", "promoted:sent_at"} == set(event.warnings)
    other = accepted({"type": "track", "event": "Email Opened", "userId": "C-2", "properties": among})
    assert other.user_id == "C-2"


def test_a_repeat_without_message_id_gets_the_same_id_and_another_event_another() -> None:
    first = accepted(opened(userId="u"))
    assert first.message_id == accepted(opened(userId="u")).message_id
    others = [
        opened(userId="v"),
        opened(userId="u", timestamp="2026-08-03T09:41:08Z"),
        opened(userId="u", event="Email Bounced"),
        opened(userId="u", properties={**PROPERTIES, "link_id": "9"}),
        opened(userId="u", properties={**PROPERTIES, "campaign_id": "1"}),
    ]
    assert len({first.message_id, *(accepted(other).message_id for other in others)}) == 6


def test_without_a_timestamp_the_id_is_random_and_warned_of() -> None:
    event = opened(userId="u")
    del event["timestamp"]
    assert accepted(event).message_id != accepted(event).message_id
    assert "message_id_random" in accepted(event).warnings


def test_missing_and_misplaced_properties_are_warnings_never_refusals() -> None:
    event = accepted(opened(userId="u", messageId="m", properties={"email_id": "1", "link_id": "2", "list_id": "3"}))
    assert {
        "missing:email_subject", "missing:campaign_id", "missing:campaign_name", "misplaced:link_id", "misplaced:list_id",
    } == set(event.warnings)  # fmt: skip
    assert "missing:link_id" in accepted(opened(userId="u", event="EMAIL LINK CLICKED")).warnings
    assert accepted(opened(userId="u", event="Email Marked As Spam")).warnings == ()
    unsubscribed = opened(userId="u", event="Email Unsubscribed", properties={**PROPERTIES, "list_id": "3"})
    assert accepted(unsubscribed).warnings == ()


def test_ids_that_arrive_as_numbers_are_stored_as_text() -> None:
    event = accepted(opened(userId="u", properties={**PROPERTIES, "campaign_id": 1207, "position": 3}))
    properties = msgspec.json.decode(event.properties)
    assert ("1207", 3, ("property_number:campaign_id",)) == (
        properties["campaign_id"],
        properties["position"],
        event.warnings,
    )


def test_a_late_event_keeps_its_own_time() -> None:
    event = accepted(opened(userId="u", sentAt="2026-08-03T11:42:00Z"))
    assert event.timestamp == datetime(2026, 8, 3, 9, 41, 7, tzinfo=UTC)


def test_the_address_is_stored_as_the_source_is_set() -> None:
    address = "Tom.W@Example.org"
    digest = hashlib.sha256(b"tom.w@example.org").hexdigest()
    sent = opened(anonymousId=address, context={"traits": {"email": address}})
    hashed = accepted(sent, address="sha256")
    assert digest == hashed.anonymous_id
    assert {"traits": {"email_sha256": digest}} == msgspec.json.decode(hashed.context)
    both = accepted(sent, address="both")
    assert address == both.anonymous_id
    assert {"traits": {"email": address, "email_sha256": digest}} == msgspec.json.decode(both.context)


def test_with_sha256_no_address_is_left_anywhere_in_the_event() -> None:
    address = "Tom.W@Example.org"
    digest = hashlib.sha256(b"tom.w@example.org").hexdigest()
    events = [
        opened(userId=address, messageId="m"),
        opened(messageId="m", properties={**PROPERTIES, "anonymous_id": address, "to": [{"address": address}]}),
        {
            "type": "identify",
            "userId": "u",
            "messageId": "m",
            "traits": {"email": address},
            "context": {"traits": {"email": address}},
        },
        {"type": "identify", "anonymousId": address, "messageId": "m"},
    ]
    for event in events:
        stored = encode(accepted(event, address="sha256")).decode()
        assert address not in stored
        assert digest in stored
    unreadable = opened(userId="u", messageId="m", context={"traits": {"email": address}})
    raw = json.dumps(unreadable).replace('"48213"', "1e400")
    source = base.configured(KINDS[0], "selligent", {"address": "sha256"})
    acceptance = accept.single(raw.encode(), None, source, NOW, Origin())
    assert ["bad_request"] == [refusal.code for refusal in acceptance.refusals]


def test_other_events_of_the_source_pass_without_warnings() -> None:
    assert accepted({"type": "track", "event": "Order Completed", "userId": "u", "messageId": "m"}).warnings == ()
    assert accepted({"type": "identify", "userId": "u", "messageId": "m"}).warnings == ()
