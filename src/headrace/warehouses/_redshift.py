"""Amazon Redshift: PostgreSQL's protocol, another SQL.

Nothing of it was tried on a live cluster. What is different, each with its place in https://docs.aws.amazon.com/redshift/latest/dg/ :
`text` means varchar(256) there (c_unsupported-postgresql-datatypes), MERGE takes no subquery (r_MERGE), ALTER TABLE adds one column at a time
and changes the type of varchar alone (r_ALTER_TABLE), VALUES stands in INSERT only, nothing returns rows but SELECT
(c_unsupported-postgresql-features), aggregates skip no nulls in an order (r_WF_last_value), keys are not enforced
(t_Defining_constraints), COPY reads from S3 and the like but not from the client (r_COPY).
"""
# ruff: noqa: S608 -- identifiers go through `quoted`, values through `text`

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

import pyarrow as pa
import pyarrow.compute as pc

from headrace.warehouses import _statements
from headrace.warehouses._dialect import COLUMN_TYPES, Dialect
from headrace.warehouses._postgresql import Limits, PostgreSQLSession
from headrace.warehouses._session import HeldError
from headrace.warehouses._transactional import TransactionalWarehouse
from headrace.warehouses.base import Columns, ColumnType, TableName, Upsert

STATEMENT_CELLS: Final = 20_000
"""Values of one INSERT of staged rows; a statement may have 16 MB."""
TEXT_BYTES: Final = 65_535
_TEMPORARY: Final = "the new type"


class RedshiftDialect(Dialect):
    types: ClassVar = {
        **Dialect.types,
        ColumnType.STRING: "varchar(65535)",
        ColumnType.JSON: "super",
    }
    stored_types: ClassVar = {
        "boolean": ColumnType.BOOLEAN,
        **dict.fromkeys(("smallint", "integer", "bigint"), ColumnType.INTEGER),
        "double precision": ColumnType.FLOAT,
        "timestamp with time zone": ColumnType.TIMESTAMP,
        "super": ColumnType.JSON,
    }
    has_merge: ClassVar[bool] = False

    def cast(self, expression: str, type_: ColumnType) -> str:
        if type_ is ColumnType.JSON:
            return f"json_parse({expression})"
        return super().cast(expression, type_)

    def text(self, value: str) -> str:
        # A backslash begins an escape in a literal, as in the PostgreSQL of which Redshift was made.
        return super().text(value.replace("\\", "\\\\"))

    def storable(self, column: pa.ChunkedArray, type_: ColumnType) -> pa.ChunkedArray:
        """A cast would cut longer texts without a word, so they are refused: such an event is rejected, where everybody sees it."""
        if type_ in (ColumnType.STRING, ColumnType.JSON):
            longest = pc.max(pc.binary_length(column)).as_py() or 0
            if longest > TEXT_BYTES:
                raise ValueError(
                    f"load: a text of {longest} bytes is longer than the {TEXT_BYTES} that Redshift stores"
                )
        return column

    def by_bytes(self, expression: str) -> str:
        return expression

    def values(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
        first, *others = rows
        named = ", ".join(
            f"CAST({value} AS {self.types[ColumnType.STRING]}) AS {self.quoted(column)}"
            for value, column in zip(first, columns, strict=True)
        )
        lines = [f"SELECT {named}", *(f"SELECT {', '.join(row)}" for row in others)]
        return f"({' UNION ALL '.join(lines)})"

    def latest(self, upsert: Upsert, source: str, columns: Sequence[str], where: str) -> str:
        return self.latest_by_windows(upsert, source, columns, where)

    def last_value(self, name: str) -> str:
        return f"last_value({name}) IGNORE NULLS"

    def lock_position(self) -> list[str]:
        # No key keeps two loaders from both inserting the first position, and an UPDATE locks no row.
        return [f"LOCK {self.qualified(_statements.OFFSETS)}"]

    def tables(self) -> str:
        return (
            "SELECT c.table_schema, c.table_name, c.column_name, c.data_type FROM svv_columns c "
            "JOIN pg_tables t ON t.schemaname = c.table_schema AND t.tablename = c.table_name "
            "WHERE t.tableowner = current_user AND c.table_schema <> 'information_schema' "
            "AND c.table_schema NOT LIKE 'pg!_%' ESCAPE '!' ORDER BY 1, 2, c.ordinal_position"
        )

    def create_table(self, name: TableName, columns: Columns, key: Sequence[str]) -> list[str]:
        """Sorted by received_at, so that look-ups within a span skip blocks."""
        (statement,) = super().create_table(name, columns, key)
        return [f"{statement} SORTKEY ({self.quoted('received_at')})" if "received_at" in columns else statement]

    def add_columns(self, name: TableName, columns: Columns) -> list[str]:
        return [
            f"ALTER TABLE {self.qualified(name)} ADD COLUMN {self.quoted(column)} {self.types[type_]}"
            for column, type_ in columns.items()
        ]

    def widen(self, name: TableName, column: str) -> list[str]:
        table, new, old = self.qualified(name), self.quoted(_TEMPORARY), self.quoted(column)
        return [
            f"ALTER TABLE {table} ADD COLUMN {new} {self.types[ColumnType.FLOAT]}",
            f"UPDATE {table} SET {new} = {old}",
            f"ALTER TABLE {table} DROP COLUMN {old}",
            f"ALTER TABLE {table} RENAME COLUMN {new} TO {old}",
        ]

    def empty_as(self, name: TableName, column: str, type_: ColumnType) -> list[str]:
        drop = f"ALTER TABLE {self.qualified(name)} DROP COLUMN {self.quoted(column)}"
        return [drop, *self.add_columns(name, {column: type_})]

    def staged(self, name: str, rows: pa.Table) -> list[str]:
        """A temporary table, filled by INSERTs of many rows: the only way without S3. As texts, cast when they are read."""
        columns = {field.name: COLUMN_TYPES[field.type] for field in rows.schema}
        lines = ", ".join(f"{self.quoted(column)} {self.types[type_]}" for column, type_ in columns.items())
        statements = [f"CREATE TEMPORARY TABLE {self.quoted(name)} ({lines})"]
        for batch in rows.to_batches(max_chunksize=max(1, STATEMENT_CELLS // rows.num_columns)):
            given = zip(*(column.to_pylist() for column in batch.columns), strict=True)
            values = ", ".join(f"({', '.join(self.literal(value) for value in row)})" for row in given)
            statements.append(f"INSERT INTO {self.quoted(name)} VALUES {values}")
        return statements


class RedshiftSession(PostgreSQLSession):
    """Without COPY, lock_timeout and RETURNING."""

    has_escapes = True
    volatile_functions = "SELECT DISTINCT proname::varchar FROM pg_proc WHERE provolatile = 'v'"
    read_only = "BEGIN READ ONLY; SET statement_timeout TO {milliseconds}"

    def _settings(self, limits: Limits) -> str:
        seconds = int(limits.statement_seconds * 1000)
        return f"SET application_name TO '{self.mark}'; SET timezone TO 'UTC'; SET statement_timeout TO {seconds}"

    def begin(self) -> None:
        self._execute("BEGIN")

    def change(self, statement: str) -> int:
        return self._execute(statement)

    def stage(self, table: pa.Table) -> str:
        name = f"headrace_load_{next(self._numbers)}"
        dialect = self.dialect
        if not isinstance(dialect, RedshiftDialect):
            raise TypeError(dialect)
        for statement in dialect.staged(name, table):
            self._execute(statement)
        staged = dialect.quoted(name)
        self._staged.append(staged)
        return staged

    def holder(self, name: TableName | None, error: HeldError) -> str:  # noqa: ARG002 - the protocol's signature
        return f"{error}; SELECT * FROM svv_transactions shows who holds a lock"


def opened(dsn: str, connect_seconds: int, statement_seconds: float) -> TransactionalWarehouse:
    """Raises WarehouseUnavailableError."""
    dialect, limits = RedshiftDialect(), Limits(connect_seconds, statement_seconds)
    return TransactionalWarehouse(dialect, lambda: RedshiftSession(dsn, dialect, limits))
