"""The steps of a load into ClickHouse, each of which may be repeated.

ClickHouse has no transaction over several tables. So a load is checked whole before anything is stored; then come tables and columns; then
`headrace._begun` says which load it is; then every table takes its rows as one block; the last block, of the position and the books,
ends the load. A load that was begun and not ended is made again, and no table takes its rows twice:

- a table that has rows of the load's `loaded_at` has all of them, since a block is there whole or not at all, and is skipped;
- a block that is sent again, or arrives late, has the same token (consumer, partition, incarnation, range, table), and the table
  does not take a token that it remembers;
- every INSERT carries a guard that the server evaluates with it: this loader has the lease, and the load has not been ended.
"""
# ruff: noqa: S608 -- identifiers go through _clickhouse_sql.quoted, values are literals made there

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from headrace.errors import WarehouseUnavailableError, WideningRefusedError
from headrace.warehouses import _clickhouse_house, _clickhouse_latest
from headrace.warehouses._clickhouse_session import Session
from headrace.warehouses._clickhouse_sql import (
    LATEST,
    TYPES,
    add_column,
    column_list,
    create_table,
    moment,
    qualified,
    quoted,
    text,
)
from headrace.warehouses._values import microseconds
from headrace.warehouses.base import HOUSEKEEPING, Columns, ColumnType, Load, TableName, Unfinished

logger = logging.getLogger(__name__)

NAMED: Final = TableName(HOUSEKEEPING, "columns")
LOADS: Final = TableName(HOUSEKEEPING, "loads")
VIEWS: Final = frozenset(TableName(HOUSEKEEPING, table) for table in ("columns", "books", "offsets"))
_ARROW: Final[Mapping[ColumnType, pa.DataType]] = {
    ColumnType.BOOLEAN: pa.bool_(),
    ColumnType.INTEGER: pa.int64(),
    ColumnType.FLOAT: pa.float64(),
    ColumnType.TIMESTAMP: pa.timestamp("us", "UTC"),
    ColumnType.STRING: pa.string(),
    ColumnType.JSON: pa.string(),
}

Catalogue = dict[TableName, Columns]
Range = tuple[datetime, datetime]


class Begun(NamedTuple):
    """A load on its way. `again`: it was begun before, so that some tables may have its rows."""

    load: Load
    number: int
    loaded_at: datetime
    again: bool
    guard: str

    def token(self, name: TableName) -> str:
        load = self.load
        span = (load.consumer, str(load.partition), load.incarnation, str(load.start), str(load.end))
        return "/".join((*span, *name))


# Before anything is stored


def check(load: Load, tables: Catalogue, times: Range) -> None:
    """Everything that could be wrong with a load. Raises ValueError."""
    known: Catalogue = {}
    for part in (tables, load.create, load.add):
        for name, columns in part.items():
            known.setdefault(name, {}).update(columns)
    for name, widened in load.widen.items():
        known.setdefault(name, {}).update(dict.fromkeys(widened, ColumnType.FLOAT))
    for name, rows in load.rows.items():
        if name in VIEWS and name != NAMED:
            raise ValueError(f"load: headrace.{name.table} gets no rows by a load; give `books` and a range")
        if name not in known:
            raise ValueError(f"load: there is no table {name.schema}.{name.table}")
        for field in rows.schema:
            _check_column(name, field.name, rows.column(field.name), known[name].get(field.name), times)
    for upsert in load.upserts:
        lacking = [column for column in upsert.columns if column not in known.get(upsert.table, {})]
        if lacking:
            raise ValueError(f"load: {upsert.table.schema}.{upsert.table.table} has no column {lacking[0]}")


def _check_column(name: TableName, column: str, values: Any, kind: ColumnType | None, times: Range) -> None:
    where = f"{name.schema}.{name.table}.{column}"
    if kind is None:
        raise ValueError(f"load: there is no column {where}")
    if kind is ColumnType.FLOAT and values.type == pa.int64():
        values.cast(pa.float64())  # raises for an integer that a double cannot hold exactly
    elif values.type != _ARROW[kind]:
        raise ValueError(f"load: {where} is {kind.value}, and the rows bring {values.type}")
    if kind is ColumnType.TIMESTAMP:
        _check_times(where, values, times)
    elif kind is ColumnType.JSON:
        for value in values.drop_null().to_pylist():
            try:
                msgspec.json.decode(value)
            except (msgspec.DecodeError, RecursionError) as error:
                raise ValueError(f"load: {where} holds JSON, and {value[:200]!r} is none: {error}") from None


def _check_times(where: str, values: Any, times: Range) -> None:
    bounds = pc.min_max(values.cast(pa.int64()))
    least, greatest = bounds["min"].as_py(), bounds["max"].as_py()
    first, last = map(microseconds, times)
    if least is None or (least >= first and greatest <= last):
        return
    wrong = least if least < first else greatest
    shown = pc.strftime(pa.array([wrong], pa.timestamp("us", "UTC")))[0]
    raise ValueError(
        f"load: {where} gets the time {shown}, and this ClickHouse holds times from {times[0]:%Y-%m-%d} to {times[1]:%Y-%m-%d}"
    )


# Tables and columns


def prepare(session: Session, load: Load, tables: Catalogue) -> None:
    """Create, add and widen; `tables` learns it. What is there already is left as it is."""
    latest = {upsert.table for upsert in load.upserts}
    for schema in sorted({name.schema for name in load.create} - {name.schema for name in tables}):
        session.run(f"CREATE DATABASE IF NOT EXISTS {quoted(schema)}")
    for name, columns in load.create.items():
        if name not in tables:
            if name in latest:
                _clickhouse_latest.create(session, name, columns)
            else:
                session.run(create_table(name, columns))
            tables[name] = dict(columns)
    for name, columns in load.add.items():
        for column, type_ in columns.items():
            if column not in tables[name]:
                _add(session, name, column, type_, tables)
    for name, widened in load.widen.items():
        _widen(
            session, load, name, [column for column in widened if tables[name][column] is not ColumnType.FLOAT], tables
        )


def _add(session: Session, name: TableName, column: str, type_: ColumnType, tables: Catalogue) -> None:
    together = {**tables[name], column: type_}
    if is_latest(session, name):
        _clickhouse_latest.add(session, name, column, type_, together)
    else:
        session.run(add_column(name, column, type_))
    tables[name] = together


def comment_of(session: Session, name: TableName) -> str | None:
    """The comment of a table or view; None when there is none of that name."""
    found = session.rows(
        f"SELECT comment FROM system.tables WHERE database = {text(name.schema)} AND name = {text(name.table)}"
    )
    return str(found[0][0]) if found else None


def is_latest(session: Session, name: TableName) -> bool:
    return comment_of(session, name) == LATEST


def _widen(session: Session, load: Load, name: TableName, columns: Sequence[str], tables: Catalogue) -> None:
    if not columns:
        return
    together = {**tables[name], **dict.fromkeys(columns, ColumnType.FLOAT)}
    upserts = [upsert for upsert in load.upserts if upsert.table == name]
    if upserts and is_latest(session, name):
        # States of integers cannot become states of floats: they are computed anew from the history, which was widened before.
        history = [column for column in columns if tables[upserts[0].history].get(column) is ColumnType.INTEGER]
        _widen(session, load, upserts[0].history, history, tables)
        _clickhouse_latest.rebuild(session, upserts[0], together, there=LATEST)
    else:
        for column in columns:
            with _refusing(name, column):
                session.run(
                    f"ALTER TABLE {qualified(name)} MODIFY COLUMN {quoted(column)} {TYPES[ColumnType.FLOAT]} SETTINGS alter_sync = 2"
                )
    tables[name] = together


@contextmanager
def _refusing(name: TableName, column: str) -> Iterator[None]:
    """Where a key, an index, a projection or a materialized column holds a column to its type."""
    try:
        yield
    except ValueError as error:
        remedy = f"{error}; drop what uses the column, or leave the column an integer"
        raise WideningRefusedError(*name, column, remedy) from error


# Rows


def unlike(session: Session, loaded_at: datetime) -> datetime:
    """A time that no load has had: look-ups tell an unfinished load's rows by it."""
    while session.value(f"SELECT count() FROM {qualified(LOADS)} WHERE started = {moment(loaded_at)}"):
        loaded_at += timedelta(microseconds=1)
    return loaded_at


def store(session: Session, begun: Begun, tables: Catalogue, renew: Callable[[], None]) -> None:
    """Everything up to the last block. `renew` is called before every step and raises when the lease is lost."""
    load = begun.load
    renew()
    named = load.rows.get(NAMED)
    if named is not None or load.touched:
        _clickhouse_house.name_columns(
            session, named, load.touched, begun.loaded_at, token=begun.token(NAMED), guard=begun.guard
        )
    for name, rows in load.rows.items():
        if name != NAMED and rows.num_rows:
            renew()
            _store_rows(session, begun, name, rows, tables[name])
    for upsert in load.upserts:
        if upsert.history in load.rows:
            renew()
            _fold(session, begun, upsert, tables)


def _store_rows(session: Session, begun: Begun, name: TableName, rows: Any, columns: Columns) -> None:
    stamp = "started" if name == LOADS else "loaded_at"
    if begun.again and stamp in columns:
        where = f"{quoted(stamp)} = {moment(begun.loaded_at)}"
        if name == LOADS:
            where += f" AND consumer = {text(begun.load.consumer)} AND `partition` = {begun.load.partition}"
        there = session.value(f"SELECT count() FROM {qualified(name)} WHERE {where}")
        if there:
            if there != rows.num_rows:
                logger.warning(
                    "load %d to %d: %s.%s has %d rows of it, made again it has %d; the first ones stay",
                    begun.load.start,
                    begun.load.end,
                    *name,
                    there,
                    rows.num_rows,
                )
            return
    rows = stamped(rows, stamp, begun)
    select = [f"c{place}" for place in range(rows.num_columns)]
    into = f"{qualified(name)} ({column_list(rows.column_names)})"
    session.insert(into, select, rows, token=begun.token(name), guard=begun.guard)


def stamped(rows: Any, column: str, begun: Begun) -> Any:
    """The rows with the time of the begun load, where they have the load's own: made again later, a load may have another."""
    own = begun.load.started
    if own is None or own == begun.loaded_at or column not in rows.column_names:
        return rows
    times = rows.column(column)
    kind = _ARROW[ColumnType.TIMESTAMP]
    others = pc.if_else(pc.equal(times, pa.scalar(own, kind)), pa.scalar(begun.loaded_at, kind), times)
    return rows.set_column(rows.column_names.index(column), column, others)


def _fold(session: Session, begun: Begun, upsert: Any, tables: Catalogue) -> None:
    rows = stamped(begun.load.rows[upsert.history], "loaded_at", begun)
    if upsert.key not in rows.column_names or not rows.num_rows:
        return
    comment = comment_of(session, upsert.table)
    if comment != LATEST:
        # Created as a table of its own before anything was known of its history; this load's rows are in the history by now.
        _clickhouse_latest.rebuild(session, upsert, tables[upsert.table], there=comment)
        return
    token = begun.token(upsert.table)
    _clickhouse_latest.fold(session, upsert, rows, tables[upsert.table], token=token, guard=begun.guard)


def loaded_at(load: Load) -> datetime | None:
    """What the rows of the load have, where the load does not say it."""
    if load.started is not None:
        return load.started
    found = [
        greatest
        for rows in load.rows.values()
        if "loaded_at" in rows.column_names and (greatest := pc.max(rows.column("loaded_at")).as_py()) is not None
    ]
    return max(found, default=None)


def fits(load: Load, unfinished: Unfinished) -> bool:
    return (load.incarnation, load.start, load.end) == unfinished[:3]


def must_be_ended(load: Load, unfinished: Unfinished) -> WarehouseUnavailableError:
    return WarehouseUnavailableError(
        f"load: consumer {load.consumer}, partition {load.partition}: the load from {unfinished.start} to {unfinished.end} of log "
        f"{unfinished.incarnation} was begun and must be ended before one from {load.start} to {load.end}"
    )
