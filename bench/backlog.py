"""A backlog of a million events: what the worker process takes for it in memory and CPU, from its start until all is loaded.

    python bench/backlog.py [--events 1000000]

The log is written by the log's own writer while no worker runs; then the worker is started alone. Memory is its RSS, the position is
asked twice a second over its socket. Its events are those of bench/loader.py, whose rows have 24 to 35 columns.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import httpx
import msgspec

import samples
import servers
from figures import Figure, table
from headrace import event as log_event
from headrace.app.folder import LOG, WORKER_SOCKET, short_path
from headrace.config import Config
from headrace.log.base import tallied
from headrace.log.sqlite import SqliteLog
from loader import events
from machine import Memory, Watch, cpu_seconds, memory, yardstick

CHUNK = 500
POLL_SECONDS = 0.5
GROWTH = 1.2
"""Memory at the end, against memory at a tenth of the way."""
CPU_LIMIT_US = 80.0
PLACES = (0.1, 0.5, 1.0)


class Moment(NamedTuple):
    position: int
    memory: Memory
    yardstick: float
    seconds: float
    cpu_seconds: float


def write(folder: Path, slug: str, count: int) -> None:
    """The events, as the collector would have left them."""
    with_slug = (msgspec.structs.replace(event, source=slug) for event in events(count))
    writer = SqliteLog(folder / LOG, Config().log).writer(0)
    while chunk := list(itertools.islice(with_slug, CHUNK)):
        writer.append([log_event.encode(event) for event in chunk], tallied(chunk))
    writer.close()


def drained(folder: Path, count: int) -> list[Moment]:
    """What the worker took, from its first answer until everything is loaded."""
    moments: list[Moment] = []
    event = next(samples.events("single"))
    with servers.worker(folder) as pid:
        began = time.monotonic()
        name, descriptor = short_path(folder / WORKER_SOCKET)
        with httpx.Client(transport=httpx.HTTPTransport(uds=name), timeout=120) as http:
            while not moments or moments[-1].position < count:
                answer = http.post("http://worker/api/v1/query", json={"sql": 'SELECT "next" FROM headrace.offsets'})
                if answer.status_code != 200:
                    raise SystemExit(f"the worker answered {answer.status_code}: {answer.text}")
                position = next((int(row[0]) for row in answer.json()["rows"]), 0)
                moments.append(
                    Moment(position, memory(pid), yardstick(event, 0.0), time.monotonic() - began, cpu_seconds(pid))
                )
                time.sleep(POLL_SECONDS)
            loaded = http.post("http://worker/api/v1/query", json={"sql": "SELECT sum(loaded) FROM headrace.books"})
        os.close(descriptor)
    if loaded.json()["rows"] != [[count]]:
        raise SystemExit(f"{count} events were in the log, loaded are {loaded.text}")
    return moments


def run(folder: Path, count: int) -> list[Figure]:
    (kind,) = servers.add_sources(folder, ["http-api"])
    began = time.monotonic()
    filling = multiprocessing.get_context("spawn").Process(target=write, args=(folder, servers.slug(kind), count))
    filling.start()
    filling.join()
    size = sum(file.stat().st_size for file in (folder / LOG).rglob("*") if file.is_file()) / 1e6
    print(f"{count} events written in {time.monotonic() - began:.0f} s, {size:.0f} MB on disk", flush=True)
    moments = drained(folder, count)
    places = [next(moment for moment in moments if moment.position >= count * place) for place in PLACES]
    for place, moment in zip(PLACES, places, strict=True):
        print(
            f"  at {place:4.0%}: {moment.memory.rss:.0f} MB RSS, {moment.memory.pss:.0f} MB PSS, {moment.position} events after "
            f"{moment.seconds:.0f} s, {moment.cpu_seconds * 1e6 / moment.position:.1f} us CPU an event",
            flush=True,
        )
    first, last = places[0], places[-1]
    stick = statistics.median(moment.yardstick for moment in moments)
    per_event = (last.cpu_seconds - first.cpu_seconds) * 1e6 / (last.position - first.position)
    return [
        Figure("backlog, RSS at 100 % against 10 %", "times", last.memory.rss / first.memory.rss, GROWTH),
        Figure("backlog, RSS at most", "MB", max(moment.memory.rss for moment in moments)),
        Figure("backlog, whole worker from log to commit", "us CPU an event", per_event, CPU_LIMIT_US, stick),
        Figure("backlog", "events a second", last.position / last.seconds),
    ]


def figures(count: int = 1_000_000) -> list[Figure]:
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as folder, Watch() as watch:
        found = run(Path(folder), count)
    print(f"  {watch}", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000)
    print(table(figures(parser.parse_args().events)))


if __name__ == "__main__":
    main()
