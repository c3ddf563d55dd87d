"""Who is who in the e-mail model: whatever is told last, people are those that all evidence together makes."""

from __future__ import annotations

import importlib
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from depth import depth
from email_house import EmailHouse
from email_lines import SOURCES, events_of
from email_lives import SETTINGS, Lives, parts
from email_oracle import differences, tables

ENGINES: Final = ("duckdb", "postgresql")
ORDERS: Final[Sequence[str | int]] = depth(("back",), ("forth", "back", *range(6)))
AT_ONCE: Final = depth(2, 1)
"""Events that a load has."""
ONE_PERSON: Final[Sequence[Sequence[Any]]] = (
    ["Email Delivered", None, 0, {"anonymous": "sha256:ada@mail.example"}],
    ["Email Link Clicked", None, 100, {"anonymous": "Ada@Mail.example", "link_id": "1"}],
    ["Order Completed", None, 200, {"anonymous": "v1", "order_id": "O1", "total": 20}],
    ["identify", None, 300, {"anonymous": "V1", "email": "ADA@mail.example", "holdout": True}],
    ["identify", "old", 400, {"email": "ada@mail.example"}],
    ["alias", "new", 500, {"previous": "old"}],
)
"""A digest, an address, a visitor, a former user id and a user id: they are one."""


@pytest.fixture(params=ENGINES)
def house(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[EmailHouse]:
    warehouse = importlib.import_module(f"engines.{request.param}").fresh(tmp_path)()
    yield EmailHouse(warehouse, SETTINGS)
    warehouse.close()


def wrong(house: EmailHouse) -> list[str]:
    return differences(tables(house.rows(), SOURCES, SETTINGS), house.found())


@pytest.mark.parametrize("order", ORDERS)
def test_a_person_comes_together_evidence_by_evidence(order: str | int, house: EmailHouse) -> None:
    events = events_of(ONE_PERSON)
    if order == "back":
        events.reverse()
    elif isinstance(order, int):
        random.Random(order).shuffle(events)
    for start in range(0, len(events), AT_ONCE):
        house.load(events[start : start + AT_ONCE])
        house.advance()
        assert [] == wrong(house)

    found = house.everything()
    assert {"new"} == {row["recipient_key"] for table in ("events", "messages", "recipients") for row in found[table]}
    assert {"new"} == {row["recipient_key"] for table in ("conversions", "controls") for row in found[table]}
    assert {"last", "first", "any"} == {row["model"] for row in found["attribution"]}


@pytest.mark.parametrize("seed", range(depth(1, 12)))
def test_contradicting_and_circular_evidence_makes_the_same_people(seed: int, house: EmailHouse) -> None:
    chance = random.Random(seed)
    for part in parts(Lives(1_000 + seed, people=6).events(depth(60, 120)), chance, depth(2, 5)):
        house.load(part)
        house.advance()
        assert [] == wrong(house)
