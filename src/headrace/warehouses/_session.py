"""What a transactional driver needs of its engine: a connection that runs statements, and how a user's query is answered."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from decimal import Decimal, InvalidOperation
from typing import Any, Final, NamedTuple, Protocol

import pyarrow as pa

from headrace.errors import QueryError
from headrace.warehouses import _values
from headrace.warehouses._dialect import Dialect
from headrace.warehouses._reading import CellKind, ReadColumn, Reading
from headrace.warehouses.base import QueryResult, TableName

ANSWER_BYTES: Final = 64_000_000
_NOT_SHOWN: Final = "a value of the answer cannot be shown; cast its column to text: {error}"


class HeldError(Exception):
    """A statement was stopped by something that uses the table: an object that depends on the column, or a lock that did not
    go away in time. Only `run` and `change` raise it; `Session.holder` says more once the transaction is rolled back."""


class Answer(NamedTuple):
    """A query's columns, what the engine calls their types, and its rows, which are read while the query runs."""

    columns: Sequence[str]
    types: Sequence[str]
    schema: pa.Schema
    batches: Iterator[pa.RecordBatch]
    decimals: Sequence[int] = ()
    """The places of columns whose values are decimal numbers written as texts, for engines whose decimals Arrow cannot hold."""


class Session(Protocol):
    """One connection, used by one thread at a time.

    Every method but `close`, `cancel` and `rollback` raises WarehouseUnavailableError for what may pass, ConfigError for what the operator
    must change, ValueError for what is wrong with the statement or its values, and nothing of the driver's own."""

    dialect: Dialect
    is_broken: bool
    """The connection is past use; a new one must be opened."""

    def begin(self) -> None: ...

    def commit(self) -> None: ...

    def rollback(self) -> None:
        """Safe outside a transaction and on a broken connection; raises nothing. Staged tables are gone afterwards."""
        ...

    def run(self, statements: Sequence[str]) -> None:
        """In order; in one round trip where the engine can. Raises HeldError, too."""
        ...

    def change(self, statement: str) -> int:
        """Run an INSERT, UPDATE or DELETE and tell how many rows it changed. Raises HeldError, too."""
        ...

    def fetch(self, query: str) -> pa.Table: ...

    def blocks(self, query: str, max_rows: int) -> Iterator[pa.RecordBatch]:
        """The rows of a query that does not fit the memory, read while it runs."""
        ...

    def stage(self, table: pa.Table) -> str:
        """Put the rows into a temporary table with the same column names, and say how it is called in SQL. It lives until the
        transaction ends; calls outside a transaction are not made."""
        ...

    def holder(self, name: TableName | None, error: HeldError) -> str:
        """Who or what held the table, and what mends it; a sentence for the operator. After `rollback`."""
        ...

    def answer(self, sql: str, timeout_seconds: float) -> AbstractContextManager[Answer]:
        """One SELECT of a user, judged and run where it can change nothing. Raises QueryError, also while batches are read."""
        ...

    def plan(self, sql: str, timeout_seconds: float) -> Sequence[str]:
        """The lines of what the engine's EXPLAIN says of one SELECT of a user. Raises QueryError, also where there is none."""
        ...

    def is_fit(self) -> bool:
        """Whether a session that stood idle can be used; asks the server."""
        ...

    def cancel(self) -> None:
        """End what runs now; called from another thread."""
        ...

    def close(self) -> None: ...


def result(answer: Answer, max_rows: int, seconds: Any) -> QueryResult:
    """`seconds` is called when all rows are read."""
    rows: list[list[Any]] = []
    for batch in bounded(answer.batches, max_rows + 1):
        for row in _shown(batch):
            for place in answer.decimals:
                row[place] = None if row[place] is None else _number(row[place])
            rows.append(row)
    return QueryResult(answer.columns, answer.types, rows[:max_rows], len(rows) > max_rows, seconds())


def reading(answer: Answer) -> Reading:
    """The answer while it comes. Decimals that are texts already keep each of their digits."""
    named = enumerate(zip(answer.columns, answer.types, answer.schema, strict=True))
    columns = [
        ReadColumn(name, type_, "decimal" if place in answer.decimals else _values.kind(type_, field.type))
        for place, (name, type_, field) in named
    ]
    kinds = [column.kind for column in columns]
    return Reading(columns, (_cells(batch, kinds) for batch in answer.batches))


def _cells(batch: pa.RecordBatch, kinds: Sequence[CellKind]) -> Sequence[Sequence[Any]]:
    try:
        return _values.cells(batch, kinds)
    except (OverflowError, ValueError) as error:
        raise QueryError(_NOT_SHOWN.format(error=error), "query_wrong") from error


def _number(text: str) -> Any:
    value = Decimal(text)
    return _values.json_ready(value if value.is_finite() else float(value))


def _shown(batch: pa.RecordBatch) -> list[list[Any]]:
    try:
        return _values.rows(batch)
    except (OverflowError, ValueError) as error:
        raise QueryError(_NOT_SHOWN.format(error=error), "query_wrong") from error


def table(answer: Answer, max_rows: int) -> pa.Table:
    found = pa.Table.from_batches(list(bounded(answer.batches, max_rows + 1)), answer.schema)
    if found.num_rows > max_rows:
        raise QueryError(
            f"the answer has more than {max_rows} rows: narrow the query, or ask for more", "query_too_large"
        )
    for place in answer.decimals:
        found = found.set_column(place, found.schema.field(place).name, _numbers(found.column(place)))
    return found


def _numbers(texts: pa.ChunkedArray) -> pa.Array:
    """Integers where all are, else decimals of the least size; texts stay where one of them is neither."""
    with suppress(pa.ArrowException):
        return texts.cast(pa.int64())
    with suppress(pa.ArrowException, InvalidOperation):
        return pa.array([None if text is None else Decimal(text) for text in texts.to_pylist()])
    return texts


def bounded(batches: Iterator[pa.RecordBatch], limit: int) -> Iterator[pa.RecordBatch]:
    """Up to `limit` rows. Raises QueryError for an answer of too many bytes."""
    rows = size = 0
    for batch in batches:
        size += batch.nbytes
        if size > ANSWER_BYTES:
            large = f"the answer is larger than {ANSWER_BYTES // 1_000_000} MB: ask for fewer columns or rows"
            raise QueryError(large, "query_too_large")
        yield batch.slice(0, limit - rows)
        rows += batch.num_rows
        if rows >= limit:
            return
