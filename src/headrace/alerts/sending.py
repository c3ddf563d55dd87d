"""Notices on their way: each channel by itself, one notice at a time, tried again until it is taken or too old. Pure, but for `Result`s.

A channel that cannot be reached waits as a whole, so that its notices keep their order. A notice that a channel refuses waits alone.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Final

import msgspec

from headrace.alerts.kept import State, Trouble, Waiting
from headrace.destinations.base import Result

FIRST_WAIT: Final = timedelta(seconds=10)
LONGEST_WAIT: Final = timedelta(minutes=10)
GIVEN_UP_AFTER: Final = timedelta(hours=24)
MOST_WAITING: Final = 200
"""Of one channel; beyond it the oldest are given up."""


def due(state: State, busy: Collection[str], now: datetime) -> list[Waiting]:
    """What is to be sent now: of each channel that is not busy its first notice that may go."""
    found: dict[str, Waiting] = {}
    for waiting in state.waiting:
        trouble = state.troubles.get(waiting.channel, Trouble())
        if waiting.channel in found or waiting.channel in busy or _is_later(trouble.due_at, now):
            continue
        if not _is_later(waiting.due_at, now):
            found[waiting.channel] = waiting
    return list(found.values())


def _is_later(due_at: datetime | None, now: datetime) -> bool:
    """A clock that was set back by hours does not stop anything."""
    return due_at is not None and now < due_at <= now + 2 * LONGEST_WAIT


def noted(state: State, sent: Waiting, result: Result, error: str, now: datetime) -> State:
    """After an attempt. `error` is the result's reason without secrets in it."""
    rest = [w for w in state.waiting if (w.notice.id, w.channel) != (sent.notice.id, sent.channel)]
    if len(rest) == len(state.waiting):
        return state  # the channel or the notice was taken away meanwhile
    before = state.troubles.get(sent.channel, Trouble())
    if result.outcome == "delivered":
        trouble = Trouble(error=error, lost=before.lost, sent_at=now)
        return _with(state, rest, sent.channel, trouble)
    attempts = sent.attempts + 1
    wait = max(_wait(attempts), min(timedelta(seconds=result.retry_after_seconds or 0), LONGEST_WAIT))
    again = msgspec.structs.replace(sent, attempts=attempts, due_at=now + wait, error=error)
    place = next(at for at, w in enumerate(state.waiting) if (w.notice.id, w.channel) == (sent.notice.id, sent.channel))
    rest.insert(place, again)
    trouble = msgspec.structs.replace(
        before,
        since=before.since or now,
        error=error,
        attempts=before.attempts + 1,
        due_at=now + wait if result.outcome == "retry" else None,
    )
    return _with(state, rest, sent.channel, trouble)


def _wait(attempts: int) -> timedelta:
    doublings: int = min(attempts - 1, 10)
    return min(FIRST_WAIT * (1 << doublings), LONGEST_WAIT)


def _with(state: State, waiting: list[Waiting], channel: str, trouble: Trouble) -> State:
    return msgspec.structs.replace(state, waiting=tuple(waiting), troubles={**state.troubles, channel: trouble})


def without_old(state: State, now: datetime) -> tuple[State, list[Waiting]]:
    """Gives up what is too old or too much; also says which."""
    kept: list[Waiting] = []
    lost: list[Waiting] = []
    count: dict[str, int] = {}
    for waiting in reversed(state.waiting):
        count[waiting.channel] = count.get(waiting.channel, 0) + 1
        is_old = now - waiting.notice.created_at > GIVEN_UP_AFTER
        (lost if is_old or count[waiting.channel] > MOST_WAITING else kept).append(waiting)
    if not lost:
        return state, []
    troubles = dict(state.troubles)
    for waiting in lost:
        trouble = troubles.get(waiting.channel, Trouble())
        troubles[waiting.channel] = msgspec.structs.replace(trouble, lost=trouble.lost + 1)
    return msgspec.structs.replace(state, waiting=tuple(reversed(kept)), troubles=troubles), lost


def at_once(state: State, channels: Mapping[str, object]) -> State:
    """After a change of settings everything is tried at once; what was for a channel that is gone is forgotten."""
    return msgspec.structs.replace(
        state,
        waiting=tuple(msgspec.structs.replace(w, due_at=None) for w in state.waiting if w.channel in channels),
        troubles={
            slug: msgspec.structs.replace(trouble, due_at=None)
            for slug, trouble in state.troubles.items()
            if slug in channels
        },
    )
