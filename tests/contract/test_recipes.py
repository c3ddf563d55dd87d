"""Each SELECT of the documents about the e-mail model runs unchanged on DuckDB and PostgreSQL, with the same rows."""

from __future__ import annotations

import importlib
import math
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

import email_rows
import email_tables
import mailed
from dbt_project import Project, built, wrong
from headrace.errors import QueryError
from headrace.simulator.realism import FULL
from headrace.warehouses.base import Deriving, QueryResult, Warehouse

DOCS: Final = Path(__file__).parents[2] / "docs"
FILES: Final = ("recipes.md", "email-model.md")
ENGINES: Final = ("duckdb", "postgresql")
MAX_ROWS: Final = 20_000
SEED: Final = 67
"""Of a list of 300 in which mails bounce, people unsubscribe, and orders follow a click, an open, and nothing, of the holdout's, too."""

EVENT_TABLES: Final = (
    "CREATE SCHEMA shop",
    "CREATE TABLE shop.pages (user_id text, anonymous_id text, name text, timestamp timestamptz)",
    "INSERT INTO shop.pages VALUES ('r1', NULL, 'Home', '2026-10-20 00:00:00+00'), (NULL, 'A1', 'Sale', '2026-10-25 12:00:00+00'), (NULL, 'R2', NULL, NULL)",
    "CREATE SCHEMA selligent",
    "CREATE TABLE selligent.email_link_clicked (id text, context_user_agent text)",
    "INSERT INTO selligent.email_link_clicked VALUES ('i1', 'browser'), ('i1', NULL), ('i2', 'other'), (NULL, 'none')",
)
"""What the recipes read of event tables, for odd rows."""


class Recipe(NamedTuple):
    file: str
    title: str
    sql: str


def recipes_of(file: str, text: str) -> list[Recipe]:
    """Each SQL block with the heading above it."""
    found: list[Recipe] = []
    title = ""
    for match in re.finditer(r"^#+ (?P<title>[^\n]+)$|^```sql\n(?P<sql>.*?)^```$", text, re.MULTILINE | re.DOTALL):
        if match["title"] is not None:
            title = match["title"]
        else:
            found.append(Recipe(file, title, match["sql"]))
    return found


RECIPES: Final = [recipe for file in FILES for recipe in recipes_of(file, (DOCS / file).read_text())]


Warehouses = Mapping[str, Warehouse]
"""By engine."""


def opened(factory: pytest.TempPathFactory, fill: Callable[[Warehouse], None]) -> Iterator[Warehouses]:
    warehouses: dict[str, Warehouse] = {}
    try:
        for name in ENGINES:
            warehouses[name] = importlib.import_module(f"engines.{name}").fresh(factory.mktemp(name))()
            fill(warehouses[name])
        yield warehouses
    finally:
        for warehouse in warehouses.values():
            warehouse.close()


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warehouses]:
    """What the loader and the model make of a small list in which everything happens."""
    log = list(mailed.entries(300, 3, FULL, SEED))

    def fill(warehouse: Warehouse) -> None:
        mailed.loaded(warehouse, log)
        mailed.modelled(warehouse)

    yield from opened(tmp_path_factory, fill)


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warehouses]:
    """The tables of the model with rows of any kind, nulls too."""

    def fill(warehouse: Warehouse) -> None:
        assert isinstance(warehouse, Deriving)
        warehouse.derive(lambda derivation: derivation.run(EVENT_TABLES))
        email_tables.create(warehouse)
        email_tables.fill(warehouse, email_rows.rows())

    yield from opened(tmp_path_factory, fill)


def ask(warehouse: Warehouse, sql: str) -> QueryResult:
    return warehouse.query(sql, max_rows=MAX_ROWS, timeout_seconds=60)


def plain(value: Any) -> Any:
    """What engines write differently made one: numbers are numbers, moments are in UTC."""
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).astimezone(UTC).isoformat()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, (int, float, Decimal)) and not isinstance(value, bool):
        return float(value)
    return value


def sorted_rows(found: QueryResult) -> list[list[Any]]:
    """Numbers are rounded where they decide the order alone."""

    def place(row: list[Any]) -> list[tuple[str, str]]:
        return [(type(value).__name__, f"{value:.6g}" if isinstance(value, float) else str(value)) for value in row]

    return sorted(([plain(value) for value in row] for row in found.rows), key=place)


def same(left: Any, right: Any) -> bool:
    if isinstance(left, float) and isinstance(right, float):
        return math.isclose(left, right, rel_tol=1e-9, abs_tol=1e-9)
    return type(left) is type(right) and left == right


def differences(recipe: Recipe, warehouses: Warehouses) -> list[str]:
    left, right = (ask(warehouses[name], recipe.sql) for name in ENGINES)
    if left.columns != right.columns:
        return [f"columns {left.columns} and {right.columns}"]
    mine, theirs = sorted_rows(left), sorted_rows(right)
    if len(mine) != len(theirs):
        return [f"{len(mine)} and {len(theirs)} rows"]
    return [
        f"{column}: {value!r} and {other!r}"
        for row, others in zip(mine, theirs, strict=True)
        for column, value, other in zip(left.columns, row, others, strict=True)
        if not same(value, other)
    ]


def test_every_block_of_sql_is_reached() -> None:
    blocks = sum((DOCS / file).read_text().count("```sql\n") for file in FILES)
    assert blocks == len(RECIPES)
    assert len(RECIPES) == len({(recipe.file, recipe.title) for recipe in RECIPES}), "two blocks under one heading"
    assert len(RECIPES) > 20


def test_each_recipe_gives_the_same_rows_of_simulated_mails_on_both_engines(simulated: Warehouses) -> None:
    """One test, so that the list is simulated once wherever tests run side by side."""
    assert {} == all_differences(simulated)
    found = {recipe.title: ask(simulated["duckdb"], recipe.sql) for recipe in RECIPES}
    assert [] == [title for title, answer in found.items() if not answer.rows]
    assert [] == [(title, column) for title, answer in found.items() for column in columns_of_nulls(answer)]


def test_each_recipe_gives_the_same_rows_of_odd_tables_on_both_engines(odd: Warehouses) -> None:
    assert {} == all_differences(odd)


def test_the_dbt_package_finds_nothing_wrong_with_simulated_mails(simulated: Warehouses) -> None:
    """Its control is in test_dbt.py: of odd tables it finds much."""
    project = Project()
    for warehouse in simulated.values():
        built(project, warehouse)
        assert [] == [check.name for check in project.checks() if wrong(warehouse, check)]
        models = [f"SELECT * FROM {project.target}.{name} LIMIT 1" for name in project.files]
        assert [] == [sql for sql in models if not ask(warehouse, sql).rows]


def all_differences(warehouses: Warehouses) -> dict[str, list[str]]:
    found = {recipe.title: differences(recipe, warehouses) for recipe in RECIPES}
    return {title: differences for title, differences in found.items() if differences}


def columns_of_nulls(found: QueryResult) -> list[str]:
    return [column for place, column in enumerate(found.columns) if all(row[place] is None for row in found.rows)]


def test_a_recipe_with_a_column_that_is_not_there_fails(odd: Warehouses) -> None:
    """The control: both engines read the recipe."""
    wrong = RECIPES[0].sql.replace("human_clicks", "humane_clicks")
    for warehouse in odd.values():
        with pytest.raises(QueryError, match="humane_clicks"):
            ask(warehouse, wrong)


def test_rows_that_differ_are_told(odd: Warehouses) -> None:
    """The control: an expression that the engines understand differently is seen."""
    unlike = Recipe("", "", "SELECT campaign_id, 7 / 2 AS half FROM email.campaigns")
    assert differences(unlike, odd)
