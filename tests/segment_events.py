"""Events from the JSON in which Segment's SDKs send them, for tests of what comes after the log."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from headrace.event import Event

RECEIVED = "2026-03-01T12:00:01Z"


def event_of(sent: Mapping[str, Any], source: str = "selligent") -> Event:
    """`sent` has Segment's field names; what is missing is filled in as the collector would, with fixed times."""
    received_at = moment_of(sent.get("receivedAt", RECEIVED))
    return Event(
        source=sent.get("source", source),
        type=sent["type"],
        message_id=sent.get("messageId", "m-1"),
        received_at=received_at,
        timestamp=moment_of(sent["timestamp"]) if "timestamp" in sent else received_at,
        event=sent.get("event"),
        name=sent.get("name"),
        user_id=sent.get("userId"),
        anonymous_id=sent.get("anonymousId"),
        group_id=sent.get("groupId"),
        previous_id=sent.get("previousId"),
        original_timestamp=sent.get("originalTimestamp", sent.get("timestamp")),
        sent_at=sent.get("sentAt"),
        properties=raw(sent.get("traits" if sent["type"] in ("identify", "group") else "properties", {})),
        context=raw(sent.get("context", {})),
        integrations=raw(sent.get("integrations", {})),
    )


def moment_of(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def raw(value: Any) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))
