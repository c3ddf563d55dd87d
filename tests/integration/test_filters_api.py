"""Filters as they are written in the console: checked, tried on the newest events, and completed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from litestar.testing import TestClient

from console_worker import asked
from delivery_house import House
from headrace.app import recent_events
from headrace.app.recent_events import RecentEvents
from headrace.workspace.workspace import Workspace

SCRIPT = "<script>alert(1)</script>"
OPENED = {"event": "Email Opened", "properties": {"campaign_id": "spring", "odd name": {"deep": 1}}}
ORDERED = {"event": "Order Completed", "properties": {"revenue": 29.9, "note": SCRIPT}}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    house = House(tmp_path_factory.mktemp("filters"))
    with Workspace.open(house.folder) as workspace:
        for name in ("Mails", "Shop"):
            workspace.add_source("http-api", name)
    house.accept([OPENED] * 30, "mails")
    house.accept([ORDERED] * 12, "shop")
    house.accept([{"type": "identify", "event": None, "traits": {"plan": "team"}}], "mails")
    return house


@pytest.fixture(scope="module")
def client(house: House) -> Iterator[TestClient[Any]]:
    with asked(house.folder) as client:
        yield client


def check(client: TestClient[Any], text: str, **more: Any) -> Any:
    answer = client.post("/filters/check", json={"filter": text, **more})
    assert 200 == answer.status_code, answer.text
    return answer.json()


def test_a_filter_says_how_many_of_the_newest_events_fit_and_shows_some_of_both(client: TestClient[Any]) -> None:
    found = check(client, 'event = "Order Completed" and properties.revenue > 20')
    assert (True, 43, 12, 0, True) == tuple(found[name] for name in ("ok", "events", "fits", "unreadable", "is_all"))
    assert ["Order Completed"] * 5 == [one["event"] for one in found["examples"] if one["fits"]]
    assert {"Email Opened", None} == {one["event"] for one in found["examples"] if not one["fits"]}
    assert SCRIPT == found["examples"][0]["sent"]["properties"]["note"]


def test_only_the_sources_that_are_chosen_are_looked_at(client: TestClient[Any]) -> None:
    assert (12, 12) == tuple(check(client, "event exists", sources=["shop"])[name] for name in ("events", "fits"))
    assert 0 == check(client, "event exists", sources=["nowhere"])["events"]
    found = check(client, "", events=5)
    assert (5, 5, False) == (found["events"], found["fits"], found["is_all"])


def test_a_wrong_expression_says_where_and_what_was_meant(client: TestClient[Any]) -> None:
    found = check(client, 'type = "track" and evnt = "x"')
    assert (False, 20, "`event`, or a text in quotes") == tuple(found[name] for name in ("ok", "column", "suggestion"))
    assert "there is no field `evnt`" in found["error"]
    assert "closing quote" in check(client, 'event = "x')["error"]
    assert "10000" in check(client, "x" * 10_001)["error"]


def test_fields_are_those_of_the_language_and_those_that_were_seen(client: TestClient[Any]) -> None:
    found = client.get("/filters/fields").json()
    fields = {field["path"]: field for field in found["fields"]}
    assert {"event", "userId", "receivedAt", "context"} <= fields.keys()
    assert (["number"], ["29.9"], 12) == tuple(
        fields["properties.revenue"][name] for name in ("types", "values", "events")
    )
    assert 30 == fields['properties["odd name"].deep']["events"]
    assert 1 == fields["traits.plan"]["events"]
    assert ["Email Opened", "Order Completed"] == found["event_names"]
    assert "properties.revenue" not in {
        field["path"] for field in client.get("/filters/fields", params={"source": "mails"}).json()["fields"]
    }
    for path in fields:  # what is offered can be written
        assert check(client, f"{path} exists", events=0)["ok"]


def test_recent_events_are_the_newest_first(client: TestClient[Any]) -> None:
    found = client.get("/filters/events", params={"source": ["mails"]}).json()
    assert (31, "identify") == (len(found), found[0]["type"])


def test_looking_back_ends_after_some_entries_and_says_so(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent_events, "_STEP_ENTRIES", 5)
    every = RecentEvents(house.readers).newest(["shop"], 100)
    assert (12, 43, True) == (len(every.events), every.looked_at, every.is_all)
    monkeypatch.setattr(recent_events, "MOST_LOOKED_AT", 10)
    some = RecentEvents(house.readers).newest(["shop"], 100)
    assert (9, 10, False) == (len(some.events), some.looked_at, some.is_all)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"filter": None},
        {"filter": "x", "events": -1},
        {"filter": "x", "events": 10_000},
        {"filter": "", "more": 1},
        [],
    ],
)
def test_rubbish_is_refused(client: TestClient[Any], body: Any) -> None:
    assert 400 == client.post("/filters/check", json=body).status_code
