"""What SQL engines with transactions say differently. The defaults are PostgreSQL's, which most of them follow."""
# ruff: noqa: S608 -- identifiers go through `quoted`, values through `text`

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar, Final, NamedTuple

import pyarrow as pa

from headrace.warehouses.base import Columns, ColumnType, TableName, Upsert

KEY: Final = "the key"
"""The name of a computed column. Names of columns are snake case, so this cannot be one of theirs."""

COLUMN_TYPES: Final[Mapping[Any, ColumnType]] = {
    pa.bool_(): ColumnType.BOOLEAN,
    pa.int64(): ColumnType.INTEGER,
    pa.float64(): ColumnType.FLOAT,
    pa.timestamp("us", tz="UTC"): ColumnType.TIMESTAMP,
    pa.string(): ColumnType.STRING,
}
"""By Arrow type. JSON travels as text too, so that only the table says which texts are JSON."""


class Relation(NamedTuple):
    """Rows that a load brings: `sql` stands in FROM, before an alias, and its columns have the types of `columns`."""

    sql: str
    columns: Columns


Wanted = Sequence[str] | Relation
"""Ids to look for: themselves while they are few, else a relation with the column `id`."""


class Dialect:
    """One engine's SQL. Everything here is text; nothing connects."""

    types: ClassVar[Mapping[ColumnType, str]] = {
        ColumnType.BOOLEAN: "boolean",
        ColumnType.INTEGER: "bigint",
        ColumnType.FLOAT: "double precision",
        ColumnType.TIMESTAMP: "timestamptz",
        ColumnType.STRING: "text",
        ColumnType.JSON: "jsonb",
    }
    stored_types: ClassVar[Mapping[str, ColumnType]] = {}
    """By the name that the engine's catalogue gives (lower case). What only an operator's own hand can have made counts as text."""
    ddl_in_transaction: ClassVar[bool] = True
    """Whether a rolled back load takes its tables and columns with it. Where not, they are made before the transaction, in words
    that may be repeated (IF NOT EXISTS)."""
    inline_cells: ClassVar[int] = 4_000
    """Tables of a load with up to this many values are written into the statement; larger ones are staged."""
    has_merge: ClassVar[bool] = True

    def quoted(self, name: str) -> str:
        """`we"ird` -> `"we""ird"`."""
        return '"' + name.replace('"', '""') + '"'

    def qualified(self, name: TableName) -> str:
        return f"{self.quoted(name.schema)}.{self.quoted(name.table)}"

    def names(self, columns: Iterable[str], prefix: str = "") -> str:
        """`"a", "b"`, or with the prefix `t`: `t."a", t."b"`."""
        before = f"{prefix}." if prefix else ""
        return ", ".join(before + self.quoted(column) for column in columns)

    def text(self, value: str) -> str:
        """A text as a literal. Backslashes mean nothing here."""
        return "'" + value.replace("'", "''") + "'"

    def cast(self, expression: str, type_: ColumnType) -> str:
        return f"CAST({expression} AS {self.types[type_]})"

    def moment(self, when: datetime) -> str:
        return self.cast(self.text(when.astimezone(UTC).isoformat()), ColumnType.TIMESTAMP)

    def literal(self, value: Any) -> str:
        """A value as text for `cast`; NULL for None."""
        match value:
            case None:
                return "NULL"
            case bool():
                return "'true'" if value else "'false'"
            case datetime():
                return self.text(value.astimezone(UTC).isoformat())
            case float():
                return self.text(self.number(value))
            case _:
                return self.text(str(value))

    def number(self, value: float) -> str:
        """With every digit. NaN and infinities in words that a cast understands."""
        return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}.get(str(value), repr(value))

    def values(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
        """Literals as something that stands in FROM, before an alias; all its columns are texts."""
        lines = ", ".join(f"({', '.join(row)})" for row in rows)
        return f"(SELECT * FROM (VALUES {lines}) AS given ({self.names(columns)}))"

    def inline(self, columns: Columns, rows: Iterable[Sequence[Any]]) -> Relation:
        """Rows written into the statement itself."""
        given = self.values(list(columns), [[self.literal(value) for value in row] for row in rows])
        return self.typed(given, columns)

    def storable(self, column: pa.ChunkedArray, type_: ColumnType) -> pa.ChunkedArray:  # noqa: ARG002 - others change it
        """What the engine takes for the column's values."""
        return column

    def written(self, columns: Columns, rows: pa.Table) -> Relation:
        """The rows of an Arrow table, at least one, in the statement itself; `columns` are its columns in their order."""
        return self.inline(columns, zip(*(column.to_pylist() for column in rows.columns), strict=True))

    def typed(self, source: str, columns: Columns) -> Relation:
        """`source` with explicit casts: a staged column has the type of its Arrow column, an inline one is text."""
        casts = ", ".join(
            f"{self.cast(self.quoted(column), type_)} AS {self.quoted(column)}" for column, type_ in columns.items()
        )
        return Relation(f"(SELECT {casts} FROM {source} AS brought)", columns)

    def latest(self, upsert: Upsert, source: str, columns: Sequence[str], where: str) -> str:
        """A query of KEY, received_at and, for each column, the last value that is not null by (received_at, id)."""
        key, received_at = self.quoted(upsert.key), self.quoted("received_at")
        order = f"{received_at} DESC, {self.by_bytes(self.quoted('id'))} DESC"
        last = "".join(
            f", (array_agg({name} ORDER BY {order}) FILTER (WHERE {name} IS NOT NULL))[1] AS {name}"
            for name in map(self.quoted, columns)
        )
        return (
            f"SELECT {key} AS {self.quoted(KEY)}, max({received_at}) AS {received_at}{last} "
            f"FROM {source} AS history WHERE {where} GROUP BY {key}"
        )

    def latest_by_windows(self, upsert: Upsert, source: str, columns: Sequence[str], where: str) -> str:
        """The same for engines whose aggregates do not skip nulls in an order; a dialect calls it from `latest`."""
        key, received_at, place = self.quoted(upsert.key), self.quoted("received_at"), self.quoted("the place")
        order = f"PARTITION BY {key} ORDER BY {received_at}, {self.by_bytes(self.quoted('id'))}"
        whole = f"OVER ({order} ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)"
        last = "".join(f", {self.last_value(name)} {whole} AS {name}" for name in map(self.quoted, columns))
        shown = "".join(f", {name}" for name in map(self.quoted, columns))
        return (
            f"SELECT {self.quoted(KEY)}, {received_at}{shown} FROM (SELECT {key} AS {self.quoted(KEY)}, "
            f"max({received_at}) OVER (PARTITION BY {key}) AS {received_at}{last}, row_number() OVER ({order}) AS {place} "
            f"FROM {source} AS history WHERE {where}) AS ranked WHERE {place} = 1"
        )

    def last_value(self, name: str) -> str:
        return f"last_value({name} IGNORE NULLS)"

    def by_bytes(self, expression: str) -> str:
        """For ordering texts as their UTF-8 bytes are ordered, whatever the database's language."""
        return f'{expression} COLLATE "C"'

    few_ids: ClassVar[int] = 1_000
    """So many ids are written as a list."""

    def among(self, column: str, wanted: Wanted) -> str:
        if isinstance(wanted, Relation):
            return f"{column} IN (SELECT {self.quoted('id')} FROM {wanted.sql} AS wanted)"
        return f"{column} IN ({', '.join(map(self.text, wanted))})"

    def last_received(self, name: TableName) -> str:
        """An expression: the greatest received_at of a history table."""
        return f"(SELECT max({self.quoted('received_at')}) FROM {self.qualified(name)})"

    def tables(self) -> str:
        """A query of schema, table, column and type of everything that the loader may write, columns in their order."""
        raise NotImplementedError

    counts_rows: ClassVar[bool] = False
    """Whether `sizes` has exact numbers of rows."""

    def sizes(self, names: Iterable[TableName]) -> str:  # noqa: ARG002 - others need them
        """Rows of (schema, table, rows, bytes), out of the engine's own books; empty: it tells nobody."""
        return ""

    def newest_from(self, name: TableName) -> str:  # noqa: ARG002 - others need it
        """A condition that bounds what is read for the newest rows of a table with received_at; empty: none is needed."""
        return ""

    def lock_position(self) -> list[str]:
        """Statements before the compare-and-set, for engines whose UPDATE does not keep a second loader waiting."""
        return []

    def create_schema(self, schema: str) -> str:
        return f"CREATE SCHEMA IF NOT EXISTS {self.quoted(schema)}"

    def create_table(self, name: TableName, columns: Columns, key: Sequence[str]) -> list[str]:
        """`key` is the unique key of a housekeeping table, empty for others."""
        lines = [f"{self.quoted(column)} {self.types[type_]}" for column, type_ in columns.items()]
        if key:
            lines.append(f"PRIMARY KEY ({self.names(key)})")
        there = "" if self.ddl_in_transaction else "IF NOT EXISTS "
        return [f"CREATE TABLE {there}{self.qualified(name)} ({', '.join(lines)})"]

    def add_columns(self, name: TableName, columns: Columns) -> list[str]:
        there = "" if self.ddl_in_transaction else "IF NOT EXISTS "
        added = ", ".join(f"ADD COLUMN {there}{self.quoted(column)} {self.types[t]}" for column, t in columns.items())
        return [f"ALTER TABLE {self.qualified(name)} {added}"]

    def widen(self, name: TableName, column: str) -> list[str]:
        """From integer to float, values kept."""
        return [self.alter(name, column, f"SET DATA TYPE {self.types[ColumnType.FLOAT]}")]

    def empty_as(self, name: TableName, column: str, type_: ColumnType) -> list[str]:
        """The column gets the type and loses its values."""
        to = self.types[type_]
        return [self.alter(name, column, f"SET DATA TYPE {to} USING NULL::{to}")]

    def alter(self, name: TableName, column: str, change: str) -> str:
        return f"ALTER TABLE {self.qualified(name)} ALTER COLUMN {self.quoted(column)} {change}"

    def put_in_place(self, old: TableName, new: TableName, *, is_there: bool) -> list[str]:
        """`new`, which has every row already, becomes `old` (of the same schema). `is_there`: there is an `old` to go."""
        drop = [f"DROP TABLE {self.qualified(old)}"] if is_there else []
        return [*drop, f"ALTER TABLE {self.qualified(new)} RENAME TO {self.quoted(old.table)}"]
