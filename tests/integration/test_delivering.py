"""The loop of one destination: what is sent, what is tried again, and that the books say exactly that."""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path

import pytest

from delivery_house import House, Tool, ids_of
from headrace.destinations.base import Answer, Request


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def test_every_event_is_delivered_and_counted(house: House) -> None:
    tool = Tool()
    house.deliver(tool, lambda: len(tool.requests) == 100, meanwhile=lambda: house.tracks(100))
    assert sorted(f"m-{n}" for n in range(100)) == sorted(tool.ids)
    assert {"delivered": 100} == house.counts()
    assert house.position() == 100
    assert [(0, 100, "delivered", "")] == [(0, house.runs()[-1][1], *house.runs()[0][2:])]


def test_a_batch_holds_what_the_settings_say(house: House) -> None:
    tool = Tool()
    house.deliver(
        tool, lambda: len(tool.ids) == 250, settings={"batch_events": 100}, meanwhile=lambda: house.tracks(250)
    )
    assert 100 >= max(len(request.body) for request in tool.requests) / 250
    assert len(tool.requests) < 10
    assert {"delivered": 250} == house.counts()


def test_it_goes_on_where_it_was(house: House) -> None:
    tool = Tool()
    house.deliver(tool, lambda: len(tool.ids) == 10, meanwhile=lambda: house.tracks(10))
    house.tracks(10)
    house.deliver(tool, lambda: len(tool.ids) == 20)
    assert Counter(f"m-{n}" for n in range(20)) == Counter(tool.ids)
    assert {"delivered": 20} == house.counts()


def test_what_fails_for_now_is_tried_again(house: House) -> None:
    seen: Counter[str] = Counter()

    def answer(request: Request) -> Answer:
        seen[request.headers["webhook-id"]] += 1
        return Answer(
            503 if seen[request.headers["webhook-id"]] == 1 and request.headers["webhook-id"] == "m-3" else 200
        )

    tool = Tool(answer)
    house.deliver(tool, lambda: len(tool.ids) == 11, meanwhile=lambda: house.tracks(10))
    assert seen["m-3"] == 2
    assert {"delivered": 10} == house.counts()
    assert [("m-3", "delivered", "503", 2, None)] == house.rows(
        "SELECT message_id, outcome, code, attempts, line FROM events"
    )


def test_what_is_refused_for_good_is_a_dead_letter(house: House) -> None:
    tool = Tool(lambda request: Answer(422, body=b"no") if request.headers["webhook-id"] == "m-3" else Answer(200))
    house.deliver(tool, lambda: len(tool.ids) == 10, meanwhile=lambda: house.tracks(10))
    assert {"delivered": 9, "failed BAD_REQUEST": 1} == house.counts()
    assert [("m-3", "failed", "BAD_REQUEST", "422 no", 1)] == house.rows(
        "SELECT message_id, outcome, code, detail, attempts FROM events WHERE line IS NOT NULL"
    )


def test_a_refused_batch_is_sent_one_by_one(house: House) -> None:
    tool = Tool(lambda request: Answer(400) if b'"m-3"' in request.body else Answer(200))
    house.deliver(
        tool, lambda: len(tool.requests) == 11, settings={"batch_events": 10}, meanwhile=lambda: house.tracks(10)
    )
    assert {"delivered": 9, "failed BAD_REQUEST": 1} == house.counts()


def test_a_dead_tool_stops_the_reading_and_its_return_brings_everything(house: House) -> None:
    dead = Tool(lambda _: Answer(500))
    house.deliver(dead, 1.0, settings={"concurrency": 2}, meanwhile=lambda: house.tracks(500))
    assert len(dead.requests) < 20
    tool = Tool()
    house.deliver(tool, lambda: len(set(tool.ids)) == 500)
    assert {"delivered": 500} == house.counts()
    assert Counter(f"m-{n}" for n in range(500)) == Counter(tool.ids)


def test_only_connected_sources_and_filtered_events(house: House) -> None:
    tool = Tool()

    def accept() -> None:
        house.accept([{"event": "A"}, {"event": "B"}], "selligent")
        house.accept([{"event": "A"}], "other")
        house.accept([{"event": "A"}, {"event": "A", "integrations": {"All": False}}], "selligent")

    house.deliver(tool, lambda: len(tool.ids) == 2, settings={"filter": 'event = "A"'}, meanwhile=accept)
    assert {
        "delivered": 2,
        "filtered FILTERED_BY_RULES": 1,
        "filtered FILTERED_BY_INTEGRATIONS_OBJECT": 1,
    } == house.counts()
    assert house.position() == 5
    assert ["delivered", "filtered", "delivered", "filtered"] == [run[2] for run in house.runs()]
    assert house.runs()[0][0] == 0
    assert house.runs()[-1][1] == 5


@pytest.mark.parametrize("settings", [{}, {"batch_events": 50}, {"ordered": True, "concurrency": 3}], ids=str)
def test_retries_are_counted_and_sent_once_each(house: House, settings: dict[str, object]) -> None:
    seen: Counter[str] = Counter()

    def answer(request: Request) -> Answer:
        """Every third request does not come through, whatever is in it."""
        seen["requests"] += 1
        return Answer(500 if seen["requests"] % 3 == 0 else 200)

    tool, taken = Tool(answer), Counter[str]()

    def keeping(request: Request) -> Answer:
        answered = answer(request)
        if answered.status == 200:
            taken.update(ids_of(request))
        return answered

    tool.answer = keeping
    house.deliver(
        tool,
        lambda: len(taken) == 150,
        settings=settings,
        meanwhile=lambda: house.accept([{"userId": f"u{n % 20}"} for n in range(150)]),
    )
    house.deliver(tool, 0.3, settings=settings)
    assert Counter(f"m-{n}" for n in range(150)) == taken
    assert {"delivered": 150} == house.counts()


def test_each_users_events_arrive_in_their_order(house: House) -> None:
    arrived: dict[str, list[int]] = {}
    requests = Counter[str]()

    def answer(request: Request) -> Answer:
        requests["all"] += 1
        if requests["all"] % 4 == 0:
            return Answer(503)
        event = json.loads(request.body)
        arrived.setdefault(event["userId"], []).append(event["properties"]["n"])
        return Answer(200)

    events = [{"userId": f"u{n % 5}", "properties": {"n": n}} for n in range(60)]
    tool = Tool(answer)
    house.deliver(
        tool,
        lambda: sum(map(len, arrived.values())) == 60,
        settings={"ordered": True, "concurrency": 4},
        meanwhile=lambda: house.accept(events),
    )
    assert {f"u{k}": list(range(k, 60, 5)) for k in range(5)} == arrived
    assert {"delivered": 60} == house.counts()


def test_without_the_setting_a_retry_falls_behind(house: House) -> None:
    """The control of the test above."""
    arrived: list[int] = []
    requests = Counter[str]()

    def answer(request: Request) -> Answer:
        requests["all"] += 1
        if requests["all"] == 1:
            return Answer(503)
        arrived.append(json.loads(request.body)["properties"]["n"])
        return Answer(200)

    events = [{"userId": "u", "properties": {"n": n}} for n in range(10)]
    house.deliver(Tool(answer), lambda: len(arrived) == 10, meanwhile=lambda: house.accept(events))
    assert sorted(arrived) != arrived


def test_a_wrong_key_costs_nothing_once_it_is_mended(house: House) -> None:
    counted: list[float] = []

    def a_second_later() -> bool:
        if not counted and house.counts():
            counted.append(time.monotonic())
        return bool(counted) and time.monotonic() > counted[0] + 1

    house.deliver(
        Tool(lambda _: Answer(401)), a_second_later, settings={"concurrency": 1}, meanwhile=lambda: house.tracks(50)
    )
    counts = house.counts()
    assert {"failed INVALID_AUTHENTICATION"} == set(counts)
    assert counts["failed INVALID_AUTHENTICATION"] < 10
    tool = Tool()
    house.deliver(tool, lambda: len(tool.ids) == 50)
    assert {"delivered": 50} == house.counts()


def test_410_disables_and_loses_nothing(house: House) -> None:
    reasons: list[str] = []

    async def gone(reason: str) -> None:
        reasons.append(reason)

    house.on_gone = gone
    house.deliver(
        Tool(lambda _: Answer(410)),
        lambda: bool(reasons),
        settings={"concurrency": 1},
        meanwhile=lambda: house.tracks(20),
    )
    assert len(reasons) == 1
    tool = Tool()
    house.deliver(tool, lambda: len(set(tool.ids)) == 20)
    assert {"delivered": 20} == house.counts()


def test_the_horizon_ends_in_a_dead_letter(house: House) -> None:
    poison = Tool(lambda request: Answer(500) if b'"m-1"' in request.body else Answer(200))
    house.deliver(
        poison,
        lambda: house.counts().get("failed SERVER_ERROR") == 1,
        settings={"horizon_hours": 0.0001},
        meanwhile=lambda: house.tracks(3),
    )
    assert {"delivered": 2, "failed SERVER_ERROR": 1} == house.counts()


def test_killed_at_any_moment_the_books_and_the_tool_agree(house: House) -> None:
    tool = Tool()
    house.deliver(tool, lambda: len(tool.ids) >= 500, meanwhile=lambda: house.tracks(2_000), is_killed=True)
    house.deliver(tool, lambda: len(set(tool.ids)) == 2_000)
    assert {"delivered": 2_000} == house.counts()


def test_an_event_that_a_function_wants_later_holds_up_no_other(house: House, tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    function = tmp_path / "own.py"
    function.write_text(
        "def send(event):\n"
        "    if event['messageId'] == 'm-0':\n"
        "        return {'retry': 'later', 'after_seconds': 60}\n"
        f"    open({str(taken)!r}, 'a').write(event['messageId'] + '\\n')\n"
    )
    house.deliver(
        Tool(),
        lambda: taken.exists() and len(taken.read_text().split()) == 9,
        kind="python",
        settings={"file": str(function), "concurrency": 1},
        meanwhile=lambda: house.tracks(10),
    )
    assert {"delivered": 9, "retrying FUNCTION_RETRY": 1} == house.counts()


def test_a_wrong_key_is_told_at_once_and_so_is_its_end(house: House) -> None:
    refusing = Tool(lambda _: Answer(401, body=b"no such key"))
    settings = {"batch_events": 10}
    told = house.deliver(
        refusing,
        lambda: bool(house.file.exists() and house.counts()),
        settings=settings,
        meanwhile=lambda: house.tracks(10),
    )
    assert ("failing", True) == (told.state()["state"], "INVALID_AUTHENTICATION" in told.error)
    tool = Tool()
    told = house.deliver(tool, lambda: len(tool.ids) == 10, settings=settings)
    assert ("delivering", "") == (told.state()["state"], told.error)
