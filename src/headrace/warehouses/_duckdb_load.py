"""The steps of a load inside its transaction: DDL, compare-and-set of the position, rows, latest state, books.

DDL comes first: DuckDB refuses to alter a table that the same transaction has updated.
"""
# ruff: noqa: S608 -- identifiers go through _sql.quoted, values are parameters or numbers

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import duckdb
import pyarrow as pa

from headrace.errors import PositionError
from headrace.warehouses import _duckdb_latest, _values
from headrace.warehouses._sql import add_column, column_list, create_table, qualified, quoted, widen_column
from headrace.warehouses.base import HOUSEKEEPING, KEYS, Books, Columns, ColumnType, Hour, Load, Position, TableName

TYPE_NAMES: Final = {
    ColumnType.BOOLEAN: "BOOLEAN",
    ColumnType.INTEGER: "BIGINT",
    ColumnType.FLOAT: "DOUBLE",
    ColumnType.TIMESTAMP: "TIMESTAMPTZ",
    ColumnType.STRING: "VARCHAR",
    ColumnType.JSON: "JSON",
}


def create(
    cursor: duckdb.DuckDBPyConnection,
    tables: Mapping[TableName, Columns],
    added: Mapping[TableName, Columns],
    widened: Mapping[TableName, Sequence[str]],
) -> None:
    """Schemas, tables and columns."""
    for schema in sorted({name.schema for name in tables}):
        cursor.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted(schema)}")
    for name, columns in tables.items():
        key = KEYS.get(name.table, ()) if name.schema == HOUSEKEEPING else ()
        cursor.execute(create_table(name, columns, TYPE_NAMES, key))
    for name, columns in added.items():
        for column, type_ in columns.items():
            cursor.execute(add_column(name, column, type_, TYPE_NAMES))
    for name, names in widened.items():
        for column in names:
            cursor.execute(widen_column(name, column, TYPE_NAMES))


def move(cursor: duckdb.DuckDBPyConnection, load: Load) -> None:
    """Compare and set: what makes a repeated load, or another loader's, fail. Raises PositionError."""
    where = [load.consumer, load.partition]
    changed = cursor.execute(
        'UPDATE headrace.offsets SET "next" = ? WHERE consumer = ? AND "partition" = ? AND incarnation = ? AND "next" = ?',
        [load.end, *where, load.incarnation, load.start],
    ).fetchall()
    if changed == [(1,)]:
        return
    stored = position(cursor, load.consumer, load.partition)
    if stored is not None:
        raise moved(load, stored)
    cursor.execute("INSERT INTO headrace.offsets VALUES (?, ?, ?, ?)", [*where, load.incarnation, load.end])


def moved(load: Load, stored: Position) -> PositionError:
    return PositionError(
        f"load: consumer {load.consumer}, partition {load.partition} begins at {load.start} of log {load.incarnation}, "
        f"the warehouse's position is {stored.next} of log {stored.incarnation}; read the position again"
    )


def position(cursor: duckdb.DuckDBPyConnection, consumer: str, partition: int) -> Position | None:
    found = cursor.execute(
        'SELECT incarnation, "next" FROM headrace.offsets WHERE consumer = ? AND "partition" = ?', [consumer, partition]
    ).fetchall()
    return Position(*found[0]) if found else None


def write(cursor: duckdb.DuckDBPyConnection, load: Load) -> None:
    """Rows, latest state, books and what was seen."""
    views: dict[TableName, tuple[str, list[str]]] = {}
    for number, (name, rows) in enumerate(load.rows.items()):
        views[name] = (f"headrace load {number}", rows.column_names)
        _insert(cursor, name, rows, views[name][0])
    for upsert in load.upserts:
        if upsert.history in views:
            view, columns = views[upsert.history]
            _duckdb_latest.upsert(cursor, upsert, view, columns)
    _add_books(cursor, load.books)
    if load.touched:
        _touch(cursor, load)


def _insert(cursor: duckdb.DuckDBPyConnection, name: TableName, rows: Any, view: str) -> None:
    columns = column_list(rows.column_names)
    cursor.register(view, rows)
    cursor.execute(f"INSERT INTO {qualified(name)} ({columns}) SELECT {columns} FROM {quoted(view)}")


def _add_books(cursor: duckdb.DuckDBPyConnection, books: Mapping[Hour, Books]) -> None:
    # UPDATE, then INSERT: twice as cheap as ON CONFLICT, and nobody else writes.
    names = Books._fields
    added = ", ".join(f"{name} = {name} + ?" for name in names)
    for (source, hour), counts in books.items():
        key = [source, _values.microseconds(hour)]
        where = "WHERE source = ? AND hour = make_timestamptz(?::BIGINT)"
        changed = cursor.execute(f"UPDATE headrace.books SET {added} {where}", [*counts, *key]).fetchall()
        if changed != [(1,)]:
            cursor.execute(
                f"INSERT INTO headrace.books (source, hour, {', '.join(names)}) "
                f"VALUES (?, make_timestamptz(?::BIGINT), {', '.join('?' * len(names))})",
                [*key, *counts],
            )


def _touch(cursor: duckdb.DuckDBPyConnection, load: Load) -> None:
    schemas, tables, columns = (pa.array(part, pa.string()) for part in zip(*load.touched, strict=True))
    cursor.register("headrace touched", pa.table({"s": schemas, "t": tables, "c": columns}))
    cursor.execute(
        "UPDATE headrace.columns AS named SET last_seen = greatest(named.last_seen, make_timestamptz(?::BIGINT)) "
        'FROM "headrace touched" AS touched WHERE named."schema" = s AND named."table" = t AND named."column" = c',
        [_values.microseconds(load.started or datetime.now(UTC))],
    )
