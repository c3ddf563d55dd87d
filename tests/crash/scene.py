"""A real server, one source, traffic on it and the oracle's ledger."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import psutil

from crash.ledger import Ledger
from crash.traffic import Drawn, Mix, Sender, Traffic
from crash.verdict import Verdict, books_faults, judge
from server import NewSource, Server

STAND_INS: Final = Path(__file__).parent / "stand_ins"
QUICK: Final = {"HEADRACE_LOADER_INTERVAL_SECONDS": "0.2"}
"""Loads follow quickly, so that a round takes a second or two."""


class Scene:
    """`stand_ins` names modules of tests/crash/stand_ins that replace a part of the server."""

    def __init__(
        self,
        folder: Path,
        seed: int = 1,
        *,
        settings: Mapping[str, str] | None = None,
        stand_ins: Sequence[str] = (),
        events_per_second: float = 500,
        mix: Mix | None = None,
    ) -> None:
        replaced = {"PYTHONPATH": os.pathsep.join((str(STAND_INS), os.environ.get("PYTHONPATH", "")))}
        replaced["CRASH_STAND_INS"] = ",".join(stand_ins)
        self.server = Server(folder / "data", {**QUICK, **(settings or {}), **(replaced if stand_ins else {})})
        self.ledger = Ledger()
        self.source: NewSource
        self._seed = seed
        self._events_per_second = events_per_second
        self._mix = mix
        self.warehouse = self.server.data / "warehouse.duckdb"
        self.traffic: Traffic | None = None
        self.checked_books = 0

    def __enter__(self) -> Self:
        self.server.start()
        try:
            self.source = self.server.add_source("Shop")
        except BaseException:
            self.server.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.traffic is not None:
            self.traffic.stop(0.0)
        self.server.stop()

    def _address(self) -> tuple[str, int]:
        return self.server.host, self.server.port

    def flow(self) -> None:
        """Begin the traffic."""
        self.traffic = Traffic(
            self._address,
            self.source.write_key,
            self.ledger,
            self._seed,
            events_per_second=self._events_per_second,
            mix=self._mix,
        )
        self._seed += 1_000_000
        self.traffic.start()

    def ebb(self, patience_seconds: float = 60.0) -> None:
        """End the traffic; returns when everything is acknowledged."""
        if self.traffic is not None:
            self.traffic.stop(patience_seconds)
            self.traffic = None

    def sender(self) -> Sender:
        """For requests that a test makes up itself."""
        import threading
        from collections import deque

        drawn = Drawn("own", deque(), Mix())
        return Sender(self._address, self.source.write_key, self.ledger, drawn, threading.Event())

    def children(self, role: str = "") -> list[psutil.Process]:
        """The server's processes, `collector` or `worker` or both."""
        found = []
        for child in psutil.Process(self.server.pid).children():
            try:
                command = child.cmdline()
            except psutil.Error:
                continue
            if "headrace.app" in command and (not role or role in command):
                found.append(child)
        return found

    def child(self, role: str, patience_seconds: float = 30.0) -> psutil.Process:
        ends = time.monotonic() + patience_seconds
        while not (found := self.children(role)):
            assert time.monotonic() < ends, f"there is no {role}:\n{self.server.tail()}"
            time.sleep(0.01)
        return found[0]

    def acknowledges(self, since: float, patience_seconds: float = 60.0) -> float:
        """Wait until a request that began after `since` is acknowledged; the seconds from then on."""
        ends = time.monotonic() + patience_seconds
        while not self.ledger.acknowledged_since(since):
            assert time.monotonic() < ends, f"nothing is acknowledged any more:\n{self.server.tail()}"
            time.sleep(0.005)
        return time.monotonic() - since

    def status(self) -> dict[str, Any]:
        """`headrace status`, and its books must add up at this very moment."""
        at_least = self.ledger.at_least
        status = self.server.status()
        faults = books_faults(status, at_least, self.ledger.at_most)
        assert faults == [], f"{faults}\n{status}"
        self.checked_books += 1
        return status

    def settle(self, timeout_seconds: float = 120.0) -> dict[str, Any]:
        """The status once everything is loaded, or after the time-out: the verdict tells."""
        ends = time.monotonic() + timeout_seconds
        while True:
            status = self.server.status()
            done = not status["totals"]["pending"] and all(p["position"] >= p["next"] for p in status["partitions"])
            if done or time.monotonic() > ends:
                return status
            time.sleep(0.1)

    def verdict(self, settle_seconds: float = 120.0) -> Verdict:
        """End the traffic, wait until everything is loaded, stop the server and judge its warehouse."""
        self.ebb()
        status = self.settle(settle_seconds)
        code = self.server.stop()
        verdict = judge(self.warehouse, self.source.schema, self.ledger, status)
        if code:
            verdict = verdict._replace(other_faults=[*verdict.other_faults, f"the server's exit code is {code}"])
        return verdict
