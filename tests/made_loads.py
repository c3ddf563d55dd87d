"""Loads for tests of warehouses, written as rows of Python values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pyarrow as pa

from headrace.warehouses.base import Books, Columns, ColumnType, Load, TableName, Upsert

START: Final = datetime(2026, 3, 1, 12, tzinfo=UTC)
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
    consumer: str = "duckdb",
    partition: int = 0,
    incarnation: str = "log-1",
    **more: Any,
) -> Load:
    return Load(consumer, partition, incarnation, start, end, rows, **more)


def tracks(start: int, end: int, *, new: bool = False, **more: Any) -> Load:
    """The events from `start` to before `end` as rows of shop.tracks, the books with them; `new` creates the table."""
    rows = [(f"e{number}", f"u{number % 3}", at(number), at(1_000)) for number in range(start, end)]
    create = {TRACKS: TRACK_COLUMNS} if new else {}
    books = {"shop": Books(loaded=end - start)}
    return load(start, end, {TRACKS: arrow(TRACK_COLUMNS, rows)}, create=create, books=books, **more)


def latest(schema: str, columns: Columns) -> Upsert:
    """From `identifies` to `users`."""
    return Upsert(TableName(schema, "users"), TableName(schema, "identifies"), "user_id", list(columns))
