"""Snowflake, played by fakesnow: its SQL on DuckDB. It has no locks, and its DDL does not end a transaction: what these mean is
looked at in tests/unit/test_snowflake_warehouse.py."""

from __future__ import annotations

import importlib
import re
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import conftest
from headrace.warehouses._deferred import DeferredWarehouse
from headrace.warehouses._snowflake import SnowflakeSession
from headrace.warehouses._snowflake_dialect import SnowflakeDialect
from headrace.warehouses.base import Warehouse

_QUIET = threading.RLock()


def fresh(folder: Path) -> Callable[[], Warehouse]:
    connect = connection_of(folder)
    dialect = SnowflakeDialect()
    return lambda: DeferredWarehouse(dialect, lambda: SnowflakeSession(dialect, connect))


def connection_of(folder: Path) -> Callable[[], Any]:
    """What opens a connection to the same pretended account; its databases are files of the folder."""
    try:
        fakesnow = importlib.import_module("fakesnow.instance")
    except ImportError:
        conftest.missing("fakesnow is not installed; `pip install fakesnow 'snowflake-connector-python<5'` does it")
    account = fakesnow.FakeSnow(db_path=folder, nop_regexes=["^ALTER SESSION"])
    return lambda: Connection(account.connect(database="EVENTS", schema="HEADRACE"))


class Connection:
    """DuckDB's own errors leave fakesnow as they are; Snowflake's are of its connector, and it waits where DuckDB refuses."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def cursor(self) -> Cursor:
        return Cursor(self._connection.cursor())

    def close(self) -> None:
        self._connection.close()


class Cursor:
    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor

    def execute(self, statement: str) -> None:
        import duckdb

        ProgrammingError = importlib.import_module("snowflake.connector.errors").ProgrammingError  # noqa: N806 -- a class
        try:
            with quiet():
                for one in _for_fakesnow(statement):
                    self._cursor.execute(one)
        except duckdb.TransactionException as error:
            raise ProgrammingError(str(error), errno=625, sqlstate="57014") from error
        except duckdb.Error as error:
            raise ProgrammingError(str(error), errno=1003, sqlstate="42000") from error

    def fetchmany(self, rows: int) -> Any:
        with quiet():
            return self._cursor.fetchmany(rows)

    @property
    def rowcount(self) -> int:
        return int(self._cursor.rowcount or 0)

    @property
    def description(self) -> Any:
        with quiet():
            return self._cursor.description

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        self._cursor.close()


def _for_fakesnow(statement: str) -> list[str]:
    """It does not replace a table by a clone, and knows no grants."""
    cloned = re.fullmatch(r"CREATE OR REPLACE TABLE (\S+) CLONE (\S+) COPY GRANTS", statement)
    if cloned is None:
        return [statement]
    return [f"DROP TABLE IF EXISTS {cloned[1]}", f"CREATE TABLE {cloned[1]} CLONE {cloned[2]}"]


@contextmanager
def quiet() -> Iterator[None]:
    """fakesnow asks DuckDB in a way that DuckDB warns of. Filters are the process's, so one thread at a time."""
    with _QUIET, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
