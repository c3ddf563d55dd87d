"""PostgreSQL's SQL, where it is not the shared one: catalogue, indexes, and tables that are put in place."""
# ruff: noqa: S608 -- identifiers go through `quoted`, values through `text`

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Final

from headrace.warehouses._dialect import Dialect
from headrace.warehouses.base import HISTORY_TABLES, HOUSEKEEPING, Columns, ColumnType, TableName

INDEXED: Final[Mapping[str, Sequence[str]]] = {
    **dict.fromkeys(HISTORY_TABLES, ("id",)),
    "identifies": ("id", "user_id"),
    "groups": ("id", "group_id"),
    "users": ("id",),
    "accounts": ("id",),
}
"""Columns with an index, by table."""


class PostgreSQLDialect(Dialect):
    stored_types: ClassVar[Mapping[str, ColumnType]] = {
        "boolean": ColumnType.BOOLEAN,
        **dict.fromkeys(("smallint", "integer", "bigint"), ColumnType.INTEGER),
        "double precision": ColumnType.FLOAT,
        "timestamp with time zone": ColumnType.TIMESTAMP,
        "jsonb": ColumnType.JSON,
        "json": ColumnType.JSON,
    }

    def tables(self) -> str:
        return (
            "SELECT n.nspname::text, c.relname::text, a.attname::text, format_type(a.atttypid, NULL) "
            "FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace "
            "WHERE c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped AND n.nspname !~ '^pg_' "
            "AND n.nspname <> 'information_schema' AND pg_has_role(c.relowner, 'USAGE') ORDER BY 1, 2, a.attnum"
        )

    def create_table(self, name: TableName, columns: Columns, key: Sequence[str]) -> list[str]:
        return [*super().create_table(name, columns, key), *self.indexes(name, columns)]

    def indexes(self, name: TableName, columns: Columns) -> list[str]:
        """PostgreSQL names them, so that they never clash."""
        if name.schema == HOUSEKEEPING:
            return []
        indexed = [column for column in INDEXED.get(name.table, ()) if column in columns]
        return [f"CREATE INDEX ON {self.qualified(name)} ({self.quoted(column)})" for column in indexed]

    def empty_as(self, name: TableName, column: str, type_: ColumnType) -> list[str]:
        to = self.types[type_]
        return [
            f"ALTER TABLE {self.qualified(name)} ALTER COLUMN {self.quoted(column)} SET DATA TYPE {to} USING NULL::{to}"
        ]
