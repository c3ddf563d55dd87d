"""A loader that fails over events named Poisoned Row, and a warehouse that refuses every load with a Poisoned Load.

No real event is known to do either: what was found is mended."""

from __future__ import annotations

from typing import Any


def stand_in(role: str) -> None:
    if role != "worker":
        return
    from headrace.event import Event
    from headrace.loader import batch
    from headrace.warehouses._duckdb import DuckDB
    from headrace.warehouses.base import Load

    module: Any = batch
    warehouse: Any = DuckDB
    rows, commit = module.rows, warehouse.commit

    def poisoned_rows(event: Event) -> Any:
        if event.event == "Poisoned Row":
            raise RecursionError("poison")
        return rows(event)

    def poisoned_commit(self: DuckDB, load: Load) -> None:
        if any(name.table == "poisoned_load" for name in load.rows):
            raise ValueError("poison")
        commit(self, load)

    module.rows = poisoned_rows
    warehouse.commit = poisoned_commit
