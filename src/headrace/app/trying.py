"""A filter tried on a file of events, before it is given to a warehouse or a delivery."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import NamedTuple

from headrace.collector.accept import Origin, single
from headrace.errors import RejectedEventError
from headrace.event import Event
from headrace.filters import compile_filter
from headrace.sources.base import SourceKind


class Tried(NamedTuple):
    """One line of the file, counted from 1. `matches` is None when there is no answer, and `reason` says why."""

    line: int
    event: Event | None
    matches: bool | None
    reason: str = ""


def tried(expression: str, lines: Iterable[bytes], source: SourceKind, now: datetime) -> Iterator[Tried]:
    """Each line is an event as a client of this source would send it (`configured` of sources.base makes one), and the filter
    sees it as the collector would have accepted it now. Empty lines are passed over. Raises ConfigError for the expression, at once."""
    condition = compile_filter(expression)

    def answers() -> Iterator[Tried]:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            accepted = single(line.strip(), None, source, now, Origin(), dry=True)
            if not accepted.events:
                (refusal,) = accepted.refusals
                yield Tried(number, None, None, f"refused at the door, {refusal.code}: {refusal.message}")
                continue
            (event,) = accepted.events
            try:
                yield Tried(number, event, condition.matches(event))
            except RejectedEventError as error:
                yield Tried(number, event, None, f"{error.code}: {error.reason}")

    return answers()
