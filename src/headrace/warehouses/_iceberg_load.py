"""A load, table by table: each takes its rows in one commit that also says which range of the log it has then.

The range stands in a property of the table, `headrace.loaded.<consumer>.<partition>` = `<incarnation>:<end>`, which no
maintenance removes, and for people in the snapshot's summary. Looking and writing cannot be parted by another loader: a commit
upon a table that was changed since it was read fails.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table, Transaction

from headrace.errors import WideningRefusedError
from headrace.warehouses import _iceberg_latest
from headrace.warehouses._iceberg_books import KEPT, Housekeeping
from headrace.warehouses._iceberg_catalog import (
    LATEST,
    TYPES,
    Tables,
    border,
    column_type,
    columns_of,
    create_schema,
    create_table,
    doc,
)
from headrace.warehouses._iceberg_engine import Engine
from headrace.warehouses._iceberg_files import DUCKDB_TYPES, exchange, planned, relation, written
from headrace.warehouses._sql import quoted
from headrace.warehouses.base import HOUSEKEEPING, Columns, ColumnType, Load, TableName, Upsert

WIDEN_BYTES: Final = 64_000_000
"""Iceberg widens no long to a double, so widening writes the table anew; a table of more than this waits for `retype`."""
_ARROW_NAMES: Final = {
    ColumnType.BOOLEAN: "bool",
    ColumnType.INTEGER: "int64",
    ColumnType.FLOAT: "double",
    ColumnType.TIMESTAMP: "timestamp[us, tz=UTC]",
    ColumnType.STRING: "string",
    ColumnType.JSON: "string",
}


def check(tables: Tables, load: Load) -> None:
    """Everything that could be wrong with a load, before it is begun. Raises ValueError and WideningRefusedError."""
    known = {name: columns_of(table) for name, table in tables.all().items()}
    for name, columns in load.create.items():
        for column, type_ in columns.items():
            if known.setdefault(name, {}).setdefault(column, type_) is not type_:
                raise ValueError(f"lake: {name.schema}.{name.table}.{column} is there already with another type")
    for name, columns in load.add.items():
        known[name] = columns | known.get(name, {})
    for name, widened in load.widen.items():
        _check_size(tables, name, widened)
        known[name] = known.get(name, {}) | dict.fromkeys(widened, ColumnType.FLOAT)
    for name, rows in _iceberg_rows(load).items():
        _check_rows(name, rows, known.get(name))


def _check_size(tables: Tables, name: TableName, widened: Sequence[str]) -> None:
    table = tables.one(name)
    due = [column for column in widened if columns_of(table).get(column) is ColumnType.INTEGER]
    size = sum(file.file_size_in_bytes for file in planned(table).files) if due else 0
    if size > WIDEN_BYTES:
        raise WideningRefusedError(
            *name,
            due[0],
            f"Iceberg widens no long to a double, and writing {size // 1_000_000} MB anew would hold up loading; "
            "`headrace warehouse retype` does it and takes the values from the discards",
        )


def _check_rows(name: TableName, rows: Any, columns: Columns | None) -> None:
    if columns is None:
        raise ValueError(f"lake: there is no table {name.schema}.{name.table}")
    for field in rows.schema:
        type_ = columns.get(field.name)
        if type_ is None:
            raise ValueError(f"lake: {name.schema}.{name.table} has no column {field.name}")
        if type_ is ColumnType.FLOAT and str(field.type) == "int64":
            rows.column(field.name).cast("float64")  # raises ValueError for integers that a double cannot hold
        elif str(field.type) != _ARROW_NAMES[type_]:
            raise ValueError(
                f"lake: {name.schema}.{name.table}.{field.name} is {type_.value}, the rows have {field.type}"
            )
        if type_ is ColumnType.JSON:
            for text in rows.column(field.name).drop_null().to_pylist():
                _check_json(name, field.name, text)


def _check_json(name: TableName, column: str, text: str) -> None:
    try:
        msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise ValueError(f"lake: {name.schema}.{name.table}.{column} takes JSON, not {text[:50]!r}: {error}") from error


def _iceberg_rows(load: Load) -> Mapping[TableName, Any]:
    return {name: rows for name, rows in load.rows.items() if name.schema != HOUSEKEEPING or name.table not in KEPT}


def _marker(load: Load) -> str:
    return f"headrace.loaded.{load.consumer}.{load.partition}"


def has_range(table: Table, load: Load) -> bool:
    """Whether the table took its part of the load, or of a later one."""
    incarnation, _, end = table.properties.get(_marker(load), "").rpartition(":")
    return incarnation == load.incarnation and int(end) >= load.end


class Writing:
    """The steps of one load, which has been checked and begun. Any of them may be the last that runs: the same load, given again, goes on."""

    def __init__(self, tables: Tables, engine: Engine, books: Housekeeping, load: Load) -> None:
        self._tables, self._engine, self._books, self._load = tables, engine, books, load

    def run(self) -> None:
        load = self._load
        rows = _iceberg_rows(load)
        upserts = {upsert.table: upsert for upsert in load.upserts}
        names = dict.fromkeys([*load.create, *load.add, *load.widen, *rows, *upserts])
        for name in sorted(names, key=lambda name: (name in upserts, name)):  # the latest state after its history
            self._books.renew()
            with border(f"write {name.schema}.{name.table}"):
                self._take(name, rows.get(name), upserts.get(name))

    def _take(self, name: TableName, rows: Any, upsert: Upsert | None) -> None:
        load = self._load
        table = self._tables.get(name)
        if table is None:
            create_schema(self._tables.catalog, name.schema)
            by_id = upsert is not None or name.table in LATEST
            create_table(self._tables.catalog, name, load.create[name], by_id=by_id)
            table = self._tables.one(name)
        brings = upsert is not None and upsert.history in load.rows
        brings = brings or (rows is not None and rows.num_rows > 0)
        if brings and has_range(table, load):
            return
        columns = columns_of(table)
        missing = {
            column: type_
            for column, type_ in {**load.create.get(name, {}), **load.add.get(name, {})}.items()
            if column not in columns
        }
        widened = [column for column in load.widen.get(name, ()) if columns[column] is ColumnType.INTEGER]
        if not brings and not missing and not widened:
            return

        if missing or widened:
            _grow(self._engine, table, missing, dict.fromkeys(widened, ColumnType.FLOAT))
            table = self._tables.one(name)
        if brings:
            self._bring(table, rows, upsert)

    def _bring(self, table: Table, rows: Any, upsert: Upsert | None) -> None:
        load = self._load
        marked = {_marker(load): f"{load.incarnation}:{load.end}"}
        place = {"consumer": load.consumer, "partition": load.partition, "incarnation": load.incarnation}
        place |= {"start": load.start, "end": load.end}
        summary = {f"headrace.{name}": str(value) for name, value in place.items()}
        if upsert is None:
            exchange(
                table,
                lambda transaction: written(transaction, table.io, _with_floats(rows, columns_of(table))),
                properties=marked,
                summary=summary,
            )
            return
        history = self._tables.one(upsert.history)
        new = _iceberg_latest.merged(self._engine, table, history, upsert, load.rows[upsert.history])
        exchange(
            table,
            lambda transaction: [file for part in new.parts for file in written(transaction, table.io, part)],
            removed=new.removed,
            properties=marked,
            summary=summary,
        )


def _with_floats(rows: Any, columns: Columns) -> Any:
    """Integers for a column that was widened in this load become floats, exactly (`_check_rows`)."""
    for place, field in enumerate(rows.schema):
        if columns[field.name] is ColumnType.FLOAT and str(field.type) == "int64":
            rows = rows.set_column(place, field.name, rows.column(place).cast("float64"))
    return rows


def _grow(engine: Engine, table: Table, missing: Columns, widened: Columns) -> None:
    exchange(
        table,
        lambda transaction: rewritten(engine, table, transaction) if widened else [],
        removed=planned(table).files if widened else (),
        change=lambda transaction: reshape(transaction, missing, widened),
    )


def reshape(transaction: Transaction, added: Columns, retyped: Columns) -> None:
    """A retyped column is a new one of the same name in the same place: what old files hold of it is not seen any more."""
    if not added and not retyped:
        return
    order = [field.name for field in transaction.table_metadata.schema().fields]
    if retyped:
        with transaction.update_schema(allow_incompatible_changes=True) as update:
            for column in retyped:
                update.delete_column((column,))
    with transaction.update_schema() as update:
        for column, type_ in {**retyped, **added}.items():
            update.add_column((column,), TYPES[type_], doc=doc(type_))
    with transaction.update_schema() as update:
        for column in retyped:
            place = order.index(column)
            if place == 0:
                update.move_first((column,))
            else:
                update.move_after((column,), (order[place - 1],))


def rewritten(
    engine: Engine,
    table: Table,
    transaction: Transaction,
    values: Mapping[str, str] | None = None,
    join: str = "",
    prepare: Any = None,
) -> list[DataFile]:
    """All data files with the columns' new types, one for one. `values` gives SQL by column over the old row `stored`; the rest is cast."""
    old, new = columns_of(table), transaction.table_metadata.schema()
    shown = []
    for field in new.fields:
        name = quoted(field.name)
        if values and field.name in values:
            shown.append(f"{values[field.name]} AS {name}")
        elif field.name in old:
            type_ = _new_type(transaction, field.name)
            shown.append(f"stored.{name}::{type_} AS {name}")
    found: list[DataFile] = []
    plan = planned(table)
    with engine.cursor() as cursor:
        if prepare is not None:
            prepare(cursor)
        for part in [plan] if plan.masked else [plan._replace(files=[file]) for file in plan.files]:
            rows = cursor.sql(f"SELECT {', '.join(shown)} FROM ({relation(cursor, part)}) AS stored {join}")  # noqa: S608
            found += written(transaction, table.io, rows.to_arrow_table())
    return found


def _new_type(transaction: Transaction, column: str) -> str:
    type_ = column_type(transaction.table_metadata.schema().find_field(column))
    return "VARCHAR" if type_ is ColumnType.JSON else DUCKDB_TYPES[type_]
