"""Snowflake's SQL.

Names are stored in upper case, always quoted: `shop.tracks` is `"SHOP"."TRACKS"`. Snowflake reads what a user types without
quotes as upper case, so `select user_id from shop.tracks` works, and so do SQL, dbt packages and BI models that were written
for Segment's schema there. Lower case would be true to the letter, and would make everybody type quotes for ever.

Timestamps are TIMESTAMP_TZ: a moment, whatever the zone of the session that reads it (TIMESTAMP_NTZ would be compared with
current_timestamp() wrongly in every zone but UTC). Integers are NUMBER(38, 0), which is what BIGINT means there.
There is no clustering key: rows arrive in the order of received_at, so that its micro-partitions are narrow by themselves,
and automatic clustering costs credits.
"""
# ruff: noqa: S608 -- identifiers go through `quoted`, values through `text`

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar, Final

from headrace.warehouses._deferred_session import DeferredDialect
from headrace.warehouses.base import Columns, ColumnType, TableName, Upsert

STAGED: Final = "$1:c"
"""Columns of a staged file are c0, c1, ...: a name from an event is never a path into a file."""


class SnowflakeDialect(DeferredDialect):
    types: ClassVar[Mapping[ColumnType, str]] = {
        ColumnType.BOOLEAN: "BOOLEAN",
        ColumnType.INTEGER: "NUMBER(38, 0)",
        ColumnType.FLOAT: "FLOAT",
        ColumnType.TIMESTAMP: "TIMESTAMP_TZ(9)",
        ColumnType.STRING: "VARCHAR",
        ColumnType.JSON: "VARIANT",
    }
    stored_types: ClassVar[Mapping[str, ColumnType]] = {
        "boolean": ColumnType.BOOLEAN,
        "number": ColumnType.INTEGER,
        "float": ColumnType.FLOAT,
        "timestamp_tz": ColumnType.TIMESTAMP,
        "text": ColumnType.STRING,
        "variant": ColumnType.JSON,
    }

    has_merge: ClassVar[bool] = False
    """It has MERGE; UPDATE and INSERT do the same here, and are what could be tried without an account."""

    def quoted(self, name: str) -> str:
        """`we"ird` -> `"WE""IRD"`."""
        return super().quoted(name.upper())

    def text(self, value: str) -> str:
        """Backslashes escape in Snowflake's texts."""
        return super().text(value.replace("\\", "\\\\"))

    def cast(self, expression: str, type_: ColumnType) -> str:
        if type_ is ColumnType.JSON:
            return f"PARSE_JSON(CAST({expression} AS VARCHAR))"
        return super().cast(expression, type_)

    def number(self, value: float) -> str:
        return str(value) if str(value) in ("nan", "inf", "-inf") else repr(value)

    def latest(self, upsert: Upsert, source: str, columns: Sequence[str], where: str) -> str:
        return self.latest_by_windows(upsert, source, columns, where)

    def last_value(self, name: str) -> str:
        return f"LAST_VALUE({name}) IGNORE NULLS"

    def by_bytes(self, expression: str) -> str:
        """Texts without a collation are ordered so."""
        return expression

    def tables(self) -> str:
        """Those whose names are in upper case: others are no work of the loader's."""
        schema, table, column = "columns.table_schema", "columns.table_name", "columns.column_name"
        return (
            f"SELECT LOWER({schema}) AS {self.quoted('schema')}, LOWER({table}) AS {self.quoted('table')}, "
            f"LOWER({column}) AS {self.quoted('column')}, columns.data_type AS {self.quoted('type')} "
            f"FROM information_schema.columns AS columns WHERE {schema} <> 'INFORMATION_SCHEMA' "
            f"AND {schema} = UPPER({schema}) AND {table} = UPPER({table}) AND {column} = UPPER({column}) "
            f"ORDER BY {schema}, {table}, columns.ordinal_position"
        )

    counts_rows: ClassVar[bool] = True

    def sizes(self, names: Iterable[TableName]) -> str:  # noqa: ARG002 - the port's signature
        schema, table = 'tables."TABLE_SCHEMA"', 'tables."TABLE_NAME"'
        return (
            f"SELECT LOWER({schema}), LOWER({table}), tables.row_count, tables.bytes FROM information_schema.tables AS tables "
            f"WHERE tables.table_type = 'BASE TABLE' AND {schema} = UPPER({schema}) AND {table} = UPPER({table})"
        )

    def create_table(self, name: TableName, columns: Columns, key: Sequence[str]) -> list[str]:  # noqa: ARG002 -- not used there
        """Keys are not enforced there and would promise what nobody checks."""
        return super().create_table(name, columns, ())

    def add_columns(self, name: TableName, columns: Columns) -> list[str]:
        return [
            f"ALTER TABLE {self.qualified(name)} ADD COLUMN IF NOT EXISTS {self.quoted(column)} {self.types[type_]}"
            for column, type_ in columns.items()
        ]

    def put_in_place(self, old: TableName, new: TableName, *, is_there: bool) -> list[str]:
        """Who may read `old` may go on."""
        cloned, *rest = super().put_in_place(old, new, is_there=is_there)
        return [f"{cloned} COPY GRANTS", *rest]

    def staged(self, types: Sequence[ColumnType]) -> list[str]:
        """Expressions of the columns of a staged Parquet file, whose timestamps are counts of microseconds since 1970."""
        expressions = []
        for number, type_ in enumerate(types):
            value = f"{STAGED}{number}"
            if type_ is ColumnType.TIMESTAMP:
                expressions.append(f"TO_TIMESTAMP_TZ({value}::NUMBER(38, 0), 6)")
            else:
                expressions.append(f"{value}::{self.types[ColumnType.STRING if type_ is ColumnType.JSON else type_]}")
        return expressions
