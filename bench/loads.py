"""CPU of the loader from the log on disk to the commit, and what ten times as many existing events add to it.

    python bench/loads.py [--events 150000] [--existing 1000000,10000000]

Rows have 24 to 35 columns. CPU is that of the process, DuckDB's threads included, medians over loads; where two warehouses are compared, means. Loads into the small and
into the large warehouse alternate; all existing events lie inside the window of duplicates.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import samples
from backlog import write
from duplicates import existing, loader_over
from figures import Figure, table
from headrace.app.folder import LOG
from headrace.config import LoaderConfig, LogConfig, WarehouseConfig
from headrace.loader.loader import Loader
from headrace.log.sqlite import SqliteLog
from headrace.warehouses._duckdb import DuckDB
from headrace.workspace.records import Source
from loader import START, StagedDuckDB, StagedLog, events
from machine import Watch, yardstick

CPU_LIMIT_US = 80.0
RATIO_LIMIT = 1.2
LOADS = {1_000: False, 10_000: True, 50_000: True}
"""By events in a load: whether the limit counts. The default is 50,000; a load of 1,000 is what comes in a second at 1,000 a second."""
ROUNDS = {1_000: 100, 100_000: 6}
"""Enough for both to have their checkpoints; means are compared, since a median would leave those out."""


def step(loader: Loader) -> float:
    """CPU us an event of one load."""
    gc.collect()
    began = time.process_time()
    outcome = loader.step()
    used = time.process_time() - began
    if outcome is None:
        raise SystemExit("the log ended too early")
    return used * 1e6 / outcome.entries


def reference(folder: Path, count: int) -> list[Figure]:
    """Loads of several sizes from one log into warehouses of their own, in turn."""
    write(folder, "bench", count)
    log = SqliteLog(folder / LOG, LogConfig())
    source = Source("bench", "http-api", "Bench", "bench", True, START)
    costs: dict[int, list[float]] = {}
    yardsticks: list[float] = []
    warehouses = {size: DuckDB(folder / f"{size}.duckdb", WarehouseConfig()) for size in LOADS}
    loaders = {
        size: Loader("bench", [log.reader(0)], warehouse, lambda: {"bench": source}, LoaderConfig(load_events=size))
        for size, warehouse in warehouses.items()
    }
    for round_ in range(count // max(LOADS)):
        yardsticks.append(yardstick(next(samples.events("single"))))
        for size, loader in loaders.items():
            found = [step(loader) for _ in range(min(10, max(LOADS) // size))]
            if round_:  # the first makes tables
                costs.setdefault(size, []).extend(found)
    widths = {
        name.table: len(columns) for name, columns in warehouses[max(LOADS)].tables().items() if name.schema == "bench"
    }
    for warehouse in warehouses.values():
        warehouse.close()
    stick = statistics.median(yardsticks)
    print(f"columns by table: {widths}; json.loads of 1.1 KB: {stick:.2f} us", flush=True)
    return [
        Figure(
            f"loader from log to commit, loads of {size:,}",
            "us CPU an event",
            statistics.median(costs[size]),
            CPU_LIMIT_US if counts else None,
            stick,
        )
        for size, counts in LOADS.items()
    ]


def window(folder: Path, counts: Sequence[int]) -> list[Figure]:
    """Loads of new events only, as the filters must find them."""
    warehouses = {}
    for count in counts:
        began = time.monotonic()
        existing(folder / f"{count}.duckdb", count)
        warehouses[count] = StagedDuckDB(folder / f"{count}.duckdb", WarehouseConfig())
        print(f"  {count:,} existing events made in {time.monotonic() - began:.0f} s", flush=True)
    found = []
    for size, rounds in ROUNDS.items():
        log = StagedLog(events(size * (rounds + 1), seed=size))
        loaders = {}
        for count, warehouse in warehouses.items():
            loaders[count] = loader_over(log, warehouse, size)
            loaders[count]._consumer = f"bench-{size}"  # noqa: SLF001 - a position of its own in the same warehouse
            step(loaders[count])  # rebuilds the filters, too
        costs: dict[int, list[float]] = {count: [] for count in counts}
        for _ in range(rounds):
            for count, loader in loaders.items():
                costs[count].append(step(loader))
        small, large = (statistics.mean(costs[count]) for count in (min(counts), max(counts)))
        print(
            f"  loads of {size:,}, {rounds} each: {small:.1f} us CPU an event into {min(counts):,}, {large:.1f} us into {max(counts):,}",
            flush=True,
        )
        found.append(
            Figure(
                f"loads of {size:,} into {max(counts):,} rows, as into {min(counts):,}",
                "times",
                large / small,
                RATIO_LIMIT,
            )
        )
    for warehouse in warehouses.values():
        warehouse.close()
    return found


def figures(count: int = 150_000, existing_counts: Sequence[int] = (1_000_000, 10_000_000)) -> list[Figure]:
    found: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as folder, Watch() as watch:
        found += reference(Path(folder), count)
    print(f"  {watch}", flush=True)
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as folder, Watch() as watch:
        found += window(Path(folder), existing_counts)
    print(f"  {watch}", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=150_000)
    parser.add_argument("--existing", default="1000000,10000000")
    options = parser.parse_args()
    print(table(figures(options.events, [int(count) for count in options.existing.split(",")])))


if __name__ == "__main__":
    main()
