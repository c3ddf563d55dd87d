"""The indexes of PostgreSQL's tables take whatever the rows hold."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from headrace.config import WarehouseConfig
from headrace.warehouses import _postgresql_dialect
from headrace.warehouses.base import Columns, ColumnType, Place, TableName
from headrace.warehouses.postgresql import PostgreSQLKind, PostgreSQLSettings
from made_loads import TRACK_COLUMNS, arrow, at, load, rows_of
from postgresql_server import PostgreSQLServer, shared

TABLES = ("tracks", "identifies", "groups")
COLUMNS: Columns = {**TRACK_COLUMNS, "group_id": ColumnType.STRING}
ROWS = 12_000


@pytest.fixture(scope="module")
def server() -> PostgreSQLServer:
    return shared()


@pytest.fixture
def database(server: PostgreSQLServer) -> str:
    return server.database()


def fill(server: PostgreSQLServer, database: str, tables: Sequence[str]) -> int:
    """Rows with ids of their own in every table, in ranges that were summarised before. Returns how many are there."""
    kind = PostgreSQLKind(
        PostgreSQLSettings(dsn=server.dsn(database)), Place("team", Path("/nowhere"), WarehouseConfig())
    )
    warehouse = kind.open()
    try:
        names = [TableName("shop", table) for table in tables]
        for start in range(0, ROWS, ROWS // 6):
            numbers = range(start, start + ROWS // 6)
            rows = arrow(COLUMNS, [(f"e{n}", f"u{n}", at(n), at(n), f"g{n}") for n in numbers])
            create = {} if start else dict.fromkeys(names, COLUMNS)
            warehouse.commit(load(start, start + len(numbers), dict.fromkeys(names, rows), create=create))
            server.sql(*(f"VACUUM {schema}.{table}" for schema, table in names), database=database)
        return sum(rows_of(warehouse, f"SELECT count(*) FROM shop.{table}")[0][0] for table in tables)
    finally:
        warehouse.close()


def test_filters_that_are_full_of_ids_fit_their_index(server: PostgreSQLServer, database: str) -> None:
    assert ROWS * len(TABLES) == fill(server, database, TABLES)


def test_larger_filters_would_not_fit(server: PostgreSQLServer, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_postgresql_dialect, "RANGE_PAGES", 2 * _postgresql_dialect.RANGE_PAGES)
    with pytest.raises(ValueError, match="index row size"):
        fill(server, database, TABLES[1:])
