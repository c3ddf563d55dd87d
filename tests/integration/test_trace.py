"""Where is my event: told for each event of a log whose destination took, refused, left out and waits for them."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from delivery_house import House, Tool
from headrace import cli
from headrace import event as events
from headrace.app import tracing
from headrace.config import Config
from headrace.console.status import PartitionStatus, WarehouseState, WarehouseStatus
from headrace.console.tracing import Accepted, Row, in_warehouse
from headrace.delivery import dead_letters
from headrace.delivery.dead_letters import Wanted
from headrace.destinations.base import Answer, Request
from headrace.event import RejectedEvent
from headrace.log.base import tallied
from headrace.workspace.records import Destination, Warehouse
from headrace.workspace.workspace import Workspace

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Ran(NamedTuple):
    code: int
    out: str
    err: str


Run = Callable[..., Ran]


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


@pytest.fixture
def destination(house: House) -> Destination:
    """Without a warehouse, which would be opened for each question."""
    with Workspace.open(house.folder) as workspace:
        workspace.add_source("http-api", "Selligent")
        workspace.add_source("http-api", "Other")
        workspace.remove_warehouse("warehouse")
        return workspace.add_destination("webhook", "Tool", ["selligent"], {"url": "https://tool.example/hook"}, "tool")


def answer(request: Request) -> Answer:
    return {"m-3": Answer(422, body=b"no name"), "m-4": Answer(503)}.get(request.headers["webhook-id"], Answer(200))


@pytest.fixture
def traced(house: House, destination: Destination) -> Callable[[str], dict[str, Any]]:
    """The fate of an event at the destination: m-0 was there before it, m-3 failed, m-4 is retried, m-10 is filtered, m-11 of another
    source, m-12 twice, m-14 waits."""

    def accept() -> None:
        house.accept([{}] * 9)
        house.accept([{"integrations": {"All": False}}])
        house.accept([{}], "other")
        house.accept([{"messageId": "m-12"}, {"messageId": "m-12"}])

    house.accept([{"receivedAt": (datetime.now(UTC) - timedelta(days=300)).isoformat()}])
    tool = Tool(answer)
    house.deliver(
        tool,
        lambda: len(tool.ids) >= 11 and house.counts().get("delivered") == 9,
        added_at=destination.created_at,
        meanwhile=accept,
    )
    house.tracks(3)

    def traced(message_id: str) -> dict[str, Any]:
        with tracing.opened(Config(data=str(house.folder))) as tracer:
            found = tracer.trace(message_id, "400d")
        assert found.is_found
        return {fate.slug: fate for sight in found.sights for fate in sight.destinations}

    return traced


def test_each_event_has_the_fate_that_it_had(traced: Callable[[str], dict[str, Any]]) -> None:
    expected = {
        "m-0": ("not_connected", ""),
        "m-1": ("delivered", ""),
        "m-2": ("delivered", ""),
        "m-3": ("failed", "BAD_REQUEST"),
        "m-4": ("retrying", "503"),
        "m-5": ("delivered", ""),
        "m-10": ("filtered", "FILTERED_BY_INTEGRATIONS_OBJECT"),
        "m-11": ("not_connected", ""),
        "m-12": ("delivered", ""),
        "m-14": ("waiting", ""),
    }
    fates = {message_id: traced(message_id)["tool"] for message_id in expected}
    assert expected == {message_id: (fate.outcome, fate.code) for message_id, fate in fates.items()}
    assert "422 no name" == fates["m-3"].detail
    assert ["BAD_REQUEST"] == [attempt.code for attempt in fates["m-3"].history]
    assert fates["m-4"].next_at > fates["m-4"].at
    assert "before this destination was there" in fates["m-0"].text
    assert "other was not connected" in fates["m-11"].text


def test_a_retried_event_tells_its_whole_story(
    traced: Callable[[str], dict[str, Any]], house: House, destination: Destination
) -> None:
    assert 1 == dead_letters.replay(house.file, Wanted()).events
    assert "to be sent again" in traced("m-3")["tool"].text
    mended = Tool()
    house.deliver(mended, lambda: {"m-3", "m-4", "m-16"} <= set(mended.ids), added_at=destination.created_at)
    for message_id, code in (("m-3", "BAD_REQUEST"), ("m-4", "503")):
        fate = traced(message_id)["tool"]
        assert "delivered" == fate.outcome
        assert [code, ""] == [fate.history[0].code, fate.history[-1].code]
    assert "delivered" == traced("m-14")["tool"].outcome


def test_a_source_that_was_connected_later(
    traced: Callable[[str], dict[str, Any]], house: House, destination: Destination
) -> None:
    tool = Tool()
    house.deliver(
        tool, lambda: len(tool.ids) == 5, sources=("selligent", "other"), added_at=destination.created_at,
        meanwhile=lambda: house.accept([{"messageId": "later"}], "other"),
    )  # fmt: skip
    assert "delivered" == traced("later")["tool"].outcome
    assert "it was connected later" in traced("m-11")["tool"].text


def test_every_place_of_an_id_that_was_sent_twice_is_told(
    traced: Callable[[str], dict[str, Any]], house: House
) -> None:
    assert traced("m-12")
    with tracing.opened(Config(data=str(house.folder))) as tracer:
        sights = tracer.trace("m-12").sights
    assert [12, 13] == [sight.accepted.offset for sight in sights]


def test_a_refused_event_is_found_with_its_reason(house: House, destination: Destination) -> None:
    assert destination.slug == "tool"
    refused = RejectedEvent(
        "selligent", "collector", "invalid_type", "the type is missing", "{}", datetime.now(UTC), "bad"
    )
    house._writer.append([events.encode(refused)], tallied([refused]))
    with tracing.opened(Config(data=str(house.folder))) as tracer:
        found = tracer.trace("bad")
    assert ("refused", "invalid_type") == (found.sights[0].accepted.outcome, found.sights[0].accepted.code)
    assert "the type is missing" in found.steps[0]
    assert () == tuple(found.sights[0].destinations)


@pytest.mark.usefixtures("traced")
def test_the_command_tells_it_in_words_and_fails_for_what_nobody_knows(
    house: House, capfd: pytest.CaptureFixture[str]
) -> None:
    def run(*arguments: str) -> Ran:
        capfd.readouterr()
        code = cli.run(cli.app, ["trace", *arguments, "--data", str(house.folder)])
        return Ran(code, *capfd.readouterr())

    ran = run("m-3")
    assert (0, "") == (ran.code, ran.err)
    lines = ran.out.splitlines()
    assert lines[0].startswith("collector: accepted track 'Email Opened' from selligent at 20")
    assert lines[1].startswith("destination tool: it failed: The tool refused the request [BAD_REQUEST] (422 no name).")
    found = json.loads(run("m-3", "--json").out)
    assert ("m-3", True, None) == (found["message_id"], found["is_found"], found["looked_back_to"])
    unknown = run("never", "--json")
    assert (1, False) == (unknown.code, json.loads(unknown.out)["is_found"])
    assert json.loads(unknown.out)["looked_back_to"] is not None
    assert 1 == run("'; DROP TABLE events; --").code


RECORD = Warehouse("warehouse", "duckdb", "Warehouse", datetime(2026, 1, 1, tzinfo=UTC))
STATUS = WarehouseStatus(
    WarehouseState("warehouse", "duckdb", "Warehouse", "loading"), {}, (), [PartitionStatus(0, "log", 0, 100, 50)], 0.0
)
EVENT = Accepted(outcome="accepted", source="shop", received_at=NOW, partition=0, offset=10)


@pytest.mark.parametrize(
    ("outcome", "accepted", "rows", "rejected", "record", "problem"),
    [
        ("loaded", EVENT, [Row("shop", "tracks", NOW, NOW)], [], RECORD, ""),
        ("duplicate", EVENT, [Row("shop", "tracks", NOW.replace(day=2), NOW)], [], RECORD, ""),
        ("rejected", EVENT, [], [("shop", "loader", "bad", "too deep", NOW)], RECORD, ""),
        ("missing", EVENT, [], [("other", "loader", "bad", "too deep", NOW)], RECORD, ""),
        ("pending", Accepted(outcome="accepted", source="shop", received_at=NOW, partition=0, offset=50), [], [], RECORD, ""),
        ("filtered", EVENT, [], [], Warehouse("w", "duckdb", "W", NOW, selection={"shop": {}}), ""),
        ("unknown", EVENT, [], [], RECORD, "it could not be asked"),
        ("rejected", Accepted(outcome="refused", source="shop", received_at=NOW, code="bad"), [], [], RECORD, ""),
    ],
)  # fmt: skip
def test_what_became_of_an_event_in_a_warehouse(
    outcome: str, accepted: Accepted, rows: list[Row], rejected: list[tuple[Any, ...]], record: Warehouse, problem: str
) -> None:
    assert outcome == in_warehouse(accepted, record, STATUS, rows, rejected, problem).outcome
