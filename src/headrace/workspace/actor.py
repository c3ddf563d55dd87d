"""Who does what is being done now: the audit trail names it. Rooms above say it, and threads that they start for a request inherit it."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
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
COMMAND_LINE: Final = "command line"
LOGIN_HEADER: Final = "x-headrace-login"
"""What commands send over the socket: who runs them, quoted as in a URL."""
ACTOR: Final[ContextVar[Actor | None]] = ContextVar("actor", default=None)
"""None: headrace itself, for example when it switches off a destination that refuses everything."""


def actor() -> Actor:
    return ACTOR.get() or Actor(SERVER, "server")


def detail(**details: Any) -> None:
    """Say more about the order that is being carried out; no secrets."""
    found = ACTOR.get()
    if found is not None:
        found.details |= details


@contextmanager
def acting(one: Actor) -> Iterator[None]:
    """What is done inside is done by this one."""
    before = ACTOR.set(one)
    try:
        yield
    finally:
        ACTOR.reset(before)


def command_line() -> Actor:
    """Whoever runs this process."""
    try:
        login = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container's user has no name
        login = f"user {os.getuid()}"
    return Actor(f"command line ({login})", COMMAND_LINE)
