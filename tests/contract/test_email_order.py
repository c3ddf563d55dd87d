"""The e-mail model's tables depend on what happened alone: not on the order of arrival, the borders of loads and slices, repeats or restarts."""

from __future__ import annotations

import importlib
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from depth import depth
from email_house import EmailHouse
from email_lines import SOURCES
from email_lives import GOALS, SETTINGS, Lives, parts
from email_oracle import differences, tables
from headrace.event import Event
from headrace.reports.model.settings import ModelSettings
from headrace.warehouses.base import Warehouse

ENGINES: Final = ("duckdb", "postgresql")
SEEDS: Final = range(depth(1, 12))
EVENTS: Final = 80

Opened = Callable[[], EmailHouse]


@pytest.fixture(params=ENGINES)
def house(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opened]:
    """Opens a house of its own each time."""
    opened: list[Warehouse] = []

    def another() -> EmailHouse:
        folder = tmp_path / str(len(opened))
        folder.mkdir()
        opened.append(importlib.import_module(f"engines.{request.param}").fresh(folder)())
        return EmailHouse(opened[-1], SETTINGS)

    yield another
    for warehouse in opened:
        warehouse.close()


def wrong(house: EmailHouse) -> list[str]:
    return differences(tables(house.rows(), SOURCES, house.settings), house.found())


def live(house: EmailHouse, events: list[Event], chance: random.Random) -> None:
    """Let them arrive bit by bit; the model lags, stops in the middle of an increment and starts anew."""
    for part in parts(events, chance, depth(2, 5)):
        house.load([*part, *chance.choices(events, k=2)], load_events=chance.choice((7, 20, 1_000)))
        if chance.random() < 0.5:
            house.restart()
        if chance.random() < 0.3:
            house.break_off()
        house.advance(slice_events=chance.choice((10, 100_000)), most_increments=chance.choice((1, 2)))


@pytest.mark.parametrize("seed", SEEDS)
def test_the_tables_are_the_same_whatever_the_way_and_made_anew(seed: int, house: Opened) -> None:
    chance = random.Random(seed)
    events = Lives(seed, people=seed % 4).events(EVENTS)
    bit_by_bit = house()
    live(bit_by_bit, events, chance)
    bit_by_bit.advance()
    assert [] == wrong(bit_by_bit)

    kept = bit_by_bit.everything()
    bit_by_bit.rebuild()
    assert kept == bit_by_bit.everything()

    at_once = house()
    at_once.load(chance.sample(events, len(events)))
    at_once.advance()
    assert kept == at_once.everything()


@pytest.mark.parametrize("house", ENGINES[1:], indirect=True)
def test_tables_that_miss_a_load_are_found_out(house: Opened) -> None:
    short = house()
    events = Lives(1).events(40)
    short.load(events[:30])
    short.advance()
    assert [] == wrong(short)

    kept = short.everything()
    short.load(events[30:])
    assert [] != wrong(short)
    short.advance()
    assert kept != short.everything()


def test_other_settings_make_what_a_model_that_never_had_others_makes(house: Opened) -> None:
    changed = house()
    events = Lives(2).events(60)
    changed.load(events[:40])
    changed.advance()
    assert [] == wrong(changed)

    first, second = GOALS
    changed.settings = ModelSettings(goals=[second, first], disabled_rules=["fast_click"], email_sources=["shop"])
    assert [] != wrong(changed)
    changed.restart()
    changed.advance()
    assert [] == wrong(changed)

    changed.load(events[40:])
    changed.advance()
    assert [] == wrong(changed)
