"""Schema explosion: events with 10,000 names, and with 10,000 property names, beside the same number of usual ones.

    python bench/explosion.py [--events 30000] [--load 10000] [--memory 256000000] [--engines DuckDB] [--profile]

A figure is how many times as long loading takes as for usual events, in the same run and into the same engine, the making of tables and columns
included; the limit is twice. Wall clock, since with PostgreSQL most of the work is the server's. With --profile the functions that take longest are printed.
"""

from __future__ import annotations

import argparse
import cProfile
import math
import pstats
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

import msgspec

from figures import Figure, table
from headrace.config import LoaderConfig, WarehouseConfig
from headrace.errors import RetryableError
from headrace.event import Event
from headrace.loader.loader import Loader
from headrace.warehouses._duckdb import DuckDB
from headrace.warehouses.base import HISTORY_TABLES, Place, Warehouse
from headrace.warehouses.postgresql import PostgreSQLKind, PostgreSQLSettings
from headrace.workspace.records import Source
from list_log import ListLog
from machine import Watch
from postgresql_server import PostgreSQLServer

NAMES = 10_000
USUAL_NAMES = 12
PROPERTIES = 8
LIMIT = 2.0
START = datetime(2026, 3, 1, 12, tzinfo=UTC)
MOST_TRIES = 40
SOURCE = Source("bench", "http-api", "Bench", "bench", True, START)


def events(count: int, names: int, properties: int) -> Iterator[Event]:
    """Names and properties are drawn from so many; every event has the same number of properties."""
    rng = random.Random(names * 7 + properties)
    for number in range(count):
        chosen = rng.sample(range(properties), PROPERTIES)
        values: dict[str, Any] = {f"Property {n}": (n, f"text {n}", n / 7)[n % 3] for n in chosen}
        moment = START + timedelta(milliseconds=number)
        yield Event(
            "bench",
            "track",
            f"event-{number}",
            moment,
            moment,
            event=f"Event Number {number % names}",
            user_id=f"u{number % 500}",
            properties=msgspec.Raw(msgspec.json.encode(values)),
            context=msgspec.Raw(b'{"app":{"name":"shop","version":"1.2"},"locale":"de-DE"}'),
        )


def loaded(warehouse: Warehouse, entries: Sequence[Event], load_events: int) -> float:
    """Seconds for all of it, loads that had to be tried again included; infinite where that does not help.
    What is in the tables afterwards is counted."""
    log = ListLog()
    log.append(entries)
    loader = Loader("bench", [log], warehouse, lambda: {"bench": SOURCE}, LoaderConfig(load_events=load_events))
    began = time.monotonic()
    again, tries = True, 0
    while again:
        try:
            again = loader.step() is not None
        except RetryableError as error:
            tries += 1
            if tries in (1, MOST_TRIES):
                print(f"  try {tries} failed: {str(error)[:200]}", flush=True)
            if tries == MOST_TRIES:
                return math.inf
    seconds = time.monotonic() - began
    counts = warehouse.query(
        "SELECT (SELECT count(*) FROM bench.tracks), (SELECT sum(loaded) FROM headrace.books), "
        "(SELECT count(*) FROM headrace.rejected)",
        max_rows=1,
        timeout_seconds=60,
    ).rows[0]
    if [int(count or 0) for count in counts] != [len(entries), len(entries), 0]:
        raise SystemExit(f"{len(entries)} events came to {counts}")
    return seconds


SHAPES = {"usual": (USUAL_NAMES, 40), "10,000 event names": (NAMES, 40), "10,000 property names": (USUAL_NAMES, NAMES)}


def measured(
    engine: str, fresh: Callable[[str], Warehouse], count: int, load_events: int, *, profile: bool
) -> list[Figure]:
    seconds_by_shape = {}
    for number, (shape, (names, properties)) in enumerate(SHAPES.items()):
        entries = list(events(count, names, properties))
        warehouse = fresh(str(number))
        profiler = cProfile.Profile()
        if profile:
            profiler.enable()
        seconds_by_shape[shape] = loaded(warehouse, entries, load_events)
        profiler.disable()
        tables = warehouse.tables()
        own = [len(columns) for name, columns in tables.items() if name.schema == "bench"]
        warehouse.close()
        print(
            f"  {engine}, {shape}: {count / seconds_by_shape[shape]:,.0f} events a second, {len(own)} tables "
            f"({len(HISTORY_TABLES)} of them at most for all events), at most {max(own)} columns",
            flush=True,
        )
        if profile:
            pstats.Stats(profiler).sort_stats("tottime").print_stats(18)
    usual = seconds_by_shape.pop("usual")
    return [Figure(f"{engine}, {shape}", "times the usual", s / usual, LIMIT) for shape, s in seconds_by_shape.items()]


def figures(
    count: int = 30_000,
    load_events: int = 10_000,
    memory_bytes: int = 256_000_000,
    engines: Sequence[str] = ("DuckDB", "PostgreSQL"),
    *,
    profile: bool = False,
) -> list[Figure]:
    found: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as folder, Watch() as watch:

        def embedded(name: str) -> Warehouse:
            return DuckDB(Path(folder) / f"{name}.duckdb", WarehouseConfig(memory_bytes=memory_bytes))

        def team(_: str) -> Warehouse:
            settings = PostgreSQLSettings(dsn=server.dsn(server.database()))
            return PostgreSQLKind(settings, Place("bench", Path(folder), WarehouseConfig())).open()

        if "DuckDB" in engines:
            found += measured("DuckDB", embedded, count, load_events, profile=profile)
        if "PostgreSQL" in engines:
            server = PostgreSQLServer()
            try:
                found += measured("PostgreSQL", team, count, load_events, profile=profile)
            finally:
                server.remove()
    print(f"  {watch}", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=30_000)
    parser.add_argument("--load", type=int, default=10_000)
    parser.add_argument("--memory", type=int, default=256_000_000, help="bytes, of DuckDB")
    parser.add_argument("--engines", default="DuckDB,PostgreSQL")
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    print(
        table(
            figures(options.events, options.load, options.memory, options.engines.split(","), profile=options.profile)
        )
    )


if __name__ == "__main__":
    main()
