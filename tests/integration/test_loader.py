"""From the log to the tables, with the real warehouse."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from headrace.config import LoaderConfig
from headrace.errors import HeadraceError, PositionError, WarehouseUnavailableError
from headrace.event import Event, RejectedEvent
from headrace.loader import batch, rows
from headrace.loader.duplicates import Duplicates
from headrace.loader.loader import Loader
from headrace.log.base import Tally
from headrace.warehouses.base import Books, Position, TableName
from headrace.workspace.records import Source
from list_log import ListLog
from loader_house import NOW, House
from made_events import START, made


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    opened = House(tmp_path)
    yield opened
    opened.warehouse.close()


# What a load holds.


def test_each_type_has_its_tables(house: House) -> None:
    house.load(
        made("m1", event="Email Opened", properties={"plan": "pro"}),
        made("m2", "identify", {"name": "Ada"}),
        made("m3", "group", {"name": "Acme"}, group_id="g1"),
        made("m4", "page", {"path": "/"}, name="Home"),
        made("m5", "screen", {"path": "/"}, name="Home"),
        made("m6", "alias", previous_id="a1"),
    )
    tables = {name.table for name in house.warehouse.tables() if name.schema == "shop"}
    assert {
        "tracks",
        "email_opened",
        "identifies",
        "users",
        "groups",
        "accounts",
        "pages",
        "screens",
        "aliases",
    } == tables
    assert Books(loaded=6) == house.books
    for table in tables - {"users", "accounts"}:
        assert 1 == len(house.rows(f"shop.{table}"))
    assert [("u1", "Ada")] == [(row["id"], row["name"]) for row in house.rows("shop.users")]
    assert [("g1", "Acme")] == [(row["id"], row["name"]) for row in house.rows("shop.accounts")]


def test_tracks_holds_no_properties_and_nothing_is_stored_that_must_not_be(house: House) -> None:
    house.load(made("m1", event="Email Opened", properties={"plan": "pro"}, context={"ip": "::1"}))
    expected = {
        "id", "anonymous_id", "user_id", "event", "event_text", "context_ip", "original_timestamp", "sent_at", "received_at",
        "timestamp", "loaded_at",
    }  # fmt: skip
    assert expected == house.types("shop.tracks").keys()
    assert expected | {"plan"} == house.types("shop.email_opened").keys()


def test_users_has_no_row_for_anonymous_people_and_no_anonymous_id(house: House) -> None:
    house.load(made("m1", "identify", {"name": "Ada"}, user_id=None, anonymous_id="a1"))
    assert "users" not in {name.table for name in house.warehouse.tables()}
    house.load(made("m2", "identify", {"name": "Ada"}, anonymous_id="a1"))
    assert {"id", "received_at", "loaded_at", "name"} == house.types("shop.users").keys()


def test_housekeeping_is_in_the_same_load(house: House) -> None:
    house.load(made("m1", properties={"Plan": 1, "plan": "x", "at": 1}), made("m2", properties={"at": "x"}))
    (load,) = house.rows("headrace.loads")
    assert (0, 2, 2, "ok") == tuple(load[c] for c in ("position_from", "position_to", "events", "result"))
    assert {"shop.tracks": 2, "shop.order_placed": 2} == json.loads(load["rows"])
    assert Position("log-1", 2) == house.warehouse.position("warehouse", 0)
    columns = {(row["column"], row["original"], row["type"]) for row in house.rows("headrace.columns")}
    assert {("plan", "Plan", "integer"), ("plan_2", "plan", "string"), ("at", "at", "integer")} == columns
    (discard,) = house.rows("headrace.discards")
    assert ("shop", "order_placed", "m2", "at", '"x"') == tuple(
        discard[c] for c in ("schema", "table", "row_id", "column", "value")
    )


def test_last_seen_is_written_once_an_hour(house: House) -> None:
    house.load(made("m1", properties={"plan": 1}))
    for minutes, expected in ((59, 0), (61, 61), (62, 61)):
        house.now = NOW + timedelta(minutes=minutes)
        house.load(made(f"m-{minutes}", properties={"plan": 1}))
        (row,) = house.rows("headrace.columns")
        assert NOW + timedelta(minutes=expected) == datetime.fromisoformat(row["last_seen"])


def test_an_integer_column_widens_across_loads_only_while_it_is_exact(house: House) -> None:
    house.load(made("m1", properties={"plan": 1, "big": 2**53 + 1}), made("i1", "identify", {"age": 1}))
    house.load(made("m2", properties={"plan": 1.5, "big": 1.5}, at=1), made("i2", "identify", {"age": 2.5}, at=1))
    assert ("float", "integer") == tuple(house.types("shop.order_placed")[c] for c in ("plan", "big"))
    assert ([1.0, 1.5], [2**53 + 1, None]) == (
        house.column("shop.order_placed", "plan"),
        house.column("shop.order_placed", "big"),
    )
    assert ["1.5"] == [row["value"] for row in house.rows("headrace.discards")]
    assert (2.5, "float") == (house.rows("shop.users")[0]["age"], house.types("shop.users")["age"])
    house.load(made("m3", properties={"plan": 2**53 + 1, "big": 7}, at=2))
    assert [str(2**53 + 1), "1.5"] == [row["value"] for row in house.rows("headrace.discards", "value DESC")]


def test_a_names_column_stays_the_same_after_a_restart(house: House) -> None:
    house.load(made("m1", properties={"Plan": "first"}), made("m2", properties={"plan": "second"}))
    house.load(made("m3", properties={"plan": "second", "Plan": "first"}))
    assert ["first", None, "first"] == house.column("shop.order_placed", "plan")
    assert [None, "second", "second"] == house.column("shop.order_placed", "plan_2")


def test_events_beyond_the_tables_go_to_tracks_with_everything(house: House) -> None:
    events = [
        made(f"m{n:02}", event=f"Event {n}", properties={"n": {"x": n}}, context={"ip": "::1"}) for n in range(20)
    ]
    house.load(*events, max_tables=10)
    tables = [name.table for name in house.warehouse.tables() if name.schema == "shop"]
    assert 3 == len(tables)
    rows = house.rows("shop.tracks")
    assert 20 == len(rows)
    assert [None, None, *({"n": {"x": n}} for n in range(2, 20))] == [
        json.loads(row["_extra"]) if "_extra" in row else None for row in rows
    ]


def test_six_hundred_properties_are_all_there(house: House) -> None:
    properties = {f"p{number:03}": number for number in range(600)}
    house.load(made("m1", properties=properties))
    (row,) = house.rows("shop.order_placed")
    assert 500 == len(house.types("shop.order_placed"))
    stored = {name: value for name, value in row.items() if name in properties}
    assert properties == stored | json.loads(row["_extra"])


# What is no row.


def test_a_poison_event_is_rejected_and_its_neighbours_proceed(house: House) -> None:
    house.load(made("m1"), made("bad", properties=b"[1]"), made("m2"), made("worse", event=None), made("m3"))
    assert ["m1", "m2", "m3"] == house.column("shop.tracks", "id")
    assert Books(loaded=3, rejected=2) == house.books
    bad, worse = house.rows("headrace.rejected", "message_id")
    assert ("shop", "bad", "loader", "properties_not_object", 1) == tuple(
        bad[c] for c in ("source", "message_id", "stage", "code", "events")
    )
    assert ("worse", "event_not_defined") == (worse["message_id"], worse["code"])
    assert "bad" == json.loads(bad["raw"])["messageId"]


def test_any_error_with_one_event_rejects_it(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    real = rows.rows

    def fails(event: Event) -> Any:
        if event.message_id == "bad":
            raise ZeroDivisionError("a mistake of ours")
        return real(event)

    monkeypatch.setattr(batch, "rows", fails)
    house.load(made("m1"), made("bad"), made("m2"))
    assert ["m1", "m2"] == house.column("shop.tracks", "id")
    assert [("loader_error", "ZeroDivisionError: a mistake of ours")] == [
        (row["code"], row["reason"]) for row in house.rows("headrace.rejected")
    ]


def test_the_event_that_the_warehouse_refuses_is_found_among_many(house: House) -> None:
    house.warehouse.poison = "arsenic"
    poison = {17, 18, 63}
    house.load(*(made(f"m{n:02}", properties={"dish": "arsenic" if n in poison else "soup"}) for n in range(64)))
    assert [f"m{n:02}" for n in range(64) if n not in poison] == house.column("shop.tracks", "id")
    assert [(f"m{n}", "warehouse_refused") for n in sorted(poison)] == [
        (row["message_id"], row["code"]) for row in house.rows("headrace.rejected", "message_id")
    ]
    assert Books(loaded=61, rejected=3) == house.books


def test_a_warehouse_that_refuses_everything_stops_the_loader(house: House) -> None:
    house.log.append([made("m1")])
    house.warehouse.before = [ValueError("no")] * 10
    with pytest.raises(HeadraceError, match="refuses even the rejection"):
        house.loader().step()
    assert house.warehouse.position("warehouse", 0) is None


def test_events_refused_at_the_door_are_stored(house: House) -> None:
    house.load(RejectedEvent("shop", "collector", "no_user_anon_id", "why", "{\0}", START, "m1"), made("m2"))
    assert Books(loaded=1, refused=1) == house.books
    (row,) = house.rows("headrace.rejected")
    assert ("collector", "no_user_anon_id", "{}") == (row["stage"], row["code"], row["raw"])


def test_events_of_an_unknown_source_are_rejected(house: House) -> None:
    house.load(made("m1", source="gone"), made("m1", source="gone"), made("m1"))
    assert Books(loaded=1) == house.books
    assert Books(rejected=1, duplicates=1) == house.books_of("gone")
    assert ["source_unknown"] == [row["code"] for row in house.rows("headrace.rejected")]


def test_what_the_log_lost_is_counted_by_source(house: House) -> None:
    house.log.append([made("m1")])
    house.log.lose({"shop": Tally(accepted=5, refused=2), "other": Tally(accepted=1)})
    house.load(made("m2"))
    assert Books(loaded=2, rejected=5, refused=2) == house.books
    assert Books(rejected=1) == house.books_of("other")
    found = [
        (row["source"], row["stage"], row["code"], row["events"])
        for row in house.rows("headrace.rejected", "source, stage")
    ]
    assert [
        ("other", "log", "log_corrupt", 1),
        ("shop", "collector", "log_corrupt", 2),
        ("shop", "log", "log_corrupt", 5),
    ] == found


def test_a_gap_without_an_event_after_it_is_stored_too(house: House) -> None:
    house.log.lose({"shop": Tally(accepted=3)}, code="log_removed")
    house.load()
    assert Books(rejected=3) == house.books


def test_offsets_may_have_gaps(house: House) -> None:
    house.log.skip(5)
    house.load(made("m1"))
    house.log.skip(7)
    house.load()
    house.load(made("m2"))
    assert ["m1", "m2"] == house.column("shop.tracks", "id")
    assert Position("log-1", 14) == house.warehouse.position("warehouse", 0)


# Exactly once.


def storm(house: House, loader: Callable[[], Loader]) -> list[str]:
    """Each batch several times, and a new loader in between; the ids in tracks."""
    for _ in range(3):
        house.log.append(made(f"m{n}", at=n) for n in range(100))
        running = loader()
        while running.step() is not None:
            house.log.append([])
    return house.column("shop.tracks", "id")


def test_a_storm_of_duplicates_leaves_each_event_once(house: House) -> None:
    assert [f"m{n}" for n in range(100)] == sorted(
        storm(house, lambda: house.loader(load_events=30)), key=lambda i: int(i[1:])
    )
    assert Books(loaded=100, duplicates=200) == house.books


def test_without_the_filters_the_storm_would_show(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control."""
    monkeypatch.setattr(Duplicates, "among", lambda *_: set())
    assert 300 == len(storm(house, lambda: house.loader(load_events=30)))


def test_one_id_is_one_event_across_all_tables(house: House) -> None:
    house.load(made("m1"), made("m1", "identify"), made("m1", event="Other"))
    house.load(made("m1", "page"))
    assert Books(loaded=1, duplicates=3) == house.books


def test_a_rejected_event_sent_again_is_a_duplicate(house: House) -> None:
    for _ in range(2):
        house.load(made("bad", properties=b"[1]"))
    assert Books(rejected=1, duplicates=1) == house.books


def test_the_same_events_are_tried_again_when_the_warehouse_comes_back(house: House) -> None:
    house.log.append([made("m1")])
    loader = house.loader()
    house.warehouse.before = [WarehouseUnavailableError("gone")] * 7
    for _ in range(7):
        with pytest.raises(WarehouseUnavailableError):
            loader.step()
        assert "gone" == loader.progress()[0].error
    outcome = loader.step()
    assert outcome is not None
    assert (1, None) == (outcome.entries, loader.progress()[0].error)
    assert ["m1"] == house.column("shop.tracks", "id")


def test_a_warehouse_without_memory_is_asked_to_checkpoint_before_the_next_try(house: House) -> None:
    loader = house.loader()
    for number in range(2):
        house.log.append(made(f"m{number}-{n}", properties={"text": "x" * 1_000}) for n in range(100))
        if number == 1:
            house.warehouse.before = [WarehouseUnavailableError("no memory left")]
            with pytest.raises(WarehouseUnavailableError):
                loader.step()
            assert 0 == house.warehouse.journal_bytes()
        assert loader.step() is not None
        assert house.warehouse.journal_bytes() > 0
    assert Books(loaded=200) == house.books


def test_an_answer_lost_after_the_commit_does_not_load_twice(house: House) -> None:
    house.log.append([made("m1"), made("m2")])
    loader = house.loader()
    house.warehouse.after = [WarehouseUnavailableError("no answer")]
    with pytest.raises(WarehouseUnavailableError):
        loader.step()
    assert loader.step() is not None
    house.log.append([made("m3"), made("m1")])
    assert loader.step() is not None
    assert ["m1", "m2", "m3"] == house.column("shop.tracks", "id")
    assert Books(loaded=3, duplicates=1) == house.books


@pytest.mark.parametrize("failures", range(1, 7))
def test_a_lost_answer_among_failures_does_not_load_twice(house: House, failures: int) -> None:
    house.log.append(made(f"m{n}") for n in range(8))
    loader = house.loader()
    house.warehouse.before = [WarehouseUnavailableError("gone")] * (failures - 1)
    house.warehouse.after = [WarehouseUnavailableError("no answer")]
    for _ in range(failures):
        with pytest.raises(WarehouseUnavailableError):
            loader.step()
    while loader.step() is not None:
        pass
    assert Books(loaded=8) == house.books
    assert 8 == len(house.rows("shop.tracks"))


def test_a_second_loader_is_fenced(house: House) -> None:
    house.log.append([made("m1")])
    one, other = house.loader(), house.loader()
    assert one.step() is not None
    house.log.append([made("m2")])
    assert other.step() is not None
    house.log.append([made("m3")])
    with pytest.raises(PositionError):
        one.step()
    assert other.step() is not None
    assert ["m1", "m2", "m3"] == house.column("shop.tracks", "id")


def test_a_log_that_is_not_the_warehouses_stops_the_loader(house: House) -> None:
    house.load(made("m1"))
    with pytest.raises(PositionError, match="log-2"):
        house.loader(ListLog(incarnation="log-2")).step()
    with pytest.raises(PositionError):
        house.loader(ListLog()).run(threading.Event())


def test_partitions_are_loaded_in_turn(house: House) -> None:
    logs = [ListLog(number) for number in range(3)]
    for log in logs:
        log.append(made(f"m{log.partition}-{n}") for n in range(4))
    loader = house.loader(*logs, load_events=2)
    order = []
    while (outcome := loader.step()) is not None:
        order.append(outcome.partition)
    assert [0, 1, 2, 0, 1, 2] == order
    assert Books(loaded=12) == house.books
    assert [4, 4, 4] == [progress.position for progress in sorted(loader.progress(), key=lambda p: p.partition)]


def test_an_event_alone_is_loaded_at_once_and_the_loader_stops_when_told(house: House) -> None:
    stop = threading.Event()
    loader = house.loader()
    running = threading.Thread(target=loader.run, args=(stop,))
    running.start()
    house.log.append([made("m1")])
    deadline = time.monotonic() + 30
    while loader.progress()[0].position < 1 and time.monotonic() < deadline:
        time.sleep(0.01)
    stop.set()
    running.join(30)
    assert not running.is_alive()
    assert ["m1"] == house.column("shop.tracks", "id")
    assert loader.window_start("shop") == NOW - timedelta(days=30)


def test_a_source_that_is_added_while_a_load_is_read_is_known(house: House) -> None:
    answers: list[dict[str, Source]] = [{}]
    house.log.append([made("m1")])
    config = LoaderConfig()
    Loader(
        "warehouse",
        [house.log],
        house.warehouse,
        lambda: answers.pop() if answers else house.sources,
        config,
        now=lambda: house.now,
    ).step()
    assert Books(loaded=1) == house.books


def test_what_is_sent_to_a_column_whose_type_a_person_chose_is_converted(house: House) -> None:
    house.load(made("m1", properties={"total": 1.5}))
    house.retyped = [(TableName("shop", "order_placed"), "total")]
    house.load(made("m2", properties={"total": "12.00"}), made("m3", properties={"total": "free"}))
    house.retyped = []
    house.load(made("m4", properties={"total": "13.00"}))
    assert [1.5, 12.0, None, None] == house.column("shop.order_placed", "total")
    assert [("m3", '"free"'), ("m4", '"13.00"')] == [
        (row["row_id"], row["value"]) for row in house.rows("headrace.discards", "row_id")
    ]
