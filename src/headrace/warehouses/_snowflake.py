"""Snowflake: the border to its connector. The order of a load is told in `_deferred`.

Rows go as Parquet to a temporary stage of the session (PUT) and from there by COPY into a temporary table, both before the
transaction: making them is DDL, which ends a transaction in Snowflake (docs.snowflake.com, "Transactions": DDL is autocommitted and
commits what is open). The transaction itself is BEGIN, the turn, the load's statements, COMMIT. Its first statement takes the lock of
headrace.turn, which others wait for LOCK_SECONDS; a client that was killed in it is rolled back by Snowflake when it blocks somebody
for five minutes.
"""
# ruff: noqa: S608 -- identifiers go through `quoted`, values through `text`

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from headrace.warehouses import _snowflake_errors as errors
from headrace.warehouses import _snowflake_select
from headrace.warehouses._deferred_session import DeferredSession, other_turn
from headrace.warehouses._dialect import COLUMN_TYPES
from headrace.warehouses._session import Answer
from headrace.warehouses._snowflake_dialect import SnowflakeDialect
from headrace.warehouses.base import HOUSEKEEPING, TableName

LOCK_SECONDS: Final = 60
ANSWER_ROWS: Final = 1_000
STAGE: Final = "headrace.loads"
"""Unquoted, it is "HEADRACE"."LOADS"; temporary, so each session has its own."""

_NAMES: Final[Mapping[int, str]] = {
    0: "NUMBER", 1: "FLOAT", 2: "TEXT", 3: "DATE", 4: "TIMESTAMP", 5: "VARIANT", 6: "TIMESTAMP_LTZ", 7: "TIMESTAMP_TZ",
    8: "TIMESTAMP_NTZ", 9: "OBJECT", 10: "ARRAY", 11: "BINARY", 12: "TIME", 13: "BOOLEAN", 14: "GEOGRAPHY", 15: "GEOMETRY",
    16: "VECTOR",
}  # fmt: skip
"""By the connector's type codes (snowflake.connector.constants.FIELD_TYPES)."""
_ARROW: Final[Mapping[str, Any]] = {
    "FLOAT": pa.float64(),
    "DATE": pa.date32(),
    "TIMESTAMP": pa.timestamp("us"),
    "TIMESTAMP_NTZ": pa.timestamp("us"),
    "TIMESTAMP_LTZ": pa.timestamp("us", tz="UTC"),
    "TIMESTAMP_TZ": pa.timestamp("us", tz="UTC"),
    "BINARY": pa.binary(),
    "TIME": pa.time64("us"),
    "BOOLEAN": pa.bool_(),
}


class SnowflakeSession(DeferredSession):
    """`connect` is snowflake.connector.connect with its arguments; another may stand in for it."""

    dialect: SnowflakeDialect

    def __init__(self, dialect: SnowflakeDialect, connect: Callable[[], Any]) -> None:
        super().__init__(dialect)
        self._staged: list[str] = []
        self._has_stage = False
        self._open = False
        """Whether a transaction is open on the server."""
        try:
            self._connection = connect()
            self._cursor = self._connection.cursor()
        except Exception as error:  # the connector's classes differ between its versions
            raise errors.not_connected(error) from error

    @contextmanager
    def _border(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if not errors.is_drivers(error):
                raise
            self.is_broken = self.is_broken or errors.breaks(error)
            raise errors.translated(error) from error

    def execute(self, statement: str) -> int:
        with self._border():
            self._cursor.execute(statement)
            count = self._cursor.rowcount
            if statement.startswith("CREATE SCHEMA"):
                # It makes the new schema the session's; temporary tables are to be in headrace's.
                self._cursor.execute(f"USE SCHEMA {self.dialect.quoted(HOUSEKEEPING)}")
        return int(count or 0)

    def try_out(self, statement: str) -> None:
        """For `check`: without changing which schema is the session's."""
        with self._border():
            self._cursor.execute(statement)

    def send(self, raise_turn: str, statements: Sequence[str]) -> None:
        self.execute("BEGIN")
        self._open = True
        if self.execute(raise_turn) == 0:
            raise other_turn()
        for statement in statements:
            self.execute(statement)
        self.execute("COMMIT")
        self._open = False

    def abandon(self) -> None:
        if self._open and not self.is_broken:
            try:
                self._cursor.execute("ROLLBACK")
            except Exception:  # noqa: BLE001 -- the first error matters; a session that cannot roll back is closed
                self.is_broken = True
        self._open = False

    def unstage(self) -> None:
        staged, self._staged = self._staged, []
        for name in staged:
            with suppress(Exception):
                self._cursor.execute(f"DROP TABLE IF EXISTS {self.dialect.quoted(name)}")

    def stage(self, table: pa.Table) -> str:
        """Columns of the file and of the temporary table are c0, c1, ...: their names are told in the query over it."""
        q, name = self.dialect.quoted, f"staged_{uuid.uuid4().hex[:12]}"
        types = [COLUMN_TYPES[field.type] for field in table.schema]
        columns = [f"c{number}" for number in range(len(types))]
        defined = ", ".join(
            f"{q(column)} {self.dialect.types[type_]}" for column, type_ in zip(columns, types, strict=True)
        )
        if not self._has_stage:
            self.execute(
                f"CREATE TEMPORARY STAGE IF NOT EXISTS {self.dialect.qualified(TableName(HOUSEKEEPING, 'loads'))}"
            )
            self._has_stage = True
        with tempfile.TemporaryDirectory(prefix="headrace-") as folder:
            file = Path(folder) / f"{name}.parquet"
            pq.write_table(_plain(table, columns), file, compression="zstd")
            self.execute(f"PUT {self.dialect.text(file.as_uri())} @{STAGE} OVERWRITE = TRUE AUTO_COMPRESS = FALSE")
        self.execute(f"CREATE TEMPORARY TABLE {q(name)} ({defined})")
        self._staged.append(name)
        self.execute(
            f"COPY INTO {q(name)} ({self.dialect.names(columns)}) FROM (SELECT {', '.join(self.dialect.staged(types))} "
            f"FROM @{STAGE}/{name}.parquet) FILE_FORMAT = (TYPE = PARQUET) PURGE = TRUE"
        )
        shown = ", ".join(
            f"{q(column)} AS {q(field.name)}" for column, field in zip(columns, table.schema, strict=True)
        )
        return f"(SELECT {shown} FROM {q(name)})"

    def fetch(self, query: str) -> pa.Table:
        batches = list(self.blocks(query, ANSWER_ROWS * 100))
        return pa.Table.from_batches(batches[:1] if len(batches) == 1 else batches)

    def blocks(self, query: str, max_rows: int) -> Iterator[pa.RecordBatch]:
        """At least one, which may be empty."""
        with self._border(), self._connection.cursor() as cursor:
            cursor.execute(query)
            schema = _schema(cursor.description)
            rows = cursor.fetchmany(max_rows)
            yield _batch(schema, rows)
            while len(rows) == max_rows:
                rows = cursor.fetchmany(max_rows)
                if rows:
                    yield _batch(schema, rows)

    @contextmanager
    def answer(self, sql: str, timeout_seconds: float) -> Iterator[Answer]:
        judged = _snowflake_select.judged(sql)
        with self._connection.cursor() as cursor:
            try:
                cursor.execute(f"ALTER SESSION SET STATEMENT_TIMEOUT_IN_SECONDS = {max(1, int(timeout_seconds))}")
                cursor.execute(judged)
                described = cursor.description
                schema = _schema(described)
            except Exception as error:
                raise self._query_error(error, timeout_seconds) from error
            types = [_type_name(column) for column in described]

            def batches() -> Iterator[pa.RecordBatch]:
                try:
                    while rows := cursor.fetchmany(ANSWER_ROWS):
                        yield _batch(schema, rows)
                except Exception as error:
                    raise self._query_error(error, timeout_seconds) from error

            yield Answer(schema.names, types, schema, batches())

    def plan(self, sql: str, timeout_seconds: float) -> Sequence[str]:
        judged = _snowflake_select.judged(sql)
        with self._connection.cursor() as cursor:
            try:
                cursor.execute(f"EXPLAIN USING TEXT {judged}")
                return str(cursor.fetchall()[0][0]).splitlines()
            except Exception as error:
                raise self._query_error(error, timeout_seconds) from error

    def _query_error(self, error: Exception, timeout_seconds: float) -> Exception:
        if not errors.is_drivers(error):
            return error
        self.is_broken = self.is_broken or errors.breaks(error)
        return errors.of_query(error, timeout_seconds)

    def is_fit(self) -> bool:
        return not self.is_broken

    def cancel(self) -> None:
        """The server cancels what a closed connection runs (ABORT_DETACHED_QUERY)."""
        self.is_broken = True
        self.close()

    def close(self) -> None:
        with suppress(Exception):
            self._connection.close()


def _plain(table: pa.Table, columns: Sequence[str]) -> pa.Table:
    """Timestamps as counts of microseconds: how a file's own are read depends on settings of the account."""
    arrays = [
        column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column for column in table.itercolumns()
    ]
    return pa.table(arrays, names=list(columns))


def _type_name(column: Any) -> str:
    name = _NAMES.get(column[1], "TEXT")
    return f"NUMBER(38, {column[5]})" if name == "NUMBER" and column[5] else name


def _schema(description: Sequence[Any]) -> pa.Schema:
    """From (name, type code, display size, internal size, precision, scale, null?) of each column. Names in upper case are unquoted
    ones, which every other engine shows in lower case."""
    fields = []
    for column in description:
        name = column[0].lower() if column[0] == column[0].upper() else column[0]
        type_name = _NAMES.get(column[1], "TEXT")
        if type_name == "NUMBER":
            type_ = pa.decimal128(38, column[5]) if column[5] else pa.int64()
        else:
            type_ = _ARROW.get(type_name, pa.string())
        fields.append(pa.field(name, type_))
    return pa.schema(fields)


def _batch(schema: pa.Schema, rows: Sequence[Sequence[Any]]) -> pa.RecordBatch:
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(schema)
    return pa.record_batch(
        [_array(values, field.type) for values, field in zip(columns, schema, strict=True)], names=schema.names
    )


def _array(values: Sequence[Any], type_: Any) -> pa.Array:
    if pa.types.is_int64(type_) or pa.types.is_decimal(type_):
        # The same number comes as int or as Decimal, as it was computed; beyond 64 bits only an answer of a user's can be.
        numbers = [None if value is None else Decimal(value) for value in values]
        if pa.types.is_decimal(type_):
            return pa.array(numbers, type_)
        return pa.array([None if number is None else int(number) for number in numbers], type_)
    if pa.types.is_binary(type_):
        return pa.array([None if value is None else bytes(value) for value in values], type_)
    if pa.types.is_string(type_):
        return pa.array([None if value is None else str(value) for value in values], type_)
    return pa.array(values, type_)
