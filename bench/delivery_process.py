"""What is measured of delivery, each in a process of its own: `python bench/delivery_process.py JOB`, a Job in JSON; it prints its result.

`fill` writes a log, `write` appends to one at a pace, `drain` delivers a whole log, `single` does so by single requests in turn with a
bare httpx.AsyncClient, `follow` delivers what `write` appends, to several destinations at a time; both go on until their stdin is closed.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import httpx
import msgspec
import uvloop

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import samples
from headrace import event as events
from headrace.config import LogConfig
from headrace.delivery import delivering, retry
from headrace.delivery.addresses import AllowedNetworks
from headrace.delivery.delivering import Delivering
from headrace.delivery.feed import Feed
from headrace.delivery.http import HttpClient
from headrace.delivery.preparing import checked
from headrace.delivery.store import Store
from headrace.destinations import base
from headrace.destinations._segment_json import segment_json
from headrace.destinations.base import Place
from headrace.event import Event
from headrace.log.base import tallied
from headrace.log.sqlite import SqliteLog
from machine import memory, yardstick
from segment_events import event_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

A_CHUNK = 500
SAMPLE_SECONDS = 0.5
CONNECT_SECONDS = 5.0
REQUEST_SECONDS = 10.0


class Job(msgspec.Struct, frozen=True):
    """`scale` divides every time that a broken tool makes delivery wait: pauses of the circuit, delays of retries, and the time-outs of
    the destinations named in `scaled`."""

    what: Literal["fill", "write", "drain", "single", "follow"]
    folder: str
    count: int = 0
    per_second: float = 0.0
    settings: dict[str, dict[str, Any]] = {}
    rounds: int = 1
    scale: float = 1.0
    scaled: list[str] = []


class Result(msgspec.Struct, frozen=True):
    """CPU time in us an event, by round; MB of memory a few times a second; how many events each destination got delivered."""

    cpu_us: list[float] = []
    bare_us: list[float] = []
    wall_seconds: float = 0.0
    megabytes: list[float] = []
    delivered: dict[str, int] = {}
    yardstick: float = 0.0


def start(job: Job) -> subprocess.Popen[str]:
    command = [sys.executable, __file__, msgspec.json.encode(job).decode()]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def result(process: subprocess.Popen[str]) -> Result:
    """Ends one that goes on until it is told, and waits for the others."""
    printed = process.communicate(timeout=1_800)[0]
    if process.returncode:
        raise SystemExit("the process that delivers ended; its reason stands above")
    return msgspec.json.decode(printed, type=Result)


def made(now: datetime | None = None) -> Iterator[Event]:
    """Events of Selligent, received at `now` or when they are asked for."""
    for body in samples.events("selligent"):
        at = (now or datetime.now(UTC)).isoformat()
        yield event_of({**msgspec.json.decode(body), "receivedAt": at})


def append(writer: Any, chosen: Sequence[Event]) -> None:
    writer.append([events.encode(event) for event in chosen], tallied(chosen))


def fill(folder: Path, count: int) -> None:
    writer = SqliteLog(folder / "log", LogConfig()).writer(0)
    source = made(datetime.now(UTC))
    for _ in range(0, count, A_CHUNK):
        append(writer, list(itertools.islice(source, A_CHUNK)))
    writer.close()


def write(folder: Path, per_second: float) -> None:
    """As a collector would, until it is told to end: what has come in 5 ms is a chunk."""
    writer = SqliteLog(folder / "log", LogConfig()).writer(0)
    source = made()
    began, written = time.monotonic(), 0
    while not select.select([sys.stdin], [], [], 0.005)[0]:
        due = int((time.monotonic() - began) * per_second) - written
        if due:
            append(writer, list(itertools.islice(source, due)))
            written += due
    writer.close()


class Running:
    """Destinations that deliver from the log of a folder; `books` is where theirs are."""

    def __init__(
        self, folder: Path, books: Path, settings: Mapping[str, Mapping[str, Any]], scales: Mapping[str, float]
    ) -> None:
        self._feed = Feed([SqliteLog(folder / "log", LogConfig()).reader(0)], books)
        self._https: list[HttpClient] = []
        self._stores: dict[str, Store] = {}
        self.delivering: dict[str, Delivering] = {}
        for slug, own in settings.items():
            kind = base.configured("webhook", own, Place(slug, books / "own"))
            self._stores[slug] = Store(books / f"{slug}.db")
            http = HttpClient(
                AllowedNetworks("127.0.0.0/8"),
                connect_seconds=CONNECT_SECONDS / scales.get(slug, 1.0),
                request_seconds=REQUEST_SECONDS / scales.get(slug, 1.0),
                connections=kind.settings.concurrency,
            )
            self._https.append(http)
            added_at = datetime(2020, 1, 1, tzinfo=UTC)
            self.delivering[slug] = Delivering(
                kind, checked(kind), ["selligent"], added_at, self._stores[slug], self._feed, http
            )

    @asynccontextmanager
    async def going(self) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(each.run()) for each in self.delivering.values()]
        await asyncio.sleep(0.05)  # they take their positions where the log begins
        following = asyncio.create_task(self._feed.follow())
        try:
            yield
        finally:
            for each in self.delivering.values():
                each.stop()
            await asyncio.wait(tasks, timeout=3)
            for task in (*tasks, following):
                task.cancel()
            await asyncio.gather(*tasks, following, return_exceptions=True)
            for each in self.delivering.values():
                await each.close()
            for http in self._https:
                await http.close()
            for store in self._stores.values():
                store.close()
            await self._feed.close()

    async def until(self, slug: str, count: int) -> None:
        while self.delivering[slug].positions() != {0: count}:  # noqa: ASYNC110 -- it has no event
            await asyncio.sleep(0.005)

    def delivered(self) -> dict[str, int]:
        select = "SELECT coalesce(sum(events), 0) FROM minutes WHERE outcome = 'delivered'"
        return {slug: store.read(select)[0][0] for slug, store in self._stores.items()}


async def drain(job: Job) -> Result:
    """Every round begins with new books."""
    folder, cpu, wall = Path(job.folder), [], 0.0
    (slug,) = job.settings
    stick = 0.0
    for number in range(job.rounds):
        running = Running(folder, folder / f"books-{number}", job.settings, {})
        stick = yardstick(next(samples.events("single")))
        began, used = time.monotonic(), time.process_time()
        async with running.going():
            await running.until(slug, job.count)
        cpu.append((time.process_time() - used) / job.count * 1e6)
        wall = time.monotonic() - began
    return Result(cpu, wall_seconds=wall, yardstick=stick)


async def single(job: Job) -> Result:
    """In turn: the log delivered by single requests, and the same bodies posted by a bare client."""
    folder = Path(job.folder)
    reader = SqliteLog(folder / "log", LogConfig()).reader(0)
    found: list[Event] = []
    while len(found) < job.count:
        found += [
            e for e in reader.read(len(found), max_entries=2_000, max_bytes=1 << 24).entries if isinstance(e, Event)
        ]
    reader.close()
    (settings,) = job.settings.values()
    own, bare = [], []
    for number in range(job.rounds):
        own += (await drain(msgspec.structs.replace(job, rounds=1, folder=_turn(folder, number)))).cpu_us
        bare.append(await _bare(settings["url"], found))
    return Result(own, bare)


def _turn(folder: Path, number: int) -> str:
    """A folder of its own with the same log."""
    own = folder / f"turn-{number}"
    own.mkdir()
    (own / "log").symlink_to(folder / "log")
    return str(own)


async def _bare(url: str, found: Sequence[Event]) -> float:
    """CPU us a request of an httpx client that posts events as JSON, one after the other, where it is cheapest."""
    headers = {"content-type": "application/json"}
    used = time.process_time()
    async with httpx.AsyncClient(trust_env=False) as client:
        for event in found:
            answer = await client.post(url, content=segment_json(event), headers=headers)
            assert answer.status_code == 200
    return (time.process_time() - used) / len(found) * 1e6


async def follow(job: Job) -> Result:
    for module, names in (
        (retry, ("FIRST_SECONDS", "LONGEST_SECONDS", "LONGEST_PROBE_SECONDS")),
        (delivering, ("LONG_OUTAGE_SECONDS",)),
    ):
        for name in names:
            setattr(module, name, getattr(module, name) / job.scale)
    folder = Path(job.folder)
    running = Running(folder, folder / "books", job.settings, dict.fromkeys(job.scaled, job.scale))
    megabytes: list[float] = []
    used = time.process_time()
    async with running.going():
        told = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
        while not told.done():
            await asyncio.wait([told], timeout=SAMPLE_SECONDS)
            megabytes.append(memory(os.getpid()).rss)
        cpu = time.process_time() - used
        delivered = running.delivered()
    return Result([cpu], megabytes=megabytes, delivered=delivered)


def main() -> None:
    job = msgspec.json.decode(sys.argv[1], type=Job)
    told = Result()
    if job.what == "fill":
        fill(Path(job.folder), job.count)
    elif job.what == "write":
        write(Path(job.folder), job.per_second)
    else:
        work: Mapping[str, Callable[[Job], Any]] = {"drain": drain, "single": single, "follow": follow}
        told = uvloop.run(work[job.what](job))
    print(msgspec.json.encode(told).decode())


if __name__ == "__main__":
    main()
