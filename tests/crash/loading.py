"""A process that loads until it is killed: `python loading.py FILE LOADS [torn]` prints each position after its commit.

`torn` is the control: rows first, the position in a second transaction, and the process kills itself between the two."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from headrace.config import WarehouseConfig
from headrace.errors import RetryableError
from headrace.warehouses import _duckdb_load
from headrace.warehouses._duckdb import DuckDB
from headrace.warehouses.base import Load
from made_loads import CONSUMER, tracks

LOAD_ROWS = 500


class Torn(DuckDB):
    def _write(self, cursor: Any, load: Load) -> None:
        _duckdb_load.create(cursor, load.create, load.add, load.widen)
        _duckdb_load.write(cursor, load)
        cursor.execute("COMMIT")
        if load.start >= 5 * LOAD_ROWS:
            os.kill(os.getpid(), signal.SIGKILL)
        cursor.execute("BEGIN TRANSACTION")
        _duckdb_load.move(cursor, load)


def main(file: str, loads: str, *torn: str) -> None:
    warehouse = (Torn if torn else DuckDB)(Path(file), WarehouseConfig(memory_bytes=128_000_000))
    stored = warehouse.position(CONSUMER, 0)
    start = stored.next if stored else 0
    failures = 0
    for number in range(int(loads)):
        while True:
            try:
                warehouse.commit(tracks(start, start + LOAD_ROWS, new=start == 0))
                break
            except RetryableError:
                failures += 1
                if failures > 100:
                    raise
        start += LOAD_ROWS
        print(start, failures, flush=True)
        if number % 10 == 9:
            try:
                warehouse.checkpoint(force=True)
            except RetryableError:
                failures += 1
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main(*sys.argv[1:])
