"""An event in the form in which Segment's tracking API and its webhooks have it.

https://segment.com/docs/connections/spec/common/ and https://segment.com/docs/connections/destinations/catalog/webhooks/
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

import msgspec

from headrace.event import EMPTY_OBJECT, Event

_WITH_TRAITS: Final = frozenset(("identify", "group"))
_encoder: Final = msgspec.json.Encoder()


class _Form(msgspec.Struct, omit_defaults=True, rename="camel", gc=False):
    type: str
    message_id: str
    timestamp: str
    received_at: str
    original_timestamp: str | None = None
    sent_at: str | None = None
    user_id: str | None = None
    anonymous_id: str | None = None
    group_id: str | None = None
    previous_id: str | None = None
    event: str | None = None
    name: str | None = None
    properties: msgspec.Raw | None = None
    traits: msgspec.Raw | None = None
    context: msgspec.Raw | None = None
    integrations: msgspec.Raw | None = None


def segment_json(event: Event) -> bytes:
    """One JSON object; properties, context and integrations stand in it as they were sent."""
    has_traits = event.type in _WITH_TRAITS
    return _encoder.encode(
        _Form(
            type=event.type,
            message_id=event.message_id,
            timestamp=moment(event.timestamp),
            received_at=moment(event.received_at),
            original_timestamp=event.original_timestamp,
            sent_at=event.sent_at,
            user_id=event.user_id,
            anonymous_id=event.anonymous_id,
            group_id=event.group_id,
            previous_id=event.previous_id,
            event=event.event,
            name=event.name,
            properties=None if has_traits or event.type == "alias" else event.properties,
            traits=event.properties if has_traits else None,
            context=_unless_empty(event.context),
            integrations=_unless_empty(event.integrations),
        )
    )


def _unless_empty(value: msgspec.Raw) -> msgspec.Raw | None:
    return None if value == EMPTY_OBJECT else value


def moment(at: datetime) -> str:
    """ISO-8601 in UTC with milliseconds, as Segment writes it.

    >>> moment(datetime(2026, 3, 1, 12, 0, 0, 123456, UTC))
    '2026-03-01T12:00:00.123Z'
    """
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
