"""One query of a user: judged, run in a read-only transaction on a cursor of its own, cut off in time, rows and bytes."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

import duckdb
import pyarrow as pa

from headrace.errors import QueryError
from headrace.warehouses import _duckdb_place, _duckdb_select, _values
from headrace.warehouses._reading import ReadColumn, Reading, Stop
from headrace.warehouses.base import QueryResult

ANSWER_BYTES: Final = 64_000_000
BATCH_ROWS: Final = 1_000
ARROW_BATCH_ROWS: Final = 50_000
INTERRUPT_AGAIN_SECONDS: Final = 0.05
_NO_TEXT: Final = re.compile(r"\b(BIT|BIGNUM|UHUGEINT|GEOMETRY|VARIANT|TIME WITH TIME ZONE)\b")
"""Types whose values Arrow gives as raw bytes or changed."""


def answer(cursor: duckdb.DuckDBPyConnection, sql: str, max_rows: int, timeout_seconds: float) -> QueryResult:
    """Raises QueryError; errors that end the engine leave as DuckDB's own."""
    started = time.monotonic()
    with _relation(cursor, sql, timeout_seconds) as relation:
        columns, types = list(relation.columns), [str(type_) for type_ in relation.types]
        _check_types(columns, types)
        rows: list[list[Any]] = []
        for batch in _batches(relation.to_arrow_reader(BATCH_ROWS), max_rows + 1):
            rows.extend(_values.rows(batch))
    seconds = round(time.monotonic() - started, 6)
    return QueryResult(
        columns=columns, types=types, rows=rows[:max_rows], truncated=len(rows) > max_rows, seconds=seconds
    )


def arrow(cursor: duckdb.DuckDBPyConnection, sql: str, max_rows: int, timeout_seconds: float) -> pa.Table:
    """The same as an Arrow table. Raises QueryError, also for more than `max_rows` rows."""
    with _relation(cursor, sql, timeout_seconds) as relation:
        reader = relation.to_arrow_reader(ARROW_BATCH_ROWS)
        schema = reader.schema
        table = pa.Table.from_batches(list(_batches(reader, max_rows + 1)), schema)
    if table.num_rows > max_rows:
        raise QueryError(
            f"the answer has more than {max_rows} rows: narrow the query, or ask for more", code="query_too_large"
        )
    return table


@contextmanager
def reading(cursor: duckdb.DuckDBPyConnection, sql: str, timeout_seconds: float, stop: Stop) -> Iterator[Reading]:
    """The answer while it comes, however many rows it has. Raises QueryError."""
    with stop.by(cursor.interrupt), _relation(cursor, sql, timeout_seconds) as relation:
        types = [str(type_).strip('"') for type_ in relation.types]
        _check_types(list(relation.columns), types)
        with relation.to_arrow_reader(ARROW_BATCH_ROWS // 10) as reader:
            named = zip(relation.columns, types, reader.schema, strict=True)
            columns = [ReadColumn(name, type_, _values.kind(type_, field.type)) for name, type_, field in named]
            kinds = [column.kind for column in columns]
            yield Reading(columns, (_values.cells(batch, kinds) for batch in reader))


def plan(cursor: duckdb.DuckDBPyConnection, sql: str, timeout_seconds: float, stop: Stop) -> list[str]:
    """The lines of EXPLAIN. Raises QueryError."""
    with stop.by(cursor.interrupt), _running(cursor, sql, timeout_seconds):
        rows = cursor.execute(f"EXPLAIN\n{sql}").fetchall()
    return [line for _, text in rows for line in str(text).splitlines()]


@contextmanager
def _relation(cursor: duckdb.DuckDBPyConnection, sql: str, timeout_seconds: float) -> Iterator[Any]:
    with _running(cursor, sql, timeout_seconds):
        yield cursor.sql(sql)


@contextmanager
def _running(cursor: duckdb.DuckDBPyConnection, sql: str, timeout_seconds: float) -> Iterator[None]:
    """A read-only transaction for the judged statement, until the time is over."""
    _judge(cursor, sql)
    with _deadline(cursor, timeout_seconds) as overdue:
        try:
            cursor.execute("BEGIN TRANSACTION READ ONLY")
            yield
        except (duckdb.Error, pa.ArrowException, OSError, OverflowError, ValueError) as error:
            translated = _translated(error, overdue.is_set(), timeout_seconds)
            if isinstance(translated, QueryError) and translated.code == "query_wrong":
                translated.position = _duckdb_place.position(cursor, sql, str(error))
            raise translated from error
        finally:
            with suppress(duckdb.Error):
                cursor.execute("ROLLBACK")


def _judge(cursor: duckdb.DuckDBPyConnection, sql: str) -> None:
    if len(sql) > _duckdb_select.MAX_CHARACTERS:
        raise QueryError(f"the SQL has {len(sql)} characters; {_duckdb_select.MAX_CHARACTERS} are allowed")
    if "\0" in sql:
        raise QueryError("the SQL holds a NUL character; remove it")

    def kind_of_statement() -> str:
        kinds = [statement.type.name for statement in cursor.extract_statements(sql)]
        return ", ".join("PIVOT before FROM" if kind == "MULTI" else kind for kind in kinds)

    try:
        serialized = cursor.execute("SELECT json_serialize_sql(?)", [sql]).fetchall()[0][0]
        _duckdb_select.check(serialized, kind_of_statement, sql)
    except duckdb.FatalException:
        raise
    except (duckdb.Error, UnicodeError) as error:
        raise QueryError(f"the SQL cannot be read: {error}", code="query_wrong") from error


@contextmanager
def _deadline(cursor: duckdb.DuckDBPyConnection, timeout_seconds: float) -> Iterator[threading.Event]:
    """Interrupts the cursor once the time is over, again and again: an interrupt between two statements is lost.

    Yields what is set from then on."""
    done, overdue = threading.Event(), threading.Event()

    def interrupt() -> None:
        if done.wait(timeout_seconds):
            return
        overdue.set()
        while not done.wait(INTERRUPT_AGAIN_SECONDS):
            with suppress(duckdb.Error):
                cursor.interrupt()

    thread = threading.Thread(target=interrupt, name="query-deadline", daemon=True)
    thread.start()
    try:
        yield overdue
    finally:
        done.set()
        thread.join()


def _check_types(columns: list[str], types: list[str]) -> None:
    for column, type_ in zip(columns, types, strict=True):
        if _NO_TEXT.search(type_):
            raise QueryError(f"the column {column} has the type {type_}, which cannot be shown: cast it to VARCHAR")


def _batches(reader: pa.RecordBatchReader, limit: int) -> Iterator[pa.RecordBatch]:
    """Up to `limit` rows."""
    rows = size = 0
    with reader:
        for batch in reader:
            size += batch.nbytes
            if size > ANSWER_BYTES:
                raise QueryError(
                    f"the answer is larger than {ANSWER_BYTES // 1_000_000} MB: ask for fewer columns or rows",
                    code="query_too_large",
                )
            yield batch.slice(0, limit - rows)
            rows += batch.num_rows
            if rows >= limit:
                break


def _translated(error: Exception, overdue: bool, timeout_seconds: float) -> Exception:  # noqa: FBT001 -- a fact, private
    """By the text, since an error in the middle of an answer comes through Arrow, which knows DuckDB's classes not."""
    text = re.split(r"\n\n|\n\s*(?:Did you mean|Candidate )|\. Detail: ", str(error).strip(), maxsplit=1)[0]
    if "FATAL Error" in text or "has been invalidated" in text:
        return duckdb.FatalException(text)
    if overdue:
        return QueryError(
            f"the query was cancelled after {timeout_seconds:g} seconds: narrow it down", code="query_timeout"
        )
    if "INTERRUPT Error" in text:
        return QueryError("the query was cancelled because the warehouse is being closed", code="query_timeout")
    if "Out of Memory Error" in text:
        return QueryError(f"the query needs more memory than the warehouse has: {text}", code="query_memory")
    if "Permission Error" in text:
        return QueryError(f"files and settings cannot be reached by a query: {text}")
    if isinstance(error, OverflowError | ValueError):
        return QueryError(
            f"a value of the answer cannot be shown; cast its column to VARCHAR: {text}", code="query_wrong"
        )
    return QueryError(f"the query failed: {text}{_duckdb_place.hint(str(error))}", code="query_wrong")
