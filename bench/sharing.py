"""What a second warehouse at the head of the log costs, without the inserts: two loaders take turns, one warehouse or two.

python bench/sharing.py [events]
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

from figures import Figure, table
from headrace.config import LoaderConfig, WarehouseConfig
from headrace.loader.loader import Loader
from headrace.loader.parts import SharedParts
from headrace.log.base import Bounds, Slice
from headrace.warehouses._duckdb import DuckDB
from headrace.warehouses.base import Load, Position
from headrace.workspace.records import Source
from loader import START, StagedLog, events

LIMIT = 1.4
HEAD = 1_000
"""Events that arrive between two loads."""
ROUNDS = 5


class Head(StagedLog):
    """A log that grows: what is read ends at `end`."""

    def bounds(self) -> Bounds:
        return Bounds(0, self.end)

    end = 0

    def read(self, offset: int, *, max_entries: int, max_bytes: int) -> Slice:
        return super().read(offset, max_entries=min(max_entries, self.end - offset), max_bytes=max_bytes)


class Uninserted(DuckDB):
    """Takes a load and keeps the position alone."""

    at: Position | None = None

    def position(self, consumer: str, partition: int) -> Position | None:
        del consumer, partition
        return self.at

    def commit(self, load: Load) -> None:
        self.at = Position(load.incarnation, load.end)


def cpu_us(log: Head, warehouses: int, folder: Path) -> float:
    """CPU an event, all warehouses together."""
    shared = SharedParts()
    source = Source("bench", "http-api", "Bench", "bench", True, START)
    opened = [Uninserted(folder / f"{number}.duckdb", WarehouseConfig()) for number in range(warehouses)]
    loaders = []
    for warehouse in opened:
        loaders.append(
            Loader(
                "warehouse",
                [log],
                warehouse,
                lambda: {"bench": source},
                LoaderConfig(),
                now=lambda: START + timedelta(days=1),
                shared=shared,
            )
        )
        shared.join()
    spent = 0.0
    for end in range(HEAD, log.next + 1, HEAD):
        log.end = end
        began = time.process_time()
        for loader in loaders:
            while loader.step() is not None:
                pass
        spent += time.process_time() - began
    for warehouse in opened:
        warehouse.close()
    for path in folder.glob("*.duckdb*"):
        path.unlink()
    return spent * 1e6 / log.next


def figures(count: int = 20_000) -> Sequence[Figure]:
    log = Head(events(count))
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as folder:
        cpu_us(log, 1, Path(folder))
        pairs = [(cpu_us(log, 1, Path(folder)), cpu_us(log, 2, Path(folder))) for _ in range(ROUNDS)]
    one = statistics.median(pair[0] for pair in pairs)
    ratio = statistics.median(two / single for single, two in pairs)
    return [
        Figure("one warehouse at the head of the log, without its inserts", "us CPU/event", one),
        Figure("two of them against one", "times", ratio, LIMIT),
    ]


def main(arguments: Iterator[str]) -> None:
    print(table(figures(int(next(arguments, "20000")))))


if __name__ == "__main__":
    main(iter(sys.argv[1:]))
