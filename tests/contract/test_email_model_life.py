"""What the e-mail model does when what it stands on changes: other rules, a schema of somebody else, another version of its tables."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import mailed
from headrace.errors import ConfigError
from headrace.reports.model import model
from headrace.reports.model.engine import engine
from headrace.reports.model.model import EmailModel
from headrace.reports.model.schema import TABLES
from headrace.reports.model.settings import ModelSettings
from headrace.simulator.realism import FULL
from headrace.warehouses.base import Derivation, Deriving, Warehouse

FIGURES = (
    "SELECT campaign_id, human_opens, human_clicks, clicks, orders, revenue FROM email.campaigns ORDER BY campaign_id"
)
WITHOUT_AGENTS = ModelSettings(disabled_rules=["privacy_agent", "scanner_agent", "fast_click"])


@pytest.fixture(params=["duckdb", "postgresql"])
def warehouse(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Warehouse]:
    opened: Warehouse = importlib.import_module(f"engines.{request.param}").fresh(tmp_path)()
    yield opened
    opened.close()


def rows(warehouse: Warehouse, sql: str) -> list[list[Any]]:
    return [list(row) for row in warehouse.query(sql, max_rows=100_000, timeout_seconds=60).rows]


def run(warehouse: Warehouse, *statements: str) -> None:
    def work(derivation: Derivation) -> None:
        derivation.run(statements)

    derive(warehouse).derive(work)


def derive(warehouse: Warehouse) -> Deriving:
    offered: object = warehouse
    assert isinstance(offered, Deriving)
    return offered


def advanced(warehouse: Warehouse, settings: ModelSettings, slice_events: int = 100_000) -> int:
    """How many increments it took."""
    made = EmailModel(derive(warehouse), mailed.MAIL_SOURCES, settings, slice_events)
    increments = 1
    while made.advance(warehouse.tables()):
        increments += 1
    return increments


def test_other_rules_flag_everything_anew_without_emptying_a_table(warehouse: Warehouse) -> None:
    mailed.loaded(warehouse, list(mailed.entries(150, 2, FULL)), load_events=20_000)
    advanced(warehouse, ModelSettings())
    before = rows(warehouse, FIGURES)
    first = EmailModel(derive(warehouse), mailed.MAIL_SOURCES, WITHOUT_AGENTS, 100)
    assert first.advance(warehouse.tables())  # a part is done, and nothing has vanished
    assert len(before) == len(rows(warehouse, FIGURES))
    assert 2 < advanced(warehouse, WITHOUT_AGENTS, 100)  # goes on after a restart
    after = rows(warehouse, FIGURES)
    assert before != after
    EmailModel(derive(warehouse), mailed.MAIL_SOURCES, WITHOUT_AGENTS).rebuild(warehouse.tables())
    assert rows(warehouse, FIGURES) == after
    assert 1 == advanced(warehouse, WITHOUT_AGENTS, 100)
    advanced(warehouse, ModelSettings())
    assert before == rows(warehouse, FIGURES)


def test_tables_of_somebody_else_are_left_alone(warehouse: Warehouse) -> None:
    mailed.loaded(warehouse, list(mailed.entries(20, 1, FULL)), load_events=20_000)
    run(
        warehouse,
        "CREATE SCHEMA email",
        "CREATE TABLE email.campaigns (id integer)",
        "INSERT INTO email.campaigns VALUES (7)",
    )
    with pytest.raises(ConfigError, match="rename that schema"):
        advanced(warehouse, ModelSettings())
    assert [[7]] == rows(warehouse, "SELECT id FROM email.campaigns")


def test_another_version_makes_the_tables_anew_with_its_own_columns(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    mailed.loaded(warehouse, list(mailed.entries(40, 1, FULL)), load_events=20_000)
    advanced(warehouse, ModelSettings())
    before = rows(warehouse, FIGURES)
    # As if an older version had made a table with other columns.
    run(warehouse, "DROP TABLE email.quality", "CREATE TABLE email.quality (day date, odd bigint)")
    monkeypatch.setattr(model, "VERSION", model.VERSION + 1)
    advanced(warehouse, ModelSettings())
    assert before == rows(warehouse, FIGURES)
    assert rows(warehouse, "SELECT events FROM email.quality")


def test_all_tables_and_columns_are_those_that_are_promised(warehouse: Warehouse) -> None:
    mailed.loaded(warehouse, list(mailed.entries(20, 1, FULL)), load_events=20_000)
    advanced(warehouse, ModelSettings())
    found = {name.table: list(columns) for name, columns in warehouse.tables().items() if name.schema == "email"}
    assert {name: list(table.columns) for name, table in TABLES.items()} == found
    assert engine(derive(warehouse).engine).name == derive(warehouse).engine
