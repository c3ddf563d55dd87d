"""Replays: what was wanted is sent again, from whatever became of it, once more after a kill, and not a thing besides."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest

from delivery_house import WEBHOOK, House, Tool
from headrace.delivery import replays
from headrace.delivery.preparing import Preparation
from headrace.delivery.replaying import estimate, lost_in, part_of, passed_by
from headrace.delivery.replays import Range, Wanted
from headrace.delivery.store import Store
from headrace.destinations import base
from headrace.destinations.base import Answer, Place, Request
from headrace.errors import ConfigError
from headrace.log._sqlite_reader import SqliteReader
from headrace.log.base import Gap, Slice, Tally
from segment_events import event_of

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


def test_a_pause_is_not_overrun_by_what_replays(house: House) -> None:
    delivered(house)
    number = ordered(house)
    store = Store(house.file)
    replays.pause(store, number)
    assert not replays.begin(store, number)
    assert "paused" == replays.one(store, number).state
    assert "paused" == replays.pause(store, number).state
    assert "ordered" == replays.resume(store, number).state
    assert replays.begin(store, number), "the control"
    assert "running" == replays.resume(store, number).state
    replays.cancel(store, number)
    replays.end(store, number, "done")
    assert "cancelled" == replays.one(store, number).state
    store.close()


def test_a_users_events_keep_their_order_where_the_destination_asks_for_it(house: House) -> None:
    users = ["ada", "bob", "ada", "bob", "ada"]
    first = Tool()
    house.deliver(first, lambda: len(first.ids) == 5, meanwhile=lambda: house.accept([{"userId": u} for u in users]))
    settings = {"ordered": True, "concurrency": 4}

    def sent(settings: Mapping[str, object]) -> list[str]:
        """Of Ada, whose first event fails once."""
        failed: list[bool] = []

        def answer(request: Request) -> Answer:
            if b"m-0" in request.body and not failed:
                failed.append(True)
                return Answer(503)
            return Answer(200)

        tool = Tool(answer)
        number = ordered(house, following=5)
        house.deliver(tool, lambda: shown(house, number).state == "done", settings=settings)
        assert 5 == shown(house, number).delivered
        return [each for each in tool.ids if each in ("m-0", "m-2", "m-4")]

    assert ["m-0", "m-0", "m-2", "m-4"] == sent(settings)
    assert "m-0" == sent({"concurrency": 4})[-1], "the control"


def test_a_wrong_key_makes_a_replay_wait_rather_than_fail(house: House) -> None:
    delivered(house, 3)
    ordered(house, following=3)
    wrong = [Answer(401)] * 2
    tool = Tool(lambda _: wrong.pop() if wrong else Answer(200))
    house.deliver(tool, lambda: shown(house).state == "done")
    assert (3, 0) == (shown(house).delivered, shown(house).failed)
    assert 5 == len(tool.ids)


def test_what_a_tool_refuses_is_counted_and_named(house: House) -> None:
    delivered(house, 3)
    ordered(house, following=3)
    tool = Tool(lambda request: Answer(400 if b"m-1" in request.body else 200))
    house.deliver(tool, lambda: shown(house).state == "done")
    assert (2, 1) == (shown(house).delivered, shown(house).failed)
    assert [("m-1", "failed", "BAD_REQUEST")] == house.rows("SELECT message_id, outcome, code FROM replayed")
    assert {"delivered": 3} == house.counts()


def test_a_fault_of_a_replay_ends_it_and_nothing_else(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    delivered(house, 3)
    ordered(house, following=3)

    def broken() -> list[SqliteReader]:
        raise KeyError("a fault of ours")

    monkeypatch.setattr(house, "readers", broken)
    tool = Tool()
    house.deliver(tool, lambda: shown(house).state == "failed")
    assert "a fault of ours" in shown(house).detail
    house.deliver(tool, lambda: len(tool.ids) == 2, meanwhile=lambda: house.tracks(2))
    assert "number 1 has failed" in caplog.text


def test_what_was_guessed_at_the_beginning_is_put_right_at_the_end(house: House) -> None:
    delivered(house, 4)
    ordered(house, following=9)
    assert 9 == shown(house).total
    tool = Tool()
    house.deliver(tool, lambda: shown(house).state == "done")
    assert (4, 4, 4) == (shown(house).total, shown(house).passed, shown(house).delivered)


def test_events_that_are_gone_are_spoken_of() -> None:
    lost = Gap(0, 4, {"selligent": Tally(3, 1), "other": Tally(9)}, "log_removed", "segment 0 was removed")
    found = part_of(ScriptedReader(Slice((), 4, (lost,))), 0, 4)
    assert (13, 3) == (passed_by(found), lost_in(found, ALWAYS, ["selligent"]))
    assert 0 == lost_in(found, Wanted(0, 1, sources=("shop",)), ["selligent", "shop"])


class ScriptedReader(SqliteReader):
    """Answers with one slice."""

    def __init__(self, found: Slice) -> None:
        self._found = found

    def read(self, offset: int, *, max_entries: int, max_bytes: int) -> Slice:
        del offset, max_entries, max_bytes
        return self._found


def test_nothing_beyond_the_end_is_taken() -> None:
    entries = [event_of({"type": "track", "messageId": str(number)}) for number in range(5)]
    found = part_of(ScriptedReader(Slice(entries, 15)), 10, 13)
    assert (13, ["0", "1", "2"]) == (found.next, [entry.message_id for entry in found.entries])
    assert 13 == part_of(ScriptedReader(Slice((), 10)), 10, 13).next, "it always goes on"
