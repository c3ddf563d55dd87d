"""Statements of headrace's own over DuckDB's tables, within a transaction that somebody else begins and ends."""

# ruff: noqa: S608 -- identifiers go through _sql.quoted

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import duckdb

from headrace.warehouses._sql import quoted


class DuckDBDerivation:
    """`warehouses.base.Derivation`. Temporary tables are the cursor's, which is closed afterwards."""

    engine = "duckdb"

    def __init__(self, cursor: duckdb.DuckDBPyConnection) -> None:
        self._cursor = cursor

    def run(self, statements: Sequence[str]) -> None:
        for statement in statements:
            self._cursor.execute(statement)

    def fetch(self, query: str) -> Any:
        return self._cursor.sql(query).to_arrow_table()

    def stage(self, name: str, table: Any) -> None:
        view = f"headrace staged {name}"
        self._cursor.register(view, table)
        self._cursor.execute(f"CREATE OR REPLACE TEMPORARY TABLE {quoted(name)} AS SELECT * FROM {quoted(view)}")
        self._cursor.unregister(view)
