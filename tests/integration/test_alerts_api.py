"""Alerts and channels over the worker's API: added, changed, tried, with secrets in no answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from litestar.testing import TestClient

from console_worker import Asking, asked
from fault_server import FaultServer, answers
from headrace.alerts import kept
from headrace.alerts.base import Finding
from headrace.alerts.kept import State
from headrace.alerts.lasting import Lasting
from headrace.workspace.workspace import Workspace

TOKEN = "geheimes-ende-4711"
SCRIPT = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def tool() -> Iterator[FaultServer]:
    with FaultServer() as server:
        yield server


@pytest.fixture(scope="module")
def asking() -> Asking:
    return Asking()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("alerts")
    with Workspace.open(folder) as workspace:
        workspace.add_source("http-api", "Mails")
    return folder


@pytest.fixture(scope="module")
def client(folder: Any, asking: Asking) -> Iterator[TestClient[Any]]:
    with asked(folder, asking, allowed_networks="127.0.0.0/8") as client:
        yield client


@pytest.fixture(autouse=True)
def _as_editor(asking: Asking) -> None:
    asking.as_role("editor")


@pytest.fixture(scope="module")
def channel(client: TestClient[Any], tool: FaultServer, asking: Asking) -> str:
    asking.as_role("editor")
    order = {"kind": "slack", "nickname": "Team", "settings": {"url": f"{tool.url}/{TOKEN}"}}
    return str(client.post("/alert-channels", json=order).json()["slug"])


def add(client: TestClient[Any], channel: str, nickname: str, **settings: Any) -> Any:
    order = {"condition": "delivery-rate", "nickname": nickname, "channels": [channel], "settings": settings}
    answer = client.post("/alerts", json=order)
    assert 201 == answer.status_code, answer.text
    return answer.json()


def test_kinds_say_what_can_be_set(client: TestClient[Any]) -> None:
    kinds = {kind["slug"]: kind for kind in client.get("/alert-kinds").json()}
    assert {"delivery-rate": "condition", "slack": "channel", "email": "channel"}.items() <= {
        slug: kind["what"] for slug, kind in kinds.items()
    }.items()
    settings = {one["name"]: one for one in kinds["delivery-rate"]["settings"]}
    assert ("number", 95.0, True) == tuple(settings["below_percent"][name] for name in ("type", "default", "own"))
    assert not settings["hold_minutes"]["own"]
    assert [True] == [one["secret"] for one in kinds["slack"]["settings"]]


def test_an_alert_is_added_changed_paused_and_removed(client: TestClient[Any], channel: str) -> None:
    alert = add(client, channel, SCRIPT, below_percent="90")
    assert (SCRIPT, "unknown", 90.0, 15.0) == (
        alert["nickname"],
        alert["state"],
        alert["settings"]["below_percent"],
        alert["in_force"]["period_minutes"],
    )
    path = f"/alerts/{alert['slug']}"
    changed = client.patch(
        path, json={"nickname": "Fewer", "settings": {"below_percent": None, "least_events": 5}, "paused": True}
    ).json()
    assert ("Fewer", {"least_events": 5}, "paused") == (changed["nickname"], changed["settings"], changed["state"])
    assert changed == client.get(path).json()
    assert changed in client.get("/alerts").json()
    assert [200, 404] == [client.delete(path).status_code, client.get(path).status_code]


def test_what_cannot_be_is_refused_and_changes_nothing(client: TestClient[Any], channel: str) -> None:
    path = f"/alerts/{add(client, channel, 'Firm')['slug']}"
    before = client.get(path).json()
    for change, status in (
        ({"settings": {"destination": "nowhere"}}, 404),
        ({"settings": {"quiet": "25:00-26:00"}}, 409),
        ({"channels": []}, 409),
        ({"channels": ["nowhere"]}, 404),
        ({"nickname": "\n", "paused": True}, 409),
        ({"paused": "perhaps"}, 400),
        ({"colour": "red"}, 400),
    ):
        assert status == client.patch(path, json=change).status_code, change
    assert before == client.get(path).json()
    assert 409 == client.delete(f"/alert-channels/{channel}").status_code


def test_what_holds_now_is_told_with_what_to_do(client: TestClient[Any], channel: str, folder: Any) -> None:
    slug = add(client, channel, "Watching")["slug"]
    from datetime import UTC, datetime

    now = datetime.now(UTC)
    finding = Finding(
        "crm", "bad", title="Delivery to crm fails", what="Only 3 % were delivered", remedy="Look at its errors"
    )
    kept.write(folder, State(checked_at=now, lasting={slug: {"crm": Lasting(now, now, finding, told_at=now)}}))
    alert = client.get(f"/alerts/{slug}").json()
    assert ("holds", "crm", "Look at its errors") == (
        alert["state"],
        alert["holds"][0]["subject"],
        alert["holds"][0]["remedy"],
    )
    (folder / kept.FILE).unlink()


def test_a_channel_is_tried_saved_and_not_and_its_secret_is_in_no_answer(
    client: TestClient[Any], channel: str, tool: FaultServer
) -> None:
    tool.behave(f"/{TOKEN}", answers(200, b"ok"))
    first = client.post(f"/alert-channels/{channel}/test", json={})
    assert first.json()["ok"], first.text
    tool.behave(f"/{TOKEN}", answers(404, f"no {TOKEN} here {SCRIPT}".encode()))
    again = client.post(
        "/alert-channel-tests",
        json={"slug": channel, "settings": {"url": client.get(f"/alert-channels/{channel}").json()["settings"]["url"]}},
    )
    assert (False, True) == (again.json()["ok"], SCRIPT in again.json()["text"])
    unsaved = client.post("/alert-channel-tests", json={"kind": "slack", "settings": {"url": f"{tool.url}/{TOKEN}"}})
    assert not unsaved.json()["ok"]
    wrong = client.post(
        "/alert-channel-tests",
        json={"kind": "webhook", "settings": {"url": f"{tool.url}/x", "secret": "geheim-aber-falsch"}},
    )
    assert 409 == wrong.status_code
    shown = (
        client.get("/alert-channels"),
        client.get(f"/alert-channels/{channel}"),
        client.patch(f"/alert-channels/{channel}", json={"nickname": "Crew"}),
    )
    assert "Crew" == shown[2].json()["nickname"]
    for answer in (first, again, unsaved, wrong, *shown):
        assert TOKEN not in answer.text
        assert "geheim-aber-falsch" not in answer.text
    assert 3 == len(tool.received(f"/{TOKEN}"))


def test_an_editor_cannot_have_a_kept_secret_sent_to_another_place(
    client: TestClient[Any], tool: FaultServer, asking: Asking
) -> None:
    headers = {"Authorization": "Bearer geheim-42"}
    order = {"kind": "webhook", "nickname": "Ours", "settings": {"url": f"{tool.url}/ours", "headers": headers}}
    slug = client.post("/alert-channels", json=order).json()["slug"]
    elsewhere = {"url": f"{tool.url}/elsewhere"}
    for settings in (elsewhere, {**elsewhere, "headers": "***"}):
        saved = client.patch(f"/alert-channels/{slug}", json={"settings": settings})
        tried = client.post("/alert-channel-tests", json={"slug": slug, "settings": settings})
        assert ["secrets_needed"] * 2 == [saved.json()["code"], tried.json()["code"]]
    assert [] == tool.received("/elsewhere")
    anew = {**elsewhere, "headers": headers}
    assert client.post("/alert-channel-tests", json={"slug": slug, "settings": anew}).json()["ok"]
    asking.as_role("admin")  # the control
    assert 200 == client.patch(f"/alert-channels/{slug}", json={"settings": elsewhere}).status_code
    client.delete(f"/alert-channels/{slug}")


def test_a_viewer_looks_and_changes_nothing(client: TestClient[Any], channel: str, asking: Asking) -> None:
    asking.as_role("viewer")
    assert {200} == {
        client.get(path).status_code
        for path in ("/alerts", "/alert-channels", f"/alert-channels/{channel}", "/alert-kinds")
    }
    refused = (
        client.post("/alerts", json={}),
        client.patch("/alerts/x", json={}),
        client.delete("/alerts/x"),
        client.post("/alerts/x/test"),
        client.post("/alert-channels", json={}),
        client.patch(f"/alert-channels/{channel}", json={}),
        client.delete(f"/alert-channels/{channel}"),
        client.post(f"/alert-channels/{channel}/test"),
        client.post("/alert-channel-tests", json={"slug": channel}),
    )
    assert {403} == {answer.status_code for answer in refused}
