"""What a load into the lake costs, on local disk: commits, rows, latest state, look-ups, queries and upkeep.

    python bench/warehouse_iceberg.py [--rows 1000000]

CPU is that of the process, threads included. Rows have 30 columns.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from figures import Figure, table
from headrace.config import WarehouseConfig
from headrace.warehouses._iceberg import Lake
from headrace.warehouses.base import Books, Hour, Load, Place, TableName, Upsert
from headrace.warehouses.iceberg import IcebergKind, IcebergSettings
from warehouse_load import COLUMNS, IDENTIFIES, START, TRACKS, TRAITS, USERS, rows

BLOCK = 50_000


class Loads:
    """Commits one after the other into one table."""

    def __init__(self, folder: Path, name: TableName, upserts: tuple[Upsert, ...] = ()) -> None:
        kind = IcebergKind(IcebergSettings(), Place("bench", folder, WarehouseConfig()))
        self.lake, self.name, self.upserts, self.next = Lake(kind), name, upserts, 0

    def commit(self, count: int) -> None:
        latest = {column: type_ for column, type_ in COLUMNS.items() if column != "user_id"}
        create = {self.name: COLUMNS, **({USERS: latest} if self.upserts else {})} if self.next == 0 else {}
        end = self.next + count
        self.lake.commit(
            Load(
                "bench",
                0,
                "log",
                self.next,
                end,
                {self.name: rows(self.next, count)},
                create=create,
                upserts=self.upserts,
                books={Hour("shop", START): Books(loaded=count)},
                started=datetime.now(UTC),
            )
        )
        self.next = end

    def repeat(self, times: int, count: int) -> None:
        for _ in range(times):
            self.commit(count)

    def fill(self, count: int) -> None:
        while self.next < count:
            self.commit(min(BLOCK, count - self.next))


def cost(work: Callable[[], object]) -> tuple[float, float]:
    """CPU and wall seconds."""
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    return time.process_time() - cpu, time.perf_counter() - wall


def commits(folder: Path, count: int) -> list[Figure]:
    loads = Loads(folder / "rows", TRACKS)
    loads.commit(1)
    found = []
    for snapshots in (20, 60, 120):
        while len(loads.lake._tables.one(TRACKS).metadata.snapshots) < snapshots:  # noqa: SLF001 -- a bench looks inside
            loads.commit(1)
        cpu, wall = cost(lambda: loads.repeat(10, 1))
        what = f"one table's commit of 1 row, {snapshots} snapshots kept"
        found += [Figure(what, "ms CPU", cpu * 100), Figure(what, "ms", wall * 100)]
    cpu, _ = cost(lambda: loads.lake.checkpoint(force=True))
    found.append(Figure("upkeep of these 160 files", "ms CPU", cpu * 1e3))
    cpu, _ = cost(lambda: loads.fill(count))
    found.append(Figure(f"a row, loads of {BLOCK:,}", "us CPU", cpu * 1e6 / count))
    cpu, _ = cost(lambda: loads.lake.checkpoint(force=True))
    found.append(Figure("upkeep after them, a row", "us CPU", cpu * 1e6 / count))
    found += lookups(loads, count)
    loads.lake.close()
    return found


def lookups(loads: Loads, count: int) -> list[Figure]:
    place = count // 2
    wanted = rows(place, 3).column("id").to_pylist()
    moment = START + timedelta(seconds=place / 10)
    found = []
    for name, half in (("an hour", timedelta(minutes=30)), ("everything", timedelta(days=400))):
        span = (moment - half, moment + half)

        def look(span: tuple[datetime, datetime] = span) -> None:
            for _ in range(5):
                if len(loads.lake.existing_ids("shop", wanted, [span])) != 3:
                    raise SystemExit("wrong ids")

        cpu, wall = cost(look)
        what = f"existing_ids of 3 ids within {name}, {count:,} rows"
        found += [Figure(what, "ms CPU", cpu * 200), Figure(what, "ms", wall * 200)]
    cpu, _ = cost(lambda: list(loads.lake.ids_since("shop", START)))
    found.append(Figure("ids_since of everything, a row", "us CPU", cpu * 1e6 / count))
    sql = "SELECT text_0, count(*), sum(float_0) FROM shop.tracks GROUP BY ALL"
    cpu, wall = cost(lambda: loads.lake.query(sql, max_rows=10_000, timeout_seconds=60))
    what = f"a GROUP BY over {count:,} rows"
    found += [Figure(what, "ms CPU", cpu * 1e3), Figure(what, "ms", wall * 1e3)]
    cpu, wall = cost(lambda: loads.lake.query("SELECT 1", max_rows=1, timeout_seconds=60))
    return [*found, Figure("a query of nothing", "ms CPU", cpu * 1e3)]


def latest(folder: Path) -> list[Figure]:
    """The generated rows have 10,000 users, each in turn; a load of 1,000 rows changes a tenth of them."""
    loads = Loads(folder / "latest", IDENTIFIES, (Upsert(USERS, IDENTIFIES, "user_id", TRAITS),))
    loads.fill(200_000)
    cpu, wall = cost(lambda: loads.repeat(5, 1_000))
    what = "a load of 1,000 identifies into 10,000 users"
    loads.lake.close()
    return [Figure(what, "ms CPU", cpu * 200), Figure(what, "ms", wall * 200), *many_users(folder)]


def many_users(folder: Path) -> list[Figure]:
    """200,000 users in five files: keys from everywhere touch all of them, keys of a run one."""
    loads = Loads(folder / "many", IDENTIFIES, (Upsert(USERS, IDENTIFIES, "user_id", TRAITS),))
    found = []

    def commit(first: int, count: int, step: int) -> None:
        import pyarrow as pa

        brought = rows(loads.next, count)
        keys = pa.array([f"user-{first + number * step:08}" for number in range(count)])
        brought = brought.set_column(brought.column_names.index("user_id"), "user_id", keys)
        users = {column: type_ for column, type_ in COLUMNS.items() if column != "user_id"}
        create = {IDENTIFIES: COLUMNS, USERS: users} if loads.next == 0 else {}
        end = loads.next + count
        new = {IDENTIFIES: brought}
        now = datetime.now(UTC)
        load = Load("bench", 0, "log", loads.next, end, new, create=create, upserts=loads.upserts, started=now)
        loads.lake.commit(load)
        loads.next = end

    for block in range(4):
        commit(block * BLOCK, BLOCK, 1)
    for name, step in (("of one file", 1), ("from everywhere", 200)):
        cpu, wall = cost(lambda step=step: commit(0, 1_000, step))  # type: ignore[misc]
        what = f"a load of 1,000 identifies into 200,000 users, keys {name}"
        found += [Figure(what, "ms CPU", cpu * 1e3), Figure(what, "ms", wall * 1e3)]
    loads.lake.close()
    return found


def figures(count: int = 1_000_000) -> list[Figure]:
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as folder:
        return [*commits(Path(folder), count), *latest(Path(folder))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    print(table(figures(parser.parse_args().rows)))


if __name__ == "__main__":
    main()
