"""The log, read once for all destinations: whoever is at its head shares what was read, and what arrives is counted by minute.

Those counts (arrivals.db) are what the figures of every destination must add up to.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, TypeVar

from headrace.delivery.commits import minute_of
from headrace.delivery.event_names import KEPT_SECONDS, EventNames, Seen
from headrace.delivery.store import opened
from headrace.errors import PositionError, RetryableError
from headrace.event import Event
from headrace.log.base import LogReader, Slice

_T = TypeVar("_T")

logger = logging.getLogger(__name__)

FILE: Final = "arrivals.db"
SLICE_ENTRIES: Final = 2_000
SLICE_BYTES: Final = 4_000_000
KEPT_BYTES: Final = 32_000_000
POLL_SECONDS: Final = 0.02
NOTE_SECONDS: Final = 0.5

# Places say where the entries of a minute begin: traces find an event by the time at which it was received.
_STATEMENTS: Final = """
CREATE TABLE IF NOT EXISTS positions (
  partition INTEGER PRIMARY KEY, incarnation TEXT NOT NULL, next INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS arrivals (
  minute INTEGER, source TEXT, accepted INTEGER NOT NULL, refused INTEGER NOT NULL, PRIMARY KEY (minute, source)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS places (
  partition INTEGER, minute INTEGER, first INTEGER NOT NULL, PRIMARY KEY (partition, minute)
) WITHOUT ROWID;

-- The arrivals of whole hours, for long periods: triggers keep them in step.
CREATE TABLE IF NOT EXISTS arrival_hours (
  hour INTEGER, source TEXT, accepted INTEGER NOT NULL, refused INTEGER NOT NULL, PRIMARY KEY (hour, source)
) WITHOUT ROWID;
CREATE TRIGGER IF NOT EXISTS arrivals_added AFTER INSERT ON arrivals BEGIN
  INSERT INTO arrival_hours VALUES (new.minute / 60, new.source, new.accepted, new.refused)
  ON CONFLICT DO UPDATE SET accepted = accepted + excluded.accepted, refused = refused + excluded.refused;
END;
CREATE TRIGGER IF NOT EXISTS arrivals_changed AFTER UPDATE ON arrivals BEGIN
  UPDATE arrival_hours SET accepted = accepted + new.accepted - old.accepted, refused = refused + new.refused - old.refused
  WHERE hour = new.minute / 60 AND source = new.source;
END;
CREATE TRIGGER IF NOT EXISTS arrivals_removed AFTER DELETE ON arrivals BEGIN
  UPDATE arrival_hours SET accepted = accepted - old.accepted, refused = refused - old.refused
  WHERE hour = old.minute / 60 AND source = old.source;
  DELETE FROM arrival_hours WHERE hour = old.minute / 60 AND source = old.source AND accepted = 0 AND refused = 0;
END;
"""
_ADD: Final = (
    "INSERT INTO arrivals VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET accepted = accepted + excluded.accepted, "
    "refused = refused + excluded.refused"
)


class Feed:
    """Everything runs in one event loop; reading and writing block a thread of the feed's own."""

    def __init__(self, readers: Sequence[LogReader], folder: Path) -> None:
        """The feed closes the readers. Raises RetryableError, and PositionError when the counts are of another log."""
        self._readers = {reader.partition: reader for reader in readers}
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._connection = opened(folder / FILE)
        self.incarnation = readers[0].incarnation
        self._thread = ThreadPoolExecutor(1, "delivery-log")
        self._kept: OrderedDict[tuple[int, int], Slice] = OrderedDict()
        self._kept_bytes = 0
        self.arrived: Final = asyncio.Condition()
        self._accepted: Counter[tuple[int, str]] = Counter()
        self._refused: Counter[tuple[int, str]] = Counter()
        self._places: dict[tuple[int, int], int] = {}
        self._last_minutes: dict[int, int] = {}
        self._unreadable_until: dict[int, float] = {}
        self.positions = self._positions()
        self._names = self._event_names()

    def _positions(self) -> dict[int, int]:
        """A log that nobody has counted yet is counted from its beginning."""
        try:
            self._connection.executescript(_STATEMENTS)
            rows = self._connection.execute("SELECT partition, incarnation, next FROM positions").fetchall()
        except sqlite3.Error as error:
            raise RetryableError(f"delivery: cannot read the counts of arrivals: {error}") from error
        if any(incarnation != self.incarnation for _, incarnation, _ in rows):
            raise PositionError(
                f"delivery: the counts in {FILE} belong to another log; bring that log back, or remove the file"
            )
        known = {partition: at for partition, _, at in rows}
        return {partition: known.get(partition, 0) for partition in self._readers}

    def _event_names(self) -> EventNames:
        try:
            return EventNames(self._connection)
        except sqlite3.Error as error:
            raise RetryableError(f"delivery: cannot read the counts of arrivals: {error}") from error

    async def read(self, partition: int, offset: int) -> Slice:
        """What the log has from there on; without entries at its end."""
        kept = self._kept.get((partition, offset))
        if kept is not None:
            return kept
        found = await self._in_thread(self._read, partition, offset)
        if found.entries:
            self._keep(partition, offset, found)
        return found

    def _read(self, partition: int, offset: int) -> Slice:
        return self._readers[partition].read(offset, max_entries=SLICE_ENTRIES, max_bytes=SLICE_BYTES)

    def _keep(self, partition: int, offset: int, found: Slice) -> None:
        before = self._kept.pop((partition, offset), None)  # two may have read it at the same time
        self._kept[partition, offset] = found
        self._kept_bytes += found.size_bytes - (before.size_bytes if before is not None else 0)
        while self._kept_bytes > KEPT_BYTES and len(self._kept) > 1:
            _, oldest = self._kept.popitem(last=False)
            self._kept_bytes -= oldest.size_bytes

    async def follow(self) -> None:
        """Count what arrives and wake whoever waits for it, until cancelled."""
        loop = asyncio.get_running_loop()
        noted_at = loop.time()
        while True:
            try:
                has_news = await self._advance()
                if loop.time() - noted_at >= NOTE_SECONDS:
                    noted_at = loop.time()
                    await self.note()
            except (RetryableError, sqlite3.Error) as error:
                logger.warning("delivery: cannot follow the log, trying again: %s", error)
                has_news = False
                await asyncio.sleep(1.0)
            if not has_news:
                await asyncio.sleep(POLL_SECONDS)

    async def _advance(self) -> bool:
        has_news = False
        now = asyncio.get_running_loop().time()
        for partition in self._readers:
            if now < self._unreadable_until.get(partition, 0.0):
                continue
            at = self.positions[partition]
            try:
                found = await self.read(partition, at)
            except RetryableError as error:  # the other partitions go on
                logger.warning("delivery: cannot follow partition %d of the log, trying again: %s", partition, error)
                self._unreadable_until[partition] = now + 1.0
                continue
            if found.next == at and not found.gaps:
                continue
            has_news = True
            self._count(partition, found)
            self.positions[partition] = found.next
        if has_news:
            async with self.arrived:
                self.arrived.notify_all()
        return has_news

    def _count(self, partition: int, found: Slice) -> None:
        first = found.next - len(found.entries)
        last = self._last_minutes.get(partition, -1)
        told_since = time.time() - KEPT_SECONDS
        for offset, entry in enumerate(found.entries, first):
            received = entry.received_at.timestamp()
            minute = minute_of(int(received * 1_000))
            second = int(received) if received >= told_since else 0
            if minute != last:
                self._places.setdefault((partition, minute), offset)
                last = minute
            if isinstance(entry, Event):
                self._accepted[minute, entry.source] += 1
                self._names.add(entry, second)
            else:
                self._refused[minute, entry.source] += entry.events
                self._names.add_refused(entry, second)
        self._last_minutes[partition] = last
        for gap in found.gaps:
            logger.error(
                "delivery: offsets %d to %d of partition %d cannot be read: %s",
                gap.first,
                gap.next,
                partition,
                gap.reason,
            )

    async def note(self) -> None:
        """Store the counts up to here. Raises RetryableError."""
        if self._accepted or self._refused:
            accepted, refused, places = self._accepted, self._refused, self._places
            self._accepted, self._refused, self._places = Counter(), Counter(), {}
            names = self._names.take()
            try:
                await self._in_thread(self._store, accepted, refused, places, names, dict(self.positions))
            except sqlite3.Error as error:
                self._accepted += accepted
                self._refused += refused
                self._places = {**self._places, **places}
                self._names.give_back(names)
                raise RetryableError(f"delivery: cannot store the counts of arrivals: {error}") from error

    def _store(
        self,
        accepted: Counter[tuple[int, str]],
        refused: Counter[tuple[int, str]],
        places: Mapping[tuple[int, int], int],
        names: Seen,
        positions: Mapping[int, int],
    ) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            self._connection.executemany(_ADD, [(*key, accepted[key], refused[key]) for key in {**accepted, **refused}])
            self._names.store(self._connection, names)
            self._connection.executemany(
                "INSERT INTO places VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                [(*key, first) for key, first in places.items()],
            )
            self._connection.executemany(
                "INSERT INTO positions VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET next = excluded.next",
                [(partition, self.incarnation, at) for partition, at in positions.items()],
            )
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:  # a full disk has rolled it back already
                self._connection.execute("ROLLBACK")
            raise

    async def counted(self, since_minute: int) -> tuple[Mapping[int, int], Mapping[tuple[int, str], int]]:
        """Positions, and by minute and source what was accepted before them: both of one moment."""
        positions = dict(self.positions)
        pending = Counter(self._accepted)
        stored = await self._in_thread(
            lambda: self._connection.execute(
                "SELECT minute, source, accepted FROM arrivals WHERE minute >= ?", (since_minute,)
            ).fetchall()
        )
        for minute, source, accepted in stored:
            pending[minute, source] += accepted
        return positions, {key: n for key, n in pending.items() if n and key[0] >= since_minute}

    async def clear(self, before: int) -> None:
        """Forget what was received before (milliseconds)."""
        minute = minute_of(before)

        def delete() -> None:
            for table in ("arrivals", "places"):
                self._connection.execute(f"DELETE FROM {table} WHERE minute < ?", (minute,))  # noqa: S608 - constants

        await self._in_thread(delete)

    async def _in_thread(self, call: Callable[..., _T], *arguments: Any) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call, *arguments)

    async def close(self) -> None:
        try:
            await self.note()
        except RetryableError as error:
            logger.warning("%s", error)
        self._thread.shutdown(wait=True)
        self._connection.close()
        for reader in self._readers.values():
            reader.close()
