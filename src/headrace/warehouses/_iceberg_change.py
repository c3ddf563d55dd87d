"""Changing what is there: another type for a column, a table in another's place, the latest state anew. Each of them may be done
again after it broke off."""
# ruff: noqa: S608 -- identifiers go through _sql.quoted

from __future__ import annotations

from typing import Any, Final

import duckdb
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table, Transaction

from headrace.warehouses import _iceberg_latest
from headrace.warehouses._iceberg_books import Housekeeping
from headrace.warehouses._iceberg_catalog import Tables, border, columns_of, take_place
from headrace.warehouses._iceberg_engine import Engine
from headrace.warehouses._iceberg_files import DUCKDB_TYPES, exchange, planned, relation, written
from headrace.warehouses._iceberg_io import LakeFiles
from headrace.warehouses._iceberg_load import reshape, rewritten
from headrace.warehouses._sql import quoted
from headrace.warehouses.base import HOUSEKEEPING, ColumnType, Retyping, TableName, Upsert

_VALUES: Final = "headrace values"


def retype(tables: Tables, engine: Engine, books: Housekeeping, retyping: Retyping) -> None:
    """Table, latest state, discards, in this order, each in one commit, and last the type in headrace.columns."""
    name, column, type_ = retyping.table, retyping.column, retyping.type
    with border(f"retype {name.schema}.{name.table}.{column}"):
        table = tables.one(name)
        stored_type = "VARCHAR" if type_ is ColumnType.JSON else DUCKDB_TYPES[type_]

        def prepare(cursor: duckdb.DuckDBPyConnection) -> None:
            cursor.execute(f"CREATE TABLE {quoted(_VALUES)} (id VARCHAR, received_at TIMESTAMPTZ, value {stored_type})")
            for block in retyping.values:
                cursor.register("headrace block", block)
                cursor.execute(f'INSERT INTO {quoted(_VALUES)} SELECT id, received_at, value FROM "headrace block"')
                cursor.unregister("headrace block")

        join = (
            f"LEFT JOIN {quoted(_VALUES)} AS new "
            "ON stored.id = new.id AND stored.received_at IS NOT DISTINCT FROM new.received_at"
        )

        def write(transaction: Transaction) -> Any:
            return rewritten(engine, table, transaction, {column: "new.value"}, join, prepare)

        exchange(
            table,
            write,
            removed=planned(table).files,
            change=lambda transaction: reshape(transaction, {}, {column: type_}),
        )
        if retyping.latest is not None:
            recompute(tables, engine, retyping.latest, (column, type_))
        _replace_discards(tables, engine, retyping)
    books.retyped(name, column, type_)
    if retyping.latest is not None:
        books.retyped(retyping.latest.table, column, type_)


def _replace_discards(tables: Tables, engine: Engine, retyping: Retyping) -> None:
    """Only files that hold a row of the column are written anew."""
    table = tables.one(TableName(HOUSEKEEPING, "discards"))
    plan = planned(table)
    own = '"schema" = ? AND "table" = ? AND "column" = ?'
    key = [*retyping.table, retyping.column]
    removed: list[DataFile] = []
    kept = [retyping.discards] if retyping.discards.num_rows else []
    with engine.cursor() as cursor:
        for part in [plan] if plan.masked else [plan._replace(files=[file]) for file in plan.files]:
            rows = relation(cursor, part)
            if cursor.execute(f"SELECT count(*) FROM ({rows}) WHERE {own}", key).fetchall() != [(0,)]:
                removed += part.files
                rest = cursor.sql(f"SELECT * FROM ({rows}) WHERE NOT ({own})", params=key).to_arrow_table()
                kept += [rest] if rest.num_rows else []
    if removed or kept:
        exchange(
            table,
            lambda transaction: [file for part in kept for file in written(transaction, table.io, part)],
            removed=removed,
        )


def recompute(tables: Tables, engine: Engine, upsert: Upsert, retyped: tuple[str, ColumnType] | None = None) -> None:
    """In one commit, with another type of a column if told so."""
    with border(f"compute {upsert.table.schema}.{upsert.table.table} anew"):
        table, history = tables.one(upsert.table), tables.one(upsert.history)
        changed = {} if retyped is None else dict([retyped])
        everything = Upsert(upsert.table, upsert.history, upsert.key, _traits(table, history, upsert))
        new = _iceberg_latest.computed(engine, table, history, everything, changed)
        exchange(
            table,
            lambda transaction: [file for part in new.parts for file in written(transaction, table.io, part)],
            removed=new.removed,
            change=(lambda transaction: reshape(transaction, {}, changed)) if changed else None,
        )


def _traits(table: Table, history: Table, upsert: Upsert) -> list[str]:
    """All columns of the table that its history has, since the whole row is computed anew."""
    own = {"id", "received_at", "loaded_at", upsert.key}
    there = columns_of(history)
    return [column for column in columns_of(table) if column in there and column not in own]


def replace(tables: Tables, engine: Engine, old: TableName, new: TableName) -> int:
    """The rows first, in one commit, then the name, in one transaction of the catalogue."""
    with border(f"put {new.schema}.{new.table} in the place of {old.schema}.{old.table}"):
        taken = tables.get(new)
        there = tables.get(old)
        if taken is None and there is not None:
            return 0  # the name was changed already, and the answer was lost
        target = tables.one(new)
        added = 0 if there is None else _carry(engine, there, target)
        files = None if there is None else (there.io, there.location())
        take_place(tables.catalog, old, new)
        if files is not None and isinstance(files[0], LakeFiles):
            files[0].remove_folder(files[1])
        return added


def _carry(engine: Engine, old: Table, new: Table) -> int:
    of_old, of_new = columns_of(old), columns_of(new)
    missing = {column: type_ for column, type_ in of_old.items() if column not in of_new}
    shown = ", ".join(
        f"{quoted(column)}::{'VARCHAR' if type_ is ColumnType.JSON else DUCKDB_TYPES[type_]} AS {quoted(column)}"
        for column, type_ in {**missing, **of_new}.items()
        if column in of_old
    )
    plan = planned(old)
    carried = 0
    with engine.cursor() as cursor:
        cursor.execute(f'CREATE TABLE "headrace there" AS {relation(cursor, planned(new), ["id"])}')

        def write(transaction: Transaction) -> Any:
            nonlocal carried
            found = []
            for part in [plan] if plan.masked else [plan._replace(files=[file]) for file in plan.files]:
                stored = relation(cursor, part)
                rows = cursor.sql(
                    f'SELECT {shown} FROM ({stored}) AS stored ANTI JOIN "headrace there" AS there ON stored.id = there.id'
                ).to_arrow_table()
                carried += rows.num_rows
                found += written(transaction, new.io, rows) if rows.num_rows else []
            return found

        # What the old table knows of loads goes with its rows.
        ranges = {
            name: value
            for name, value in old.properties.items()
            if name.startswith("headrace.loaded.") and name not in new.properties
        }
        exchange(new, write, change=lambda transaction: reshape(transaction, missing, {}), properties=ranges)
    return carried


def drop(tables: Tables, name: TableName) -> None:
    with border(f"drop {name.schema}.{name.table}"):
        table = tables.get(name)
        if table is not None:
            tables.catalog.drop_table(tuple(name))
            if isinstance(table.io, LakeFiles):
                table.io.remove_folder(table.location())
