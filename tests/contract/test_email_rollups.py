"""The derived tables of the e-mail model are what they would be if they were made anew, whatever changed and in how many slices."""

from __future__ import annotations

import importlib
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

import email_tables
import rollup_oracle
from headrace.reports.model import anew
from headrace.reports.model.engine import engine
from headrace.reports.model.settings import ModelSettings
from headrace.warehouses.base import Derivation, Deriving
from rollup_world import EMPTY, World, changed, emptied, increment, kept

SETTINGS = ModelSettings()


@pytest.fixture(params=["duckdb", "postgresql"])
def warehouse(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Deriving]:
    """With the tables of the schema email, empty."""
    opened = importlib.import_module(f"engines.{request.param}").fresh(tmp_path)()
    email_tables.create(opened)
    yield opened
    opened.close()


def disagreeing(warehouse: Deriving, settings: ModelSettings = SETTINGS) -> list[str]:
    """The names of the checks that return rows."""

    def work(derivation: Derivation) -> list[str]:
        queries = anew.checks(engine(derivation.engine), settings)
        return [name for name, query in queries.items() if derivation.fetch(query).num_rows]

    return warehouse.derive(work)


def applied(warehouse: Deriving, worlds: Sequence[World]) -> None:
    for old, new in zip([EMPTY, *worlds], worlds, strict=False):
        increment(warehouse, old, new, SETTINGS)


def worlds_of(seed: int, slices: int) -> list[World]:
    dice = random.Random(seed)
    worlds = [EMPTY]
    for _ in range(slices):
        worlds.append(changed(worlds[-1], dice, dice.choice([1, 5, 40])))
    return worlds[1:]


def test_one_slice_gives_what_is_counted_one_by_one(warehouse: Deriving) -> None:
    world = changed(EMPTY, random.Random(7), 120)
    applied(warehouse, [world])
    assert rollup_oracle.tables(world) == kept(warehouse)
    assert [] == disagreeing(warehouse)


def test_slices_that_add_change_and_remove_give_what_one_slice_gives(warehouse: Deriving) -> None:
    for seed in range(3):
        worlds = worlds_of(seed, 6)
        applied(warehouse, worlds)
        assert rollup_oracle.tables(worlds[-1]) == kept(warehouse), seed
        emptied(warehouse)
    applied(warehouse, worlds[-1:])
    assert rollup_oracle.tables(worlds[-1]) == kept(warehouse)
