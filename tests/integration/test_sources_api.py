"""Sources over the API: added, named, changed, their keys, and what arrives."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import pytest
from litestar.testing import TestClient

from console_worker import Asking, asked
from headrace import event
from headrace.app.working import Worker
from headrace.config import CollectorConfig, Config, LogConfig
from headrace.console.access import INSIDER
from headrace.console.api import api
from headrace.event import RejectedEvent
from headrace.log.base import tallied
from headrace.log.sqlite import SqliteLog
from headrace.workspace.workspace import Workspace
from segment_events import event_of

SCRIPT = "<script>alert('x')</script>"
SELLIGENT = "selligent-marketing-cloud"


@pytest.fixture(scope="module")
def asking() -> Asking:
    return Asking()


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory, asking: Asking) -> Iterator[TestClient[Any]]:
    folder = tmp_path_factory.mktemp("sources")
    public = CollectorConfig(public_url="https://events.example.com/")
    with asked(folder, asking, collector=public) as client:
        yield client


def add(client: TestClient[Any], nickname: str, kind: str = SELLIGENT, **more: Any) -> dict[str, Any]:
    answer = client.post("/sources", json={"kind": kind, "nickname": nickname, **more})
    assert 201 == answer.status_code, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_a_selligent_source_is_added_with_its_key_the_sentence_and_snippets(client: TestClient[Any]) -> None:
    added = add(client, "Selligent")
    key, sending = added["write_key"], added["sending"]
    assert ("selligent", "selligent", "enabled") == tuple(added["source"][name] for name in ("slug", "schema", "state"))
    assert ("https://events.example.com", False) == (sending["url"], sending["is_local"])
    assert key in sending["handover"]
    assert "https://events.example.com/v1/batch" in sending["handover"]
    codes = {one["language"]: one["code"] for one in sending["snippets"]}
    assert {"curl", "python", "node", "browser", "http"} == codes.keys()
    proof = base64.b64encode(f"{key}:".encode()).decode()
    assert all((proof if language == "http" else key) in code for language, code in codes.items())
    sent = codes["curl"].partition("-d '")[2].removesuffix("'")
    assert "Email Delivered" == json.loads(sent)["event"]


def test_a_key_is_shown_once(client: TestClient[Any]) -> None:
    added = add(client, "Shown once")
    shown = client.get("/sources/shown-once")
    assert added["write_key"] not in shown.text
    assert "WRITE_KEY" in shown.json()["sending"]["handover"]
    assert added["write_key"][-4:] == shown.json()["entry"]["source"]["keys"][0]["last_four"]


def test_names_are_proposed_and_checked_before_anything_is_added(client: TestClient[Any]) -> None:
    add(client, "Newsletter DE")

    def names(**given: Any) -> dict[str, Any]:
        answer = client.post("/sources/names", json={"kind": SELLIGENT, **given})
        assert 200 == answer.status_code, answer.text
        found: dict[str, Any] = answer.json()
        return found

    assert ("ete_2026", "", "") == tuple(
        names(nickname="Été 2026")[n] for n in ("schema", "nickname_problem", "schema_problem")
    )
    taken = names(nickname="Newsletter DE")
    assert ("newsletter-de-2", "newsletter_de_2") == (taken["slug"], taken["schema"])
    assert "another source" in taken["nickname_problem"]
    assert "belongs to another source" in names(nickname="x", schema="newsletter_de")["schema_problem"]
    assert "is not allowed" in names(nickname="x", schema="Main")["schema_problem"]
    assert "printable" in names(nickname="a\nb")["nickname_problem"]
    assert "selligent_marketing_cloud" == names()["schema"]
    assert 404 == client.post("/sources/names", json={"kind": "none", "nickname": "x"}).status_code


def test_a_source_is_renamed_disabled_and_set_and_a_wrong_change_changes_nothing(client: TestClient[Any]) -> None:
    add(client, "Changed")
    changed = client.patch(
        "/sources/changed", json={"nickname": SCRIPT, "enabled": False, "settings": {"address": "sha256"}}
    ).json()
    assert (SCRIPT, "disabled", "sha256") == (changed["nickname"], changed["state"], changed["settings"]["address"])
    back = client.patch("/sources/changed", json={"settings": {"address": None}}).json()
    assert ("raw", "disabled") == (back["settings"]["address"], back["state"])
    for wrong in ({"nickname": ""}, {"settings": {"address": "rot13"}}, {"settings": {"nothing": 1}}):
        refused = client.patch("/sources/changed", json={"enabled": True, **wrong})
        assert 409 == refused.status_code
        assert "disabled" == client.get("/sources/changed").json()["entry"]["source"]["state"]
    assert 400 == client.patch("/sources/changed", json={"schema": "other"}).status_code


def test_keys_are_rotated_and_the_old_one_is_retired(client: TestClient[Any]) -> None:
    first = add(client, "Rotated")["write_key"]
    only = client.delete(f"/sources/rotated/keys/{first[-4:]}")
    assert (409, True) == (only.status_code, "is the only one" in only.json()["detail"])
    second = client.post("/sources/rotated/keys")
    assert (201, True) == (second.status_code, second.json()["write_key"] in second.json()["sending"]["handover"])
    assert 409 == client.post("/sources/rotated/keys").status_code
    left = client.delete(f"/sources/rotated/keys/{first[-4:]}").json()
    assert [second.json()["write_key"][-4:]] == [key["last_four"] for key in left["keys"]]
    assert 404 == client.delete("/sources/rotated/keys/zzzz").status_code


def test_a_removed_source_is_told_and_takes_no_change(client: TestClient[Any]) -> None:
    add(client, "Gone")
    assert "removed" == client.delete("/sources/gone").json()["state"]
    assert 404 == client.delete("/sources/gone").status_code
    assert "gone" not in [one["source"]["slug"] for one in client.get("/sources").json()]
    assert "removed" == client.get("/sources/gone").json()["entry"]["source"]["state"]
    refused = client.patch("/sources/gone", json={"nickname": "Back"})
    assert (404, True) == (refused.status_code, "was removed" in refused.json()["detail"])


@pytest.mark.parametrize(
    ("allowed", "method", "path"),
    [("editor", "POST", "/sources"), ("editor", "POST", "/sources/roles/keys"), ("admin", "DELETE", "/sources/roles")],
)
def test_each_order_needs_its_role(
    client: TestClient[Any], asking: Asking, allowed: str, method: str, path: str
) -> None:
    body = {"kind": SELLIGENT, "nickname": "Roles"}
    if path != "/sources":
        client.post("/sources", json=body)
    try:
        asking.as_role({"editor": "viewer", "admin": "editor"}[allowed])
        assert 403 == client.request(method, path, json=body).status_code
        asking.as_role(allowed)
        assert client.request(method, path, json=body).is_success
    finally:
        asking.requester = INSIDER


# What arrives.


def fill(folder: Path) -> None:
    now = datetime.now(UTC)
    sent = {"type": "track", "userId": "u", "receivedAt": now.isoformat()}
    entries: list[Any] = [
        event_of({**sent, "event": "Email Opened", "messageId": f"m-{number}"}, "mails") for number in range(3)
    ]
    entries[0] = msgspec.structs.replace(entries[0], warnings=("missing:email_id",))
    entries.append(event_of({**sent, "event": SCRIPT, "messageId": "s"}, "mails"))
    entries.append(event_of({**sent, "type": "identify", "messageId": "i"}, "mails"))
    entries.append(
        RejectedEvent("mails", "collector", "no_user_anon_id", "neither id", '{"event": "Email Opened", "type": "track"}', now)
    )  # fmt: skip
    writer = SqliteLog(folder / "log", LogConfig()).writer(0)
    writer.append([event.encode(one) for one in entries], tallied(entries))
    writer.close()


@pytest.fixture(scope="module")
def arrived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient[Any]]:
    """A worker that has counted what is in its log."""
    folder = tmp_path_factory.mktemp("arrived")
    with Workspace.open(folder) as workspace:
        workspace.add_source(SELLIGENT, "Mails")
        workspace.add_source("http-api", "Silent")
        workspace.add_destination("webhook", "Hook", ["mails"], {"url": "https://example.com"})
        workspace.pause_destination("hook")
    fill(folder)
    config = Config(data=str(folder))
    worker = Worker(config)
    worker.warehouses.notice()
    worker.deliveries.start()
    try:
        with TestClient(
            api(worker, config.warehouse, lambda _: INSIDER), base_url="http://testserver.local/api/v1"
        ) as client:
            deadline = time.monotonic() + 20
            while not client.get("/sources/mails/events").json()["events"] and time.monotonic() < deadline:
                time.sleep(0.02)
            yield client
    finally:
        worker.end()
        worker.close()


def test_events_are_told_by_name_with_warnings_in_words(arrived: TestClient[Any]) -> None:
    found = arrived.get("/sources/mails/events").json()
    assert None is found["counted_since"]
    by_name = {(one["type"], one["event"]): one for one in found["events"]}
    opened = by_name["track", "Email Opened"]
    assert (3, 1, "email_opened") == (opened["accepted"], opened["refused"], opened["table"])
    assert [("missing:email_id", "an expected property is missing: email_id", 1)] == [
        (one["code"], one["text"], one["events"]) for one in opened["warnings"]
    ]
    assert [("no_user_anon_id", "neither id")] == [(one["code"], one["text"]) for one in opened["refusals"]]
    assert ("identifies", "script_alert_x_script") == (
        by_name["identify", ""]["table"], by_name["track", SCRIPT]["table"],
    )  # fmt: skip
    assert [] == arrived.get("/sources/silent/events").json()["events"]
    assert 404 == arrived.get("/sources/none/events").status_code


def test_the_list_and_the_overview_tell_what_arrives_and_where_it_goes(arrived: TestClient[Any]) -> None:
    mails, silent = arrived.get("/sources").json()
    assert (5, 1, 1, 1) == (mails["accepted"], mails["refused"], mails["refused_today"], mails["destinations"])
    assert 24 == len(mails["hours"])
    assert 5 == sum(mails["hours"])
    assert None is silent["last_event_at"]
    detail = arrived.get("/sources/mails").json()
    assert ["hook"] == [one["slug"] for one in detail["destinations"]]
    assert ["warehouse"] == [one["slug"] for one in detail["warehouses"]]
    stored = detail["warehouses"][0]
    assert 5 == sum(stored[name] for name in ("loaded", "duplicates", "filtered", "rejected", "pending"))


# The first page and the search.


def test_the_first_page_tells_what_there_is_and_what_needs_a_person(arrived: TestClient[Any]) -> None:
    found = arrived.get("/home").json()
    assert ["mails", "silent"] == [one["source"]["slug"] for one in found["sources"]]
    assert ["warehouse"] == [one["slug"] for one in found["warehouses"]]
    assert ["hook"] == [one["slug"] for one in found["destinations"]]
    concerns = {one["href"]: one for one in found["attention"]}
    assert {"/destinations/hook", "/sources/mails/rejected"} <= concerns.keys()
    assert all(one["subject"] and one["remedy"] for one in found["attention"])


def test_arrivals_of_the_last_minutes_are_exact_and_by_source(arrived: TestClient[Any]) -> None:
    deadline = time.monotonic() + 20
    while not (found := arrived.get("/arrivals", params={"step_seconds": 1}).json())["accepted"]:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert (5, 1) == (found["accepted"], found["refused"])
    assert 15 * 60 == len(found["points"])
    assert 5 == sum(point["accepted"] for point in found["points"])
    assert 0 == arrived.get("/arrivals", params={"source": "silent"}).json()["accepted"]
    assert 404 == arrived.get("/arrivals", params={"source": "none"}).status_code
    assert 400 == arrived.get("/arrivals", params={"minutes": 0}).status_code


def test_everything_is_found_by_its_name(arrived: TestClient[Any]) -> None:
    def found(words: str) -> list[tuple[str, str]]:
        return [(one["what"], one["href"]) for one in arrived.get("/search", params={"q": words}).json()]

    assert ("source", "/sources/mails") in found("mai")
    assert ("destination", "/destinations/hook") in found("HOOK")
    assert ("warehouse", "/warehouses/warehouse") in found("duckdb")
    assert [("event", "/debugger?source=mails&event=Email%20Opened")] == found("l open")
    assert [("event", f"/debugger?source=mails&event={quote(SCRIPT, safe='')}")] == found("<script>")
    assert [("message id", "/debugger/0191f-77aa")] == found("0191f-77aa")
    assert [] == found("")
    for rubbish in ("'; DROP TABLE x; --", "%", "\\", "\x00", "_" * 400, "💥"):
        assert 200 == arrived.get("/search", params={"q": rubbish}).status_code, rubbish


def test_campaigns_and_saved_things_are_found(arrived: TestClient[Any]) -> None:
    saved = arrived.post("/saved/query", json={"title": "Weekly figures", "body": {"sql": "SELECT 1"}})
    assert saved.is_success, saved.text
    found = arrived.get("/search", params={"q": "weekly"}).json()
    assert [("query", "/sql/weekly-figures")] == [(one["what"], one["href"]) for one in found]
