"""A destination's books on disk: its position, every outcome, what waits for a retry, dead letters, samples.

One transaction takes everything that belongs together: the position and the outcomes of the first attempts before it, and what came of
retries. So after kill -9 the books are those of some moment before, and what was sent since then is sent again: at least once, and every
event in the books exactly once. synchronous=NORMAL: a power failure may take the last transactions, which has the same effect.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from headrace import event as events
from headrace.delivery import retry
from headrace.delivery._schema import NEVER, STATEMENTS, VERSION
from headrace.destinations.base import CONFIGURATION_CODES, OutcomeName
from headrace.errors import ConfigError, PositionError, RetryableError
from headrace.event import Event

SAMPLES: Final = 10
"""Kept of each code."""
SAMPLE_BYTES: Final = 65_536
REQUEUE: Final = 1_000
LONGEST_WAIT: Final = 1_000 * int(retry.LONGEST_ASKED_SECONDS + retry.LONGEST_SECONDS)
"""Milliseconds from an attempt to the next one, at the most."""
_MINUTE: Final = 60_000
_encode: Final = msgspec.json.Encoder().encode
_decode_history: Final = msgspec.json.Decoder(list[list[Any]]).decode


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


class Store:
    """Opens or creates the file. May be called from any thread; other processes may read it, and write it now and then."""

    def __init__(self, file: Path) -> None:
        """Raises ConfigError when the file is none of ours, and RetryableError."""
        self.file = file
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._connection = opened(file)
        self._turn = threading.RLock()
        """One transaction at a time: they share the connection."""
        try:
            self._prepare()
        except BaseException:
            self._connection.close()
            raise

    def _prepare(self) -> None:
        version = self.read("PRAGMA user_version")[0][0]
        if version == VERSION:
            return  # without a lock, which another process may hold
        with self.writing() as cursor:
            version = cursor.execute("PRAGMA user_version").fetchone()[0]
            if version == 0:
                for statement in _statements(STATEMENTS):
                    cursor.execute(statement)
                cursor.execute(f"PRAGMA user_version = {VERSION}")
            elif version != VERSION:
                raise ConfigError(f"delivery: {self.file} was written by a newer headrace ({version}); run that one")

    def positions(self, incarnation: str) -> Mapping[int, int]:
        """Raises PositionError when the positions belong to another log."""
        found = {}
        for partition, of_log, at in self.read("SELECT partition, incarnation, next FROM positions"):
            if of_log != incarnation:
                raise PositionError(
                    f"delivery: the position in {self.file} belongs to another log; bring that log back, or remove the destination "
                    "and add it anew"
                )
            found[partition] = at
        return found

    def begin(
        self,
        incarnation: str,
        positions: Mapping[int, int],
        before: Mapping[tuple[int, str], int],
        sources: Sequence[str],
    ) -> None:
        """The first position of each partition that has none yet, and what was accepted before it."""
        with self.writing() as cursor:
            cursor.executemany(
                "INSERT INTO positions VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                [(partition, incarnation, at) for partition, at in positions.items()],
            )
            cursor.executemany(_ADD_BEFORE, [(minute, source, n) for (minute, source), n in before.items()])
            self._note_sources(cursor, positions, sources)

    def connect(self, positions: Mapping[int, int], sources: Sequence[str]) -> None:
        """Note which sources count from these positions on. Safe to call twice."""
        latest = "SELECT partition, sources FROM connected ORDER BY offset"
        known = {partition: set(json.loads(text)) for partition, text in self.read(latest)}
        if any(known.get(partition) != set(sources) for partition in positions):
            with self.writing() as cursor:
                self._note_sources(cursor, positions, sources)

    def _note_sources(self, cursor: sqlite3.Cursor, positions: Mapping[int, int], sources: Sequence[str]) -> None:
        text = json.dumps(sorted(sources))
        for partition, at in positions.items():
            last = cursor.execute(
                "SELECT sources FROM connected WHERE partition = ? ORDER BY offset DESC LIMIT 1", (partition,)
            ).fetchone()
            if last is None or last[0] != text:
                cursor.execute("INSERT OR REPLACE INTO connected VALUES (?, ?, ?)", (partition, at, text))

    def commit(self, commit: Commit) -> None:
        """All of it or nothing. Raises RetryableError; the same commit may be given again then."""
        counts = Counter(commit.counts)
        with self.writing() as cursor:
            for partition, at in commit.positions.items():
                cursor.execute("UPDATE positions SET next = ? WHERE partition = ?", (at, partition))
            for passed in commit.passed:
                _add_run(cursor, passed)
            self._add_stories(cursor, commit.stories, counts)
            cursor.executemany(
                ADD_MINUTE,
                [(minute, source, outcome, code, n) for (minute, source, outcome, code), n in counts.items()],
            )
            cursor.executemany(ADD_LATENCY, [(minute, bucket, n) for (minute, bucket), n in commit.latencies.items()])
            cursor.executemany(_ADD_BEFORE, [(minute, source, n) for (minute, source), n in commit.before.items()])
            for sample in commit.samples:
                _add_sample(cursor, sample)
            if commit.state is not None:
                cursor.execute(_SET_META, ("state", json.dumps(commit.state)))

    @staticmethod
    def _add_stories(
        cursor: sqlite3.Cursor, stories: Sequence[Story], counts: Counter[tuple[int, str, str, str]]
    ) -> None:
        new: list[Story] = []
        changed: list[Story] = []
        for story in stories:
            minute, source = minute_of(milliseconds(story.event)), story.event.source
            if story.was is not None:
                counts[minute, source, *story.was] -= 1
            code = "" if story.outcome == "delivered" else story.code
            counts[minute, source, story.outcome, code] += 1
            (new if story.row is None else changed).append(story)
        cursor.executemany(_ADD_EVENT, [_row(story) for story in new])
        cursor.executemany(_CHANGE_EVENT, [_changes(story) for story in changed])
        for story in (*new, *changed):
            # What was before an event may have gone while this one was told to wait for it.
            if story.user_key is not None and (story.outcome != "retrying" or story.due_at == NEVER):
                cursor.execute(_RELEASE_NEXT, (story.last_at, story.user_key, NEVER))

    def due(self, now: int, released_before: int, limit: int) -> list[Story]:
        """Retrying events whose time has come, or whose last attempt was before `released_before`: those that are longest due first."""
        self._hasten(now)
        if released_before:
            rows = self.read(_DUE_OR_RELEASED, (NEVER, now, released_before, limit))
        else:
            rows = self.read(_DUE, (now, limit))
        return [_story(row) for row in rows]

    def _hasten(self, now: int) -> None:
        """Retries that wait longer than any pause is long are due now: the clock went back."""
        latest = self.read(_LATEST, (NEVER,))[0][0]
        if latest is not None and latest > now + LONGEST_WAIT:
            with self.writing() as cursor:
                cursor.execute(_HASTEN, (now, now + LONGEST_WAIT, NEVER))

    def followers(self, story: Story, limit: int) -> list[Story]:
        """The events of the same user that wait behind this one, in their order."""
        rows = self.read(_FOLLOWERS, (story.user_key, story.row, limit))
        return [_story(row) for row in rows]

    def next_due(self) -> int | None:
        """When the next retry is due; None when none waits."""
        found = self.read("SELECT min(due_at) FROM events WHERE outcome = 'retrying'")[0][0]
        return None if found is None or found >= NEVER else int(found)

    def retrying(self) -> int:
        return int(self.read("SELECT count(*) FROM events WHERE outcome = 'retrying'")[0][0])

    def waiting_users(self, keys: Sequence[str]) -> set[str]:
        """Those of the users who have an event that is retried."""
        marks = ",".join("?" * len(keys))
        select = f"SELECT DISTINCT user_key FROM events WHERE outcome = 'retrying' AND user_key IN ({marks})"  # noqa: S608 - marks only
        return {row[0] for row in self.read(select, keys)}

    def requeue(self, now: int, limit: int = REQUEUE, codes: Iterable[str] = CONFIGURATION_CODES) -> int:
        """Dead letters with these codes are to be sent again, oldest first. Returns how many."""
        wanted = sorted(codes)
        marks = ",".join("?" * len(wanted))
        where = f"outcome = 'failed' AND line IS NOT NULL AND code IN ({marks}) ORDER BY received_at LIMIT ?"
        return self.revive(where, [*wanted, limit], now)

    def revive(self, where: str, values: Sequence[Any], now: int) -> int:
        """Failed events become retrying ones that are due now. `where` is written by headrace itself."""
        with self.writing() as cursor:
            rows = cursor.execute(
                f"SELECT id, received_at, source, code, user_key FROM events WHERE {where}",  # noqa: S608 - see above
                list(values),
            ).fetchall()
            moved: Counter[tuple[int, str, str, str]] = Counter()
            for _, received_at, source, code, _ in rows:
                moved[minute_of(received_at), source, "failed", code] -= 1
                moved[minute_of(received_at), source, "retrying", code] += 1
            cursor.executemany(
                "UPDATE events SET outcome = 'retrying', attempts = 0, first_at = ?1, due_at = ?2 WHERE id = ?3",
                [(now, now if row[4] is None else NEVER, row[0]) for row in rows],
            )
            for key in {row[4] for row in rows if row[4] is not None}:  # in the order of each user's events
                cursor.execute(_RELEASE_NEXT, (now, key, NEVER))
            cursor.executemany(ADD_MINUTE, [(*key, n) for key, n in moved.items()])
            return len(rows)

    def begun(self) -> set[int]:
        """Partitions of which any event has an outcome."""
        return {row[0] for row in self.read(_BEGUN)}

    def note(self, key: str, value: Any) -> None:
        with self.writing() as cursor:
            cursor.execute(_SET_META, (key, json.dumps(value)))

    def noted(self, key: str) -> Any:
        found = self.read("SELECT value FROM meta WHERE key = ?", (key,))
        return json.loads(found[0][0]) if found else None

    def clear(self, before: int, dead_before: int | None, limit: int = 5_000) -> int:
        """Remove what was received before these times, dead letters by a time of their own (None: never). A part at a time: returns the
        rows that went, 0 when there is no more."""
        minute, gone = minute_of(before), 0
        with self.writing() as cursor:
            for statement, values in (
                ("DELETE FROM minutes WHERE minute < ?", (minute,)),
                ("DELETE FROM latencies WHERE minute < ?", (minute,)),
                ("DELETE FROM before WHERE minute < ?", (minute,)),
                ("DELETE FROM runs WHERE to_at < ?", (before,)),
                ("DELETE FROM samples WHERE at < ?", (before,)),
                (_CLEAR_REPLAYED, (before, limit)),
                (_CLEAR_EVENTS.format("outcome NOT IN ('retrying', 'failed') AND received_at < ?"), (before, limit)),
                (_CLEAR_EVENTS.format("outcome = 'failed' AND received_at < ?"), (dead_before or 0, limit)),
            ):
                gone += cursor.execute(statement, values).rowcount
        return gone

    def close(self) -> None:
        """Waits for the transaction that is on its way."""
        with self._turn:
            self._connection.close()

    def read(self, select: str, values: Sequence[Any] = ()) -> list[Any]:
        """Raises RetryableError."""
        try:
            with self._turn:
                return self._connection.execute(select, tuple(values)).fetchall()
        except sqlite3.Error as error:
            raise RetryableError(f"delivery: cannot read {self.file}: {error}; check its rights") from error

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Cursor]:
        """One transaction, for one thread at a time. Raises RetryableError; nothing is stored then."""
        try:
            with self._turn, closing(self._connection.cursor()) as cursor:
                cursor.execute("BEGIN IMMEDIATE")
                try:
                    yield cursor
                    cursor.execute("COMMIT")
                except BaseException:
                    if self._connection.in_transaction:  # also where there was no room for the commit
                        cursor.execute("ROLLBACK")
                    raise
        except sqlite3.Error as error:
            raise RetryableError(
                f"delivery: cannot write {self.file}: {error}; make room, or check its rights"
            ) from error


def opened(file: Path, *, read_only: bool = False) -> sqlite3.Connection:
    """Raises RetryableError."""
    try:
        connection = sqlite3.connect(
            f"{file.absolute().as_uri()}?mode={'ro' if read_only else 'rwc'}",
            uri=True,
            timeout=10.0,
            isolation_level=None,
            check_same_thread=False,
        )
        if not read_only:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute("PRAGMA secure_delete = FAST")
            connection.execute("PRAGMA wal_autocheckpoint = 4000")
            connection.execute("PRAGMA cache_size = -8000")
    except sqlite3.Error as error:
        raise RetryableError(f"delivery: cannot open {file}: {error}; check its rights") from error
    return connection


def milliseconds(event: Event) -> int:
    """When the event was received."""
    return int(event.received_at.timestamp() * 1_000)


def _statements(script: str) -> list[str]:
    found, statement = [], ""
    for line in script.splitlines():
        statement = f"{statement}{line}\n"
        if sqlite3.complete_statement(statement):
            found.append(statement)
            statement = ""
    return found


def _add_run(cursor: sqlite3.Cursor, run: Passed) -> None:
    """Joined with the one before it where they are of one outcome and one minute."""
    if not run.outcome:
        return
    cursor.execute(
        "UPDATE runs SET next = ?, to_at = ? WHERE partition = ? AND first = (SELECT max(first) FROM runs WHERE partition = ?) "
        "AND next = ? AND outcome = ? AND code = ? AND from_at / 60000 = ? / 60000",
        (run.next, run.to_at, run.partition, run.partition, run.first, run.outcome, run.code, run.from_at),
    )
    if not cursor.rowcount:
        cursor.execute("INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?, ?)", run)


def _add_sample(cursor: sqlite3.Cursor, sample: Sample) -> None:
    of = sample.event
    cursor.execute(
        "INSERT INTO samples (code, at, source, type, name, message_id, line, events, seconds, detail, request, answer) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (sample.code, sample.at, of.source, of.type, of.event or of.name, of.message_id, sample.line, sample.events, sample.seconds,
         sample.detail, json.dumps(sample.request), json.dumps(sample.answer)),
    )  # fmt: skip
    cursor.execute(
        "DELETE FROM samples WHERE code = ? AND id <= (SELECT id FROM samples WHERE code = ? ORDER BY id DESC LIMIT 1 OFFSET ?)",
        (sample.code, sample.code, SAMPLES),
    )


def _row(story: Story) -> tuple[Any, ...]:
    of = story.event
    return (
        story.partition, story.offset, of.source, of.type, of.event or of.name, of.message_id, story.user_key, milliseconds(of),
        story.outcome, story.code, story.detail, story.attempts, story.first_at, story.last_at, story.due_at, _encode(story.history).decode(),
        _line(story),
    )  # fmt: skip


def _changes(story: Story) -> tuple[Any, ...]:
    return (
        story.outcome, story.code, story.detail, story.attempts, story.first_at, story.last_at, story.due_at, _encode(story.history).decode(),
        story.row,
    )  # fmt: skip


def _line(story: Story) -> bytes | None:
    return None if story.outcome == "delivered" else events.encode(story.event)


def _story(row: Sequence[Any]) -> Story:
    """Of a row that has its event."""
    (
        identity,
        partition,
        offset,
        user_key,
        outcome,
        code,
        detail,
        attempts,
        first_at,
        last_at,
        due_at,
        history,
        line,
    ) = row
    event = events.decode_lines(line)[0]
    assert isinstance(event, Event)  # noqa: S101 - only events are written there
    return Story(
        partition, offset, event, outcome, code, detail, attempts, first_at, last_at, due_at, _decode_history(history), user_key, identity,
        (outcome, code),
    )  # fmt: skip


ADD_MINUTE: Final = (
    "INSERT INTO minutes VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET events = events + excluded.events"
)
ADD_LATENCY: Final = (
    "INSERT INTO latencies VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET events = events + excluded.events"
)
_ADD_BEFORE: Final = "INSERT INTO before VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET events = events + excluded.events"
_SET_META: Final = "INSERT INTO meta VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value"
_ADD_EVENT: Final = (
    "INSERT INTO events (partition, offset, source, type, name, message_id, user_key, received_at, outcome, code, detail, attempts, "
    "first_at, last_at, due_at, history, line) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_CHANGE_EVENT: Final = (
    "UPDATE events SET outcome = ?1, code = ?2, detail = ?3, attempts = ?4, first_at = ?5, last_at = ?6, due_at = ?7, history = ?8, "
    "line = CASE ?1 WHEN 'delivered' THEN NULL ELSE line END WHERE id = ?9"
)
_RELEASE_NEXT: Final = (
    "UPDATE events SET due_at = ?1 WHERE id = (SELECT id FROM events WHERE outcome = 'retrying' AND user_key = ?2 ORDER BY id LIMIT 1) "
    "AND due_at = ?3"
)
_BEGUN: Final = (
    "SELECT partition FROM positions WHERE EXISTS (SELECT 1 FROM runs WHERE runs.partition = positions.partition) "
    "OR EXISTS (SELECT 1 FROM events WHERE events.partition = positions.partition)"
)
_STORY: Final = "SELECT id, partition, offset, user_key, outcome, code, detail, attempts, first_at, last_at, due_at, history, line FROM events "
_FOLLOWERS: Final = f"{_STORY} WHERE outcome = 'retrying' AND user_key = ? AND id > ? ORDER BY id LIMIT ?"
_DUE: Final = f"{_STORY} WHERE outcome = 'retrying' AND due_at <= ? ORDER BY due_at LIMIT ?"
"""Of a million that wait it looks at those whose time has come alone."""
_LATEST: Final = "SELECT max(due_at) FROM events WHERE outcome = 'retrying' AND due_at < ?"
_HASTEN: Final = "UPDATE events SET due_at = ? WHERE outcome = 'retrying' AND due_at > ? AND due_at < ?"
_DUE_OR_RELEASED: Final = (
    f"{_STORY} WHERE outcome = 'retrying' AND due_at < ? AND (due_at <= ? OR last_at < ?) ORDER BY due_at LIMIT ?"
)
_CLEAR_REPLAYED: Final = (
    "DELETE FROM replayed WHERE (replay, partition, offset) IN (SELECT replay, partition, offset FROM replayed WHERE replay IN "
    "(SELECT id FROM replays WHERE state IN ('cancelled', 'done', 'failed') AND changed_at < ?) LIMIT ?)"
)
_CLEAR_EVENTS: Final = "DELETE FROM events WHERE id IN (SELECT id FROM events WHERE {} LIMIT ?)"
