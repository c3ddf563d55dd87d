"""Schema explosion: 10,000 event names and 10,000 property names lose nothing. What it costs is measured by bench/explosion.py."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from headrace.config import LoaderConfig
from headrace.loader.loader import Loader
from headrace.warehouses.base import TableName
from list_log import ListLog
from made_events import made, source
from made_loads import rows_of

NAMES = 10_000
MAX_TABLES = 100
"""Fewer than by default, so that the test is short; the names beyond are treated alike."""


@pytest.mark.parametrize("engine", ["duckdb", "postgresql"])
def test_ten_thousand_names_of_events_and_of_properties_lose_nothing(engine: str, tmp_path: Path) -> None:
    warehouse = importlib.import_module(f"engines.{engine}").fresh(tmp_path)()
    log = ListLog()
    log.append(made(f"name-{n}", event=f"Event Number {n}", at=n / 1000) for n in range(NAMES))
    log.append(made(f"wide-{n}", event="Event Number 1", properties={f"p{n}": n}, at=n / 1000) for n in range(NAMES))
    config = LoaderConfig(load_events=NAMES, max_tables=MAX_TABLES)
    try:
        loader = Loader("warehouse", [log], warehouse, lambda: {"shop": source()}, config)
        while loader.step() is not None:
            pass
        assert [[2 * NAMES, 2 * NAMES]] == rows_of(warehouse, "SELECT count(*), count(DISTINCT id) FROM shop.tracks")
        tables = warehouse.tables()
        assert MAX_TABLES - 10 < len([name for name in tables if name.schema == "shop"]) <= MAX_TABLES
        columns = tables[TableName("shop", "event_number_1")]
        assert config.max_columns == len(columns)
        properties = [column for column in columns if column[0] == "p" and column[1:].isdigit()]
        extras = "SELECT count(*) FROM shop.event_number_1 WHERE _extra IS NOT NULL"
        assert NAMES - len(properties) == rows_of(warehouse, extras)[0][0]
        sums = ", ".join(f"sum({column})" for column in properties)
        found = rows_of(warehouse, f"SELECT {sums} FROM shop.event_number_1")[0]
        assert [int(column[1:]) for column in properties] == found
        assert [[0]] == rows_of(warehouse, "SELECT count(*) FROM headrace.rejected")
    finally:
        warehouse.close()
