"""The words of the language, for those who complete or explain expressions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from headrace.event import EVENT_TYPES
from headrace.filters import checks
from headrace.filters.parser import FUNCTIONS as FUNCTIONS  # noqa: PLC0414 -- told here
from headrace.filters.parser import SIGNS as SIGNS  # noqa: PLC0414 -- as above
from headrace.filters.parser import WORDS as _COMPARING

WORDS: Final = (*_COMPARING, "exists", "is null", "is not null", "and", "or", "not")
TYPES: Final = tuple(sorted(EVENT_TYPES))

_TEXTS: Final = {
    "event": "name of a track event",
    "type": f"one of {', '.join(TYPES)}",
    "name": "name of a page or screen",
    "messageId": "id of the event",
    "userId": "id of the user",
    "anonymousId": "id of the visitor or device",
    "groupId": "id of the group",
    "previousId": "earlier id, of alias",
    "originalTimestamp": "the client's own time, as text",
    "sentAt": "when the client sent it, as text",
    "source": "slug of the source",
    "timestamp": "when it happened",
    "receivedAt": "when it was received",
    "properties": "object of track, page and screen",
    "traits": "object of identify and group",
    "context": "object that every type has",
    "integrations": "object that switches destinations on and off",
}
FIELDS: Final[Mapping[str, str]] = {name: _TEXTS[name] for name in checks.FIELDS}
"""What an event has, with what it is."""
