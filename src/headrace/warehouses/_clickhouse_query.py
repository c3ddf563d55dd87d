"""One query of a user: judged, run read-only with settings of its own, cut off by the server in time, rows and bytes."""

from __future__ import annotations

import math
import re
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import pyarrow as pa
import urllib3
from clickhouse_connect.driver.exceptions import ClickHouseError
from clickhouse_connect.driver.exceptions import Error as DriverError

from headrace.errors import QueryError, WarehouseUnavailableError
from headrace.warehouses import _clickhouse_select
from headrace.warehouses._clickhouse_session import Session, first_line
from headrace.warehouses._clickhouse_sql import text
from headrace.warehouses._reading import CellKind, ReadColumn, Reading, Stop
from headrace.warehouses._values import cell, json_ready
from headrace.warehouses.base import QueryResult

ANSWER_BYTES: Final = 64_000_000
MAX_CHARACTERS: Final = 100_000
_TIMEOUT: Final = frozenset((159, 160))
_MEMORY: Final = frozenset((241,))
_TOO_LARGE: Final = frozenset((158, 191, 307, 396))


def answer(session: Session, sql: str, max_rows: int, timeout_seconds: float) -> QueryResult:
    started = time.monotonic()
    judged = _judged(session, sql)
    with _translated(timeout_seconds):
        found = session.asking.query(judged, settings=_settings(max_rows + 1, timeout_seconds), tz_mode="aware")
        rows = [[json_ready(value) for value in row] for row in found.result_rows[: max_rows + 1]]
    return QueryResult(
        columns=list(found.column_names),
        types=[type_.name for type_ in found.column_types],
        rows=rows[:max_rows],
        truncated=len(rows) > max_rows,
        seconds=round(time.monotonic() - started, 6),
    )


def arrow(session: Session, sql: str, max_rows: int, timeout_seconds: float) -> pa.Table:
    judged = _judged(session, sql)
    with _translated(timeout_seconds):
        settings = _settings(max_rows + 1, timeout_seconds)
        found = session.asking.raw_query(judged, fmt="ArrowStream", settings=settings)
        table = pa.ipc.open_stream(found).read_all() if found else pa.table({})
    if table.num_rows > max_rows:
        raise QueryError(
            f"the answer has more than {max_rows} rows: narrow the query, or ask for more", code="query_too_large"
        )
    return table


@contextmanager
def reading(session: Session, sql: str, timeout_seconds: float, stop: Stop) -> Iterator[Reading]:
    """The answer while it comes, however many rows it has. Raises QueryError."""
    judged = _judged(session, sql)
    settings = {**_time(timeout_seconds), "query_id": uuid.uuid4().hex}
    with (
        stop.by(lambda: session.kill(settings["query_id"])),
        _translated(timeout_seconds),
        session.asking.query_row_block_stream(judged, settings=settings, tz_mode="aware") as stream,
    ):
        found = stream.source
        columns = [
            ReadColumn(name, type_.name, kind_of(type_.name))
            for name, type_ in zip(found.column_names, found.column_types, strict=True)
        ]
        blocks = ([[cell(value) for value in row] for row in block] for block in stream)
        yield Reading(columns, blocks, lambda: _read_rows(found.summary))


def _read_rows(summary: Mapping[str, Any]) -> int | None:
    return int(summary["read_rows"]) if summary.get("read_rows") else None


def plan(session: Session, sql: str, timeout_seconds: float, stop: Stop) -> list[str]:
    """The lines of EXPLAIN. Raises QueryError."""
    judged = _judged(session, sql)
    stop.check()
    with _translated(timeout_seconds):
        found = session.asking.query(f"EXPLAIN {judged}", settings=_time(timeout_seconds))
    return [str(row[0]) for row in found.result_rows]


def kind_of(type_: str) -> CellKind:
    """Of a type's name.

    >>> kind_of("Nullable(Int64)"), kind_of("LowCardinality(String)"), kind_of("Array(Int8)")
    ('integer', 'text', 'nested')
    """
    bare = re.sub(r"^(?:(?:Nullable|LowCardinality)\()+", "", type_)
    return next((kind for begins, kind in _KINDS if bare.startswith(begins)), "text")


_KINDS: Final[Sequence[tuple[tuple[str, ...], CellKind]]] = (
    (("Int", "UInt"), "integer"),
    (("Float", "BFloat"), "float"),
    (("Decimal",), "decimal"),
    (("Bool",), "boolean"),
    (("DateTime",), "timestamp"),
    (("Date",), "date"),
    (("Time",), "time"),
    (("Array", "Tuple", "Map", "JSON", "Nested", "Variant", "Dynamic", "Object"), "nested"),
)
"""`Int` would take `Interval` too, whose values are counts: they are integers indeed."""


def _time(timeout_seconds: float) -> dict[str, Any]:
    return {
        "max_execution_time": max(1, math.ceil(timeout_seconds)),
        "timeout_overflow_mode": "throw",
        "timeout_before_checking_execution_speed": 0,
    }


def _settings(rows: int, timeout_seconds: float) -> dict[str, Any]:
    return {
        **_time(timeout_seconds),
        "limit": rows,
        "max_result_bytes": ANSWER_BYTES,
        "result_overflow_mode": "throw",
    }


def _judged(session: Session, sql: str) -> str:
    """The statement as the engine writes it, when it is one that may run. Raises QueryError."""
    if len(sql) > MAX_CHARACTERS:
        raise QueryError(f"the SQL has {len(sql)} characters; {MAX_CHARACTERS} are allowed")
    if "\0" in sql:
        raise QueryError("the SQL holds a NUL character; remove it")
    try:
        sql.encode()
    except UnicodeEncodeError:
        raise QueryError("the SQL holds half a character (a lone surrogate); remove it") from None
    with _translated(0):
        # The engine's own parser: it takes one statement only and leaves comments out.
        written = session.asking.query(f"SELECT formatQuerySingleLine({text(sql)})").result_rows[0][0]
        # SELECT and WITH alone get so far as to be explained: everything else is refused by its first word.
        _clickhouse_select.check_beginning(written)
        # Without a format of its own the answer is tab-separated: a line break within a name stays escaped.
        tree = session.asking.raw_query(f"EXPLAIN AST {written}").decode()
    _clickhouse_select.check(tree)
    return str(written)


@contextmanager
def _translated(timeout_seconds: float) -> Iterator[None]:
    try:
        yield
    except QueryError:
        raise
    except (ClickHouseError, urllib3.exceptions.HTTPError, OSError, pa.ArrowException) as error:
        raise _query_error(error, timeout_seconds) from error
    except (OverflowError, ValueError) as error:
        raise QueryError(
            f"a value of the answer cannot be shown; wrap its column in toString(): {first_line(error)}",
            code="query_wrong",
        ) from error


def _query_error(error: Exception, timeout_seconds: float) -> Exception:
    code = error.code if isinstance(error, DriverError) else None
    said = first_line(error)
    if code is None and not isinstance(error, ClickHouseError):
        return WarehouseUnavailableError(f"warehouse: ClickHouse cannot be reached: {said}")
    if code in _TIMEOUT:
        return QueryError(
            f"the query was cancelled after {timeout_seconds:g} seconds: narrow it down", code="query_timeout"
        )
    if code in _MEMORY:
        return QueryError(f"the query needs more memory than it may have: {said}", code="query_memory")
    if code in _TOO_LARGE:
        return QueryError(
            f"the answer is larger than {ANSWER_BYTES // 1_000_000} MB: ask for fewer columns or rows",
            code="query_too_large",
        )
    return QueryError(f"the query failed: {said}", code="query_wrong")
