"""Loads into ClickHouse, the engine embedded in this process (chdb), in CPU time of the process, the engine's threads included.

python bench/warehouse_clickhouse.py            all of it
python bench/warehouse_clickhouse.py --sizes    what columns cost on disk as String and as LowCardinality(String)

A commit of ready Arrow, with a look-up of ids, lease, tokens and position, against the engine's plain insert of the same Arrow into an equal
table without any of that, in turn; and the same commits with 1 M and with 10 M rows in the window. Merges, which the engine does in its own
time, are stopped while it is measured: they are the same for both.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import clickhouse_connect
import pyarrow as pa

from figures import Figure, table
from headrace.warehouses._clickhouse import ClickHouse
from headrace.warehouses._clickhouse_sql import FEW_VALUES, TYPES
from headrace.warehouses.base import Books, Columns, ColumnType, Hour, Load, TableName, Upsert
from machine import Watch
from warehouse_load import COLUMNS, START, rows

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

PLAIN_LIMIT = 3.0
WINDOW_LIMIT = 1.2
SIZES = {1_000: 30, 50_000: 6}
"""Rows in a commit, and rounds."""
WINDOW_SIZES = {1_000: 60, 100_000: 4}
NARROW = ("id", "user_id", "received_at", "loaded_at", "text_0", "integer_0")
HOUR = Hour("shop", START)
ABSENT = ("-5x", "3-x", "7-x")
"""Like the stored ids, so that no least and greatest value of a part rules them out."""


class Loads:
    """Commits one after the other into one table of one ClickHouse."""

    def __init__(self, warehouse: ClickHouse, table_: str, columns: Columns, upserts: Sequence[Upsert] = ()) -> None:
        self.warehouse, self.table, self.columns, self.upserts = warehouse, TableName("shop", table_), columns, upserts
        self.next = 0
        self.loads = 0

    def commit(self, arrived: pa.Table) -> None:
        end = self.next + arrived.num_rows
        self.loads += 1
        started = datetime(2026, 6, 1, tzinfo=UTC) + timedelta(seconds=self.loads)
        stamped = arrived.set_column(
            arrived.column_names.index("loaded_at"),
            "loaded_at",
            pa.repeat(pa.scalar(started, pa.timestamp("us", "UTC")), arrived.num_rows),
        )
        create = {self.table: self.columns} if self.next == 0 else {}
        if self.next == 0:
            create |= {up.table: {n: t for n, t in self.columns.items() if n != up.key} for up in self.upserts}
        self.warehouse.commit(
            Load(
                self.table.table, 0, "log", self.next, end, {self.table: stamped}, create=create, started=started,
                books={HOUR: Books(loaded=arrived.num_rows)}, upserts=self.upserts,
            )
        )  # fmt: skip
        self.next = end

    def looked_up(self, arrived: pa.Table) -> None:
        """As the filters of duplicates let a look-up through now and then: three ids within an hour."""
        at = arrived.column("received_at")[0].as_py()
        self.warehouse.existing_ids("shop", ABSENT, [(at - timedelta(hours=1), at)])


def cpu(work: Any, *arguments: Any) -> float:
    began = time.process_time()
    work(*arguments)
    return time.process_time() - began


def embedded(folder: Path) -> tuple[ClickHouse, Client]:
    def connect() -> Client:
        return clickhouse_connect.get_client(interface="chdb", path=str(folder))

    return ClickHouse(connect, embedded=True), connect()


def against_plain_insert(folder: Path) -> list[Figure]:
    warehouse, client = embedded(folder)
    found = []
    lines = ", ".join(f"{column} {TYPES[type_]}" for column, type_ in COLUMNS.items())
    client.command("CREATE DATABASE plain")
    for size, rounds in SIZES.items():
        name = f"t{size}"
        client.command(
            f"CREATE TABLE plain.{name} ({lines}) ENGINE = MergeTree ORDER BY (received_at, id) SETTINGS allow_nullable_key = 1"
        )
        # A table of history, so that the look-up of ids has something to look through.
        loads = Loads(warehouse, "tracks" if size == max(SIZES) else "pages", COLUMNS)
        loads.commit(rows(0, size))
        client.command("SYSTEM STOP MERGES")
        plain: list[float] = []
        ours: list[float] = []
        for round_ in range(1, rounds + 1):
            arrived = rows(round_ * size, size)
            plain.append(cpu(client.insert_arrow, f"plain.{name}", arrived))
            ours.append(cpu(loads.commit, arrived) + cpu(loads.looked_up, arrived))
        client.command("SYSTEM START MERGES")
        per_row = 1e6 / size
        mine, its = statistics.median(ours), statistics.median(plain)
        print(f"  commits of {size:,}: {mine * per_row:.2f} us a row, plain insert {its * per_row:.2f}", flush=True)
        limit = PLAIN_LIMIT if size == max(SIZES) else None
        found.append(Figure(f"ClickHouse commit of {size:,} rows, as its plain insert", "times", mine / its, limit))
    client.close()
    warehouse.close()
    return found


def window(folder: Path, counts: Sequence[int]) -> list[Figure]:
    """One table of history of each size in one engine, loads into them in turn."""
    warehouse, client = embedded(folder)
    columns: Columns = {name: COLUMNS[name] for name in NARROW}
    filled: dict[int, Loads] = {}
    for count, name in zip(sorted(counts), ("pages", "tracks"), strict=True):
        filled[count] = Loads(warehouse, name, columns)
        while filled[count].next < count:
            filled[count].commit(rows(filled[count].next, min(250_000, count - filled[count].next)).select(NARROW))
        client.command(f"OPTIMIZE TABLE shop.{name} FINAL")
    found = []
    small, large = min(counts), max(counts)
    client.command("SYSTEM STOP MERGES")
    for size, rounds in WINDOW_SIZES.items():
        costs: dict[int, list[float]] = {count: [] for count in counts}
        for _ in range(rounds):
            for count, loads in filled.items():
                arrived = rows(loads.next, size).select(NARROW)
                costs[count].append(cpu(loads.commit, arrived))
        few, many = (statistics.mean(costs[count]) * 1e6 / size for count in (small, large))
        print(f"  loads of {size:,}: {few:.2f} us a row into {small:,}, {many:.2f} into {large:,}", flush=True)
        what = f"ClickHouse loads of {size:,} into {large:,} rows, as into {small:,}"
        found.append(Figure(what, "times", many / few, WINDOW_LIMIT))
    for hours in (1, 24, 24 * 400):
        end = START + timedelta(seconds=large / 20)
        spans = [(end - timedelta(hours=hours), end)]
        times = [cpu(warehouse.existing_ids, "shop", ABSENT, spans) for _ in range(5)]
        found.append(Figure(f"ClickHouse look-up of 3 ids within {hours} h", "ms CPU", statistics.median(times) * 1e3))
    client.close()
    warehouse.close()
    return found


def latest(folder: Path, count: int = 500_000) -> list[Figure]:
    """`users` beside identifies: what it costs a load, and reading it with 10,000 users."""
    warehouse, client = embedded(folder)
    upserts = [
        Upsert(TableName("shop", "users"), TableName("shop", "identifies"), "user_id", list(COLUMNS)[4:]),
    ]
    loads = Loads(warehouse, "identifies", COLUMNS, upserts)
    costs = []
    while loads.next < count:
        arrived = rows(loads.next, 50_000)
        costs.append(cpu(loads.commit, arrived))
    found = [Figure("ClickHouse commit of 50,000 identifies with users", "us CPU a row", statistics.median(costs) * 20)]
    aggregated = ", ".join(
        f"argMaxIf({name}, (received_at, id), {name} IS NOT NULL) AS {name}" for name in list(COLUMNS)[4:]
    )
    over_history = f"SELECT user_id AS id, {aggregated} FROM shop.identifies GROUP BY user_id"
    queries = {
        "all users by the view": "SELECT * FROM shop.users",
        "all users over the history": over_history,
        "one user by the view": "SELECT * FROM shop.users WHERE id = 'user-77'",
        "one user over the history": f"SELECT * FROM ({over_history}) WHERE id = 'user-77'",
    }
    for what, sql in queries.items():
        asked = [cpu(client.raw_query, sql, None, None, "Native") for _ in range(5)]
        found.append(Figure(f"ClickHouse {what}", "ms CPU", statistics.median(asked) * 1e3))
    client.close()
    warehouse.close()
    return found


def sizes(folder: Path, count: int = 1_000_000) -> list[Figure]:
    """A column of ten event names and one of unlike values, both ways."""
    warehouse, client = embedded(folder)
    client.command("CREATE DATABASE IF NOT EXISTS plain")
    found = []
    values = {
        "ten event names": "concat('Email Opened ', toString(rand() % 10))",
        "unlike values": "toString(rand64())",
    }
    for what, value in values.items():
        for number, type_ in enumerate((TYPES[ColumnType.STRING], FEW_VALUES)):
            name = f"plain.{what.split(' ')[0]}_{number}"
            client.command(f"CREATE TABLE {name} (v {type_}) ENGINE = MergeTree ORDER BY tuple()")
            spent = cpu(client.command, f"INSERT INTO {name} SELECT {value} FROM numbers({count})")
            stored = client.query(
                f"SELECT sum(data_compressed_bytes) FROM system.parts WHERE active AND table = '{name.partition('.')[2]}'"
            ).result_rows[0][0]
            found.append(Figure(f"{what} as {type_}: bytes a row", "bytes", stored / count))
            found.append(Figure(f"{what} as {type_}: insert", "us CPU a row", spent * 1e6 / count))
    client.close()
    warehouse.close()
    return found


def figures(existing_counts: Sequence[int] = (1_000_000, 10_000_000)) -> list[Figure]:
    found: list[Figure] = []
    for part in (against_plain_insert, lambda folder: window(folder, existing_counts), latest):
        with tempfile.TemporaryDirectory(prefix="headrace-bench-") as folder, Watch() as watch:
            found += part(Path(folder))
        print(f"  {watch}", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--existing", default="1000000,10000000")
    parser.add_argument("--sizes", action="store_true")
    options = parser.parse_args()
    if options.sizes:
        with tempfile.TemporaryDirectory(prefix="headrace-bench-") as folder:
            print(table(sizes(Path(folder))))
        return
    print(table(figures([int(count) for count in options.existing.split(",")])))


if __name__ == "__main__":
    main()
