"""Loads for tests of warehouses, written as rows of Python values."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pyarrow as pa

from headrace.errors import PositionError
from headrace.warehouses.base import Books, Columns, ColumnType, Hour, Load, TableName, Upsert, Warehouse

START: Final = datetime(2026, 3, 1, 12, tzinfo=UTC)
CONSUMER: Final = "warehouse"
HOUR: Final = Hour("shop", START)
TRACKS: Final = TableName("shop", "tracks")
TRACK_COLUMNS: Final[Columns] = {
    "id": ColumnType.STRING,
    "user_id": ColumnType.STRING,
    "received_at": ColumnType.TIMESTAMP,
    "loaded_at": ColumnType.TIMESTAMP,
}
_ARROW: Final = {
    ColumnType.BOOLEAN: pa.bool_(),
    ColumnType.INTEGER: pa.int64(),
    ColumnType.FLOAT: pa.float64(),
    ColumnType.TIMESTAMP: pa.timestamp("us", tz="UTC"),
    ColumnType.STRING: pa.string(),
    ColumnType.JSON: pa.string(),
}

Rows = Sequence[Sequence[Any]]


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def arrow(columns: Mapping[str, ColumnType], rows: Rows) -> Any:
    """Rows of values in the order of `columns` as an Arrow table."""
    by_column = list(zip(*rows, strict=True)) or [()] * len(columns)
    arrays = [pa.array(values, _ARROW[type_]) for values, type_ in zip(by_column, columns.values(), strict=True)]
    return pa.table(arrays, names=list(columns))


def load(
    start: int,
    end: int,
    rows: Mapping[TableName, Any],
    *,
    consumer: str = CONSUMER,
    partition: int = 0,
    incarnation: str = "log-1",
    **more: Any,
) -> Load:
    """`started`, and so `loaded_at`, differ from load to load."""
    more.setdefault("started", at(100_000 + end))
    return Load(consumer, partition, incarnation, start, end, rows, **more)


def tracks(start: int, end: int, *, new: bool = False, **more: Any) -> Load:
    """The events from `start` to before `end` as rows of shop.tracks, the books with them; `new` creates the table."""
    started = more.setdefault("started", at(100_000 + end))
    rows = [(f"e{number}", f"u{number % 3}", at(number), started) for number in range(start, end)]
    create = {TRACKS: TRACK_COLUMNS} if new else {}
    books = {HOUR: Books(loaded=end - start)}
    return load(start, end, {TRACKS: arrow(TRACK_COLUMNS, rows)}, create=create, books=books, **more)


def latest(schema: str, columns: Columns) -> Upsert:
    """From `identifies` to `users`."""
    return Upsert(TableName(schema, "users"), TableName(schema, "identifies"), "user_id", list(columns))


def rows_of(warehouse: Warehouse, sql: str) -> list[list[Any]]:
    return [list(row) for row in warehouse.query(sql, max_rows=100_000, timeout_seconds=30).rows]


def doubled(warehouse: Warehouse) -> int:
    """Two loaders read the same log from the same position; each believes what it read last. Returns rows too many."""
    warehouse.commit(tracks(0, 5, new=True))
    positions = [5, 5]
    for loader, size in zip(itertools.cycle((0, 1)), (10, 7, 3, 20, 5, 5), strict=False):
        start = positions[loader]
        try:
            warehouse.commit(tracks(start, start + size))
            positions[loader] = start + size
        except PositionError:
            stored = warehouse.position(CONSUMER, 0)
            assert stored is not None
            positions[loader] = stored.next
    return sum(count - 1 for _, count in rows_of(warehouse, "SELECT id, count(*) FROM shop.tracks GROUP BY id"))
