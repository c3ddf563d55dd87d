"""A whole server under 1,000 events a second: how soon an event can be queried, and how much memory it takes.

    python bench/freshness.py [--seconds 60] [--per-second 1000]

Selligent's events and those of SDKs, a third of them one a request, the rest in batches of 20. Ten times a second a marker is sent
besides; its wait runs from its answer 200 until a query over the worker's socket shows it.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

import samples
import servers
from client import Client, Job, Stream
from figures import Figure, table
from headrace.app.folder import WORKER_SOCKET, short_path
from machine import Memory, Watch, cpu_seconds, memory, yardstick

WAIT_LIMIT_SECONDS = 2.0
MEMORY_LIMIT_MB = 500.0
MARKER_SECONDS = 0.1
POLL_SECONDS = 0.1
BATCH = 20
SETTLE_SECONDS = 10.0


class Markers:
    """Sends them, and asks for them until all were seen. `waits` and `gaps` (between two looks) are seconds."""

    def __init__(self, port: int, key: str, folder: Path, seconds: float) -> None:
        self._port = port
        self._key = key
        self._folder = folder
        self._seconds = seconds
        self._answered: dict[str, float] = {}
        self._sent = threading.Event()
        self.waits: list[float] = []
        self.gaps: list[float] = []
        self.queries: list[float] = []
        self.answers: list[float] = []
        self._ends = threading.Event()
        self._pool = ThreadPoolExecutor(2)
        self._tasks: list[Future[None]] = []

    def __enter__(self) -> Self:
        self._tasks = [self._pool.submit(task) for task in (self._send, self._look)]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._ends.set()
            return
        for task in self._tasks:
            task.result()

    def _send(self) -> None:
        began = time.monotonic()
        with httpx.Client(base_url=f"http://127.0.0.1:{self._port}", headers={"X-Write-Key": self._key}) as http:
            for number in range(int(self._seconds / MARKER_SECONDS)):
                self._ends.wait(max(0.0, began + number * MARKER_SECONDS - time.monotonic()))
                event = {"event": "Marker Sent", "userId": "marker", "messageId": f"marker-{number}"}
                asked = time.monotonic()
                answer = http.post("/v1/track", json=event)
                answered = time.monotonic()
                if answer.status_code != 200:
                    raise SystemExit(f"a marker got {answer.status_code}: {answer.text}")
                self._answered[event["messageId"]] = answered
                self.answers.append(answered - asked)
        self._sent.set()

    def _look(self) -> None:
        seen: set[str] = set()
        before = time.monotonic()
        name, descriptor = short_path(self._folder / WORKER_SOCKET)
        sql = "SELECT id FROM bench_http_api.marker_sent ORDER BY received_at DESC LIMIT 200"
        ends = None
        with httpx.Client(transport=httpx.HTTPTransport(uds=name), timeout=30) as http:
            while not self._sent.is_set() or len(seen) < len(self._answered):
                if self._ends.wait(POLL_SECONDS):
                    break
                asked = time.monotonic()
                found = self._ids(http, sql)
                now = time.monotonic()
                self.queries.append(now - asked)
                self.gaps.append(now - before)
                before = now
                for marker in found - seen:
                    # Seen before its answer was noted: it was not later than this.
                    self.waits.append(max(0.0, now - self._answered.get(marker, now)))
                seen |= found
                if self._sent.is_set():
                    ends = ends or now + SETTLE_SECONDS
                    if now > ends:
                        break
        os.close(descriptor)
        missing = len(self._answered) - len(seen)
        self.waits += [float("inf")] * missing

    @staticmethod
    def _ids(http: httpx.Client, sql: str) -> set[str]:
        answer = http.post("http://worker/api/v1/query", json={"sql": sql})
        if answer.status_code != 200:
            if "marker_sent" in answer.text:  # the table is made by the first load
                return set()
            raise SystemExit(f"the query got {answer.status_code}: {answer.text}")
        rows: list[list[Any]] = answer.json()["rows"]
        return {row[0] for row in rows}


class Sampled:
    """Memory and CPU of processes, twice a second, until the end."""

    def __init__(self, pids: dict[str, int]) -> None:
        self._pids = pids
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._sample)
        self._cpu = {name: cpu_seconds(pid) for name, pid in pids.items()}
        self.peak = Memory(0, 0)
        self.peaks = dict.fromkeys(pids, Memory(0, 0))
        self.cpu: dict[str, float] = {}
        self.yardsticks: list[float] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()
        self.cpu = {name: cpu_seconds(pid) - self._cpu[name] for name, pid in self._pids.items()}

    def _sample(self) -> None:
        event = next(samples.events("single"))
        while not self._done.wait(0.5):
            # Beside the load, as fast as the cores are then: alone it would be faster.
            self.yardsticks.append(yardstick(event, 0.0))
            now = {name: memory(pid) for name, pid in self._pids.items()}
            for name, taken in now.items():
                self.peaks[name] = max(self.peaks[name], taken)
            both = now["collector"] + now["worker"]
            self.peak = Memory(max(self.peak.rss, both.rss), max(self.peak.pss, both.pss))


SOURCES: Sequence[tuple[str, samples.Kind]] = (("selligent-marketing-cloud", "selligent"), ("http-api", "sdk"))


def streams(keys: dict[str, str]) -> list[Stream]:
    return [
        Stream(keys[source], kind, batch, weight=1 if batch else 10) for source, kind in SOURCES for batch in (0, BATCH)
    ]


def run(folder: Path, seconds: float, per_second: float) -> list[Figure]:
    keys = servers.add_sources(folder, ["http-api", "selligent-marketing-cloud"])
    mixture = streams(keys)
    turn = sum(stream.weight for stream in mixture), sum(stream.weight * (stream.batch or 1) for stream in mixture)
    with ExitStack() as stack:
        running = stack.enter_context(servers.serve(folder))
        job = Job(running.port, mixture, 16, per_second * turn[0] / turn[1])
        client = stack.enter_context(Client(job))
        sampled = stack.enter_context(Sampled(running.pids))
        markers = stack.enter_context(Markers(running.port, keys["http-api"], folder, seconds))
        result = client.run(seconds)
    return _figures(result.events, result.events / result.seconds, result.late, markers, sampled)


def _figures(events: int, per_second: float, late: float, markers: Markers, sampled: Sampled) -> list[Figure]:
    waits = sorted(markers.waits)
    p99 = waits[int(len(waits) * 0.99)]
    stick = statistics.median(sampled.yardsticks)
    print(
        f"{events} events at {per_second:.0f} a second, the client at worst {late * 1e3:.0f} ms late; {len(waits)} markers"
    )
    print(
        f"  from answer to visible: median {statistics.median(waits):.3f} s, p99 {p99:.3f} s, longest {waits[-1]:.3f} s"
    )
    print(
        f"  looked every {statistics.median(markers.gaps) * 1e3:.0f} ms (at worst {max(markers.gaps) * 1e3:.0f} ms), a query took "
        f"{statistics.median(markers.queries) * 1e3:.0f} ms; a marker's answer took {statistics.median(markers.answers) * 1e3:.1f} ms, "
        f"p99 {sorted(markers.answers)[int(len(markers.answers) * 0.99)] * 1e3:.0f} ms"
    )
    for name, taken in sampled.peaks.items():
        print(
            f"  {name}: at most {taken.rss:.0f} MB RSS, {taken.pss:.0f} MB PSS; {sampled.cpu[name] * 1e6 / events:.0f} us CPU an event",
            flush=True,
        )
    return [
        Figure("answer 200 to visible in a query, p99", "s", p99, WAIT_LIMIT_SECONDS),
        Figure("collector and worker, RSS together", "MB", sampled.peak.rss, MEMORY_LIMIT_MB),
        Figure("collector and worker, PSS together", "MB", sampled.peak.pss),
        Figure("collector, mixed load", "us CPU an event", sampled.cpu["collector"] * 1e6 / events, None, stick),
        Figure(
            "worker, mixed load and some eight queries a second",
            "us CPU an event",
            sampled.cpu["worker"] * 1e6 / events,
            None,
            stick,
        ),
    ]


def figures(seconds: float = 60.0, per_second: float = 1_000.0) -> list[Figure]:
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as folder, Watch() as watch:
        found = run(Path(folder), seconds, per_second)
    print(f"  {watch}", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--per-second", type=float, default=1_000.0)
    options = parser.parse_args()
    print(table(figures(options.seconds, options.per_second)))


if __name__ == "__main__":
    main()
