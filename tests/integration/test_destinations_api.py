"""Destinations over the worker's API: added with the checks of the command line, changed, tried before they are saved, removed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from litestar.testing import TestClient

from console_worker import Asking, asked
from fault_server import FaultServer, answers
from headrace.destinations import base
from headrace.workspace.workspace import Workspace

SECRET = "whsec_" + "c2VjcmV0" * 6
HEADERS = {"Authorization": "Bearer geheim-42"}


@pytest.fixture(scope="module")
def tool() -> Iterator[FaultServer]:
    with FaultServer() as server:
        yield server


@pytest.fixture(scope="module")
def asking() -> Asking:
    return Asking()


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory, asking: Asking) -> Iterator[TestClient[Any]]:
    folder = tmp_path_factory.mktemp("api")
    with Workspace.open(folder) as workspace:
        for name in ("Mails", "Shop"):
            workspace.add_source("http-api", name)
        workspace.add_source("http-api", "Gone")
        workspace.remove("gone")
    with asked(folder, asking, allowed_networks="127.0.0.0/8") as client:
        yield client


@pytest.fixture(autouse=True)
def _as_owner(asking: Asking) -> None:
    asking.as_role("owner")


def add(client: TestClient[Any], nickname: str, tool: FaultServer, **settings: Any) -> str:
    order = {
        "kind": "webhook",
        "nickname": nickname,
        "sources": ["mails"],
        "settings": {"url": f"{tool.url}/hook", **settings},
    }
    answer = client.post("/destinations", json=order)
    assert 201 == answer.status_code, answer.text
    return str(answer.json()["destination"]["slug"])


def test_a_destination_is_added_shown_and_listed_with_its_secrets_masked(
    client: TestClient[Any], tool: FaultServer
) -> None:
    slug = add(client, "Hook", tool, secret=SECRET, headers=HEADERS)
    found = client.get(f"/destinations/{slug}")
    shown = found.json()["destination"]
    assert ("hook", "Hook", "Webhooks", "active", ["mails"]) == (
        slug,
        *(shown[name] for name in ("nickname", "title", "state", "sources")),
    )
    assert ("***", "***") == (shown["settings"]["secret"], shown["settings"]["headers"])
    assert (8, 24.0) == (shown["in_force"]["concurrency"], shown["in_force"]["horizon_hours"])
    assert shown in client.get("/destinations").json()
    for text in (found.text, client.get("/destinations").text):
        assert SECRET not in text
        assert "geheim-42" not in text


def test_settings_change_one_by_one_and_a_secret_stays_for_its_own_mask(
    client: TestClient[Any], tool: FaultServer
) -> None:
    slug = add(client, "Kept", tool, secret=SECRET, concurrency="4")
    changed = client.patch(
        f"/destinations/{slug}", json={"settings": {"secret": "***", "concurrency": None, "batch_events": 10}}
    )
    assert {"url": f"{tool.url}/***", "secret": "***", "batch_events": 10} == changed.json()["destination"][
        "settings"
    ] | {"url": f"{tool.url}/***"}
    assert 8 == changed.json()["destination"]["in_force"]["concurrency"]
    tried = client.post(f"/destinations/{slug}/test", json={}).json()
    assert "webhook-signature" in tried["sent"][0]["request"]["headers"], "the secret is there no more"


def test_a_change_that_cannot_be_changes_nothing(client: TestClient[Any], tool: FaultServer) -> None:
    slug = add(client, "Firm", tool)
    before = client.get(f"/destinations/{slug}").json()
    for change, part in (
        ({"nickname": "Other", "settings": {"filter": "evnt = 1"}}, "did you mean"),
        ({"nickname": "Other", "settings": {"mapping": {"track": {"a": {"b": 1}}}}}, "mapping"),
        ({"nickname": "Other", "settings": {"colour": "red"}}, "has no 'colour'"),
        ({"nickname": "Other", "settings": {"batch_events": 100_000}}, "at the most"),
        ({"nickname": "Other", "sources": ["nowhere"]}, "nowhere"),
        ({"nickname": "Other", "sources": ["gone"]}, "removed"),
        ({"nickname": "\n", "paused": True}, "nickname"),
    ):
        answer = client.patch(f"/destinations/{slug}", json=change)
        assert answer.status_code in (404, 409), (change, answer.text)
        assert part in answer.json()["detail"]
    assert before == client.get(f"/destinations/{slug}").json()
    assert 200 == client.patch(f"/destinations/{slug}", json={"nickname": "Other"}).status_code


def test_sources_name_and_pause_are_set_at_once(client: TestClient[Any], tool: FaultServer) -> None:
    slug = add(client, "Moved", tool)
    changed = client.patch(
        f"/destinations/{slug}", json={"nickname": "Moved on", "sources": ["shop"], "paused": True}
    ).json()["destination"]
    assert (["shop"], "Moved on", "paused") == (changed["sources"], changed["nickname"], changed["state"])
    assert (
        "no source is connected"
        in client.patch(f"/destinations/{slug}", json={"sources": [], "paused": False}).json()["destination"]["text"]
    )


def test_settings_are_tried_before_they_are_saved(client: TestClient[Any], tool: FaultServer) -> None:
    tool.behave("/unsaved", answers(401, b"who are you, Bearer geheim-42?"))
    before = client.get("/destinations").json()
    order = {"kind": "webhook", "settings": {"url": f"{tool.url}/unsaved", "headers": HEADERS}, "sources": ["mails"]}
    tried = client.post("/destination-tests", json={**order, "trial": {"sample": "identify"}})
    assert ("failed", "INVALID_AUTHENTICATION") == (tried.json()["outcome"], tried.json()["code"])
    assert "Give a valid key" in tried.json()["remedy"]
    assert "geheim-42" not in tried.text
    assert "identify" == tool.received("/unsaved")[0].json()["type"]
    dry = client.post("/destination-tests", json={**order, "trial": {"dry_run": True}}).json()
    assert ("ready", 1) == (dry["outcome"], len(tool.received("/unsaved")))
    assert before == client.get("/destinations").json()
    entries = client.get("/audit", params={"verb": "sent a test to", "kind": "new destination"}).json()["entries"]
    assert [{"kind": [None, "webhook"]}] == [entry["changes"] for entry in entries]  # what was not sent is not there


def test_changed_settings_are_tried_with_the_secrets_that_are_saved(client: TestClient[Any], tool: FaultServer) -> None:
    slug = add(client, "Tried", tool, shared_secret="geheim-4711")
    change = {"mapping": {"track": {"who": "userId"}}, "shared_secret": "***"}
    tried = client.post(
        "/destination-tests", json={"slug": slug, "settings": change, "trial": {"sample": "email-opened"}}
    ).json()
    assert {"who": "headrace-test"} == tried["fields"]
    assert "x-signature" in tried["sent"][0]["request"]["headers"]
    assert "mapping" not in client.get(f"/destinations/{slug}").json()["destination"]["settings"]


def test_a_kind_that_runs_code_is_an_admins(client: TestClient[Any], asking: Asking, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("def send(event):\n    pass\n")
    order: dict[str, Any] = {
        "kind": "python",
        "nickname": "Mine",
        "sources": ["mails"],
        "settings": {"file": str(file)},
    }
    asking.as_role("editor")
    refused = (
        client.post("/destinations", json=order),
        client.post("/destination-tests", json={"kind": "python", "settings": order["settings"]}),
    )
    assert [403, 403] == [answer.status_code for answer in refused]
    assert "runs code on the server" in refused[0].json()["detail"]
    asking.as_role("admin")
    slug = client.post("/destinations", json=order).json()["destination"]["slug"]
    asking.as_role("editor")
    assert 403 == client.patch(f"/destinations/{slug}", json={"settings": {"function": "other"}}).status_code
    assert 200 == client.patch(f"/destinations/{slug}", json={"paused": True}).status_code
    assert ["python"] == [kind for kind, of in base.kinds().items() if of.runs_code]


def test_a_kind_that_connects_by_itself_is_an_admins(client: TestClient[Any], asking: Asking) -> None:
    trial = {
        "kind": "kafka",
        "settings": {"bootstrap_servers": "127.0.0.1:1", "topic": "t"},
        "trial": {"dry_run": True},
    }
    asking.as_role("editor")
    refused = client.post("/destination-tests", json=trial)
    assert (403, True) == (refused.status_code, "connections of its own" in refused.text)
    asking.as_role("admin")
    assert 200 == client.post("/destination-tests", json=trial).status_code


def test_an_editor_cannot_have_a_kept_secret_sent_to_another_place(
    client: TestClient[Any], asking: Asking, tool: FaultServer
) -> None:
    slug = add(client, "Moved", tool, headers=HEADERS, secret=SECRET)
    elsewhere = {"url": f"{tool.url}/elsewhere"}
    asking.as_role("editor")
    for settings in (elsewhere, {**elsewhere, "headers": "***", "secret": "***"}, {**elsewhere, "headers": HEADERS}):
        refused = (
            client.patch(f"/destinations/{slug}", json={"settings": settings}),
            client.post("/destination-tests", json={"slug": slug, "settings": settings, "trial": {}}),
        )
        assert [(403, "secrets_needed")] * 2 == [(one.status_code, one.json()["code"]) for one in refused]
    assert [] == tool.received("/elsewhere")
    anew = {**elsewhere, "headers": HEADERS, "secret": SECRET}
    assert 200 == client.post("/destination-tests", json={"slug": slug, "settings": anew, "trial": {}}).status_code
    # The controls: what says not where it goes may change, and so may all for an admin.
    changed = client.patch(f"/destinations/{slug}", json={"settings": {"url": f"{tool.url}/hook", "batch_events": 5}})
    assert 200 == changed.status_code, changed.text
    asking.as_role("admin")
    assert 200 == client.patch(f"/destinations/{slug}", json={"settings": elsewhere}).status_code


def test_a_removed_destination_is_shown_and_changed_no_more(client: TestClient[Any], tool: FaultServer) -> None:
    slug = add(client, "Short-lived", tool, secret=SECRET)
    assert "removed" == client.delete(f"/destinations/{slug}").json()["state"]
    assert 404 == client.delete(f"/destinations/{slug}").status_code
    assert 404 == client.patch(f"/destinations/{slug}", json={"nickname": "Again"}).status_code
    assert slug not in [one["slug"] for one in client.get("/destinations").json()]
    assert slug in [one["slug"] for one in client.get("/destinations", params={"removed": True}).json()]
    assert "removed" == client.get(f"/destinations/{slug}").json()["destination"]["state"]


def test_a_viewer_looks_and_changes_nothing(client: TestClient[Any], asking: Asking, tool: FaultServer) -> None:
    slug = add(client, "Seen", tool)
    asking.as_role("viewer")
    assert [200, 200] == [client.get(path).status_code for path in ("/destinations", f"/destinations/{slug}")]
    changes = (
        client.post("/destinations", json={}),
        client.patch(f"/destinations/{slug}", json={"paused": True}),
        client.delete(f"/destinations/{slug}"),
        client.post(f"/destinations/{slug}/test", json={}),
        client.post("/destination-tests", json={"slug": slug}),
    )
    assert [403] * len(changes) == [answer.status_code for answer in changes]


def test_text_that_would_be_a_script_stays_text(client: TestClient[Any], tool: FaultServer) -> None:
    script = "<script>alert(1)</script>"
    tool.behave("/script", answers(422, script.encode(), {"content-type": "text/html"}))
    slug = add(client, script, tool)
    shown = client.get(f"/destinations/{slug}")
    assert (script, "application/json") == (
        shown.json()["destination"]["nickname"],
        shown.headers["content-type"].partition(";")[0],
    )
    order = {"kind": "webhook", "settings": {"url": f"{tool.url}/script"}}
    tried = client.post("/destination-tests", json=order)
    assert script == tried.json()["sent"][0]["answer"]["body"]
    assert "application/json" == tried.headers["content-type"].partition(";")[0]
