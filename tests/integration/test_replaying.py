"""Replays: what was wanted is sent again, from whatever became of it, once more after a kill, and not a thing besides."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from delivery_house import WEBHOOK, House, Tool
from headrace.delivery import replays
from headrace.delivery.preparing import Preparation
from headrace.delivery.replaying import estimate
from headrace.delivery.replays import Range, Wanted
from headrace.delivery.store import Store
from headrace.destinations import base
from headrace.destinations.base import Answer, Place
from headrace.errors import ConfigError

ALWAYS = Wanted(0, 1 << 60)


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def ordered(house: House, wanted: Wanted = ALWAYS, first: int = 0, following: int = 10) -> int:
    store = Store(house.file)
    try:
        return replays.order(store, wanted, [Range(0, first, following)])
    finally:
        store.close()


def shown(house: House, number: int = 1) -> replays.Replay:
    store = Store(house.file)
    try:
        return replays.one(store, number)
    finally:
        store.close()


def delivered(house: House, count: int = 10) -> None:
    tool = Tool()
    house.deliver(tool, lambda: len(tool.ids) == count, meanwhile=lambda: house.tracks(count))


def test_everything_is_sent_again_and_the_books_stay_as_they_were(house: House) -> None:
    delivered(house)
    ordered(house)
    tool = Tool()
    house.deliver(tool, lambda: shown(house).state == "done")
    assert Counter(f"m-{n}" for n in range(10)) == Counter(tool.ids)
    assert {"delivered": 10} == house.counts()
    assert (10, 10, 0, 0) == (shown(house).passed, shown(house).delivered, shown(house).filtered, shown(house).failed)


def test_a_dead_letter_that_goes_through_is_none_any_more(house: House) -> None:
    refusing = Tool(lambda request: Answer(400 if b"m-3" in request.body else 200))
    house.deliver(refusing, lambda: len(refusing.ids) == 10, meanwhile=lambda: house.tracks(10))
    assert {"delivered": 9, "failed BAD_REQUEST": 1} == house.counts()
    ordered(house, Wanted(0, 1 << 60, outcome="failed"))
    tool = Tool()
    house.deliver(tool, lambda: shown(house).state == "done")
    assert ["m-3"] == tool.ids
    assert {"delivered": 10} == house.counts()


def test_what_was_filtered_can_be_sent_once_the_filter_is_mended(house: House) -> None:
    tool = Tool()
    house.deliver(
        tool, lambda: len(tool.ids) == 1, settings={"filter": 'userId = "a"'},
        meanwhile=lambda: house.accept([{"userId": "a"}, {"userId": "b"}, {"userId": "c"}]),
    )  # fmt: skip
    ordered(house, Wanted(0, 1 << 60, outcome="filtered"), following=3)
    again = Tool()
    house.deliver(again, lambda: shown(house).state == "done", settings={"filter": 'userId != "c"'})
    assert ["m-1"] == again.ids
    assert (1, 1) == (shown(house).delivered, shown(house).filtered)


def test_events_from_before_the_destination_was_there(house: House) -> None:
    house.accept([{"receivedAt": "2026-01-01T00:00:00Z"}] * 5)
    tool = Tool()
    house.deliver(tool, lambda: len(tool.ids) == 3, meanwhile=lambda: house.tracks(3))
    never = Wanted(0, 1 << 60, outcome="never")
    store = Store(house.file)
    kind = base.configured("webhook", WEBHOOK, Place("tool", house.folder))
    counts = estimate(house.readers(), [Range(0, 0, 8)], never, ["selligent"], store, Preparation(kind))
    assert (5, {"selligent": 5}, {"Email Opened": 5}, {}) == (
        counts.sent,
        counts.by_source,
        counts.by_name,
        counts.stopped,
    )
    replays.order(store, never, [Range(0, 0, 8)])
    store.close()
    again = Tool()
    house.deliver(again, lambda: shown(house).state == "done")
    assert Counter(f"m-{n}" for n in range(5)) == Counter(again.ids)
    assert {"delivered": 3} == house.counts()


def test_a_replay_that_was_killed_goes_on(house: House) -> None:
    delivered(house, 3_000)
    ordered(house, following=3_000)
    first = Tool()
    house.deliver(first, lambda: shown(house).passed > 0, is_killed=True)
    assert shown(house).state == "running"
    second = Tool()
    house.deliver(second, lambda: shown(house).state == "done")
    assert {f"m-{n}" for n in range(3_000)} == {*first.ids, *second.ids}
    assert len(second.ids) <= 2_000


def test_a_cancelled_replay_sends_no_more(house: House) -> None:
    delivered(house)
    number = ordered(house)
    store = Store(house.file)
    replays.cancel(store, number)
    with pytest.raises(ConfigError, match="cancelled already"):
        replays.resume(store, number)
    store.close()
    tool = Tool()
    house.deliver(tool, 1.0)
    assert [] == tool.ids


def test_a_pause_waits_even_where_the_tool_hangs(house: House) -> None:
    delivered(house)
    number = ordered(house)
    dead = Tool(lambda _: Answer(503))
    store = Store(house.file)

    def pause() -> bool:
        if dead.requests and shown(house).state == "running":
            replays.pause(store, number)
        return shown(house).state == "paused"

    house.deliver(dead, pause)
    store.close()
    tool = Tool()
    house.deliver(tool, 1.0)
    assert [] == tool.ids
    assert {"delivered": 10} == house.counts()
