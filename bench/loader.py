"""CPU of the way from the log to the tables, by stage, and the peak memory of a backlog.

    python bench/loader.py [events] [--loads 1000,10000,50000] [--profile]
    python bench/loader.py --backlog 1000000      from a real log on disk, with the default settings

Prints microseconds of CPU time an event (the process, DuckDB's threads included), medians over loads.
"""

from __future__ import annotations

import argparse
import cProfile
import itertools
import multiprocessing
import pstats
import random
import resource
import shutil
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from headrace import event as log_event
from headrace.config import LoaderConfig, LogConfig, WarehouseConfig
from headrace.event import Event
from headrace.loader.loader import Loader
from headrace.log.base import UNKNOWN_HOUR, Bounds, Hourly, Slice, Tally, tallied
from headrace.log.sqlite import SqliteLog
from headrace.warehouses._duckdb import DuckDB
from headrace.warehouses.base import Load
from headrace.workspace.records import Source

START = datetime(2026, 11, 1, tzinfo=UTC)
EMAIL_EVENTS = ("Email Delivered", "Email Opened", "Email Link Clicked", "Email Bounced")


def events(count: int, seed: int = 1) -> Iterator[Event]:
    """E-mail events of about 1 KB; their rows have 24 to 35 columns."""
    rng = random.Random(seed)
    for number in range(count):
        moment = START + timedelta(milliseconds=number)
        text = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        name = EMAIL_EVENTS[min(3, int(rng.expovariate(1.5)))]
        campaign = rng.randrange(40)
        properties: dict[str, Any] = {
            "email_id": str(48_000 + campaign),
            "email_subject": f"Nine new arrivals for your weekend, number {campaign}",
            "campaign_id": str(1_200 + campaign),
            "campaign_name": f"2026_08_NewArrivals_EN_{campaign}",
            "journey_id": f"j-{campaign % 3}",
            "journey_name": "Weekly newsletter",
            "message_id": f"{campaign}-{rng.getrandbits(60):x}",
            "tags": ["weekly", "sale"],
            "position": rng.randrange(30),
            "score": rng.random(),
            "machine_open": rng.random() < 0.3,
        }
        if name == "Email Link Clicked":
            properties |= {
                "link_id": str(rng.randrange(5)),
                "link_url": f"https://shop.example.com/p/{rng.randrange(9999)}?utm=mail",
            }
        context = {
            "integration": {"name": "selligent", "version": "1.0.0"},
            "traits": {"email": f"person{rng.randrange(200_000)}@example.com"},
            "library": {"name": "selligent-segment-connector", "version": "1.0.0"},
            "ip": f"198.51.100.{rng.randrange(250)}",
            "userAgent": "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
            "locale": "en-US",
        }
        yield Event(
            "bench",
            "track",
            str(uuid.UUID(int=rng.getrandbits(128))),
            moment,
            moment,
            name,
            user_id=f"C-{rng.randrange(200_000)}",
            original_timestamp=text,
            sent_at=text,
            properties=msgspec.Raw(msgspec.json.encode(properties)),
            context=msgspec.Raw(msgspec.json.encode(context)),
        )


class StagedLog:
    """A LogReader over encoded chunks; decoding counts as reading, as in the real one."""

    incarnation = "bench"
    partition = 0

    def __init__(self, source: Iterator[Event], chunk: int = 512) -> None:
        self.chunks: list[tuple[int, bytes, int]] = []
        self.next = 0
        self.seconds = 0.0
        lines: list[bytes] = []
        for entry in source:
            lines.append(log_event.encode(entry))
            if len(lines) == chunk:
                self._append(lines)
        if lines:
            self._append(lines)

    def _append(self, lines: list[bytes]) -> None:
        self.chunks.append((self.next, log_event.join_lines(lines), len(lines)))
        self.next += len(lines)
        lines.clear()

    def bounds(self) -> Bounds:
        return Bounds(0, self.next)

    def totals(self) -> dict[str, Tally]:
        return {}

    def hourly(self) -> Hourly:
        return Hourly(UNKNOWN_HOUR, {})

    def read(self, offset: int, *, max_entries: int, max_bytes: int) -> Slice:
        began = time.process_time()
        entries: list[Any] = []
        size = 0
        for first, body, length in self.chunks[offset // 512 :]:
            if len(entries) >= max_entries or size >= max_bytes:
                break
            found = log_event.decode_lines(body)[offset - first : offset - first + max_entries - len(entries)]
            entries.extend(found)
            size += len(body) * len(found) // length
            offset += len(found)
        self.seconds += time.process_time() - began
        return Slice(entries, offset, (), size)

    def retain(self, needed: int, others: Collection[int] = ()) -> Sequence[Path]:  # noqa: ARG002  # the port has it
        return ()

    def close(self) -> None:
        pass


class StagedDuckDB(DuckDB):
    """Measures its own share."""

    committing = 0.0
    looking = 0.0
    checkpointing = 0.0

    def checkpoint(self, *, force: bool = False) -> bool:
        began = time.process_time()
        done = super().checkpoint(force=force)
        self.checkpointing += time.process_time() - began
        return done

    def commit(self, load: Load) -> None:
        began = time.process_time()
        super().commit(load)
        self.committing += time.process_time() - began

    def existing_ids(self, schema: str, ids: Sequence[str], spans: Any) -> set[str]:
        began = time.process_time()
        found = super().existing_ids(schema, ids, spans)
        self.looking += time.process_time() - began
        return found


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(log: StagedLog, load_events: int, folder: Path) -> None:
    path = folder / f"warehouse-{load_events}.duckdb"
    warehouse = StagedDuckDB(path, WarehouseConfig())
    source = Source("bench", "http-api", "Bench", "bench", True, START)
    config = LoaderConfig(load_events=load_events)
    loader = Loader(
        "warehouse", [log], warehouse, lambda: {"bench": source}, config, now=lambda: START + timedelta(days=1)
    )
    samples: list[tuple[float, float, float, float]] = []
    while True:
        log.seconds = warehouse.committing = warehouse.looking = 0.0
        began = time.process_time()
        outcome = loader.step()
        if outcome is None:
            break
        total = time.process_time() - began
        per = 1e6 / outcome.entries
        samples.append(
            (
                total * per,
                log.seconds * per,
                (total - log.seconds - warehouse.committing) * per,
                warehouse.committing * per,
            )
        )
    total, read, rows, commit = (statistics.median(column) for column in zip(*samples, strict=True))
    print(
        f"loads of {load_events:>6}: {total:6.1f} us CPU an event = read and decode {read:5.1f} + rows and columns {rows:5.1f} "
        f"+ commit {commit:5.1f}   ({len(samples)} loads, peak {peak_mb():.0f} MB)"
    )
    warehouse.close()


def write_log(folder: Path, count: int) -> None:
    writer = SqliteLog(folder, LogConfig(linger_seconds=0)).writer(0)
    entries = events(count)
    while chunk := list(itertools.islice(entries, 1_000)):
        writer.append([log_event.encode(entry) for entry in chunk], tallied(chunk))
    writer.close()


def backlog(count: int) -> None:
    folder = Path(tempfile.mkdtemp(prefix="headrace-backlog-"))
    try:
        filling = multiprocessing.get_context("spawn").Process(target=write_log, args=(folder / "log", count))
        filling.start()
        filling.join()
        before = peak_mb()
        reader = SqliteLog(folder / "log", LogConfig()).reader(0)
        warehouse = StagedDuckDB(folder / "warehouse.duckdb", WarehouseConfig())
        source = Source("bench", "http-api", "Bench", "bench", True, START)
        loader = Loader("warehouse", [reader], warehouse, lambda: {"bench": source}, LoaderConfig())
        began, wall = time.process_time(), time.monotonic()
        entries = loads = 0
        while (outcome := loader.step()) is not None:
            entries += outcome.entries
            loads += 1
        cpu = (time.process_time() - began) * 1e6 / entries
        rate = entries / (time.monotonic() - wall)
        print(
            f"{entries} events in {loads} loads: {cpu:.1f} us CPU an event, {rate:,.0f} events a second; "
            f"peak memory {peak_mb():.0f} MB, {before:.0f} MB before the first load"
        )
        warehouse.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("events", type=int, nargs="?", default=50_000)
    parser.add_argument("--loads", default="1000,10000,50000")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--backlog", type=int)
    options = parser.parse_args()
    if options.backlog:
        backlog(options.backlog)
        return
    log = StagedLog(events(options.events))
    size = sum(len(body) for _, body, _ in log.chunks) / options.events
    print(f"{options.events} events of {size:.0f} bytes in the log, {peak_mb():.0f} MB before the first load")
    folder = Path(tempfile.mkdtemp(prefix="headrace-bench-"))
    profiler = cProfile.Profile()
    try:
        for load_events in map(int, options.loads.split(",")):
            if options.profile:
                profiler.enable()
            measure(log, min(load_events, options.events), folder)
            profiler.disable()
    finally:
        shutil.rmtree(folder)
    if options.profile:
        pstats.Stats(profiler, stream=sys.stdout).sort_stats("tottime").print_stats(25)


if __name__ == "__main__":
    main()
