"""What one transaction of a destination's books takes, in words: outcomes of first attempts, stories of events, counts, samples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec

from headrace.destinations.base import OutcomeName
from headrace.event import Event

_MINUTE: Final = 60_000


class Passed(NamedTuple):
    """First attempts of consecutive offsets that ended alike; `outcome` empty: entries that are none of this destination's."""

    partition: int
    first: int
    next: int
    outcome: OutcomeName | str
    code: str
    from_at: int
    to_at: int


class Story(msgspec.Struct, gc=False):
    """An event with a row of its own, as it is to be stored. Times in milliseconds; `due_at` counts while it is retrying."""

    partition: int
    offset: int
    event: Event
    outcome: OutcomeName
    code: str
    detail: str
    attempts: int
    first_at: int
    last_at: int
    due_at: int
    history: list[list[Any]]
    """[at, seconds, code] of the newest attempts."""
    user_key: str | None = None
    row: int | None = None
    """The id of its row; None for a new one."""
    was: tuple[OutcomeName, str] | None = None
    """Outcome and code under which the minutes count it now; None where they do not."""


class Sample(NamedTuple):
    """A request and what came back, secrets masked; `events` is how many events the request had. `line` is the event's, as the log has it."""

    code: str
    at: int
    event: Event
    line: bytes
    events: int
    seconds: float
    detail: str
    request: Mapping[str, Any]
    answer: Mapping[str, Any]


class Commit(msgspec.Struct):
    """What one transaction takes."""

    positions: dict[int, int] = {}
    passed: list[Passed] = []
    stories: list[Story] = []
    counts: Counter[tuple[int, str, str, str]] = msgspec.field(default_factory=Counter)
    """By received minute, source, outcome and code; may take away."""
    latencies: Counter[tuple[int, int]] = msgspec.field(default_factory=Counter)
    before: Counter[tuple[int, str]] = msgspec.field(default_factory=Counter)
    samples: list[Sample] = []
    state: Mapping[str, Any] | None = None

    def is_empty(self) -> bool:
        return not (self.positions or self.passed or self.stories or self.counts or self.samples or self.state)


def minute_of(milliseconds: int) -> int:
    return milliseconds // _MINUTE


def milliseconds(event: Event) -> int:
    """When the event was received."""
    return int(event.received_at.timestamp() * 1_000)
