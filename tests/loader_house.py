"""A loader between a log in memory and a real warehouse, with the means to look into it and to make it fail."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from headrace.config import LoaderConfig, WarehouseConfig
from headrace.event import LogEntry
from headrace.loader.loader import Loader
from headrace.loader.selection import Selection
from headrace.warehouses._duckdb import DuckDB
from headrace.warehouses.base import Books, Load, TableName
from list_log import ListLog
from made_events import START, source

Row = dict[str, Any]
NOW = START + timedelta(hours=1)


class Troubled(DuckDB):
    """A warehouse with faults to order: `faults` are raised by the next commits, before or after the real one."""

    def __init__(self, path: Path, config: WarehouseConfig) -> None:
        super().__init__(path, config)
        self.before: list[Exception] = []
        self.after: list[Exception] = []
        self.poison = ""
        self.loads: list[Load] = []

    def commit(self, load: Load) -> None:
        self.loads.append(load)
        if self.before:
            raise self.before.pop(0)
        if self.poison and any(
            self.poison in str(rows.to_pydict()) for name, rows in load.rows.items() if name.schema == "shop"
        ):
            raise ValueError(f"warehouse: it does not like {self.poison}")
        super().commit(load)
        if self.after:
            raise self.after.pop(0)


class House:
    """A log, a warehouse and the means to look into it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "warehouse.duckdb"
        self.log = ListLog()
        self.sources = {"shop": source()}
        self.selections: dict[str, Selection] = {}
        self.now = NOW
        self.retyped: list[tuple[TableName, str]] = []
        self.warehouse = Troubled(self.path, WarehouseConfig(memory_bytes=128_000_000))

    def loader(self, *logs: ListLog, **config: Any) -> Loader:
        return Loader(
            "warehouse",
            logs or [self.log],
            self.warehouse,
            lambda: self.sources,
            LoaderConfig(**config),
            now=lambda: self.now,
            selections=lambda: self.selections,
            retyped=lambda: self.retyped,
        )

    def load(self, *entries: LogEntry, **config: Any) -> None:
        """Append these and load everything."""
        self.log.append(entries)
        loader = self.loader(**config)
        while loader.step() is not None:
            pass

    def rows(self, table: str, order: str = "1") -> list[Row]:
        """Without what is null."""
        found = self.warehouse.query(f"SELECT * FROM {table} ORDER BY {order}", max_rows=10_000, timeout_seconds=60)
        return [
            {column: value for column, value in zip(found.columns, row, strict=True) if value is not None}
            for row in found.rows
        ]

    def column(self, table: str, column: str) -> list[Any]:
        return [row.get(column) for row in self.rows(table, "received_at, id")]

    def types(self, table: str) -> dict[str, str]:
        schema, name = table.split(".")
        return {column: kind.value for column, kind in self.warehouse.tables()[TableName(schema, name)].items()}

    @property
    def books(self) -> Books:
        return self.books_of("shop")

    def books_of(self, source: str) -> Books:
        """Over all hours."""
        total = Books()
        for key, books in self.warehouse.books().items():
            if key.source == source:
                total = total.plus(books)
        return total
