"""Columns that get another type where DDL is not part of a transaction: each step can be found and gone on from after a crash.

The new column is filled beside the old one, then both are renamed. Between two renames nobody finds the column under its name, for the
time of one statement, where the engine has no statement for both.
"""
# ruff: noqa: S608 -- identifiers go through `quoted`

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping
from typing import Final

from headrace.warehouses._deferred_session import DeferredDialect, DeferredSession
from headrace.warehouses.base import Columns, ColumnType, TableName

logger = logging.getLogger(__name__)

WIDER: Final = "__wider"
NARROW: Final = "__narrow"
RETYPED: Final = "__retyped_"
REPLACED: Final = "__replaced_"


def is_leftover(column: str) -> bool:
    """Names of columns are snake case, which never has two underscores in a row."""
    return "__" in column


def widen(session: DeferredSession, name: TableName, column: str, there: Columns) -> None:
    """From integer to float. `there` are the table's columns with leftovers."""
    dialect = session.dialect
    wider, narrow = column + WIDER, column + NARROW
    if narrow not in there:
        if there.get(column) is ColumnType.FLOAT:
            return
        session.run(dialect.add_columns(name, {wider: ColumnType.FLOAT}))
        session.run(
            [_filled(dialect, name, wider, column), *dialect.rename_columns(name, {column: narrow, wider: column})]
        )
    elif column not in there:
        session.run(dialect.rename_columns(name, {wider: column}))
    # What another loader stored between the filling and the renaming. Its transaction, if it runs still, holds the turn.
    late = f"{_filled(dialect, name, column, narrow)} AND {dialect.quoted(column)} IS NULL"
    session.begin()
    session.run([late])
    session.commit()
    session.run([dialect.drop_column(name, narrow)])


def _filled(dialect: DeferredDialect, name: TableName, column: str, source: str) -> str:
    value = dialect.cast(dialect.quoted(source), ColumnType.FLOAT)
    return (
        f"UPDATE {dialect.qualified(name)} SET {dialect.quoted(column)} = {value} "
        f"WHERE {dialect.quoted(source)} IS NOT NULL"
    )


def beside(session: DeferredSession, name: TableName, column: str, type_: ColumnType) -> str:
    """A new, empty column that is to take the place of `column`; the name has not been used before."""
    new = f"{column}{RETYPED}{secrets.token_hex(3)}"
    session.run(session.dialect.add_columns(name, {new: type_}))
    return new


def take_place(session: DeferredSession, name: TableName, column: str, new: str) -> None:
    replaced = f"{column}{REPLACED}{secrets.token_hex(3)}"
    session.run(session.dialect.rename_columns(name, {column: replaced, new: column}))
    session.run([session.dialect.drop_column(name, replaced)])


def finish(
    session: DeferredSession, tables: Mapping[TableName, Columns], type_names: Mapping[tuple[str, str, str], str]
) -> bool:
    """What a crash left. A retyped column takes its place if the transaction that filled it was committed, which
    `type_names` (of headrace.columns) tells. True when there was anything."""
    found = False
    for name, columns in tables.items():
        for leftover, type_ in list(columns.items()):
            if not is_leftover(leftover):
                continue
            found = True
            column = leftover.partition("__")[0]
            logger.warning("warehouse: %s.%s: finishing a change of type that was cut off", name.schema, leftover)
            if leftover.endswith(NARROW):
                widen(session, name, column, columns)
            elif RETYPED in leftover and (column not in columns or type_names.get((*name, column)) == type_.value):
                _put(session, name, column, leftover, is_there=column in columns)
            elif not leftover.endswith(WIDER) or column + NARROW not in columns:
                session.run([session.dialect.drop_column(name, leftover)])
    return found


def _put(session: DeferredSession, name: TableName, column: str, new: str, *, is_there: bool) -> None:
    if is_there:
        take_place(session, name, column, new)
    else:
        session.run(session.dialect.rename_columns(name, {new: column}))
