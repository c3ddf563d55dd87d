"""What finding duplicates costs: whole loads of new events into 1 M and into 10 M events, all of them inside the window.

    python bench/duplicates.py [--false-positives 1e-5] [--existing 1000000,10000000] [--loads 1000,100000] [--repeats 0.0]

Prints medians of CPU time (the process, DuckDB's threads included). The existing events are put straight into `tracks`.
"""

from __future__ import annotations

import argparse
import random
import shutil
import statistics
import tempfile
import time
from datetime import timedelta
from pathlib import Path

import duckdb
import msgspec

from headrace.config import LoaderConfig, WarehouseConfig
from headrace.event import Event
from headrace.loader import duplicates
from headrace.loader.loader import Loader
from headrace.workspace.records import Source
from loader import START, StagedDuckDB, StagedLog, events

SECONDS_BEFORE = 20 * 86_400
NOW = START + timedelta(days=1)


def existing(path: Path, count: int) -> None:
    """A warehouse whose tracks hold `count` events of the twenty days before START, as the loader makes them."""
    warehouse = StagedDuckDB(path, WarehouseConfig())
    loader_over(StagedLog(events(2_000, seed=99)), warehouse, 1_000).step()
    warehouse.close()
    with duckdb.connect(path) as connection:
        connection.execute("SET TimeZone = 'UTC'; SET preserve_insertion_order = false")
        connection.execute(
            "INSERT INTO bench.tracks BY NAME SELECT t.* REPLACE (md5(i::VARCHAR)::UUID::VARCHAR AS id, "
            "?::TIMESTAMPTZ + to_microseconds((i * (? * 1e6 / ?))::BIGINT) AS received_at) "
            "FROM range(?) r(i), (SELECT * FROM bench.tracks LIMIT 1) t",
            [START - timedelta(seconds=SECONDS_BEFORE), SECONDS_BEFORE, count, count],
        )


def loader_over(log: StagedLog, warehouse: StagedDuckDB, load_events: int, consumer: str = "warehouse") -> Loader:
    source = Source("bench", "http-api", "Bench", "bench", True, START)
    config = LoaderConfig(load_events=load_events, load_bytes=1_000_000_000)
    return Loader(consumer, [log], warehouse, lambda: {"bench": source}, config, now=lambda: NOW)


def repeating(entries: list[Event], share: float, count: int) -> None:
    """Give a share of the entries ids of existing events, anywhere in the window."""
    rng = random.Random(5)
    places = rng.sample(range(len(entries)), int(len(entries) * share))
    numbers = [rng.randrange(count) for _ in places]
    with duckdb.connect() as connection:
        found = connection.execute(
            "SELECT md5(i::VARCHAR)::UUID::VARCHAR FROM (SELECT unnest(?) AS i)", [numbers]
        ).fetchall()
    for place, (message_id,) in zip(places, found, strict=True):
        entries[place] = msgspec.structs.replace(entries[place], message_id=message_id)


def rebuilt(warehouse: StagedDuckDB) -> str:
    """The size of the filters, and what rebuilding them at the start costs."""
    began = time.process_time()
    filters = duplicates.Duplicates(warehouse, timedelta(days=30), 128_000_000, lambda: NOW)
    filters.rebuild(["bench"])
    return f"filters {filters.size_bytes() / 1e6:5.1f} MB, rebuilt in {time.process_time() - began:4.1f} s"


def measure(path: Path, count: int, load_events: int, loads: int, repeats: float) -> float:
    entries = list(events(load_events * loads, seed=count + load_events))
    repeating(entries, repeats, count)
    log = StagedLog(iter(entries))
    warehouse = StagedDuckDB(path, WarehouseConfig())
    filters = rebuilt(warehouse)
    loader = loader_over(log, warehouse, load_events, consumer=f"bench {load_events}")
    samples = []
    shares = []
    for _ in range(loads):
        warehouse.looking = warehouse.committing = warehouse.checkpointing = 0.0
        began = time.process_time()
        outcome = loader.step()
        if outcome is None:
            raise AssertionError(loads)
        samples.append((time.process_time() - began) * 1e6 / outcome.entries)
        parts = (warehouse.looking, warehouse.committing, warehouse.checkpointing)
        shares.append([seconds * 1e6 / outcome.entries for seconds in parts])
    warehouse.close()
    # The first load reads the tables and rebuilds the filters.
    per = statistics.median(samples[1:])
    looking, committing, checkpointing = (statistics.mean(column) for column in zip(*shares[1:], strict=True))
    print(
        f"{count:>10} existing, loads of {load_events:>6}: {per:6.1f} us CPU an event (mean {statistics.mean(samples[1:]):6.1f}), "
        f"of it looking up {looking:5.2f}, commit {committing:5.1f}, checkpoint {checkpointing:5.1f}; {filters}",
        flush=True,
    )
    return per


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--existing", default="1000000,10000000")
    parser.add_argument("--loads", default="1000,100000")
    parser.add_argument("--false-positives", type=float, default=duplicates.FALSE_POSITIVES)
    parser.add_argument("--capacity", type=int, default=duplicates.CAPACITY_MAXIMUM)
    parser.add_argument("--repeats", type=float, default=0.0)
    options = parser.parse_args()
    duplicates.FALSE_POSITIVES = options.false_positives  # type: ignore[misc]  # the point of this script is to vary it
    duplicates.CAPACITY_MAXIMUM = options.capacity  # type: ignore[misc]  # likewise
    folder = Path(tempfile.mkdtemp(prefix="headrace-duplicates-"))
    costs: dict[int, list[float]] = {}
    try:
        for count in map(int, options.existing.split(",")):
            path = folder / f"{count}.duckdb"
            existing(path, count)
            for load_events in map(int, options.loads.split(",")):
                costs.setdefault(load_events, []).append(
                    measure(path, count, load_events, max(4, min(41, 41_000 // load_events)), options.repeats)
                )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for load_events, found in costs.items():
        print(f"loads of {load_events}: {found[-1] / found[0]:.2f} times the cost")


if __name__ == "__main__":
    main()
