"""The dbt package: what it names is there, and its models and tests run on both engines. `python tests/dbt_run.py` has dbt itself run it.

That they find nothing wrong with simulated mails is tested beside the recipes, over the same list."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import pytest

import email_rows
import email_tables
from dbt_project import Check, Project, built, wrong
from headrace.errors import QueryError
from headrace.reports.model.schema import TABLES
from headrace.warehouses.base import Deriving, Warehouse

ENGINES: Final = ("duckdb", "postgresql")
PROJECT: Final = Project()
CHECKS: Final = list(PROJECT.checks())


@contextmanager
def both(factory: pytest.TempPathFactory, fill: Callable[[Warehouse], None]) -> Iterator[Mapping[str, Warehouse]]:
    """Both engines, filled, with the package's models."""
    with ExitStack() as stack:
        warehouses: dict[str, Warehouse] = {}
        for name in ENGINES:
            warehouse: Warehouse = importlib.import_module(f"engines.{name}").fresh(factory.mktemp(name))()
            stack.callback(warehouse.close)
            fill(warehouse)
            built(PROJECT, warehouse)
            warehouses[name] = warehouse
        yield warehouses


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Warehouse]]:
    """Rows that agree in nothing, the same on both engines."""

    def fill(warehouse: Warehouse) -> None:
        assert isinstance(warehouse, Deriving)
        email_tables.create(warehouse)
        email_tables.fill(warehouse, email_rows.rows())

    with both(tmp_path_factory, fill) as warehouses:
        yield warehouses


def test_the_package_has_each_table_with_each_column() -> None:
    assert {name: list(table.columns) for name, table in TABLES.items() if not table.is_inner} == {
        table["name"]: [column["name"] for column in table["columns"]] for table in PROJECT.sources["tables"]
    }


def test_each_model_is_described_and_each_description_has_its_model() -> None:
    assert PROJECT.files.keys() == PROJECT.described.keys()


def test_a_folder_of_models_has_its_settings() -> None:
    folders = {file.parent.name for file in PROJECT.files.values()}
    assert folders == PROJECT.settings["models"][PROJECT.name].keys()


@pytest.mark.parametrize("model", PROJECT.described)
def test_a_described_column_is_one_of_the_model(model: str, odd: Mapping[str, Warehouse]) -> None:
    described = {column["name"] for column in PROJECT.described[model]["columns"]}
    for warehouse in odd.values():
        found = warehouse.query(f"SELECT * FROM analytics.{model} LIMIT 1", max_rows=1, timeout_seconds=60)
        assert set() == described - set(found.columns)


def test_each_check_finds_the_same_on_both_engines(odd: Mapping[str, Warehouse]) -> None:
    found = {check.name: [wrong(odd[name], check) for name in ENGINES] for check in CHECKS}
    assert {} == {name: numbers for name, numbers in found.items() if numbers[0] != numbers[1]}
    assert len(CHECKS) > 100
    of_agreement = [check.name for check in CHECKS if " " not in check.name]
    assert [] == [name for name in of_agreement if not found[name][0]], "the control: odd rows do not agree"


def test_a_check_of_a_column_that_is_not_there_fails(odd: Mapping[str, Warehouse]) -> None:
    """The control: both engines read each check."""
    for warehouse in odd.values():
        with pytest.raises(QueryError, match="humane"):
            wrong(warehouse, Check("", CHECKS[0].sql.replace("is_human_opened", "is_humane")))


BREAK: Final[Mapping[str, tuple[str, str]]] = {
    "email.messages message_id unique": ("messages", "UPDATE email.messages SET message_id = 1"),
    "email.messages message_id not_null": ("messages", "UPDATE email.messages SET message_id = NULL"),
    "email.messages device accepted_values": ("messages", "UPDATE email.messages SET device = 'fridge'"),
    "email.links  headrace_email.unique_together": (
        "links",
        "UPDATE email.links SET campaign_id = 'c', email_id = 'e', link = 'l'",
    ),
    "email.links campaign_id relationships": ("links", "UPDATE email.links SET campaign_id = 'nobody'"),
    "email.campaigns open_rate headrace_email.between": ("campaigns", "UPDATE email.campaigns SET open_rate = 1.5"),
}
"""For each kind of check, rows made wrong. Without indexes, which are an engine's own checks."""


def test_each_kind_of_check_finds_what_is_wrong(tmp_path: Path) -> None:
    checks = {check.name: check for check in CHECKS}
    warehouse: Warehouse = importlib.import_module("engines.duckdb").fresh(tmp_path)()
    assert isinstance(warehouse, Deriving)
    rows = email_rows.rows()
    campaigns = {row["campaign_id"] for row in rows["campaigns"]}
    email_tables.create(warehouse)
    email_tables.fill(warehouse, {"campaigns": rows["campaigns"]})
    found = {}
    for name, (table, statement) in BREAK.items():
        few = [row for row in rows[table] if row["campaign_id"] in campaigns][:5]
        warehouse.derive(lambda derivation, table=table: derivation.run([f"DELETE FROM email.{table}"]))  # type: ignore[misc]
        email_tables.fill(warehouse, {table: few})
        before = wrong(warehouse, checks[name])
        warehouse.derive(lambda derivation, statement=statement: derivation.run([statement]))  # type: ignore[misc]
        found[name] = (before, wrong(warehouse, checks[name]) > 0)
    assert dict.fromkeys(BREAK, (0, True)) == found
    warehouse.close()
