"""The oracle of delivery: what was acknowledged against what the receivers wrote down, and the books against the log, offset by offset."""

from __future__ import annotations

import sqlite3
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from crash.delivery_scene import DESTINATIONS, DeliveryScene
from crash.ledger import Ledger
from headrace.config import LogConfig
from headrace.event import Event
from headrace.log.sqlite import SqliteLog


class Entries(NamedTuple):
    """The log: messageIds of accepted events by offset, and where it ends."""

    ids: Mapping[int, str]
    end: int


class Arrived(NamedTuple):
    """What one destination came to. `repeats` were received although the log has them less often; `doubled` are ids kept more than once."""

    slug: str
    received: int
    lost: Sequence[str]
    doubled: Sequence[str]
    repeats: int
    never_sent: Sequence[str]
    books: Mapping[str, int]
    faults: Sequence[str]


class DeliveryVerdict(NamedTuple):
    acknowledged: int
    arrived: Mapping[str, Arrived]
    other_faults: Sequence[str]

    @property
    def faults(self) -> list[str]:
        """Empty when the promise was kept."""
        found = list(self.other_faults)
        for wanted in DESTINATIONS:
            of = self.arrived[wanted.slug]
            lists = {"lost": of.lost, "never sent": of.never_sent}
            if wanted.receiver == "drops":
                lists["doubled"] = of.doubled
            found += [f"{of.slug}: {len(ids)} {name}: {', '.join(ids[:5])}" for name, ids in lists.items() if ids]
            found += [f"{of.slug}: {fault}" for fault in of.faults]
        return found


def entries(log_folder: Path) -> Entries:
    """Everything that the log of a stopped server has."""
    reader = SqliteLog(log_folder, LogConfig()).reader(0)
    ids: dict[int, str] = {}
    at = 0
    with closing(reader):
        while True:
            found = reader.read(at, max_entries=10_000, max_bytes=16_000_000)
            first = found.next - len(found.entries)
            ids.update((n, e.message_id) for n, e in enumerate(found.entries, first) if isinstance(e, Event))
            if found.next == at:
                return Entries(ids, at)
            at = found.next


def judge(scene: DeliveryScene) -> DeliveryVerdict:
    """The server must be stopped."""
    log = entries(scene.server.data / "log")
    arrived = {}
    receipts = {manner: receiver.receipts() for manner, receiver in scene.receivers.items()}
    for wanted in DESTINATIONS:
        ids = Counter(message_id for path, message_id in receipts[wanted.receiver] if path == wanted.path)
        arrived[wanted.slug] = _judged(wanted.slug, ids, scene.books, log, scene.ledger)
    return DeliveryVerdict(len(scene.ledger.acknowledged), arrived, _others(log, scene.ledger))


def _judged(slug: str, ids: Counter[str], books: Path, log: Entries, ledger: Ledger) -> Arrived:
    in_log = Counter(log.ids.values())
    with closing(sqlite3.connect(books / f"{slug}.db")) as connection:
        counts, faults = _of_books(connection, log)
    with closing(sqlite3.connect(books / "arrivals.db")) as connection:
        accepted = connection.execute("SELECT sum(accepted) FROM arrivals").fetchone()[0]
    if accepted != sum(counts.values()):
        faults.append(f"books: {counts} do not add up to the {accepted} that are accepted")
    return Arrived(
        slug,
        received=ids.total(),
        lost=sorted((ledger.acknowledged | set(in_log)) - ids.keys()),
        doubled=sorted(message_id for message_id, n in ids.items() if n > 1),
        repeats=sum(max(0, n - in_log[message_id]) for message_id, n in ids.items()),
        never_sent=sorted(ids.keys() - in_log.keys()),
        books=counts,
        faults=faults,
    )


def _of_books(connection: sqlite3.Connection, log: Entries) -> tuple[dict[str, int], list[str]]:
    """Events by outcome, with those that are waiting, and what is wrong."""
    faults = []
    positions = [at for (at,) in connection.execute("SELECT next FROM positions")]
    counts = _numbers(connection, "SELECT outcome, sum(events) FROM minutes GROUP BY 1")
    counts["before"] = sum(_numbers(connection, "SELECT source, sum(events) FROM before GROUP BY 1").values())
    counts["waiting"] = sum(offset >= positions[0] for offset in log.ids)
    if positions != [log.end]:
        faults.append(f"books: the position is {positions}, and the log ends at {log.end}")
    expected = {"delivered": len(log.ids)}
    if {outcome: n for outcome, n in counts.items() if n} != expected:
        faults.append(f"books: {counts}, and everything in the log is {expected}")
    if counts.get("delivered", 0) != connection.execute("SELECT sum(events) FROM latencies").fetchone()[0]:
        faults.append("books: there are not as many latencies as events that are delivered")
    by_hour = _numbers(connection, "SELECT outcome, sum(events) FROM hours GROUP BY 1")
    if by_hour != _numbers(connection, "SELECT outcome, sum(events) FROM minutes GROUP BY 1"):
        faults.append(f"books: the hours are {by_hour}")
    return counts, faults + _offset_faults(connection, log)


def _offset_faults(connection: sqlite3.Connection, log: Entries) -> list[str]:
    """Each event of the log stands in one run, or has one row, with the outcome that the minutes count."""
    offsets = sorted(log.ids)
    stands: Counter[int] = Counter()
    outcomes: Counter[str] = Counter()
    for offset, outcome in connection.execute("SELECT offset, outcome FROM events"):
        stands[offset] += 1
        outcomes[outcome] += 1
    for first, following, outcome in connection.execute("SELECT first, next, outcome FROM runs"):
        covered = offsets[bisect_left(offsets, first) : bisect_left(offsets, following)]  # offsets leap with a crash
        stands.update(covered)
        outcomes[outcome] += len(covered)
    faults = []
    if missing := [offset for offset in log.ids if not stands[offset]]:
        faults.append(f"books: {len(missing)} events have no outcome: offsets {missing[:5]}")
    if twice := [offset for offset, n in stands.items() if n > 1]:
        faults.append(f"books: {len(twice)} events have two outcomes: offsets {twice[:5]}")
    counted = _numbers(connection, "SELECT outcome, sum(events) FROM minutes GROUP BY 1 HAVING sum(events) <> 0")
    if counted != dict(outcomes):
        faults.append(f"books: the minutes count {counted}, the offsets {dict(outcomes)}")
    return faults


def _numbers(connection: sqlite3.Connection, select: str) -> dict[str, int]:
    rows: list[tuple[Any, ...]] = connection.execute(select).fetchall()
    return dict(rows)


def _others(log: Entries, ledger: Ledger) -> list[str]:
    faults = list(ledger.surprises[:5])
    if not ledger.at_least.accepted <= len(log.ids) <= ledger.at_most.accepted:
        faults.append(f"the log has {len(log.ids)} events, clients know of {ledger.at_least} to {ledger.at_most}")
    return faults
