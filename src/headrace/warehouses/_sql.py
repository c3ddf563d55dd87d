"""Quoting and statements that every SQL engine takes alike: identifiers come from events, so each of them is quoted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from headrace.warehouses.base import Columns, ColumnType, TableName

TypeNames = Mapping[ColumnType, str]
"""What an engine calls the types of columns."""


def quoted(name: str) -> str:
    """`we"ird` -> `"we""ird"`."""
    return '"' + name.replace('"', '""') + '"'


def qualified(name: TableName) -> str:
    return f"{quoted(name.schema)}.{quoted(name.table)}"


def column_list(names: Iterable[str]) -> str:
    """`"a", "b"`."""
    return ", ".join(quoted(name) for name in names)


def create_table(name: TableName, columns: Columns, types: TypeNames, key: Iterable[str] = ()) -> str:
    """`key` is the primary key; no key, no index."""
    lines = [f"{quoted(column)} {types[type_]}" for column, type_ in columns.items()]
    key_columns = column_list(key)
    if key_columns:
        lines.append(f"PRIMARY KEY ({key_columns})")
    return f"CREATE TABLE {qualified(name)} ({', '.join(lines)})"


def add_column(name: TableName, column: str, type_: ColumnType, types: TypeNames) -> str:
    return f"ALTER TABLE {qualified(name)} ADD COLUMN {quoted(column)} {types[type_]}"


def widen_column(name: TableName, column: str, types: TypeNames) -> str:
    """From integer to float, the only change of type that a load may ask for."""
    return f"ALTER TABLE {qualified(name)} ALTER COLUMN {quoted(column)} SET DATA TYPE {types[ColumnType.FLOAT]}"
