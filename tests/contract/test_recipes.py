"""Each SELECT of the documents about the e-mail model runs unchanged on DuckDB and PostgreSQL, with the same rows."""

from __future__ import annotations

import importlib
import math
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

import email_rows
import email_tables
import mailed
from headrace.errors import QueryError
from headrace.simulator.realism import FULL
from headrace.warehouses.base import Deriving, QueryResult, Warehouse

DOCS: Final = Path(__file__).parents[2] / "docs"
FILES: Final = ("recipes.md", "email-model.md")
ENGINES: Final = ("duckdb", "postgresql")
MAX_ROWS: Final = 20_000


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


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Warehouse]]:
    """Both engines with the same events, and the tables of the model with any rows."""
    log = list(mailed.entries(60, 1, FULL))
    warehouses: dict[str, Warehouse] = {}
    try:
        for name in ENGINES:
            engine = importlib.import_module(f"engines.{name}")
            warehouse: Warehouse = engine.fresh(tmp_path_factory.mktemp(name))()
            warehouses[name] = warehouse
            mailed.loaded(warehouse, log)
            assert isinstance(warehouse, Deriving)
            email_tables.create(warehouse)
            email_tables.fill(warehouse, email_rows.rows())
        yield warehouses
    finally:
        for warehouse in warehouses.values():
            warehouse.close()


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


def differences(recipe: Recipe, warehouses: Mapping[str, Warehouse]) -> list[str]:
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


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.title)
def test_a_recipe_gives_the_same_rows_on_both_engines(recipe: Recipe, filled: Mapping[str, Warehouse]) -> None:
    assert [] == differences(recipe, filled)


def test_a_recipe_with_a_column_that_is_not_there_fails(filled: Mapping[str, Warehouse]) -> None:
    """The control: both engines read the recipe."""
    wrong = RECIPES[0].sql.replace("human_clicks", "humane_clicks")
    for warehouse in filled.values():
        with pytest.raises(QueryError, match="humane_clicks"):
            ask(warehouse, wrong)


def test_rows_that_differ_are_told(filled: Mapping[str, Warehouse]) -> None:
    """The control: an expression that the engines understand differently is seen."""
    unlike = Recipe("", "", "SELECT campaign_id, 7 / 2 AS half FROM email.campaigns")
    assert differences(unlike, filled)
