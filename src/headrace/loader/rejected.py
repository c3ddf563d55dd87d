"""Events as headrace.rejected keeps them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from headrace.event import Event, RejectedEvent


def row(entry: RejectedEvent, loaded_at: datetime) -> tuple[Any, ...]:
    """In the order of headrace.rejected's columns, without NUL characters."""
    texts = (entry.source, entry.message_id, entry.stage, entry.code, entry.reason, entry.raw)
    clean = (text.replace("\0", "") if text else text for text in texts)
    return (*clean, entry.events, entry.received_at, loaded_at)


def raw(event: Event) -> str:
    """The event as one could send it again."""
    fields = {
        "type": event.type,
        "event": event.event,
        "name": event.name,
        "messageId": event.message_id,
        "userId": event.user_id,
        "anonymousId": event.anonymous_id,
        "groupId": event.group_id,
        "previousId": event.previous_id,
        "timestamp": event.original_timestamp,
        "sentAt": event.sent_at,
        "traits" if event.type in ("identify", "group") else "properties": event.properties,
        "context": event.context,
        "integrations": event.integrations,
    }
    return msgspec.json.encode({name: value for name, value in fields.items() if value is not None}).decode()
