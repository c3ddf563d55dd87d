"""A warehouse that takes no load as long as the file CRASH_CLOSED_FILE is there; retention is looked after more often."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any


def stand_in(role: str) -> None:
    if role != "worker":
        return
    from headrace.app import warehouses
    from headrace.errors import WarehouseUnavailableError
    from headrace.warehouses._duckdb import DuckDB
    from headrace.warehouses.base import Load

    commit = DuckDB.commit
    file = Path(os.environ["CRASH_CLOSED_FILE"])

    def refusing(self: DuckDB, load: Load) -> None:
        if file.exists():
            raise WarehouseUnavailableError("warehouse: closed for this test", 0.1)
        commit(self, load)

    warehouse: Any = DuckDB
    warehouse.commit = refusing
    module: Any = warehouses
    assert module.RETAIN_SECONDS == 60
    module.RETAIN_SECONDS = 0.2  # a minute is long for a test
