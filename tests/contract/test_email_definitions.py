"""The e-mail model's definitions, case by case: what the SQL of each engine makes of real events is what was counted by hand."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final, NamedTuple

import pytest

from email_cases import Case, cases, contradictions
from email_house import EmailHouse
from email_oracle import DEFINITIONS, Row, differences, tables
from headrace.reports.model.settings import ModelSettings
from headrace.reports.place import MailSource

ENGINES: Final = ("duckdb", "postgresql")
CASES: Final = cases()
CHANGED: Final[Mapping[str, Any]] = {"new_send_after": timedelta(hours=1), "a_click_is_an_open": False}


class Together(NamedTuple):
    """What became of the events of all cases, loaded together."""

    sources: Sequence[MailSource]
    rows: Mapping[tuple[str, str], Sequence[Row]]
    found: Mapping[str, Sequence[Row]]


@pytest.fixture(params=ENGINES, scope="module")
def together(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Together]:
    folder = tmp_path_factory.mktemp(request.param)
    warehouse = importlib.import_module(f"engines.{request.param}").fresh(folder)()
    sources = list(dict.fromkeys(source for case in CASES for source in case.sources()))
    house = EmailHouse(warehouse, sources=sources)
    house.load([event for case in CASES for event in case.marked_events])
    house.advance()
    yield Together(sources, house.rows(), house.found())
    warehouse.close()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_model_finds_what_was_counted_by_hand(case: Case, together: Together) -> None:
    assert [] == contradictions(case, case.own(together.found))


def test_the_model_finds_what_the_oracle_finds(together: Together) -> None:
    expected = tables(together.rows, together.sources, ModelSettings())
    assert [] == differences(expected, together.found)


@pytest.mark.parametrize("changed", CHANGED)
def test_the_model_is_found_to_differ_from_an_oracle_with_another_definition(changed: str, together: Together) -> None:
    other = replace(DEFINITIONS, **{changed: CHANGED[changed]})
    expected = tables(together.rows, together.sources, ModelSettings(), other)
    assert [] != differences(expected, together.found)
