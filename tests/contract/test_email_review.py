"""What would make the e-mail model's tables depend on chance, or leave rows out that are in the tables of events."""

from __future__ import annotations

import importlib
import random
import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Final

import pytest

from email_house import EmailHouse
from headrace.config import LoaderConfig
from headrace.errors import WarehouseUnavailableError
from headrace.event import Event
from headrace.loader.building import Workplace
from headrace.loader.deriving import NOTICE_SECONDS, RETRY_SECONDS, Deriving
from headrace.loader.rebuilding import Rebuild
from headrace.loader.retyping import Retype
from headrace.reports.model import model
from headrace.warehouses.base import ColumnType
from made_events import START, made, source

DAY: Final = 86_400
TOO_GREAT_FOR_FLOAT: Final = 2**53 + 1


@pytest.fixture(params=["duckdb", "postgresql"])
def house(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[EmailHouse]:
    warehouse = importlib.import_module(f"engines.{request.param}").fresh(tmp_path)()
    yield EmailHouse(warehouse)
    warehouse.close()


def delivered(message_id: str, at: float = 0, user_id: str | None = "u1", address: str | None = None) -> Event:
    properties = {"campaign_id": "1", "email_id": "11"}
    fields = {"user_id": user_id, "anonymous_id": address, "source": "mail", "event": "Email Delivered"}
    return made(message_id, "track", properties, at=at, **fields)


def bounce(message_id: str, at: float) -> Event:
    properties = {"campaign_id": "1", "email_id": "11"}
    return made(message_id, "track", properties, at=at, source="mail", event="Email Bounced")


def order(message_id: str, total: float) -> Event:
    properties = {"order_id": message_id, "total": total}
    return made(message_id, "track", properties, event="Order Completed")


def counted(house: EmailHouse) -> int:
    return sum(row["delivered"] for row in house.found(["campaigns"])["campaigns"])


def sends(house: EmailHouse) -> dict[str, int]:
    return {row["id"]: row["send_number"] for row in house.found(["events"])["events"]}


def to_both_addresses(seconds_apart: float) -> list[Event]:
    """A journey's mail on three days to a person who is known by an address, too; each of the mails bounced at one of them."""
    known = made("i", "identify", {}, {"traits": {"email": "a@example.com"}}, at=-DAY)
    mails = [
        event
        for day in range(3)
        for event in (
            delivered(f"u{day}", day * DAY),
            delivered(f"a{day}", day * DAY + seconds_apart, None, "a@example.com"),
        )
    ]
    bounced = [bounce(f"b{day}", day * DAY - 200 if day else 50) for day in range(3)]
    return [known, *mails, *bounced]


def in_some_order(house: EmailHouse, events: Sequence[Event], seed: int) -> None:
    shuffled = list(events)
    random.Random(seed).shuffle(shuffled)
    house.load(shuffled, load_events=3)
    house.advance(slice_events=1)


@pytest.mark.parametrize("seed", [1, 2])
def test_deliveries_of_one_moment_to_two_addresses_of_a_person_are_one_send(house: EmailHouse, seed: int) -> None:
    in_some_order(house, to_both_addresses(0), seed)
    assert {f"{who}{day}": day + 1 for day in range(3) for who in "abu"} == sends(house)


def test_deliveries_that_are_apart_are_sends_of_their_own(house: EmailHouse) -> None:
    in_some_order(house, to_both_addresses(3_600), 1)
    assert {1, 2, 3, 4, 5, 6} == set(sends(house).values())


def test_all_loads_are_taken_up_though_many_wait(house: EmailHouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model, "_MOST_LOADS", 3)
    house.load([delivered(f"m{number}", user_id=f"u{number}") for number in range(4)], load_events=1)
    assert 2 == house.advance()
    assert 4 == counted(house)


@pytest.mark.parametrize("load_events", [2, 50])
def test_a_table_that_was_rebuilt_is_read_to_its_end_before_anything_else_is_loaded(
    house: EmailHouse, load_events: int
) -> None:
    house.load([delivered(f"m{number}", user_id=f"u{number}") for number in range(6)])
    house.advance()
    sources = {one.slug: source(one.slug) for one in house.sources}
    config = LoaderConfig(load_events=load_events)
    place = Workplace(house.warehouse, "warehouse", [house.log], lambda: sources, config, threading.Event(), dict)
    moments = (START + timedelta(days=90, seconds=seconds) for seconds in range(1_000_000))
    Rebuild("mail").run(place._replace(now=lambda: next(moments)))
    house.advance()
    assert 6 == counted(house)


def test_amounts_that_a_retype_gives_back_are_taken_up(house: EmailHouse) -> None:
    house.load([order("o1", TOO_GREAT_FOR_FLOAT), order("o2", 10)])
    house.load([order("o3", 14.99)])
    house.advance()
    before = {row["order_id"]: row["value"] for row in house.found(["conversions"])["conversions"]}
    assert before["o3"] is None  # the column is held to integer, and the amount was discarded
    Retype("shop", "order_completed", "total", ColumnType.FLOAT).run(house.warehouse, lambda: datetime.now(UTC))
    house.advance()
    after = {row["order_id"]: row["value"] for row in house.found(["conversions"])["conversions"]}
    assert after["o3"] == Decimal("14.99")


def test_a_column_that_no_table_of_the_model_needs_may_change_its_type(
    house: EmailHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise AssertionError("everything is made anew")

    house.load([made("o1", "track", {"order_id": "1", "total": 10, "score": 1}, event="Order Completed")])
    house.advance()
    monkeypatch.setattr(model.EmailModel, "_forget", refused)
    house.load([made("o2", "track", {"order_id": "2", "total": 10, "score": 1.5}, event="Order Completed")])
    house.advance()
    assert 2 == len(house.found(["conversions"])["conversions"])
    house.load([made("o3", "track", {"order_id": "3", "total": 10.5}, event="Order Completed")])
    with pytest.raises(AssertionError, match="anew"):
        house.advance()


def test_settings_that_cannot_be_read_keep_nothing_from_being_loaded() -> None:
    moment, asked = [0.0], []

    def chosen() -> None:
        asked.append(moment[0])
        if len(asked) == 1:
            raise WarehouseUnavailableError("workspace: locked")

    deriving = Deriving(chosen, 1.0, lambda: moment[0])
    assert not deriving.is_due()
    assert "WarehouseUnavailableError: workspace: locked" == deriving.state.error
    # Asked again after a pause, then now and then, not each time that the loader looks for events.
    for _ in range(100):
        moment[0] += RETRY_SECONDS / 50
        assert not deriving.is_due()
    assert 1 + RETRY_SECONDS / NOTICE_SECONDS >= len(asked) - 1 > 1


def test_a_number_with_a_fraction_of_nothing_is_the_same_campaign(house: EmailHouse) -> None:
    house.load([made("n1", "track", {"campaign_id": 77}, event="Email Opened", user_id="u1")])
    house.advance()
    house.load([made("n2", "track", {"campaign_id": 77.0}, event="Email Opened", user_id="u2")])
    house.load([made("n3", "track", {"campaign_id": 77.5}, event="Email Opened", user_id="u3")])
    house.advance()
    found = {row["campaign_id"]: row["opens"] for row in house.found(["campaigns"])["campaigns"]}
    assert {"77": 2, "77.5": 1} == found


def test_a_variant_called_test_is_no_test_send(house: EmailHouse) -> None:
    house.load([made("v1", "track", {"campaign_id": "c", "test": 2}, event="Email Delivered", user_id="u1")])
    house.load([made("v2", "track", {"campaign_id": "c", "test_send": True}, event="Email Delivered", user_id="u2")])
    house.advance()
    assert [1] == [row["delivered"] for row in house.found(["campaigns"])["campaigns"]]


def test_words_in_the_place_of_an_address_make_nobody_the_same(house: EmailHouse) -> None:
    context = {"traits": {"email": "n/a"}}
    house.load(
        [
            made("w1", "track", {"campaign_id": "c"}, context, event="Email Delivered", user_id="u1"),
            made(
                "w2", "track", {"campaign_id": "c"}, context, event="Email Delivered", user_id=None, anonymous_id="a2"
            ),
            made(
                "w3", "track", {"campaign_id": "c"}, context, event="Email Delivered", user_id=None, anonymous_id="a3"
            ),
        ]
    )
    house.advance()
    assert {"u1", "a2", "a3"} == {row["recipient_key"] for row in house.found(["messages"])["messages"]}


def test_the_greatest_and_the_least_amounts_stop_nothing(house: EmailHouse) -> None:
    click = made("c1", "track", {"campaign_id": "c", "link_id": "1"}, event="Email Link Clicked", user_id="u1")
    amounts = (-(2**63), 99_999_999_999_999, 99_999_999_999_998)
    orders = [
        made(
            f"o{number}",
            "track",
            {"order_id": str(number), "total": total},
            event="Order Completed",
            user_id="u1",
            at=60,
        )
        for number, total in enumerate(amounts)
    ]
    house.load([click, *orders])
    house.advance()
    (row,) = house.found(["campaigns"])["campaigns"]
    assert (3, Decimal(199_999_999_999_997)) == (row["orders"], row["revenue"])
