"""PostgreSQL: a load against COPY of ready text into the same table, small loads, and loads into 1 M and 10 M rows of the window.

    python bench/warehouse_postgresql.py [--rows 100000] [--rounds 5] [--existing 1000000,10000000]

The server is the newest of /usr/lib/postgresql, started for this with fsync on and PostgreSQL's own defaults otherwise. Times are
of the wall clock, since most of the work is the server's; COPY and loads take turns.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

import pyarrow as pa
import pyarrow.csv

import duplicates
import loader
import warehouse_load
from figures import Figure, table
from headrace.config import WarehouseConfig
from headrace.loader.loader import Loader
from headrace.warehouses.base import Books, Hour, Load, Place, TableName, Warehouse
from headrace.warehouses.postgresql import PostgreSQLKind, PostgreSQLSettings
from machine import Watch
from postgresql_server import ADMIN, ADMIN_PASSWORD, PostgreSQLServer, binaries

TRACKS = TableName("shop", "tracks")
BENCH_TRACKS = TableName("bench", "tracks")
COPY_SHARE = 0.7
ONE_ROW_MS, THOUSAND_ROWS_MS = 20.0, 80.0
RATIO_LIMIT = 1.5
SMALL = {1: 60, 1_000: 20}
"""Loads by size and how many of them."""
INTO = {1_000: 20, 100_000: 4}


def opened(server: PostgreSQLServer, database: str) -> Warehouse:
    settings = PostgreSQLSettings(dsn=server.dsn(database))
    return PostgreSQLKind(settings, Place("bench", server.folder, WarehouseConfig())).open()


def load_of(rows: pa.Table, start: int, *, new: bool) -> Load:
    """`rows` as the tracks of a load."""
    end = start + rows.num_rows
    books = {Hour("shop", warehouse_load.START): Books(loaded=rows.num_rows)}
    create = {TRACKS: warehouse_load.COLUMNS} if new else {}
    return Load("bench", 0, "log", start, end, {TRACKS: rows}, create=create, books=books, started=warehouse_load.START)


def copied(server: PostgreSQLServer, database: str, text: Path) -> float:
    """Seconds of psql's COPY of a text file."""
    command = f"\\copy copied.tracks FROM '{text}' WITH (FORMAT csv)"
    dsn = server.dsn(database, ADMIN, ADMIN_PASSWORD)
    began = time.monotonic()
    subprocess.run([binaries() / "psql", "-q", "-d", dsn, "-c", command], check=True)
    return time.monotonic() - began


def against_copy(server: PostgreSQLServer, count: int, rounds: int) -> list[Figure]:
    database = server.database()
    warehouse = opened(server, database)
    warehouse.commit(load_of(warehouse_load.rows(0, 1_000), 0, new=True))
    server.sql("CREATE SCHEMA copied", "CREATE TABLE copied.tracks (LIKE shop.tracks INCLUDING ALL)", database=database)
    shares, loads, copies = [], [], []
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as folder:
        for round_ in range(rounds):
            rows = warehouse_load.rows(1_000 + round_ * count, count)
            text = Path(folder) / "rows.csv"
            pyarrow.csv.write_csv(rows, text, pyarrow.csv.WriteOptions(include_header=False))
            copies.append(copied(server, database, text))
            began = time.monotonic()
            warehouse.commit(load_of(rows, 1_000 + round_ * count, new=False))
            loads.append(time.monotonic() - began)
            shares.append(copies[-1] / loads[-1])
    warehouse.close()
    print(f"  {count:,} rows of 30 columns: loads {_list(loads)} s, COPY {_list(copies)} s", flush=True)
    share = statistics.median(shares)
    return [
        Figure("PostgreSQL: rows a second of a load, of COPY's", "share", share),
        Figure(f"PostgreSQL: time of a load of {count:,}, as COPY of text", "times", 1 / share, 1 / COPY_SHARE),
        Figure("PostgreSQL: a load", "rows/s", count / statistics.median(loads)),
    ]


def loader_over(warehouse: Warehouse, size: int, loads: int, seed: int) -> Loader:
    log = loader.StagedLog(loader.events(size * loads, seed=seed))
    made: Any = duplicates.loader_over(log, warehouse, size, consumer=f"bench {size} {seed}")  # type: ignore[arg-type]
    return made  # type: ignore[no-any-return]


def timed(loaded: Loader) -> float:
    began = time.monotonic()
    if loaded.step() is None:
        raise SystemExit("the log ended too early")
    return time.monotonic() - began


def small(server: PostgreSQLServer) -> list[Figure]:
    """From the log to COMMIT: reading, typing, look-up of duplicates, rows of tracks and event tables, books, offset."""
    warehouse = opened(server, server.database())
    found = []
    for size, loads in SMALL.items():
        # The first loads make tables and columns.
        of_size = loader_over(warehouse, size, loads + 10, seed=size)
        seconds = [timed(of_size) for _ in range(loads + 10)][10:]
        limit = ONE_ROW_MS if size == 1 else THOUSAND_ROWS_MS
        print(f"  loads of {size:,}: {_list(seconds, 1e3)} ms", flush=True)
        found.append(Figure(f"PostgreSQL: a load of {size:,}, median", "ms", statistics.median(seconds) * 1e3, limit))
    warehouse.close()
    return found


def existing(server: PostgreSQLServer, database: str, warehouse: Warehouse, count: int) -> None:
    """`count` events of the twenty days before the loads, as the loader makes them."""
    loader_over(warehouse, 1_000, 2, seed=99).step()
    columns = ", ".join(
        {"id": "md5(i::text)::uuid::text", "received_at": "$at$"}.get(column, f't."{column}"').replace(
            "$at$",
            f"'{loader.START - timedelta(seconds=duplicates.SECONDS_BEFORE)}'::timestamptz "
            f"+ i * interval '{duplicates.SECONDS_BEFORE / count:.9f} s'",
        )
        for column in warehouse.tables()[BENCH_TRACKS]
    )
    for first in range(0, count, 500_000):
        until = min(first + 500_000, count) - 1
        server.sql(
            f"INSERT INTO bench.tracks SELECT {columns} FROM generate_series({first}, {until}) i, "
            "(SELECT * FROM bench.tracks LIMIT 1) t",
            database=database,
        )
    server.sql("VACUUM ANALYZE bench.tracks", "CHECKPOINT", database=database)


def window(server: PostgreSQLServer, counts: Sequence[int]) -> list[Figure]:
    warehouses = {}
    for count in counts:
        began = time.monotonic()
        database = server.database()
        warehouses[count] = opened(server, database)
        existing(server, database, warehouses[count], count)
        print(f"  {count:,} existing events made in {time.monotonic() - began:.0f} s", flush=True)
    found = []
    for size, loads in INTO.items():
        loaders = {count: loader_over(warehouses[count], size, loads + 1, seed=size + 7) for count in counts}
        for loaded in loaders.values():
            timed(loaded)  # rebuilds the filters, too
        seconds: dict[int, list[float]] = {count: [] for count in counts}
        for _ in range(loads):
            for count, loaded in loaders.items():
                seconds[count].append(timed(loaded))
        small_, large = (statistics.median(seconds[count]) for count in (min(counts), max(counts)))
        for count in counts:
            print(f"  loads of {size:,} into {count:,}: {_list(seconds[count], 1e3)} ms", flush=True)
        what = f"PostgreSQL: loads of {size:,} into {max(counts):,} rows, as into {min(counts):,}"
        found.append(Figure(what, "times", large / small_, RATIO_LIMIT))
    found += [looked_up(warehouses, counts)]
    for warehouse in warehouses.values():
        warehouse.close()
    return found


def looked_up(warehouses: dict[int, Warehouse], counts: Sequence[int]) -> Figure:
    """Three new ids within a span of 1 M rows, as after a false alarm of a filter."""
    medians = {}
    for count, warehouse in warehouses.items():
        first = loader.START - timedelta(seconds=duplicates.SECONDS_BEFORE)
        span = (first, first + timedelta(seconds=duplicates.SECONDS_BEFORE * min(counts) / count))
        seconds = []
        for number in range(10):
            began = time.monotonic()
            if warehouse.existing_ids("bench", [f"new {number} {place}" for place in range(3)], [span]):
                raise SystemExit("ids that are not there")
            seconds.append(time.monotonic() - began)
        print(f"  look-ups of 3 ids among {count:,}: {_list(seconds, 1e3)} ms", flush=True)
        medians[count] = statistics.median(seconds)
    share = medians[max(counts)] / medians[min(counts)]
    return Figure(f"PostgreSQL: look-up of 3 ids among {max(counts):,} rows, as among {min(counts):,}", "times", share)


def _list(seconds: Sequence[float], factor: float = 1.0) -> str:
    return " ".join(f"{each * factor:.2f}" for each in seconds)


def figures(
    rows: int = 100_000, rounds: int = 5, existing_counts: Sequence[int] = (1_000_000, 10_000_000)
) -> list[Figure]:
    server = PostgreSQLServer()
    try:
        with Watch() as watch:
            found = [*against_copy(server, rows, rounds), *small(server)]
            if existing_counts:
                found += window(server, existing_counts)
        print(f"  {watch}", flush=True)
    finally:
        server.remove()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--existing", default="1000000,10000000")
    options = parser.parse_args()
    counts = [int(count) for count in options.existing.split(",") if count]
    print(table(figures(options.rows, options.rounds, counts)))


if __name__ == "__main__":
    main()
