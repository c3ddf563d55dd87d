"""Queries of users over the lake: the tables' current files as views of a database that lives as long as the query."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import duckdb
from pyiceberg.table import Table

from headrace.warehouses import _duckdb_query
from headrace.warehouses._iceberg_books import KEPT, Housekeeping
from headrace.warehouses._iceberg_engine import Engine
from headrace.warehouses._iceberg_files import Planned, planned, relation
from headrace.warehouses._reading import Reading, Stop
from headrace.warehouses._sql import qualified, quoted
from headrace.warehouses.base import HOUSEKEEPING, QueryResult, TableName


def answer(
    engine: Engine,
    tables: Mapping[TableName, Table],
    books: Housekeeping,
    sql: str,
    max_rows: int,
    timeout_seconds: float,
) -> QueryResult:
    with _views(engine, tables, books, sql) as cursor:
        return _duckdb_query.answer(cursor, sql, max_rows, timeout_seconds)


def arrow(
    engine: Engine,
    tables: Mapping[TableName, Table],
    books: Housekeeping,
    sql: str,
    max_rows: int,
    timeout_seconds: float,
) -> Any:
    with _views(engine, tables, books, sql) as cursor:
        return _duckdb_query.arrow(cursor, sql, max_rows, timeout_seconds)


@contextmanager
def reading(
    engine: Engine,
    tables: Mapping[TableName, Table],
    books: Housekeeping,
    sql: str,
    timeout_seconds: float,
    stop: Stop,
) -> Iterator[Reading]:
    with (
        _views(engine, tables, books, sql) as cursor,
        _duckdb_query.reading(cursor, sql, timeout_seconds, stop) as reading,
    ):
        yield reading


def plan(
    engine: Engine,
    tables: Mapping[TableName, Table],
    books: Housekeeping,
    sql: str,
    timeout_seconds: float,
    stop: Stop,
) -> list[str]:
    with _views(engine, tables, books, sql) as cursor:
        return _duckdb_query.plan(cursor, sql, timeout_seconds, stop)


@contextmanager
def _views(
    engine: Engine, tables: Mapping[TableName, Table], books: Housekeeping, sql: str
) -> Iterator[duckdb.DuckDBPyConnection]:
    """The named tables are there with their rows; the others, empty, only where the query looks at what tables there are."""
    with engine.cursor() as cursor:
        named = _named(cursor, sql)
        lists = any(word in sql.casefold() for word in ("information_schema", "duckdb_", "describe"))
        for schema in {HOUSEKEEPING, *(name.schema for name in tables)}:
            cursor.execute(f"CREATE SCHEMA {quoted(schema)}")
        for name, table in tables.items():
            is_named = _folded(name) in named
            if is_named or lists:
                plan = planned(table) if is_named else Planned(table, table.schema(), [], masked=False)
                cursor.execute(f"CREATE VIEW {qualified(name)} AS {relation(cursor, plan)}")
        for kept in KEPT:
            name = TableName(HOUSEKEEPING, kept)
            if _folded(name) in named or lists:
                rows = books.arrow(kept)
                cursor.register(f"headrace {kept}", rows)
                as_json = ' REPLACE ("rows"::JSON AS "rows")' if kept == "loads" else ""
                select = f"SELECT *{as_json} FROM {quoted(f'headrace {kept}')}"  # noqa: S608 -- quoted
                cursor.execute(f"CREATE TABLE {qualified(name)} AS {select}")
                cursor.unregister(f"headrace {kept}")
        yield cursor


def _folded(name: TableName) -> tuple[str, ...]:
    return tuple(part.casefold() for part in name)


def _named(cursor: duckdb.DuckDBPyConnection, sql: str) -> set[tuple[str, ...]]:
    """The tables that the text names, as (schema, table) in small letters. What is no query is judged later, and names none."""
    tree: Any = {}
    with suppress(duckdb.Error, UnicodeError):
        tree = json.loads(cursor.execute("SELECT json_serialize_sql(?)", [sql]).fetchall()[0][0])
    found: set[tuple[str, ...]] = set()
    waiting: list[Any] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            if node.get("type") == "BASE_TABLE":
                found.add(tuple(part.casefold() for part in node["qualified_name"]["path"][-2:]))
            waiting.extend(node.values())
        elif isinstance(node, list):
            waiting.extend(node)
    return found
