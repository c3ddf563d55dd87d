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
from typing import Any, Final

from headrace.delivery import retry
from headrace.delivery._rows import (
    ADD_BEFORE,
    ADD_EVENT,
    ADD_LATENCY,
    ADD_MINUTE,
    BEGUN,
    CHANGE_EVENT,
    CLEAR_EVENTS,
    CLEAR_REPLAYED,
    DUE,
    DUE_OR_RELEASED,
    FOLLOWERS,
    HASTEN,
    LATEST,
    RELEASE_NEXT,
    SET_META,
    add_run,
    add_sample,
    changes_of,
    row_of,
    story_of,
)
from headrace.delivery._schema import NEVER, STATEMENTS, VERSION
from headrace.delivery.commits import Commit, Story, milliseconds, minute_of
from headrace.destinations.base import CONFIGURATION_CODES
from headrace.errors import ConfigError, PositionError, RetryableError

REQUEUE: Final = 1_000
LONGEST_WAIT: Final = 1_000 * int(retry.LONGEST_ASKED_SECONDS + retry.LONGEST_SECONDS)
"""Milliseconds from an attempt to the next one, at the most."""


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
            cursor.executemany(ADD_BEFORE, [(minute, source, n) for (minute, source), n in before.items()])
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
                add_run(cursor, passed)
            self._add_stories(cursor, commit.stories, counts)
            cursor.executemany(
                ADD_MINUTE,
                [(minute, source, outcome, code, n) for (minute, source, outcome, code), n in counts.items()],
            )
            cursor.executemany(ADD_LATENCY, [(minute, bucket, n) for (minute, bucket), n in commit.latencies.items()])
            cursor.executemany(ADD_BEFORE, [(minute, source, n) for (minute, source), n in commit.before.items()])
            for sample in commit.samples:
                add_sample(cursor, sample)
            if commit.state is not None:
                cursor.execute(SET_META, ("state", json.dumps(commit.state)))

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
        cursor.executemany(ADD_EVENT, [row_of(story) for story in new])
        cursor.executemany(CHANGE_EVENT, [changes_of(story) for story in changed])
        for story in (*new, *changed):
            # What was before an event may have gone while this one was told to wait for it.
            if story.user_key is not None and (story.outcome != "retrying" or story.due_at == NEVER):
                cursor.execute(RELEASE_NEXT, (story.last_at, story.user_key, NEVER))

    def due(self, now: int, released_before: int, limit: int) -> list[Story]:
        """Retrying events whose time has come, or whose last attempt was before `released_before`: those that are longest due first."""
        self._hasten(now)
        if released_before:
            rows = self.read(DUE_OR_RELEASED, (NEVER, now, released_before, limit))
        else:
            rows = self.read(DUE, (now, limit))
        return [story_of(row) for row in rows]

    def _hasten(self, now: int) -> None:
        """Retries that wait longer than any pause is long are due now: the clock went back."""
        latest = self.read(LATEST, (NEVER,))[0][0]
        if latest is not None and latest > now + LONGEST_WAIT:
            with self.writing() as cursor:
                cursor.execute(HASTEN, (now, now + LONGEST_WAIT, NEVER))

    def followers(self, story: Story, limit: int) -> list[Story]:
        """The events of the same user that wait behind this one, in their order."""
        rows = self.read(FOLLOWERS, (story.user_key, story.row, limit))
        return [story_of(row) for row in rows]

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
                cursor.execute(RELEASE_NEXT, (now, key, NEVER))
            cursor.executemany(ADD_MINUTE, [(*key, n) for key, n in moved.items()])
            return len(rows)

    def begun(self) -> set[int]:
        """Partitions of which any event has an outcome."""
        return {row[0] for row in self.read(BEGUN)}

    def note(self, key: str, value: Any) -> None:
        with self.writing() as cursor:
            cursor.execute(SET_META, (key, json.dumps(value)))

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
                (CLEAR_REPLAYED, (before, limit)),
                (CLEAR_EVENTS.format("outcome NOT IN ('retrying', 'failed') AND received_at < ?"), (before, limit)),
                (CLEAR_EVENTS.format("outcome = 'failed' AND received_at < ?"), (dead_before or 0, limit)),
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


def _statements(script: str) -> list[str]:
    found, statement = [], ""
    for line in script.splitlines():
        statement = f"{statement}{line}\n"
        if sqlite3.complete_statement(statement):
            found.append(statement)
            statement = ""
    return found
