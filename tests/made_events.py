"""Events for tests, with as little said as the test needs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from headrace.event import Event, EventType
from headrace.workspace.records import Source

START: Final = datetime(2026, 3, 1, 12, tzinfo=UTC)


def source(slug: str = "shop") -> Source:
    return Source(slug, "http-api", slug.title(), slug, True, START)


def made(
    message_id: str = "m1",
    type_: EventType = "track",
    properties: Any = None,
    context: Any = None,
    *,
    at: float = 0,
    **fields: Any,
) -> Event:
    """`properties` and `context` as Python values, or as JSON bytes; `at` is received_at in seconds after START."""
    moment = START + timedelta(seconds=at)
    if type_ == "track":
        fields.setdefault("event", "Order Placed")
    fields.setdefault("user_id", "u1")
    return Event(
        fields.pop("source", "shop"),
        type_,
        message_id,
        moment,
        fields.pop("timestamp", moment),
        properties=_raw(properties),
        context=_raw(context),
        **fields,
    )


def _raw(value: Any) -> msgspec.Raw:
    return msgspec.Raw(value if isinstance(value, bytes) else msgspec.json.encode(value or {}))
