"""Replays as a destination's books have them: what is wanted, how far it is, what came of it. Any process may order, pause and cancel one."""

from __future__ import annotations

import json
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple, get_args

import msgspec

from headrace.delivery._rows import ADD_LATENCY, ADD_MINUTE
from headrace.delivery.commits import minute_of
from headrace.delivery.latency import bucket_of
from headrace.delivery.store import Store
from headrace.errors import ConfigError, NotFoundError
from headrace.event import Event

State = Literal["ordered", "running", "paused", "cancelled", "done", "failed"]
ENDED: Final = ("cancelled", "done", "failed")
Outcome = Literal["any", "delivered", "filtered", "failed", "never"]
"""Which events by what became of them: `never` are those that this destination has not had, for example from before it was there."""
OUTCOMES: Final = get_args(Outcome)
_LEAP: Final = 1_000_000_000
"""By as much the log's offsets leap after a crash."""


class Wanted(msgspec.Struct, frozen=True):
    """Which events; times in milliseconds since 1970 of when they were received, `until` not included. Empty lists are all."""

    since: int
    until: int
    sources: tuple[str, ...] = ()
    events: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    outcome: Outcome = "any"
    added_at: int = 0
    reached: dict[int, int] = {}
    """By partition, how far delivery was when this was ordered: what is beyond and was received since `added_at` it delivers anyhow."""

    def is_coming(self, partition: int, offset: int, received_ms: int) -> bool:
        return received_ms >= self.added_at and partition in self.reached and offset >= self.reached[partition]

    def takes(self, event: Event, received_ms: int) -> bool:
        """As far as the event itself tells."""
        return (
            self.since <= received_ms < self.until
            and (not self.sources or event.source in self.sources)
            and (not self.events or (event.event or event.name or "") in self.events)
            and (not self.types or event.type in self.types)
        )


class Replay(msgspec.Struct, frozen=True):
    """`total` and `passed` are entries of the log in the period, the others events. `positions` are the next offsets by partition."""

    id: int
    created_at: int
    wanted: Wanted
    state: State
    detail: str
    positions: Mapping[int, int]
    total: int
    passed: int
    delivered: int
    filtered: int
    failed: int
    changed_at: int


class Range(NamedTuple):
    partition: int
    first: int
    next: int


class Ended(NamedTuple):
    """What came of one replayed event."""

    partition: int
    offset: int
    event: Event
    outcome: Literal["delivered", "filtered", "failed"]
    code: str
    detail: str
    at: int


class Outcomes:
    """What became of consecutive offsets at first, and of those whose story is longer."""

    def __init__(
        self, runs: Sequence[tuple[int, int, str]], own: Mapping[int, str], connected: Sequence[tuple[int, str]]
    ) -> None:
        """`connected`: from which offset on which sources (a JSON list) were connected, in the order of the offsets."""
        self._firsts = [run[0] for run in runs]
        self._runs = runs
        self._own = own
        self._connected_from = [offset for offset, _ in connected]
        self._connected = [frozenset(json.loads(sources)) for _, sources in connected]

    def of(self, offset: int, source: str) -> str | None:
        """None where the destination has not had it."""
        if offset in self._own:
            return self._own[offset]
        place = bisect_right(self._connected_from, offset) - 1
        if place < 0 or source not in self._connected[place]:
            return None
        place = bisect_right(self._firsts, offset) - 1
        return self._runs[place][2] if place >= 0 and offset < self._runs[place][1] else None


def outcomes(store: Store, partition: int, first: int, following: int) -> Outcomes:
    """Of the offsets from `first` to before `following`."""
    runs = store.read(
        "SELECT first, next, outcome FROM runs WHERE partition = ? AND first < ? AND next > ? ORDER BY first",
        (partition, following, first),
    )
    own = store.read(
        "SELECT offset, outcome FROM events WHERE partition = ? AND offset >= ? AND offset < ?",
        (partition, first, following),
    )
    connected = store.read("SELECT offset, sources FROM connected WHERE partition = ? ORDER BY offset", (partition,))
    return Outcomes(runs, dict(own), connected)


def matches(wanted: Outcome, outcome: str | None) -> bool:
    """What is retried is on its way anyhow."""
    if outcome == "retrying":
        return False
    return wanted in ("any", outcome or "never")


def entries_between(first: int, following: int) -> int:
    """About how many entries there are: after a crash the log's offsets leap, and what was leapt over is none."""
    return (following - first) % _LEAP


def order(store: Store, wanted: Wanted, ranges: Iterable[Range]) -> int:
    """The new replay's number. It begins when the destination delivers. Raises ConfigError for a period without a log."""
    parts = [part for part in ranges if part.next > part.first]
    if not parts:
        raise ConfigError(
            "replay: neither the log nor the archive has events of that period; give --since and --until another"
        )
    now = _now()
    positions = {str(part.partition): part.first for part in parts}
    ends = {str(part.partition): part.next for part in parts}
    total = sum(entries_between(part.first, part.next) for part in parts)
    with store.writing() as cursor:
        cursor.execute(
            "INSERT INTO replays (created_at, wanted, state, positions, ends, total, changed_at) VALUES (?, ?, 'ordered', ?, ?, ?, ?)",
            (now, msgspec.json.encode(wanted).decode(), json.dumps(positions), json.dumps(ends), total, now),
        )
        return int(cursor.lastrowid or 0)


def every(store: Store) -> list[Replay]:
    """Newest first."""
    return [_replay(row) for row in store.read(f"{_SELECT} ORDER BY id DESC")]


def one(store: Store, number: int) -> Replay:
    """Raises NotFoundError."""
    rows = store.read(f"{_SELECT} WHERE id = ?", (number,))
    if not rows:
        raise NotFoundError(f"replay: there is no number {number}; see: headrace replay list {store.file.stem}")
    return _replay(rows[0])


def ends(store: Store, number: int) -> Mapping[int, int]:
    """By partition, the offset that it does not reach."""
    text = store.read("SELECT ends FROM replays WHERE id = ?", (number,))[0][0]
    return {int(partition): end for partition, end in json.loads(text).items()}


def active(store: Store) -> Replay | None:
    """The one to work on: the oldest that is neither ended nor paused."""
    rows = store.read(f"{_SELECT} WHERE state IN ('ordered', 'running') ORDER BY id LIMIT 1")
    return _replay(rows[0]) if rows else None


def pause(store: Store, number: int) -> Replay:
    """It waits until it is resumed. Safe to call twice. Raises NotFoundError, and ConfigError for one that has ended."""
    return _changed(store, number, "paused")


def resume(store: Store, number: int) -> Replay:
    """One that is not paused goes on as it does. Raises as `pause` does."""
    return _changed(store, number, "ordered", only_from=("paused",))


def cancel(store: Store, number: int) -> Replay:
    """What is on its way is not called back. Raises as `pause` does."""
    return _changed(store, number, "cancelled")


def _changed(
    store: Store, number: int, state: State, only_from: Sequence[State] = ("ordered", "running", "paused")
) -> Replay:
    """What a person ordered, in one transaction: the replay may have ended a moment before."""
    with store.writing() as cursor:
        found = cursor.execute("SELECT state FROM replays WHERE id = ?", (number,)).fetchone()
        if found is not None and found[0] in ENDED:
            raise ConfigError(f"replay: number {number} is {found[0]} already; order a new one")
        if found is not None and found[0] in only_from:
            cursor.execute("UPDATE replays SET state = ?, changed_at = ? WHERE id = ?", (state, _now(), number))
    return one(store, number)


def failures(store: Store, number: int) -> Mapping[str, int]:
    """Events by code."""
    return dict(
        store.read(
            "SELECT code, count(*) FROM replayed WHERE replay = ? AND outcome = 'failed' GROUP BY code", (number,)
        )
    )


def begin(store: Store, number: int) -> bool:
    """Whether it runs now, rather than that it was paused or cancelled meanwhile. For the one who replays."""
    with store.writing() as cursor:
        cursor.execute(
            "UPDATE replays SET state = 'running', changed_at = ? WHERE id = ? AND state IN ('ordered', 'running')",
            (_now(), number),
        )
        return cursor.rowcount == 1


def end(store: Store, number: int, state: Literal["done", "failed"], detail: str = "") -> None:
    """For the one who replays. A replay that is done has passed all that it had to, whatever was guessed at its beginning; one that was
    cancelled stays so."""
    total = "passed" if state == "done" else "total"
    with store.writing() as cursor:
        cursor.execute(
            f"UPDATE replays SET state = ?, total = {total}, detail = CASE ? WHEN '' THEN detail ELSE ? END, changed_at = ? "  # noqa: S608
            "WHERE id = ? AND state IN ('ordered', 'running', 'paused')",
            (state, detail, detail, _now(), number),
        )


def note(store: Store, number: int, detail: str) -> None:
    """Why it does not get on, or what it could not read."""
    with store.writing() as cursor:
        cursor.execute("UPDATE replays SET detail = ? WHERE id = ?", (detail, number))


def advance(store: Store, number: int, partition: int, following: int, passed: int, ended: Sequence[Ended]) -> None:
    """Entries before `following` have passed: their outcomes and the position are stored together. Each failure has a row of its own, the rest
    is counted. A dead letter that has gone through is none any more."""
    tally = Counter(each.outcome for each in ended)
    with store.writing() as cursor:
        positions = json.loads(cursor.execute("SELECT positions FROM replays WHERE id = ?", (number,)).fetchone()[0])
        positions[str(partition)] = following
        cursor.execute(
            "UPDATE replays SET positions = ?, passed = passed + ?, total = max(total, passed + ?), delivered = delivered + ?, filtered = filtered + ?, "
            "failed = failed + ?, changed_at = ? WHERE id = ?",
            (
                json.dumps(positions),
                passed,
                passed,
                tally["delivered"],
                tally["filtered"],
                tally["failed"],
                _now(),
                number,
            ),
        )
        cursor.executemany(
            "INSERT OR REPLACE INTO replayed VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    number,
                    each.partition,
                    each.offset,
                    each.event.message_id,
                    each.at,
                    each.outcome,
                    each.code,
                    each.detail,
                )
                for each in ended
                if each.outcome == "failed"
            ],
        )
        for each in ended:
            if each.outcome == "delivered":
                _bury(cursor, number, each)


def _bury(cursor: Any, number: int, ended: Ended) -> None:
    found = cursor.execute(
        "SELECT id, received_at, source, code, history FROM events WHERE partition = ? AND offset = ? AND outcome = 'failed'",
        (ended.partition, ended.offset),
    ).fetchone()
    if found is None:
        return
    row, received_at, source, code, history = found
    told = json.dumps([*json.loads(history), [ended.at, 0.0, f"replay {number}"]])
    cursor.execute(
        "UPDATE events SET outcome = 'delivered', attempts = attempts + 1, last_at = ?, history = ?, line = NULL WHERE id = ?",
        (ended.at, told, row),
    )
    minute = minute_of(received_at)
    cursor.execute(ADD_MINUTE, (minute, source, "failed", code, -1))
    cursor.execute(ADD_MINUTE, (minute, source, "delivered", "", 1))
    cursor.execute(ADD_LATENCY, (minute, bucket_of(max(0, ended.at - received_at) / 1_000), 1))


_SELECT: Final = "SELECT id, created_at, wanted, state, detail, positions, total, passed, delivered, filtered, failed, changed_at FROM replays"


def _replay(row: Sequence[Any]) -> Replay:
    number, created_at, wanted, state, detail, positions, *rest = row
    by_partition = {int(partition): at for partition, at in json.loads(positions).items()}
    return Replay(number, created_at, msgspec.json.decode(wanted, type=Wanted), state, detail, by_partition, *rest)


def _now() -> int:
    return int(time.time() * 1_000)
