"""What a selection leaves out is nowhere in the warehouse, and everything is counted."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.errors import ConfigError
from headrace.event import Event, EventType, RejectedEvent
from headrace.loader.selection import Selection, Selector, parse
from headrace.warehouses.base import Books
from list_log import ListLog
from loader_house import House
from made_events import START, made, source


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    opened = House(tmp_path)
    yield opened
    opened.warehouse.close()


def choose(house: House, selection: Mapping[str, Any], slug: str = "shop") -> None:
    house.selections = {**house.selections, slug: parse(selection)}


def tables(house: House, schema: str = "shop") -> set[str]:
    return {name.table for name in house.warehouse.tables() if name.schema == schema}


def anywhere(house: House, text: str) -> list[str]:
    """The tables of all schemas, headrace's own too, that hold the text in any column."""
    found = []
    for name in house.warehouse.tables():
        rows = house.rows(f"{name.schema}.{name.table}")
        if text in str(rows):
            found.append(f"{name.schema}.{name.table}")
    return found


# Tables.


def test_a_table_that_is_off_is_never_made_and_its_events_stay_in_tracks(house: House) -> None:
    choose(house, {"without": ["email_opened", "pages"]})
    house.load(
        made("m1", event="Email Opened", properties={"plan": "secret"}),
        made("m2", properties={"plan": "pro"}),
        made("m3", "page", {"path": "/secret"}),
    )
    assert {"tracks", "order_placed"} == tables(house)
    assert ["email_opened", "order_placed"] == house.column("shop.tracks", "event")
    assert [] == anywhere(house, "secret")
    assert Books(loaded=2, filtered=1) == house.books


def test_only_an_events_table_brings_the_rows_of_these_events_into_tracks_alone(house: House) -> None:
    choose(house, {"only": ["email_opened", "identifies"]})
    house.load(
        made("m1", event="Email Opened"), made("m2"), made("m3", "identify", {"plan": "pro"}), made("m4", "group")
    )
    assert {"tracks", "email_opened", "identifies", "users"} == tables(house)
    assert ["m1"] == house.column("shop.tracks", "id")
    assert ["pro"] == house.column("shop.users", "plan")
    assert Books(loaded=2, filtered=2) == house.books


def test_without_tracks_no_track_event_is_stored(house: House) -> None:
    choose(house, {"without": ["tracks", "identifies"]})
    house.load(made("m1"), made("m2", "identify"), made("m3", "group", group_id="g1"))
    assert {"groups", "accounts"} == tables(house)
    assert Books(loaded=1, filtered=2) == house.books


# Properties.


def test_a_property_that_is_off_makes_no_column_and_is_stored_nowhere(house: House) -> None:
    choose(
        house, {"without_properties": ["order_placed.card", "*.context_ip", "identifies.card", "order_placed._user_id"]}
    )
    house.load(
        made("m1", properties={"card": "secret", "plan": "pro", "user_id": "secret"}, context={"ip": "secret"}),
        made("m2", "identify", {"card": "secret", "plan": "pro"}, context={"ip": "secret"}),
        made("m3", event="Other", properties={"card": "shown"}),
    )
    assert [] == anywhere(house, "secret")
    assert ["shop.other"] == anywhere(house, "shown")
    for table in ("order_placed", "tracks", "identifies", "users"):
        assert not {"card", "context_ip", "_user_id"} & house.types(f"shop.{table}").keys()
    assert "plan" in house.types("shop.order_placed")
    assert {"order_placed.plan", "identifies.plan", "other.card"} == {
        f"{row['table']}.{row['column']}" for row in house.rows("headrace.columns")
    }
    assert Books(loaded=3) == house.books


def test_the_same_property_is_stored_when_it_is_on(house: House) -> None:
    """The control of the test above: what is looked for there is found here."""
    house.load(
        made("m1", properties={"card": "secret", "user_id": "secret"}, context={"ip": "secret"}),
        made("m2", "identify", {"card": "secret"}),
    )
    assert ["shop.identifies", "shop.order_placed", "shop.tracks", "shop.users"] == sorted(anywhere(house, "secret"))


def test_a_property_that_is_off_takes_no_other_ones_name(house: House) -> None:
    """Which of two alike properties is off is said by the columns that they have."""
    house.load(made("m1", properties={"Plan": "a", "plan": "b"}))
    choose(house, {"without_properties": ["order_placed.plan"]})
    house.load(made("m2", properties={"Plan": "c", "plan": "d", "PLAN": "e"}, at=1))
    assert ([("a")], ["b", "d"]) == (
        [value for value in house.column("shop.order_placed", "plan") if value],
        house.column("shop.order_placed", "plan_2"),
    )
    assert [None, "e"] == house.column("shop.order_placed", "plan_3")


def test_a_value_that_does_not_fit_is_no_discard_when_its_property_is_off(house: House) -> None:
    house.load(made("m1", properties={"revenue": 1}))
    choose(house, {"without_properties": ["order_placed.revenue"]})
    house.load(made("m2", properties={"revenue": "secret"}, at=1))
    assert [1, None] == house.column("shop.order_placed", "revenue")
    assert [] == anywhere(house, "secret")


def test_a_property_that_is_off_is_not_in_extra_of_a_full_table(house: House) -> None:
    choose(house, {"without_properties": ["order_placed.z"]})
    house.load(made("m1", properties={"a": 1, "z": "secret", "b": 2, "c": 3}), max_columns=12)
    (row,) = house.rows("shop.order_placed")
    assert {"b": 2, "c": 3} == json.loads(row["_extra"])
    assert [] == anywhere(house, "secret")


def test_a_property_that_is_off_is_not_in_extra_of_tracks_when_there_is_no_place_for_its_table(house: House) -> None:
    choose(house, {"without_properties": ["two.z", "*._user_id"]})
    house.load(
        made("m1", event="One"),
        made("m2", event="Two", properties={"a": 1, "z": "secret", "user_id": "secret"}, at=1),
        max_tables=9,
    )
    assert {"a": 1} == json.loads(house.rows("shop.tracks", "id")[1]["_extra"])
    assert [] == anywhere(house, "secret")


def test_a_table_that_is_off_takes_no_place_of_another(house: House) -> None:
    choose(house, {"without": ["one"]})
    house.load(made("m1", event="One", properties={"z": "secret"}), made("m2", event="Two"), max_tables=9)
    assert {"tracks", "two"} == tables(house)
    assert [] == anywhere(house, "secret")


# Events.


def test_the_filter_leaves_events_out_once_each_and_before_duplicates_are_looked_for(house: House) -> None:
    choose(house, {"where": 'properties.country = "BE" or type = "identify"'})
    countries = {"m1": "BE", "m2": "FR"}
    sent = [made(id_, properties={"country": countries[id_]}) for id_ in ("m1", "m2", "m2", "m1", "m2", "m1")]
    house.load(*sent[:4], made("m3", "identify"))
    house.load(*sent[4:])
    assert ["m1"] == house.column("shop.order_placed", "id")
    assert Books(loaded=2, duplicates=2, filtered=3) == house.books


def test_filtered_events_are_counted_in_the_hour_they_were_received_in(house: House) -> None:
    choose(house, {"only": ["pages"]})
    house.load(made("m1"), made("m2", at=3600), made("m3", at=3601))
    by_hour = {key.hour: books.filtered for key, books in house.warehouse.books().items()}
    assert [1, 2] == [filtered for hour, filtered in sorted(by_hour.items()) if hour >= START]


def test_an_event_that_the_filter_cannot_read_is_rejected_and_not_left_out(house: House) -> None:
    choose(house, {"where": "properties.plan = 'pro'"})
    house.load(made("m1", properties=b"[1]"), made("m2", properties={"plan": "pro"}), made("m3"))
    assert ["properties_not_object"] == [row["code"] for row in house.rows("headrace.rejected")]
    assert Books(loaded=1, rejected=1, filtered=1) == house.books


def test_refused_events_and_unknown_sources_are_none_of_a_selections_business(house: House) -> None:
    choose(house, {"only": ["pages"]})
    choose(house, {"only": ["pages"]}, "gone")
    house.load(
        RejectedEvent("shop", "collector", "bad_request", "not JSON", "{", START), made("m1", source="gone"), made("m2")
    )
    assert Books(refused=1, filtered=1) == house.books
    assert Books(rejected=1) == house.books_of("gone")


def test_a_selection_is_one_sources(house: House) -> None:
    house.sources["mail"] = source("mail")
    choose(house, {"only": ["pages"]})
    house.load(made("m1"), made("m1", source="mail"))
    assert (set(), {"tracks", "order_placed"}) == (tables(house), tables(house, "mail"))
    assert (Books(filtered=1), Books(loaded=1)) == (house.books, house.books_of("mail"))


# Over time.


def test_a_changed_selection_acts_from_the_next_load_on(house: House) -> None:
    loader = house.loader()
    for number, selection in enumerate(({}, {"without": ["tracks"]}, {"without_properties": ["order_placed.plan"]})):
        choose(house, selection)
        house.log.append([made(f"m{number}", properties={"plan": number}, at=number)])
        assert loader.step() is not None
    assert ["m0", "m2"] == house.column("shop.order_placed", "id")
    assert [0, None] == house.column("shop.order_placed", "plan")
    assert Books(loaded=2, filtered=1) == house.books


def test_a_filter_that_is_wrong_loads_nothing_rather_than_everything(house: House) -> None:
    house.selections = {"shop": Selection(where="evnt = 'x'")}
    with pytest.raises(ConfigError, match="no field `evnt`"):
        house.load(made("m1"))
    assert Books() == house.books
    house.selections = {}
    house.load()
    assert Books(loaded=1) == house.books


def test_two_warehouses_store_different_things_of_one_log(tmp_path: Path) -> None:
    log = ListLog()
    log.append(
        [
            made("m1", event="Email Opened", properties={"plan": "pro", "card": "secret"}),
            made("m2", properties={"card": "secret"}),
            made("m3", "identify", {"card": "secret"}),
            made("m1", event="Email Opened"),
        ]
    )
    houses = []
    for number, selection in enumerate(({"only": ["email_opened"], "without_properties": ["*.card"]}, {})):
        folder = tmp_path / str(number)
        folder.mkdir()
        house = House(folder)
        house.log = log
        choose(house, selection)
        houses.append(house)
    try:
        few, all_ = houses
        for house in houses:
            house.load()
        assert ({"tracks", "email_opened"}, []) == (tables(few), anywhere(few, "secret"))
        assert {"tracks", "email_opened", "order_placed", "identifies", "users"} == tables(all_)
        assert 4 == len(anywhere(all_, "secret"))
        assert (Books(loaded=1, duplicates=1, filtered=2), Books(loaded=3, duplicates=1)) == (few.books, all_.books)
    finally:
        for house in houses:
            house.warehouse.close()


# Laws.

NAMES = ["tracks", "one", "two", "identifies", "pages"]
SELECTIONS = st.one_of(
    st.fixed_dictionaries(
        {"only": st.lists(st.sampled_from(NAMES), min_size=1, max_size=3)},
        optional={"where": st.just("properties.x >= 1 or traits.x >= 1")},
    ),
    st.fixed_dictionaries(
        {"without": st.lists(st.sampled_from(NAMES), max_size=3)},
        optional={"where": st.just("properties.x >= 1 or traits.x >= 1")},
    ),
)
KINDS: list[tuple[EventType, str | None]] = [("track", "One"), ("track", "Two"), ("identify", None), ("page", None)]
EVENTS = st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 2), st.integers(0, 9)), max_size=12)


@settings(max_examples=25, deadline=None)
@given(selection=SELECTIONS, drawn=EVENTS)
def test_the_books_add_up_and_each_event_is_where_the_selection_says(
    selection: dict[str, Any], drawn: list[Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    house = House(tmp_path_factory.mktemp("house"))
    try:
        choose(house, selection)
        events: list[Event] = [
            made(f"{type_}-{name}-{x}-{number}", type_, {"x": x}, event=name) for (type_, name), x, number in drawn
        ]
        house.load(*events[: len(events) // 2])
        house.load(*events[len(events) // 2 :])
        chosen = Selector(parse(selection))
        kept = {event.message_id for event in events if chosen.keeps(event)}
        filtered = sum(not chosen.keeps(event) for event in events)
        assert Books(len(kept), len(events) - filtered - len(kept), filtered=filtered) == house.books
        stored = {table: house.column(f"shop.{table}", "id") for table in tables(house) - {"users"}}
        assert kept == {id_ for ids in stored.values() for id_ in ids}
        assert {id_ for id_ in kept if id_.startswith("track")} == set(stored.get("tracks", []))
        assert all(len(ids) == len(set(ids)) for ids in stored.values())
        assert all(chosen.keeps_table(table) for table in stored)
    finally:
        house.warehouse.close()
