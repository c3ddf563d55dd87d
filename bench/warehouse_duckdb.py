"""DuckDB: a load of ready Arrow, and the whole way from the log, against COPY of the same rows from ready Parquet.

python bench/warehouse_duckdb.py [events]

CPU time of the process, DuckDB's threads included; what is compared takes turns.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
from pyarrow import parquet

from figures import Figure, table
from headrace.config import LoaderConfig, WarehouseConfig
from headrace.loader.duplicates import Duplicates
from headrace.loader.loader import Loader
from headrace.warehouses._duckdb import DuckDB
from headrace.warehouses._duckdb_load import TYPE_NAMES
from headrace.warehouses._sql import create_table, qualified
from headrace.warehouses.base import HOUSEKEEPING, Load, Position, TableName
from headrace.workspace.records import Source
from loader import START, StagedLog, events

ARROW_LIMIT, WHOLE_LIMIT = 3.0, 8.0
LOADS = 50_000
ROUNDS = 3
TRACKS = TableName("bench", "tracks")


class Kept(DuckDB):
    """Keeps the loads that it would commit."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, WarehouseConfig())
        self.loads: list[Load] = []

    def position(self, consumer: str, partition: int) -> Position | None:
        del consumer, partition
        return Position("bench", self.loads[-1].end) if self.loads else None

    def commit(self, load: Load) -> None:
        self.loads.append(load)


def loader_of(log: StagedLog, warehouse: Any) -> Loader:
    source = Source("bench", "http-api", "Bench", "bench", True, START)
    config = LoaderConfig(load_events=LOADS, load_bytes=2**40)
    return Loader(
        "warehouse", [log], warehouse, lambda: {"bench": source}, config, now=lambda: START + timedelta(days=1)
    )


def drained(loader: Loader) -> None:
    while loader.step() is not None:
        pass


def cpu(work: Callable[[], Any]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def kept_loads(log: StagedLog, folder: Path) -> Sequence[Load]:
    warehouse = Kept(folder / "kept.duckdb")
    drained(loader_of(log, warehouse))
    warehouse.close()
    return warehouse.loads


def copy_seconds(loads: Sequence[Load], folder: Path) -> float:
    """COPY into tables that are there already."""
    plain = duckdb.connect(str(folder / "plain.duckdb"), config={"threads": 2, "checkpoint_threshold": "16GB"})
    plain.execute("SET TimeZone = 'UTC'")
    plain.execute("CREATE SCHEMA bench")
    statements = []
    for number, load in enumerate(loads):
        for name, columns in load.create.items():
            plain.execute(create_table(name, columns, TYPE_NAMES))
        for name, columns in load.add.items():
            for column, type_ in columns.items():
                plain.execute(f'ALTER TABLE {qualified(name)} ADD COLUMN "{column}" {TYPE_NAMES[type_]}')
        for name, rows in load.rows.items():
            if name.schema != HOUSEKEEPING:
                file = folder / f"{number}-{name.table}.parquet"
                parquet.write_table(rows, file)
                names = ", ".join(f'"{column}"' for column in rows.column_names)
                statements.append(f"COPY {qualified(name)} ({names}) FROM '{file}' (FORMAT parquet)")
    seconds = cpu(lambda: [plain.execute(statement) for statement in statements])
    plain.close()
    return seconds


def arrow_seconds(loads: Sequence[Load], folder: Path) -> float:
    """The loads as they are, each after a look for duplicates."""
    warehouse = DuckDB(folder / "ready.duckdb", WarehouseConfig())
    duplicates = Duplicates(warehouse, timedelta(days=30), 128_000_000, lambda: START + timedelta(days=1))
    ids = [load.rows[TRACKS].column("id").to_pylist() for load in loads]

    def load_all() -> None:
        for load, of_load in zip(loads, ids, strict=True):
            if duplicates.among("bench", "bench", of_load):
                raise AssertionError("no event of the bench repeats")
            warehouse.commit(load)
            duplicates.add("bench", dict.fromkeys(of_load, START))

    seconds = cpu(load_all)
    warehouse.close()
    return seconds


def whole_seconds(log: StagedLog, folder: Path) -> float:
    warehouse = DuckDB(folder / "whole.duckdb", WarehouseConfig())
    loader = loader_of(log, warehouse)
    seconds = cpu(lambda: drained(loader))
    warehouse.close()
    return seconds


def measured(log: StagedLog) -> tuple[float, float, float]:
    """CPU seconds of COPY, of the loads of ready Arrow, and of the whole way."""
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as name:
        folder = Path(name)
        loads = kept_loads(log, folder)
        return copy_seconds(loads, folder), arrow_seconds(loads, folder), whole_seconds(log, folder)


def figures(count: int = 100_000) -> Sequence[Figure]:
    log = StagedLog(events(count))
    rounds = [measured(log) for _ in range(ROUNDS)]
    copy = statistics.median(one[0] for one in rounds) * 1e6 / count
    arrow = statistics.median(one[1] / one[0] for one in rounds)
    whole = statistics.median(one[2] / one[0] for one in rounds)
    return [
        Figure("DuckDB: COPY of ready Parquet, two rows an event", "us CPU/event", copy),
        Figure("DuckDB: loads of ready Arrow with duplicates and offset, against that", "times", arrow, ARROW_LIMIT),
        Figure("DuckDB: the whole way from log to commit, against that", "times", whole, WHOLE_LIMIT),
    ]


if __name__ == "__main__":
    sys.stdout.write(table(figures(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)) + "\n")
