"""What became of one event at a destination, by its books."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import msgspec

from headrace.delivery._schema import NEVER
from headrace.delivery.account import Place, in_words
from headrace.delivery.account_tallies import reading
from headrace.delivery.dead_letters import Attempt, attempts_of, moment
from headrace.delivery.feed import FILE

Outcome = Literal["delivered", "filtered", "retrying", "failed", "waiting", "not_connected", "unknown"]


class Sighting(NamedTuple):
    """An event in the log: the entry at `offset` of `partition`."""

    partition: int
    offset: int
    source: str
    received_at: datetime


class Resent(msgspec.Struct, frozen=True):
    """What a replay came to that did not deliver the event."""

    replay: int
    at: datetime
    outcome: str
    code: str
    detail: str


class Fate(msgspec.Struct, frozen=True, kw_only=True):
    """`at` is when it came to this; for an event that went through at once it is not known to the moment: then it was between `not_before`
    and `at`. `next_at` is when it is tried again, None where it waits for an earlier event of its user."""

    slug: str
    kind: str
    nickname: str
    outcome: Outcome
    text: str
    """What happened, and what to do, in plain words."""
    code: str = ""
    title: str = ""
    remedy: str = ""
    detail: str = ""
    at: datetime | None = None
    not_before: datetime | None = None
    next_at: datetime | None = None
    attempts: int = 0
    history: Sequence[Attempt] = ()
    replays: Sequence[Resent] = ()


def sightings(file: Path, message_id: str) -> list[Sighting]:
    """Events with this id that have a row of their own in a destination's books: those that were retried or failed. Raises RetryableError."""
    if not file.exists():
        return []
    # The index has nothing but places and ids, so it is quickly walked through.
    select = (
        "SELECT partition, offset, source, received_at FROM events WHERE id IN "
        "(SELECT id FROM events INDEXED BY events_in_order WHERE message_id = ?) ORDER BY 1, 2"
    )
    with reading(file) as books:
        return [Sighting(row[0], row[1], row[2], moment(row[3])) for row in books.execute(select, (message_id,))]


def offset_of_minute(folder: Path, partition: int, minute: int) -> int | None:
    """Where the entries of that minute begin at the latest, by the counts of arrivals; None where they do not know."""
    file = folder / FILE
    if not file.exists():
        return None
    select = "SELECT first FROM places WHERE partition = ? AND minute <= ? ORDER BY minute DESC LIMIT 1"
    with reading(file) as arrivals:
        found = arrivals.execute(select, (partition, minute)).fetchone()
    return int(found[0]) if found else None


def places_since(folder: Path, partition: int, minute: int) -> list[tuple[int, int]]:
    """Minutes from that one on, and where their entries begin, as far as arrivals are counted: in order, without overlap."""
    file = folder / FILE
    if not file.exists():
        return []
    select = "SELECT minute, first FROM places WHERE partition = ? AND minute >= ? ORDER BY minute"
    with reading(file) as arrivals:
        found: list[tuple[int, int]] = []
        for at, first in arrivals.execute(select, (partition, minute)):
            if not found or first > found[-1][1]:
                found.append((at, first))
        return found


def fate(place: Place, seen: Sighting) -> Fate:
    """Raises RetryableError when the books cannot be read."""
    name: dict[str, Any] = {"slug": place.slug, "kind": place.kind, "nickname": place.nickname}
    if not place.file.exists():
        return Fate(**name, outcome="waiting", text="no server has taken this destination up yet")
    with reading(place.file) as books:
        found = _told(books, place, seen)
        replays = books.execute(_REPLAYED, (seen.partition, seen.offset)).fetchall()
    resent = [Resent(number, moment(at), outcome, code, detail) for number, at, outcome, code, detail in replays]
    return Fate(**name, **found, replays=resent)


def _told(books: sqlite3.Connection, place: Place, seen: Sighting) -> dict[str, Any]:
    row = books.execute(_EVENT, (seen.partition, seen.offset)).fetchone()
    if row is not None:
        return _story(row, place)
    run = books.execute(_RUN, (seen.partition, seen.offset)).fetchone()
    position = books.execute("SELECT next FROM positions WHERE partition = ?", (seen.partition,)).fetchone()
    connected = books.execute(_CONNECTED, (seen.partition, seen.offset)).fetchone()
    sources = json.loads(connected[0]) if connected else []
    is_now = seen.source in json.loads((books.execute(_NOW, (seen.partition,)).fetchone() or ("[]",))[0])
    if position is not None and seen.offset >= position[0]:
        return _waiting(place, seen, is_now=is_now)
    if run is not None and run[0] > seen.offset and seen.source in sources:
        return _ended(run)
    if connected is None or seen.received_at < place.added_at:
        added = f"{place.added_at:%Y-%m-%d %H:%M:%S} UTC"
        return _not_connected(
            f"it was accepted before this destination was there (added {added}); a replay can send it"
        )
    if seen.source not in sources:
        later = "; it was connected later, and a replay can send the event" if is_now else ""
        return _not_connected(f"the source {seen.source} was not connected when the event came by{later}")
    return {
        "outcome": "unknown",
        "text": "its turn is over, and the books do not have its outcome any more: `delivery.retention_days` says how long they keep it",
    }


def _waiting(place: Place, seen: Sighting, *, is_now: bool) -> dict[str, Any]:
    if not is_now:
        return _not_connected(f"the source {seen.source} is not connected")
    if place.removed_at is not None:
        return _not_connected("the destination was removed before the event's turn came")
    if place.state is not None:
        return {"outcome": "waiting", "text": f"it waits in the log: the destination is {place.state}"}
    return {"outcome": "waiting", "text": "it waits in the log for its first attempt"}


def _ended(run: Sequence[Any]) -> dict[str, Any]:
    """After the first attempt, or without any."""
    _, outcome, code, from_at, to_at = run
    found: dict[str, Any] = {"outcome": outcome, "at": moment(to_at), "not_before": moment(from_at)}
    if outcome == "delivered":
        return {**found, "attempts": 1, "text": "delivered at the first attempt"}
    words = in_words(code)
    return {
        **found,
        "code": code,
        "title": words["title"],
        "remedy": words["remedy"],
        "text": _reason(outcome, code, ""),
    }


def _story(row: Sequence[Any], place: Place) -> dict[str, Any]:
    outcome, code, detail, attempts, last_at, due_at, history = row
    words = in_words(code)
    told = attempts_of(history)
    begins_anew = not attempts
    attempts = max(attempts, len(told))  # a dead letter that is sent again counts from the beginning
    found = {
        "outcome": outcome,
        "at": moment(last_at),
        "attempts": attempts,
        "history": told,
        "code": code,
        "title": words["title"],
        "remedy": words["remedy"],
        "detail": detail,
    }
    if outcome == "delivered":
        return {**found, "remedy": "", "text": f"delivered after {attempts} attempts; one before ended with {code}"}
    if outcome != "retrying":
        return {**found, "text": _reason(outcome, code, detail)}
    next_at = None if due_at == NEVER else moment(due_at)
    when = (
        f"next at {next_at:%Y-%m-%d %H:%M:%S} UTC or later" if next_at else "it waits for an earlier event of its user"
    )
    if place.state is not None:
        when = f"not before the destination, which is {place.state}, goes on"
    tried = (
        f"being retried after {attempts} attempt{'' if attempts == 1 else 's'}"
        if not begins_anew
        else "to be sent again"
    )
    return {**found, "next_at": next_at, "text": f"it is {tried}: {_reason('', code, detail)} ({when})"}


def _reason(outcome: str, code: str, detail: str) -> str:
    words = in_words(code)
    begin = {"failed": "it failed: ", "filtered": "it was left out: "}.get(outcome, "")
    said = f" ({detail})" if detail else ""
    return f"{begin}{words['title']} [{code}]{said}. {words['remedy']}".strip()


def _not_connected(text: str) -> dict[str, Any]:
    return {"outcome": "not_connected", "text": text}


_EVENT: Final = (
    "SELECT outcome, code, detail, attempts, last_at, due_at, history FROM events WHERE partition = ? AND offset = ?"
)
_RUN: Final = "SELECT next, outcome, code, from_at, to_at FROM runs WHERE partition = ? AND first <= ? ORDER BY first DESC LIMIT 1"
_CONNECTED: Final = "SELECT sources FROM connected WHERE partition = ? AND offset <= ? ORDER BY offset DESC LIMIT 1"
_NOW: Final = "SELECT sources FROM connected WHERE partition = ? ORDER BY offset DESC LIMIT 1"
_REPLAYED: Final = (
    "SELECT replay, at, outcome, code, detail FROM replayed WHERE partition = ? AND offset = ? ORDER BY replay"
)
