"""Changing what is there, one table after the other, each in a way that can be repeated: a new table is filled beside the old one and
takes its place in one step (EXCHANGE TABLES), so that readers see the old one or the new one."""
# ruff: noqa: S608 -- identifiers go through _clickhouse_sql.quoted, values are literals made there

from __future__ import annotations

from typing import Any, Final

from headrace.errors import WideningRefusedError
from headrace.warehouses import _clickhouse_house, _clickhouse_latest
from headrace.warehouses._clickhouse_load import Catalogue, comment_of
from headrace.warehouses._clickhouse_session import Session
from headrace.warehouses._clickhouse_sql import (
    LATEST,
    MADE,
    add_column,
    column_list,
    create_table,
    qualified,
    quoted,
    text,
)
from headrace.warehouses.base import HOUSEKEEPING, HOUSEKEEPING_TABLES, ColumnType, Retyping, TableName, Upsert

_REPLACES: Final = "headrace: replaces what "
"""The comment of a table that takes the place of another, until the other is gone."""
_FRESH: Final = TableName(HOUSEKEEPING, "_fresh")
_VALUES: Final = TableName(HOUSEKEEPING, "_values")
_MEMORY: Final = "join_algorithm = 'grace_hash', max_threads = 2"


def retype(session: Session, retyping: Retyping, tables: Catalogue) -> None:
    """The column first: until headrace.discards is exchanged too, a repetition finds every value in one of them."""
    name, column = retyping.table, retyping.column
    _gather(session, retyping)
    columns = {**tables[name], column: retyping.type}
    _drop(session, _FRESH)
    session.run(create_table(name, columns).replace(qualified(name), qualified(_FRESH), 1))
    others = [f"old.{quoted(other)}" for other in columns if other != column]
    names = [other for other in columns if other != column]
    try:
        session.run(
            f"INSERT INTO {qualified(_FRESH)} ({column_list((*names, column))}) SELECT {', '.join(others)}, new.value "
            f"FROM {qualified(name)} AS old LEFT JOIN {qualified(_VALUES)} AS new "
            f"ON old.id = new.id AND old.received_at = new.received_at SETTINGS {_MEMORY}, join_use_nulls = 1"
        )
    except ValueError as error:
        raise WideningRefusedError(*name, column, str(error)) from error
    session.run(f"EXCHANGE TABLES {qualified(_FRESH)} AND {qualified(name)}")
    tables[name] = columns
    _exchange_discards(session, retyping)
    _clickhouse_house.retyped(session, name, column, retyping.type.value)
    if retyping.latest is not None:
        latest = retyping.latest
        tables[latest.table] = {**tables[latest.table], column: retyping.type}
        recompute(session, latest, tables)
    _drop(session, _FRESH)
    _drop(session, _VALUES)


def _gather(session: Session, retyping: Retyping) -> None:
    """The new values in a table of their own."""
    columns = {"id": ColumnType.STRING, "received_at": ColumnType.TIMESTAMP, "value": retyping.type}
    _drop(session, _VALUES)
    session.run(create_table(_VALUES, columns))
    for number, block in enumerate(retyping.values):
        _append(session, _VALUES, block, f"values/{number}")


def _append(session: Session, name: TableName, rows: Any, token: str) -> None:
    if rows.num_rows:
        select = [f"c{place}" for place in range(rows.num_columns)]
        session.insert(f"{qualified(name)} ({column_list(rows.column_names)})", select, rows, token=token, guard="1")


def _exchange_discards(session: Session, retyping: Retyping) -> None:
    name = TableName(HOUSEKEEPING, "discards")
    columns = HOUSEKEEPING_TABLES["discards"]
    _drop(session, _FRESH)
    session.run(create_table(name, columns).replace(qualified(name), qualified(_FRESH), 1))
    of_column = " AND ".join(
        f"ifNull({quoted(key)}, '') = {text(value)}"
        for key, value in (
            ("schema", retyping.table.schema),
            ("table", retyping.table.table),
            ("column", retyping.column),
        )
    )
    listed = column_list(columns)
    session.run(
        f"INSERT INTO {qualified(_FRESH)} ({listed}) SELECT {listed} FROM {qualified(name)} WHERE NOT ({of_column})"
    )
    _append(session, _FRESH, retyping.discards, "discards")
    session.run(f"EXCHANGE TABLES {qualified(_FRESH)} AND {qualified(name)}")


def recompute(session: Session, upsert: Upsert, tables: Catalogue) -> None:
    columns = tables.get(upsert.table)
    if columns is None:
        of_history = tables[upsert.history]
        columns = {"id": ColumnType.STRING, "received_at": ColumnType.TIMESTAMP, "loaded_at": ColumnType.TIMESTAMP}
        columns |= {column: of_history[column] for column in upsert.columns}
    _clickhouse_latest.rebuild(session, upsert, columns, there=comment_of(session, upsert.table))
    tables[upsert.table] = columns


def replace(session: Session, old: TableName, new: TableName, tables: Catalogue) -> int:
    """The new table bears a comment from before the exchange until what it replaced is gone, so that a repetition knows how far it came."""
    mark = _REPLACES + f"{old.schema}.{old.table} was"
    if comment_of(session, old) == mark:
        _finish(session, old, new, tables)
        return 0
    if comment_of(session, new) is None:
        return 0
    missing = 0
    if old in tables:
        for column, type_ in tables[old].items():
            if column not in tables[new]:
                session.run(add_column(new, column, type_))
                tables[new] = {**tables[new], column: type_}
        missing = _complete(session, old, new, tables)
        session.run(f"ALTER TABLE {qualified(new)} MODIFY COMMENT {text(mark)}")
        session.run(f"EXCHANGE TABLES {qualified(old)} AND {qualified(new)}")
    else:
        session.run(f"CREATE DATABASE IF NOT EXISTS {quoted(old.schema)}")
        session.run(f"RENAME TABLE {qualified(new)} TO {qualified(old)}")
    tables[old] = tables.pop(new)
    _finish(session, old, new, tables)
    return missing


def _complete(session: Session, old: TableName, new: TableName, tables: Catalogue) -> int:
    """Add the rows whose id the new table does not have."""
    columns = column_list(tables[old])
    lacking = f"FROM {qualified(old)} WHERE ifNull(id, '') NOT IN (SELECT ifNull(id, '') FROM {qualified(new)})"
    missing = int(session.value(f"SELECT count() {lacking}"))
    if missing:
        session.run(f"INSERT INTO {qualified(new)} ({columns}) SELECT {columns} {lacking}")
    return missing


def _finish(session: Session, old: TableName, new: TableName, tables: Catalogue) -> None:
    _drop(session, new)
    tables.pop(new, None)
    session.run(f"ALTER TABLE {qualified(old)} MODIFY COMMENT {text(MADE)}")


def drop(session: Session, name: TableName, tables: Catalogue) -> None:
    if comment_of(session, name) == LATEST:
        _clickhouse_latest.drop(session, name)
    else:
        _drop(session, name)
    tables.pop(name, None)


def _drop(session: Session, name: TableName) -> None:
    session.run(f"DROP TABLE IF EXISTS {qualified(name)} SYNC")
