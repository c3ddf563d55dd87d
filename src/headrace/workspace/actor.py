"""Who does what is being done now: the audit trail names it. Rooms above say it, and threads that they start for a request inherit it."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any, Final


class Actor:
    """`entries` counts what the trail has of it so far; `details` are added to what the API notes by itself of an order."""

    def __init__(self, name: str, via: str) -> None:
        self.name: Final = name
        self.via: Final = via
        self.entries = 0
        self.details: dict[str, Any] = {}


SERVER: Final = "headrace"
ACTOR: Final[ContextVar[Actor | None]] = ContextVar("actor", default=None)
"""None: headrace itself, for example when it switches off a destination that refuses everything."""


def actor() -> Actor:
    return ACTOR.get() or Actor(SERVER, "server")


def detail(**details: Any) -> None:
    """Say more about the order that is being carried out; no secrets."""
    found = ACTOR.get()
    if found is not None:
        found.details |= details
