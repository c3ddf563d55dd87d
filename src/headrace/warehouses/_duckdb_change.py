"""What changes tables that are there: another type for a column, another table in a table's place, latest state computed anew.

A table is written anew beside the old one and takes its place, all in one transaction: an UPDATE of every row keeps all it
changed in memory (4 M rows do not fit 256 MB), while new tables go to the file as they grow. Indexes that an operator made
go with the old table and are made again; views find the new one by its name.
"""
# ruff: noqa: S608 -- identifiers go through _sql.quoted, values are parameters

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import duckdb
import pyarrow as pa

from headrace.warehouses import _duckdb_lookups
from headrace.warehouses._duckdb_load import TYPE_NAMES
from headrace.warehouses._sql import add_column, column_list, qualified, quoted
from headrace.warehouses.base import Retyping, TableName, Upsert

# Names of tables and columns are snake case, so no event can have these.
STAGED: Final = quoted("headrace staged")
PLACED: Final = quoted("headrace placed")
LATEST: Final = quoted("headrace latest")
BLOCK: Final = "headrace block"
ANEW: Final = "headrace anew"
_KEY: Final = quoted("the key")


def column_values(cursor: duckdb.DuckDBPyConnection, name: TableName, column: str) -> Iterator[Any]:
    relation = cursor.sql(
        f"SELECT id, received_at, {quoted(column)} AS value FROM {qualified(name)} WHERE {quoted(column)} IS NOT NULL"
    )
    with relation.to_arrow_reader(_duckdb_lookups.BLOCK_ROWS) as reader:
        for batch in reader:
            if batch.num_rows:
                yield pa.Table.from_batches([batch])


def retype(cursor: duckdb.DuckDBPyConnection, retyping: Retyping) -> None:
    """Within a transaction."""
    name, column, type_name = retyping.table, retyping.column, TYPE_NAMES[retyping.type]
    cursor.execute(f"CREATE OR REPLACE TEMP TABLE {STAGED} (id VARCHAR, received_at TIMESTAMPTZ, value {type_name})")
    for block in retyping.values:
        cursor.register(BLOCK, block)
        cursor.execute(f"INSERT INTO {STAGED} SELECT id, received_at, value FROM {quoted(BLOCK)}")
        cursor.unregister(BLOCK)
    # Only ids and values are joined and sorted; the rows themselves go by in their order, which look-ups by received_at need.
    cursor.execute(
        f"CREATE OR REPLACE TEMP TABLE {PLACED} AS SELECT staged.value FROM {qualified(name)} AS t LEFT JOIN {STAGED} AS staged "
        "ON t.id = staged.id AND t.received_at = staged.received_at ORDER BY t.rowid"
    )
    chosen = [
        f"placed.value AS {quoted(own)}" if own == column else f"t.{quoted(own)}" for own in _columns(cursor, name)
    ]
    _take_place(
        cursor, name, f"SELECT {', '.join(chosen)} FROM {qualified(name)} AS t POSITIONAL JOIN {PLACED} AS placed"
    )
    for staging in (STAGED, PLACED):
        cursor.execute(f"DROP TABLE temp.{staging}")
    _replace_discards(cursor, name, column, retyping.discards)
    tables = [name]
    if retyping.latest is not None:
        _compute_latest(cursor, retyping.latest, {column: type_name})
        tables.append(retyping.latest.table)
    for schema, table in tables:
        cursor.execute(
            'UPDATE headrace.columns SET "type" = ? WHERE "schema" = ? AND "table" = ? AND "column" = ?',
            [retyping.type.value, schema, table, column],
        )


def _replace_discards(cursor: duckdb.DuckDBPyConnection, name: TableName, column: str, discards: Any) -> None:
    cursor.execute('DELETE FROM headrace.discards WHERE "schema" = ? AND "table" = ? AND "column" = ?', [*name, column])
    if discards.num_rows:
        columns = column_list(discards.column_names)
        cursor.register(BLOCK, discards)
        cursor.execute(f"INSERT INTO headrace.discards ({columns}) SELECT {columns} FROM {quoted(BLOCK)}")
        cursor.unregister(BLOCK)


def replace(cursor: duckdb.DuckDBPyConnection, old: TableName, new: TableName) -> int:
    """Within a transaction."""
    of_old = _duckdb_lookups.tables(cursor).get(old)
    carried = 0
    indexes: Sequence[str] = ()
    if of_old is not None:
        there = set(_columns(cursor, new))
        for column, type_ in of_old.items():
            if column not in there:
                cursor.execute(add_column(new, column, type_, TYPE_NAMES))
        columns = column_list(of_old)
        found = cursor.execute(
            f"INSERT INTO {qualified(new)} ({columns}) SELECT {columns} FROM {qualified(old)} AS old "
            f"WHERE NOT EXISTS (FROM {qualified(new)} AS new WHERE new.id = old.id)"
        ).fetchall()
        carried = int(found[0][0])
        indexes = _indexes(cursor, old)
        cursor.execute(f"DROP TABLE {qualified(old)}")
    cursor.execute(f"ALTER TABLE {qualified(new)} RENAME TO {quoted(old.table)}")
    for statement in indexes:
        cursor.execute(statement)
    return carried


def recompute(cursor: duckdb.DuckDBPyConnection, upsert: Upsert) -> None:
    """Within a transaction. A row whose history was removed by hand stays as it is."""
    _compute_latest(cursor, upsert, None)


def drop(cursor: duckdb.DuckDBPyConnection, name: TableName) -> None:
    cursor.execute(f"DROP TABLE IF EXISTS {qualified(name)}")


def _compute_latest(cursor: duckdb.DuckDBPyConnection, upsert: Upsert, types: dict[str, str] | None) -> None:
    """`types` holds the columns to compute with their new types, and then the table's other columns stay; None: all."""
    key = quoted(upsert.key)
    computed = upsert.columns if types is None else list(types)
    by_time = "".join(f", arg_max({quoted(column)}, (received_at, id)) AS {quoted(column)}" for column in computed)
    cursor.execute(
        f"CREATE OR REPLACE TEMP TABLE {LATEST} AS SELECT {key} AS {_KEY}, max(received_at) AS received_at, "
        f"max(loaded_at) AS loaded_at{by_time} FROM {qualified(upsert.history)} WHERE {key} IS NOT NULL GROUP BY ALL"
    )
    times = () if types else ("received_at", "loaded_at")
    chosen = []
    for column in _columns(cursor, upsert.table):
        name = quoted(column)
        if column == "id":
            chosen.append(f"coalesce(stored.id, latest.{_KEY}) AS id")
        elif types and column in types:
            chosen.append(f"latest.{name}::{types[column]} AS {name}")
        elif column in computed or column in times:
            chosen.append(f"CASE WHEN latest.{_KEY} IS NULL THEN stored.{name} ELSE latest.{name} END AS {name}")
        else:
            chosen.append(f"stored.{name}")
    join = "LEFT" if types else "FULL"
    _take_place(
        cursor,
        upsert.table,
        f"SELECT {', '.join(chosen)} FROM {qualified(upsert.table)} AS stored {join} JOIN {LATEST} AS latest "
        f"ON stored.id = latest.{_KEY}",
    )
    cursor.execute(f"DROP TABLE temp.{LATEST}")


def _take_place(cursor: duckdb.DuckDBPyConnection, name: TableName, select: str) -> None:
    """The rows of `select` become the table `name`."""
    indexes = _indexes(cursor, name)
    anew = TableName(name.schema, ANEW)
    cursor.execute(f"CREATE TABLE {qualified(anew)} AS {select}")
    cursor.execute(f"DROP TABLE {qualified(name)}")
    cursor.execute(f"ALTER TABLE {qualified(anew)} RENAME TO {quoted(name.table)}")
    for statement in indexes:
        cursor.execute(statement)


def _columns(cursor: duckdb.DuckDBPyConnection, name: TableName) -> Sequence[str]:
    found = cursor.execute(
        "SELECT column_name FROM duckdb_columns() WHERE database_name = current_database() AND schema_name = ? "
        "AND table_name = ? ORDER BY column_index",
        [*name],
    )
    columns = [row[0] for row in found.fetchall()]
    if not columns:
        raise ValueError(f"warehouse: there is no table {name.schema}.{name.table}")
    return columns


def _indexes(cursor: duckdb.DuckDBPyConnection, name: TableName) -> Sequence[str]:
    """The statements that make the indexes of a table, all of an operator's own hand."""
    found = cursor.execute(
        "SELECT sql FROM duckdb_indexes() WHERE database_name = current_database() AND schema_name = ? "
        "AND table_name = ? AND sql IS NOT NULL ORDER BY index_name",
        [*name],
    )
    return [row[0] for row in found.fetchall()]
