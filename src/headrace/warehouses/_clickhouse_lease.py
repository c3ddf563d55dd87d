"""One loader at a time: a lease in a table of an engine that has no compare-and-set.

Every loader writes its own rows only and then looks at the others': it asks ("claim"), looks, and holds ("hold") only when nobody else
asked or holds. Of two that ask at once at least one sees the other, since each writes before it looks, and who sees another
withdraws. A held lease is renewed while it lasts; once it has run out it is asked for again. All times are the server's.

What it guarantees on one server: never two loaders that both hold a lease which has not run out. What it cannot: stop a statement
that a loader sent before its lease ran out and that the server carries out later. For those there are the guard within each INSERT
and the tokens (`_clickhouse_load`).
"""
# ruff: noqa: S608 -- values are literals made by _clickhouse_sql.text

from __future__ import annotations

import os
import platform
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from headrace.errors import WarehouseUnavailableError
from headrace.warehouses._clickhouse_session import Session
from headrace.warehouses._clickhouse_sql import MADE, housekeeping, text

LEASE_SECONDS: Final = 30.0
TABLE: Final = housekeeping("_lease")
CREATE: Final = (
    f"CREATE TABLE IF NOT EXISTS {TABLE} (holder String, name String, state LowCardinality(String), "
    "until DateTime64(6, 'UTC'), at DateTime64(6, 'UTC') DEFAULT now64(6, 'UTC')) "
    f"ENGINE = ReplacingMergeTree(at) ORDER BY holder TTL toDateTime(at) + INTERVAL 1 DAY COMMENT {text(MADE)}"
)
_NOW: Final = "now64(6, 'UTC')"


class Process(NamedTuple):
    """A process as its own machine knows it: `machine` is one boot and one namespace of process numbers."""

    machine: str
    number: int
    started: str


class Lease:
    """One loader's. Not for several threads at once."""

    def __init__(
        self, session: Session, seconds: float = LEASE_SECONDS, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self.holder = str(uuid.uuid4())
        self._session = session
        self._seconds = seconds
        self._monotonic = monotonic
        process = this_process()
        self._name = f"{platform.node()} {process.machine} {process.number} {process.started}"
        self._renewed: float | None = None
        self._asked = False
        """Whether there may be a row that others wait for."""

    def hold(self) -> None:
        """Take the lease, or renew it when a third of its time is over. Raises WarehouseUnavailableError that names who holds it."""
        if self._renewed is None or not self.renew():
            self._take()

    def renew(self) -> bool:
        """Whether this loader still holds the lease, without asking for it anew."""
        if self._renewed is None:
            return False
        now = self._monotonic()
        if now - self._renewed < self._seconds / 3:
            return True
        self._write("hold", guard=self._is_held())
        if not self._holds_alone():
            self._renewed = None
            return False
        self._renewed = now
        return True

    def guard(self) -> str:
        """An expression that is true while this loader holds the lease, by the server's clock at the time of the statement."""
        return self._is_held()

    def release(self) -> None:
        """Safe to call twice."""
        if self._asked:
            self._renewed = None
            self._end(self.holder)
            self._asked = False

    def _take(self) -> None:
        now = self._monotonic()
        self._asked = True
        self._write("claim")
        others = [other for other in self._others("claim", "hold") if not self._is_gone(*other)]
        if others:
            self._end(self.holder)
            raise self._taken(others[0][1])
        self._write("hold", guard=f"{self._own()} = 'claim'")
        if not self._holds_alone():
            self._end(self.holder)
            raise self._taken("another loader")
        self._renewed = now

    def _taken(self, name: str) -> WarehouseUnavailableError:
        shown = " ".join(name.split(" ")[0::2][:2]) if " " in name else name
        return WarehouseUnavailableError(
            f"warehouse: {shown} loads into this ClickHouse; one loader at a time: its lease ends "
            f"{self._seconds:g} seconds after its last load",
            retry_after_seconds=self._seconds / 10,
        )

    def _write(self, state: str, guard: str = "1") -> None:
        until = f"{_NOW} + toIntervalMillisecond({round(self._seconds * 1000)})"
        self._session.run(
            f"INSERT INTO {TABLE} (holder, name, state, until) "
            f"SELECT {text(self.holder)}, {text(self._name)}, {text(state)}, {until} WHERE {guard}"
        )

    def _end(self, holder: str) -> None:
        self._session.run(
            f"INSERT INTO {TABLE} (holder, name, state, until) SELECT {text(holder)}, '', 'end', toDateTime64(0, 6, 'UTC')"
        )

    def _own(self) -> str:
        """The loader's state while it lasts, else the empty text."""
        return f"(SELECT if(argMax(until, at) > {_NOW}, argMax(state, at), '') FROM {TABLE} WHERE holder = {text(self.holder)})"

    def _is_held(self) -> str:
        return f"{self._own()} = 'hold'"

    def _others(self, *states: str) -> list[tuple[str, str]]:
        """Holder and name."""
        wanted = ", ".join(map(text, states))
        found = self._session.rows(
            f"SELECT holder, argMax(name, at) FROM {TABLE} WHERE holder != {text(self.holder)} GROUP BY holder "
            f"HAVING argMax(until, at) > {_NOW} AND argMax(state, at) IN ({wanted})"
        )
        return [(holder, name) for holder, name in found]

    def _holds_alone(self) -> bool:
        return self._session.value(f"SELECT {self._is_held()}") == 1 and not self._others("hold")

    def _is_gone(self, holder: str, name: str) -> bool:
        """Whether the other was a process of this very machine that has ended: nobody waits for its lease to run out."""
        try:
            _, machine, number, started = name.split(" ")
            other = Process(machine, int(number), started)
        except ValueError:
            return False
        if other.machine != this_process().machine or started_at(other.number) == other.started:
            return False
        self._end(holder)
        return True


def this_process() -> Process:
    """`machine` is unique where it cannot be found out, so that no process is taken for gone."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        machine = f"{boot}/{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        machine = str(uuid.uuid4())
    return Process(machine, os.getpid(), started_at(os.getpid()))


def started_at(number: int) -> str:
    """When a process of this machine began, in ticks since the boot; empty when there is none."""
    try:
        stat = Path(f"/proc/{number}/stat").read_text()
    except OSError:
        return ""
    # The name stands in parentheses and may hold anything; the state is the first field after it.
    fields = stat.rpartition(")")[2].split()
    return "" if fields[0] in ("Z", "X") else fields[19]
