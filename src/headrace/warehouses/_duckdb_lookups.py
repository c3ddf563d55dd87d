"""What is in the tables: ids for the filters of duplicates, and the look-up of single ids.

Every look-up is bounded by received_at, so that DuckDB skips the row groups whose least and greatest values lie outside.
"""
# ruff: noqa: S608 -- identifiers go through _sql.quoted, values are parameters or numbers

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from headrace.warehouses._sql import qualified, quoted
from headrace.warehouses._values import microseconds, moment
from headrace.warehouses.base import (
    HISTORY_TABLES,
    HOUSEKEEPING,
    HOUSEKEEPING_TABLES,
    Account,
    Books,
    Columns,
    ColumnType,
    Hour,
    NamedColumn,
    Position,
    StoredTable,
    TableName,
)

BLOCK_ROWS: Final = 100_000
Span = tuple[datetime, datetime]

_COLUMN_TYPES: Final[Mapping[str, ColumnType]] = {
    "BOOLEAN": ColumnType.BOOLEAN,
    **dict.fromkeys(("TINYINT", "SMALLINT", "INTEGER", "BIGINT"), ColumnType.INTEGER),
    **dict.fromkeys(("FLOAT", "DOUBLE"), ColumnType.FLOAT),
    "TIMESTAMP WITH TIME ZONE": ColumnType.TIMESTAMP,
    "JSON": ColumnType.JSON,
}
"""Types that only an operator's own hand can have made count as text."""


def tables(cursor: duckdb.DuckDBPyConnection) -> dict[TableName, Columns]:
    found = cursor.execute(
        "SELECT schema_name, table_name, column_name, data_type FROM duckdb_columns() JOIN duckdb_tables() "
        "USING (database_name, schema_name, table_name) "
        "WHERE database_name = current_database() ORDER BY schema_name, table_name, column_index"
    )
    by_name: dict[TableName, Columns] = {}
    for schema, table, column, type_ in found.fetchall():
        by_name.setdefault(TableName(schema, table), {})[column] = _COLUMN_TYPES.get(type_, ColumnType.STRING)
    return by_name


def stored_tables(cursor: duckdb.DuckDBPyConnection) -> dict[TableName, StoredTable]:
    """`count(*)` reads no rows: 1.4 ms for 10 million. `estimated_size` of duckdb_tables() goes on counting deleted ones."""
    found = tables(cursor)
    rows = {}
    for name in found:
        ((rows[name],),) = cursor.execute(f"SELECT count(*) FROM {qualified(name)}").fetchall()
    return {name: StoredTable(columns, rows[name]) for name, columns in found.items()}


def newest(name: TableName, columns: Columns, limit: int) -> str:
    """The query for it."""
    order = f" ORDER BY {quoted('received_at')} DESC" if "received_at" in columns else ""
    return f"SELECT * FROM {qualified(name)}{order} LIMIT {int(limit)}"


def named_columns(cursor: duckdb.DuckDBPyConnection) -> list[NamedColumn]:
    found = cursor.execute(
        'SELECT "schema", "table", "column", original, "type", epoch_us(first_seen), epoch_us(last_seen) '
        "FROM headrace.columns ORDER BY ALL"
    )
    return [
        NamedColumn(schema, table, column, original, type_, moment(first), moment(last))
        for schema, table, column, original, type_, first, last in found.fetchall()
    ]


def books(cursor: duckdb.DuckDBPyConnection) -> dict[Hour, Books]:
    found = cursor.execute(
        f"SELECT source, epoch_us(hour), {', '.join(Books._fields)} FROM headrace.books ORDER BY ALL"
    )
    return {Hour(source, moment(hour)): Books(*counts) for source, hour, *counts in found.fetchall()}


def account(cursor: duckdb.DuckDBPyConnection, schemas: Sequence[str]) -> Account:
    """In one transaction, so that a load is in all of it or in none."""
    cursor.execute("BEGIN TRANSACTION READ ONLY")
    try:
        offsets = cursor.execute('SELECT consumer, "partition", incarnation, "next" FROM headrace.offsets').fetchall()
        positions = {(consumer, partition): Position(*rest) for consumer, partition, *rest in offsets}
        discards = cursor.execute("SELECT count(*) FROM headrace.discards").fetchall()[0][0]
        last = {schema: when for schema in schemas if (when := _last_received(cursor, schema)) is not None}
        return Account(books(cursor), positions, int(discards), last)
    finally:
        cursor.execute("ROLLBACK")


def _last_received(cursor: duckdb.DuckDBPyConnection, schema: str) -> datetime | None:
    """A small query a schema, since one over all of them would cost memory without bound."""
    greatest = [
        cursor.execute(f"SELECT epoch_us(max(received_at)) FROM {qualified(name)}").fetchall()[0][0]
        for name in history(cursor, schema)
    ]
    return max((moment(count) for count in greatest if count is not None), default=None)


_NEWEST: Final[Mapping[str, str]] = {"loads": "started", "discards": "loaded_at", "rejected": "loaded_at"}


def latest_rows(cursor: duckdb.DuckDBPyConnection, table: str, limit: int) -> Any:
    columns = ", ".join(quoted(column) for column in HOUSEKEEPING_TABLES[table])
    name = qualified(TableName(HOUSEKEEPING, table))
    order = f"{_NEWEST[table]} DESC, rowid DESC"
    return cursor.sql(f"SELECT {columns} FROM {name} ORDER BY {order} LIMIT {int(limit)}").to_arrow_table()


def history(cursor: duckdb.DuckDBPyConnection, schema: str) -> list[TableName]:
    """The tables of the schema in which an event's one row is, where they exist."""
    found = cursor.execute(
        "SELECT table_name FROM duckdb_tables() WHERE database_name = current_database() AND schema_name = ?", [schema]
    )
    there = {row[0] for row in found.fetchall()}
    return [TableName(schema, table) for table in HISTORY_TABLES if table in there]


def ids_since(
    cursor: duckdb.DuckDBPyConnection, schema: str, since: datetime
) -> Iterator[tuple[datetime, datetime, list[str]]]:
    for name in history(cursor, schema):
        relation = cursor.sql(
            f"SELECT id, epoch_us(received_at) AS at FROM {qualified(name)} "
            f"WHERE id IS NOT NULL AND received_at >= make_timestamptz({microseconds(since)})"
        )
        with relation.to_arrow_reader(BLOCK_ROWS) as reader:
            for batch in reader:
                if batch.num_rows:
                    bounds = pc.min_max(batch.column("at")).as_py()
                    yield moment(bounds["min"]), moment(bounds["max"]), batch.column("id").to_pylist()


def existing_ids(cursor: duckdb.DuckDBPyConnection, schema: str, ids: Sequence[str], spans: Sequence[Span]) -> set[str]:
    names = history(cursor, schema)
    if not ids or not spans or not names:
        return set()
    cursor.register("headrace wanted", pa.table({"wanted": pa.array(ids, pa.string())}))
    within = " OR ".join(
        f"received_at BETWEEN make_timestamptz({microseconds(first)}) AND make_timestamptz({microseconds(last)})"
        for first, last in merged(spans)
    )
    return {
        row[0]
        for name in names
        for row in cursor.execute(
            f'SELECT id FROM {qualified(name)} SEMI JOIN "headrace wanted" ON id = wanted WHERE {within}'
        ).fetchall()
    }


def merged(spans: Sequence[Span]) -> list[Span]:
    """Overlapping spans as one."""
    folded: list[Span] = []
    for first, last in sorted(spans):
        if folded and first <= folded[-1][1]:
            folded[-1] = (folded[-1][0], max(folded[-1][1], last))
        else:
            folded.append((first, last))
    return folded


def rejected_ids(cursor: duckdb.DuckDBPyConnection, source: str, ids: Sequence[str]) -> set[str]:
    if not ids:
        return set()
    cursor.register("headrace wanted", pa.table({"wanted": pa.array(ids, pa.string())}))
    found = cursor.execute(
        'SELECT DISTINCT message_id FROM headrace.rejected SEMI JOIN "headrace wanted" ON message_id = wanted '
        "WHERE source = ? AND stage = 'loader'",
        [source],
    )
    return {row[0] for row in found.fetchall()}


def integers_within(cursor: duckdb.DuckDBPyConnection, name: TableName, column: str, bound: int) -> bool:
    least_and_greatest = cursor.execute(f"SELECT min({quoted(column)}), max({quoted(column)}) FROM {qualified(name)}")
    return all(value is None or -bound <= value <= bound for value in least_and_greatest.fetchall()[0])
