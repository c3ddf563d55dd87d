"""CPU time a row of loads into DuckDB, and of looking up ids.

python bench/warehouse_load.py            commits of 1,000 and 100,000 rows, 30 columns, empty and 1 M-row table
python bench/warehouse_load.py latest     the same with users kept beside identifies
python bench/warehouse_load.py ids        existing_ids of 3 ids in a table of 10 M rows
"""

from __future__ import annotations

import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from headrace.config import WarehouseConfig
from headrace.warehouses._duckdb import DuckDB
from headrace.warehouses.base import Books, Columns, ColumnType, Load, TableName, Upsert

START = datetime(2026, 1, 1, tzinfo=UTC)
TRACKS, IDENTIFIES, USERS = (TableName("shop", table) for table in ("tracks", "identifies", "users"))
COLUMNS: Columns = {
    "id": ColumnType.STRING,
    "user_id": ColumnType.STRING,
    "received_at": ColumnType.TIMESTAMP,
    "loaded_at": ColumnType.TIMESTAMP,
    **{f"text_{number}": ColumnType.STRING for number in range(14)},
    **{f"integer_{number}": ColumnType.INTEGER for number in range(6)},
    **{f"float_{number}": ColumnType.FLOAT for number in range(4)},
    **{f"flag_{number}": ColumnType.BOOLEAN for number in range(2)},
}
STANDARD = ("id", "user_id", "received_at", "loaded_at")
TRAITS = [column for column in COLUMNS if column not in STANDARD]


def rows(first: int, count: int) -> pa.Table:
    """Rows of 30 columns; random ids, 10,000 users, a row a tenth of a second."""
    numbers = pa.array(range(first, first + count), pa.int64())
    texts = pc.cast(numbers, pa.string())
    moments = pc.cast(
        pc.add(pc.multiply(numbers, 100_000), int(START.timestamp() * 1_000_000)), pa.timestamp("us", "UTC")
    )
    columns: dict[str, Any] = {}
    for place, (column, type_) in enumerate(COLUMNS.items()):
        if column == "id":
            scattered = pc.bit_wise_xor(pc.multiply(numbers, -7_046_029_254_386_353_131), 0x5BD1E995)
            columns[column] = pc.binary_join_element_wise(pc.cast(scattered, pa.string()), texts, "-")
        elif column == "user_id":
            people = pc.subtract(numbers, pc.multiply(pc.divide(numbers, 10_000), 10_000))
            columns[column] = pc.binary_join_element_wise("user", pc.cast(people, pa.string()), "-")
        elif type_ is ColumnType.TIMESTAMP:
            columns[column] = moments
        elif type_ is ColumnType.STRING:
            columns[column] = pc.binary_join_element_wise(f"value {place}", pc.utf8_slice_codeunits(texts, 0, 3), " ")
        elif type_ is ColumnType.INTEGER:
            columns[column] = pc.shift_right(numbers, place % 8)
        elif type_ is ColumnType.FLOAT:
            columns[column] = pc.divide(pc.cast(numbers, pa.float64()), 7.0)
        else:
            columns[column] = pc.equal(pc.bit_wise_and(numbers, 1), 0)
    return pa.table(columns)


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


class Loads:
    """Commits one after the other into one table."""

    def __init__(self, folder: Path, table: TableName, upserts: tuple[Upsert, ...] = ()) -> None:
        self.warehouse = DuckDB(folder / "bench.duckdb", WarehouseConfig(memory_bytes=1_000_000_000))
        self.table, self.upserts, self.next = table, upserts, 0

    def commit(self, arrived: pa.Table) -> None:
        latest = {name: type_ for name, type_ in COLUMNS.items() if name != "user_id"}
        create = {self.table: COLUMNS, USERS: latest} if self.next == 0 else {}
        end = self.next + arrived.num_rows
        books = {"shop": Books(loaded=arrived.num_rows)}
        moved = {"start": self.next, "end": end, "rows": {self.table: arrived}, "create": create, "books": books}
        self.warehouse.commit(Load("bench", 0, "log", upserts=self.upserts, **moved))
        self.next = end

    def fill(self, count: int) -> None:
        while self.next < count:
            self.commit(rows(self.next, min(100_000, count - self.next)))
        self.warehouse.checkpoint(force=True)


def measured(name: str, count: int, unit: float, work: Callable[[], object]) -> None:
    cpu, wall = cpu_seconds(), time.perf_counter()
    work()
    cpu, wall = cpu_seconds() - cpu, time.perf_counter() - wall
    print(f"{name:<56} CPU {cpu / count * unit:9.2f}   wall {wall / count * unit:9.2f}", flush=True)


def commits(folder: Path, table: TableName, upserts: tuple[Upsert, ...]) -> None:
    print("us a row")
    for filled in (0, 1_000_000):
        for size, repeats in ((1_000, 100), (100_000, 4)):
            loads = Loads(Path(tempfile.mkdtemp(dir=folder)), table, upserts)
            loads.fill(filled or 1)
            batches = [rows(loads.next + number * size, size) for number in range(repeats)]

            def work(loads: Loads = loads, batches: list[pa.Table] = batches) -> None:
                for batch in batches:
                    loads.commit(batch)

            measured(f"{repeats} commits of {size:,} rows, {filled:,} rows before", size * repeats, 1e6, work)
            loads.warehouse.close()


def ids(folder: Path) -> None:
    loads = Loads(folder, TRACKS)
    narrow = ["id", "user_id", "received_at", "loaded_at", "text_0", "integer_0"]
    total = 10_000_000
    while loads.next < total:
        loads.commit(rows(loads.next, 200_000).select(narrow))
    loads.warehouse.checkpoint(force=True)
    place = 4_999_000
    wanted = rows(place, 3).column("id").to_pylist()
    moment = START + timedelta(seconds=place / 10)
    spans = {
        "an hour": (moment - timedelta(minutes=30), moment + timedelta(minutes=30)),
        "a day": (moment - timedelta(hours=12), moment + timedelta(hours=12)),
        "everything": (START, START + timedelta(days=400)),
    }
    print("ms a look-up, 10 M rows in the table")
    for name, span in spans.items():
        repeats = 5 if name == "everything" else 50
        for found, looked_for in ((3, wanted), (0, ["x", "y", "z"])):

            def work(
                span: tuple[datetime, datetime] = span, looked_for: list[str] = looked_for, found: int = found
            ) -> None:
                for _ in range(repeats):  # noqa: B023 -- called before the loop goes on
                    if len(loads.warehouse.existing_ids("shop", looked_for, [span])) != found:
                        raise SystemExit("wrong ids")

            measured(f"3 ids ({found} there) within {name}", repeats, 1e3, work)
    measured("ids_since of everything, a row in us", total, 1e6, lambda: list(loads.warehouse.ids_since("shop", START)))
    loads.warehouse.close()


def main() -> None:
    folder = Path(tempfile.mkdtemp(prefix="headrace-bench-"))
    try:
        match sys.argv[1:]:
            case []:
                commits(folder, TRACKS, ())
            case ["latest"]:
                commits(folder, IDENTIFIES, (Upsert(USERS, IDENTIFIES, "user_id", TRAITS),))
            case ["ids"]:
                ids(folder)
            case _:
                raise SystemExit(__doc__)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
