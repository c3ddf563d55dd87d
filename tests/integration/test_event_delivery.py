"""What `headrace delivery`, `headrace dead-letters` and the API tell of a destination whose tool answers in many ways."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from litestar import Litestar, Router
from litestar.testing import TestClient

from delivery_house import House, Tool
from headrace import cli
from headrace.app import delivery_accounts
from headrace.app.delivery_accounts import DeliveryAccounts
from headrace.config import Config
from headrace.console import deliveries
from headrace.delivery import dead_letters
from headrace.delivery.dead_letters import Wanted
from headrace.destinations.base import Answer, Request
from headrace.workspace.records import Destination
from headrace.workspace.workspace import Workspace

REFUSED = ("m-3", "m-5", "m-21")
BUSY = ("m-7", "m-8")
KEYS = ("slug", "kind", "state", "since", "until", "accepted", "rejected", "waiting", "filtered", "retrying", "failed", "delivered",
        "not_delivered", "delivery_rate", "p95_seconds", "errors")  # fmt: skip


class Ran(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        assert (0, "") == (self.code, self.err)
        return json.loads(self.out)


Run = Callable[..., Ran]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], house: House) -> Run:
    def run(*arguments: object) -> Ran:
        capfd.readouterr()
        code = cli.run(cli.app, [*map(str, arguments), "--data", str(house.folder)])
        return Ran(code, *capfd.readouterr())

    return run


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


@pytest.fixture
def destination(house: House) -> Destination:
    with Workspace.open(house.folder) as workspace:
        workspace.add_source("http-api", "Selligent")
        workspace.add_source("http-api", "Other")
        return workspace.add_destination("webhook", "Tool", ["selligent"], {"url": "https://tool.example/hook"}, "tool")


def answer(request: Request) -> Answer:
    message_id = request.headers["webhook-id"]
    if message_id in REFUSED:
        return Answer(422, body=f"no {message_id} please".encode())
    return Answer(503 if message_id in BUSY else 200)


@pytest.fixture
def tool(house: House, destination: Destination) -> Tool:
    """20 of the source's events, 3 filtered ones of it, 4 of another source and 2 more: 17 + 3 failed + 2 retrying + 3 filtered = 25."""
    tool = Tool(answer)

    def accept() -> None:
        at_once = {"receivedAt": datetime.now(UTC).isoformat()}  # in one minute and one hour
        house.accept([at_once] * 10)
        house.accept([{**at_once, "integrations": {"All": False}}] * 3)
        house.accept([at_once] * 4, "other")
        house.accept([{**at_once, "event": "Order Completed"}] * 12)

    house.deliver(tool, lambda: len(set(tool.ids)) == 22, added_at=destination.created_at, meanwhile=accept)
    return tool


@pytest.fixture
def accounts(house: House) -> Iterator[DeliveryAccounts]:
    with delivery_accounts.opened(Config(data=str(house.folder))) as accounts:
        yield accounts


@pytest.mark.usefixtures("tool")
def test_show_counts_every_event_of_the_connected_source_once(run: Run) -> None:
    for since in ("10m", "1h", "24h", "7d", "14d"):
        shown = run("delivery", "show", "tool", "--since", since, "--json").json
        assert set(KEYS) <= shown.keys()
        expected = {
            "accepted": 25,
            "filtered": 3,
            "retrying": 2,
            "failed": 3,
            "delivered": 17,
            "waiting": 0,
            "not_delivered": 5,
        }
        assert expected == {name: shown[name] for name in expected}
        assert shown["is_balanced"]
        assert 17 / 22 == pytest.approx(shown["delivery_rate"])
        assert 0 < shown["p50_seconds"] <= shown["p95_seconds"] <= shown["p99_seconds"]


@pytest.mark.usefixtures("tool")
def test_each_error_says_what_it_is_and_what_to_do(run: Run) -> None:
    errors = {error["code"]: error for error in run("delivery", "show", "tool", "--json").json["errors"]}
    assert {
        "BAD_REQUEST": ("failed", 3),
        "503": ("retrying", 2),
        "FILTERED_BY_INTEGRATIONS_OBJECT": ("filtered", 3),
    } == {code: (error["outcome"], error["events"]) for code, error in errors.items()}
    assert all(
        error[name] for error in errors.values() for name in ("title", "description", "remedy", "link", "last_seen")
    )
    assert errors["BAD_REQUEST"]["detail"].startswith("422 no m-")


@pytest.mark.usefixtures("tool")
def test_people_are_told_in_words(run: Run) -> None:
    out = run("delivery", "show", "tool").out
    assert out.startswith("Tool: 17 delivered, 3 failed, 2 are being retried, 3 left out.\n")
    for expected in (
        "No server runs",
        "77.27 %",
        "BAD_REQUEST",
        "What to do: ",
        "headrace dead-letters replay tool",
        "each 1 h, the highest 17",
    ):
        assert expected in out


def test_a_destination_that_nobody_has_taken_up_says_so(run: Run, destination: Destination) -> None:
    shown = run("delivery", "show", destination.slug, "--json").json
    assert (0, 0) == (shown["accepted"], shown["waiting"])
    assert "no server" in shown["notes"][0]
    assert "There" not in run("delivery", "samples", destination.slug).err
    assert run("delivery", "samples", destination.slug).code == 0


def test_what_is_not_there_is_named(run: Run, destination: Destination) -> None:
    assert destination.slug == "tool"
    for command in (
        ("delivery", "show"),
        ("delivery", "samples"),
        ("dead-letters", "list"),
        ("dead-letters", "replay"),
    ):
        ran = run(*command, "nope")
        assert ran.code == 1
        assert "'nope'" in ran.err or "nope" in ran.err
    assert "no time" in run("delivery", "show", "tool", "--since", "yesterday").err


@pytest.mark.usefixtures("tool")
def test_a_warehouse_is_shown_in_the_same_form(run: Run) -> None:
    shown = run("delivery", "show", "warehouse", "--json").json
    assert set(KEYS) <= shown.keys()
    assert (29, 29, "warehouse") == (shown["accepted"], shown["waiting"], shown["what"])
    assert any("whole hours" in note for note in shown["notes"])
    assert {"tool", "warehouse"} == {one["slug"] for one in run("delivery", "list", "--json").json}
    assert "Warehouse: 29 wait for a first attempt" in run("delivery", "show", "warehouse").out.replace(
        "0 delivered, ", ""
    )


@pytest.mark.usefixtures("tool")
def test_what_was_not_tried_yet_waits(run: Run, house: House, destination: Destination) -> None:
    dead = Tool(lambda _: Answer(500))
    house.deliver(
        dead, lambda: bool(dead.requests), added_at=destination.created_at, meanwhile=lambda: house.tracks(300)
    )
    house.deliver(dead, 0.8, added_at=destination.created_at)
    shown = run("delivery", "show", "tool", "--json").json
    assert (325, 17) == (shown["accepted"], shown["delivered"])
    assert shown["waiting"] > 0
    assert shown["accepted"] == shown["filtered"] + shown["delivered"] + shown["not_delivered"]
    assert shown["waiting"] + shown["retrying"] + shown["failed"] == shown["not_delivered"]
    assert shown["waiting_since"] is not None


@pytest.mark.usefixtures("tool")
def test_samples_show_what_came_in_what_was_sent_and_what_came_back(run: Run) -> None:
    samples = run("delivery", "samples", "tool", "--code", "BAD_REQUEST", "--json").json
    assert {"BAD_REQUEST"} == {sample["code"] for sample in samples}
    sample = samples[0]
    assert sample["message_id"] == sample["sent"]["messageId"] == json.loads(sample["request"]["body"])["messageId"]
    assert (422, f"no {sample['message_id']} please") == (sample["answer"]["status"], sample["answer"]["body"])
    assert "DELIVERED" in {
        sample["code"] for sample in run("delivery", "samples", "tool", "--limit", 100, "--json").json
    }
    out = run("delivery", "samples", "tool", "--code", "BAD_REQUEST").out
    assert "POST https://tool.example/hook" in out
    assert "answer   422" in out


@pytest.mark.usefixtures("tool")
def test_dead_letters_are_found_by_what_is_known_of_them(run: Run, accounts: DeliveryAccounts) -> None:
    def ids(**wanted: Any) -> list[str]:
        return sorted(letter.message_id for letter in accounts.dead_letters("tool", Wanted(**wanted)).dead_letters)

    assert sorted(REFUSED) == ids() == ids(code="BAD_REQUEST", source="selligent") == ids(text="PLEASE")
    assert ["m-21"] == ids(event="Order Completed") == ids(message_id="m-21") == ids(text="no m-21 ")
    assert [] == ids(code="503") == ids(source="other") == ids(text="' OR 1=1 --") == ids(message_id="%")
    listed = run("dead-letters", "list", "tool", "--since", "1h", "--json").json
    assert (3, {"BAD_REQUEST": 3}, None) == (listed["total"], listed["by_code"], listed["next"])
    assert "Order Completed" in run("dead-letters", "list", "tool").out


@pytest.mark.usefixtures("tool")
def test_pages_of_dead_letters_have_each_once(accounts: DeliveryAccounts) -> None:
    seen: list[str] = []
    after: str | None = None
    for _ in range(3):
        page = accounts.dead_letters("tool", Wanted(), limit=1, after=after)
        seen += [letter.message_id for letter in page.dead_letters]
        after = page.next
    assert after is None
    assert sorted(REFUSED) == sorted(seen)
    assert "m-21" == seen[0]


@pytest.mark.usefixtures("tool")
def test_a_dry_run_changes_nothing_and_a_replay_sends_them_again(
    run: Run, house: House, destination: Destination
) -> None:
    would = run("dead-letters", "replay", "tool", "--message-id", "m-3", "--dry-run", "--json").json
    assert {"events": 1, "by_code": {"BAD_REQUEST": 1}, "dry_run": True} == would
    assert 3 == run("delivery", "show", "tool", "--json").json["failed"]
    assert 1 == run("dead-letters", "replay", "tool", "--message-id", "m-3", "--json").json["events"]
    shown = run("delivery", "show", "tool", "--json").json
    assert (2, 3, 25, True) == (shown["failed"], shown["retrying"], shown["accepted"], shown["is_balanced"])
    mended = Tool()
    house.deliver(mended, lambda: len(mended.ids) == 3, added_at=destination.created_at)
    assert sorted(("m-3", *BUSY)) == sorted(mended.ids)
    shown = run("delivery", "show", "tool", "--json").json
    assert (2, 0, 20, 25, True) == (
        shown["failed"],
        shown["retrying"],
        shown["delivered"],
        shown["accepted"],
        shown["is_balanced"],
    )


def test_dead_letters_are_sent_again_while_the_destination_is_delivered_to(
    house: House, destination: Destination
) -> None:
    is_mended = False

    def once_refused(_: Request) -> Answer:
        return Answer(200 if is_mended else 422)

    def replayed() -> bool:
        nonlocal is_mended
        if not is_mended and dead_letters.count(house.file, Wanted()) == {"BAD_REQUEST": 5}:
            is_mended = True
            assert 5 == dead_letters.replay(house.file, Wanted()).events
        return len(mended.ids) == 10

    mended = Tool(once_refused)
    house.deliver(mended, replayed, added_at=destination.created_at, meanwhile=lambda: house.tracks(5))
    assert {"delivered": 5} == house.counts()


@pytest.mark.usefixtures("tool")
def test_the_api_tells_the_same(accounts: DeliveryAccounts) -> None:
    told: Any = SimpleNamespace(accounts=accounts)

    with TestClient(
        Litestar([Router("/api/v1", route_handlers=deliveries.routes(told))], logging_config=None)
    ) as client:
        shown = client.get("/api/v1/deliveries/tool?since=10m").json()
        assert (25, 17, 3) == (shown["accepted"], shown["delivered"], shown["failed"])
        period = {"since": shown["since"], "until": shown["until"]}
        assert shown["trend"] == client.get("/api/v1/deliveries/tool/trend", params=period).json()
        assert {"tool", "warehouse"} == {one["slug"] for one in client.get("/api/v1/deliveries").json()}
        assert 10 >= len(client.get("/api/v1/deliveries/tool/errors/503/samples").json()) > 0
        assert "DELIVERED" in {
            sample["code"] for sample in client.get("/api/v1/deliveries/tool/samples?limit=100").json()
        }
        listed = client.get("/api/v1/deliveries/tool/dead-letters?event=Order%20Completed").json()
        assert ["m-21"] == [letter["message_id"] for letter in listed["dead_letters"]]
        order = {"wanted": {"code": "BAD_REQUEST"}, "dry_run": True}
        assert 3 == client.post("/api/v1/deliveries/tool/dead-letters/replay", json=order).json()["events"]
        assert (
            400 == client.post("/api/v1/deliveries/tool/dead-letters/replay", json={"wanted": {"typo": 1}}).status_code
        )


@pytest.mark.usefixtures("tool")
def test_sources_add_up_and_names_are_those_that_did_not_go_through(accounts: DeliveryAccounts) -> None:
    found = accounts.breakdown("tool", "1h")
    whole = accounts.one("tool", "1h")
    (of,) = found.by_source
    for name in ("accepted", "waiting", "filtered", "retrying", "failed", "delivered"):
        assert getattr(whole, name) == getattr(of, name)
    names = {one.event: (one.retrying, one.failed, list(one.codes)) for one in found.by_event}
    assert {
        "Email Opened": (2, 2, ["503", "BAD_REQUEST"]),
        "Order Completed": (0, 1, ["BAD_REQUEST"]),
    } == {name: (retrying, failed, sorted(codes)) for name, (retrying, failed, codes) in names.items()}
    assert "names are kept only" in found.notes[0]


def test_a_tool_that_is_down_says_when_it_is_asked_again(
    house: House, destination: Destination, accounts: DeliveryAccounts
) -> None:
    tool = Tool(lambda _: Answer(503, headers={"retry-after": "120"}))
    house.deliver(
        tool, lambda: bool(tool.requests), added_at=destination.created_at, meanwhile=lambda: house.tracks(20)
    )
    found = accounts.one("tool", "1h")
    assert "stopped" == found.state
    assert found.next_at is None
    served = DeliveryAccounts(Config(data=str(house.folder)), accounts._workspace, accounts._status, accounts._ask)
    down = served.one("tool", "1h")
    assert ("waiting", True) == (down.state, "503" in down.error)
    assert down.next_at is not None
    assert down.error_since is not None
    assert 100 < (down.next_at - down.error_since).total_seconds() < 140
    assert ["tool"] == [one.slug for one in served.every("1h", what="destination")]


@pytest.mark.usefixtures("tool")
def test_dead_letters_that_are_chosen_one_by_one_are_sent_again(accounts: DeliveryAccounts) -> None:
    first, second, third = accounts.dead_letters("tool", Wanted()).dead_letters
    wanted = Wanted(ids=(first.id, third.id, 987_654))
    assert (2, {"BAD_REQUEST": 2}) == ((found := accounts.replay_dead_letters("tool", wanted)).events, found.by_code)
    assert [second.id] == [letter.id for letter in accounts.dead_letters("tool", Wanted()).dead_letters]
    assert 0 == accounts.replay_dead_letters("tool", Wanted(ids=()), dry_run=True).events
