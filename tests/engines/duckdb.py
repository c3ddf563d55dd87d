"""DuckDB in a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from headrace.config import WarehouseConfig
from headrace.warehouses._duckdb import DuckDB
from headrace.warehouses.base import Warehouse


def fresh(folder: Path) -> Callable[[], Warehouse]:
    return lambda: DuckDB(folder / "warehouse.duckdb", WarehouseConfig(memory_bytes=128_000_000))
