"""Warehouses over the worker's API: tested, added, looked into, changed, worked on and removed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from litestar.testing import TestClient

import postgresql_server
from console_worker import Asking, asked
from headrace import event
from headrace.app import folder
from headrace.app.working import Worker
from headrace.config import Config
from headrace.console.access import INSIDER, Requester
from headrace.console.api import api
from headrace.event import Event, Hour, RejectedEvent, hour_of
from headrace.log.base import Tally
from headrace.log.sqlite import SqliteLog
from headrace.workspace.workspace import Workspace

PATIENCE_SECONDS: Final = 20.0
NOW: Final = datetime.now(UTC)
ADMIN: Final = Requester("ada@example.com", "admin", "session", 1)
MARKUP: Final = "<img src=x onerror=alert(1)>"


def track(number: int, name: str, properties: dict[str, Any]) -> Event:
    raw = msgspec.Raw(msgspec.json.encode(properties))
    context = msgspec.Raw(msgspec.json.encode({"app": {"version": "1.2"}}))
    return Event("shop", "track", f"e{number}", NOW, NOW, event=name, user_id="u", properties=raw, context=context)


EVENTS: Final = (
    *(track(number, "Order Completed", {"total": number, "gift": True}) for number in range(5)),
    track(5, "Order Completed", {"total": "free", "gift": "yes"}),
    track(6, "Order Completed", {"total": "12.50"}),
    track(7, f"Seen {MARKUP}", {MARKUP: MARKUP}),
)
REFUSED: Final = RejectedEvent("shop", "collector", "no_user_anon_id", "an event needs userId", MARKUP, NOW)


def collect(data: Path, *entries: Event | RejectedEvent) -> None:
    """As a collector would."""
    log = SqliteLog(data / folder.LOG, Config(data=str(data)).log)
    writer = log.writer(0)
    accepted = sum(isinstance(entry, Event) for entry in entries)
    tally = {Hour("shop", hour_of(NOW)): Tally(accepted, len(entries) - accepted)}
    writer.append([event.encode(entry) for entry in entries], tally)
    writer.close()


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient[Any]]:
    data = tmp_path_factory.mktemp("served")
    with Workspace.open(data) as workspace:
        workspace.add_source("http-api", "Shop")
    collect(data, *EVENTS, REFUSED)
    config = Config(data=str(data))
    worker = Worker(config)
    try:
        worker.notice()
        with TestClient(api(worker, config.warehouse, lambda _: INSIDER)) as client:
            until(client, "warehouse", lambda entry: entry["status"]["totals"]["loaded"] == len(EVENTS))
            yield client
    finally:
        worker.end()
        worker.close()


def until(client: TestClient[Any], slug: str, is_so: Callable[[Any], bool]) -> Any:
    ends = time.monotonic() + PATIENCE_SECONDS
    while True:
        entry = client.get(f"/api/v1/warehouses/{slug}/state").json()
        if entry.get("status") and is_so(entry):
            return entry
        assert time.monotonic() < ends, entry
        # What is told may be ten seconds old; the whole status is of now.
        client.get("/api/v1/status")
        time.sleep(0.05)


def done(client: TestClient[Any], job: Any) -> Any:
    ends = time.monotonic() + PATIENCE_SECONDS
    while job["state"] in ("waiting", "running"):
        assert time.monotonic() < ends, job
        time.sleep(0.02)
        job = client.get(f"/api/v1/jobs/{job['id']}").json()
    return job


def test_the_list_tells_states_in_words_and_what_is_to_be_done(client: TestClient[Any]) -> None:
    (entry,) = client.get("/api/v1/warehouses").json()
    assert ("warehouse", "DuckDB", "It loads.") == (
        entry["warehouse"]["slug"],
        entry["warehouse"]["title"],
        entry["text"],
    )
    assert 24 == len(entry["hours"])
    of_now = {"hour": f"{hour_of(NOW):%Y-%m-%dT%H:%M:%SZ}", "loaded": 8, "pending": 0}
    assert [of_now] == [hour for hour in entry["hours"] if hour["loaded"] or hour["pending"]]
    assert ["misfits"] == [note["place"] for note in entry["notes"]]
    assert 8 == entry["status"]["warehouse"]["seconds_to_row"]["events"]


def test_tables_are_told_with_rows_and_what_they_are(client: TestClient[Any]) -> None:
    found = client.get("/api/v1/warehouses/warehouse/tables").json()
    assert found["problem"] is None
    own = {
        one["table"]: (one["kind"], one["rows"], one["misfits"]) for one in found["tables"] if one["source"] == "shop"
    }
    seen = next(table for table in own if table.startswith("seen"))
    assert {"tracks": ("events", 8, 0), "order_completed": ("event", 7, 3), seen: ("event", 1, 0)} == own
    assert {"headrace"} <= {one["kind"] for one in found["tables"]}
    last = next(one["last_loaded_at"] for one in found["tables"] if one["table"] == "tracks")
    assert NOW - timedelta(minutes=5) < datetime.fromisoformat(last) <= datetime.now(UTC)


def test_a_table_tells_where_its_columns_come_from_and_its_newest_rows(client: TestClient[Any]) -> None:
    path = "/api/v1/warehouses/warehouse/tables/shop/order_completed"
    columns = {one["column"]: one for one in client.get(path).json()["columns"]}
    assert ("integer", "property", "total", 2) == tuple(
        columns["total"][name] for name in ("type", "origin", "original", "misfits")
    )
    assert "context" == columns["context_app_version"]["origin"]
    assert columns["received_at"]["is_standard"]
    rows = client.get(f"{path}/rows", params={"limit": 3}).json()
    assert (3, True) == (len(rows["rows"]), "total" in rows["columns"])
    assert [404, 404, 400] == [
        client.get("/api/v1/warehouses/warehouse/tables/shop/none").status_code,
        client.get("/api/v1/warehouses/none/tables").status_code,
        client.get(f"{path}/rows", params={"limit": 100_000}).status_code,
    ]


def test_markup_in_names_and_values_stays_as_it_was_sent(client: TestClient[Any]) -> None:
    tables = client.get("/api/v1/warehouses/warehouse/tables").json()["tables"]
    seen = next(one["table"] for one in tables if one["table"].startswith("seen"))
    detail = client.get(f"/api/v1/warehouses/warehouse/tables/shop/{seen}").json()
    assert MARKUP in [one["original"] for one in detail["columns"]]
    assert [MARKUP] == [one["raw"] for one in client.get("/api/v1/warehouses/warehouse/rejected").json()["rejected"]]


def test_loads_come_in_pages(client: TestClient[Any]) -> None:
    first = client.get("/api/v1/warehouses/warehouse/loads", params={"limit": 1}).json()
    assert 1 == len(first["loads"])
    found, before = list(first["loads"]), first["before"]
    while before:
        page = client.get("/api/v1/warehouses/warehouse/loads", params={"limit": 1, "before": before}).json()
        found, before = found + page["loads"], page["before"]
    assert 8 == sum(load["rows"].get("shop.tracks", 0) for load in found)
    assert sorted({load["started"] for load in found}, reverse=True) == [load["started"] for load in found]
    failed = client.get("/api/v1/warehouses/warehouse/loads", params={"result": "failed"}).json()
    assert {"loads": [], "before": None} == failed


def test_settings_are_tested_added_changed_and_removed(client: TestClient[Any], tmp_path: Path) -> None:
    wrong = {"kind": "duckdb", "settings": {"path": str(tmp_path / "none" / "x.duckdb")}}
    found = client.post("/api/v1/warehouses/checks", json=wrong).json()
    assert (False, "folder", f"mkdir -p {tmp_path / 'none'}") == (
        found["ok"],
        found["steps"][-1]["step"],
        found["steps"][-1]["remedy"],
    )
    refused = client.post("/api/v1/warehouses", json={**wrong, "nickname": "Second"})
    assert (409, True) == (refused.status_code, "folder failed" in refused.json()["detail"])
    added = client.post("/api/v1/warehouses", json={"kind": "duckdb", "nickname": "Second"})
    assert (201, "second") == (added.status_code, added.json()["slug"])
    until(client, "second", lambda entry: entry["status"]["totals"]["loaded"] == len(EVENTS))
    change = {"nickname": MARKUP, "paused": True, "settings": {"snapshot_seconds": 3600}}
    changed = client.patch("/api/v1/warehouses/second", json=change).json()
    assert (MARKUP, True, 3600) == (changed["nickname"], changed["paused"], changed["settings"]["snapshot_seconds"])
    until(client, "second", lambda entry: entry["status"]["warehouse"]["state"] == "paused")
    assert 409 == client.patch("/api/v1/warehouses/second", json={"settings": {"none": 1}}).status_code
    assert 200 == client.delete("/api/v1/warehouses/second").status_code
    assert [404, 404] == [
        client.delete("/api/v1/warehouses/second").status_code,
        client.get("/api/v1/warehouses/second/state").status_code,
    ]


def test_a_file_that_is_open_is_asked_and_not_opened_again(client: TestClient[Any]) -> None:
    own = client.post("/api/v1/warehouses/warehouse/checks", json={}).json()
    assert [("open", True), ("query", True)] == [(step["step"], step["ok"]) for step in own["steps"]]
    taken = {"kind": "duckdb", "settings": {"path": "warehouse.duckdb"}}
    found = client.post("/api/v1/warehouses/checks", json=taken).json()
    assert (False, "give it a file of its own") == (found["ok"], found["steps"][0]["remedy"])


def test_a_selection_is_tried_before_it_is_kept(client: TestClient[Any]) -> None:
    path = "/api/v1/warehouses/warehouse/selections"
    (before,) = client.get(path).json()
    assert (None, ["order_completed"]) == (
        before["selection"],
        [one["table"] for one in before["tables"] if one["is_on"] and one["table"].startswith("order")],
    )
    chosen = {"without": ["order_completed"], "where": 'event = "Order Completed"'}
    tried = client.post(f"{path}/shop/trials", json={"selection": chosen}).json()
    assert (9, 8, 7, 1) == tuple(tried[name] for name in ("entries", "events", "stored", "left_out"))
    assert {"order_completed": (0, 7), "tracks": (7, 1)}.items() <= {
        one["table"]: (one["stored"], one["left_out"]) for one in tried["tables"]
    }.items()
    changed = client.put(f"{path}/shop", json={"selection": chosen}).json()
    assert [False] == [one["is_on"] for one in changed["tables"] if one["table"] == "order_completed"]
    wrong = client.put(f"{path}/shop", json={"selection": {"where": "event = "}})
    assert (409, "selection, where") == (wrong.status_code, wrong.json()["step"])
    assert 404 == client.put(f"{path}/none", json={"selection": None}).status_code
    assert client.put(f"{path}/shop", json={"selection": None}).json()["selection"] is None


def test_jobs_are_explained_ordered_watched_and_listed(client: TestClient[Any]) -> None:
    kinds = {kind["job"]: kind for kind in client.get("/api/v1/warehouses/warehouse/job-kinds").json()}
    assert {""} == {kind["why_not"] for kind in kinds.values()}
    ordered = client.post("/api/v1/warehouses/warehouse/jobs", json={"job": "rebuild", "arguments": {"schema": "shop"}})
    job = done(client, ordered.json())
    assert ("done", {"schema": "shop", "table": None}) == (job["state"], job["arguments"])
    assert job["id"] == client.get("/api/v1/warehouses/warehouse/jobs").json()[0]["id"]
    ended = client.post(f"/api/v1/jobs/{job['id']}/cancel")
    assert (409, 404) == (ended.status_code, client.post("/api/v1/jobs/999999/cancel").status_code)
    wrong = {"job": "retype", "arguments": {"schema": 1}}
    assert 409 == client.post("/api/v1/warehouses/warehouse/jobs", json=wrong).status_code


def test_misfits_name_the_type_that_takes_them_and_a_retype_brings_them_back(client: TestClient[Any]) -> None:
    found = client.get("/api/v1/warehouses/warehouse/misfits").json()
    of = {column["column"]: column for column in found["columns"]}
    assert {"gift": 1, "total": 2} == {name: column["values"] for name, column in of.items()}
    assert ["string"] == [one["type"] for one in of["gift"]["proposals"] if one["is_best"]]
    assert [("float", 1, 2), ("string", 2, 2)] == [
        (one["type"], one["fits"], one["of"]) for one in of["total"]["proposals"]
    ]
    assert {'"free"', '"12.50"'} == set(of["total"]["samples"])
    arguments = {"schema": "shop", "table": "order_completed", "column": "total", "type": "float"}
    order = {"job": "retype", "arguments": arguments}
    job = done(client, client.post("/api/v1/warehouses/warehouse/jobs", json=order).json())
    assert (1, 1) == (job["result"]["reapplied"], job["result"]["discarded"])
    table = client.get("/api/v1/warehouses/warehouse/tables/shop/order_completed").json()
    assert [("float", True, 1)] == [
        (one["type"], one["is_retyped"], one["misfits"]) for one in table["columns"] if one["column"] == "total"
    ]


@pytest.fixture(scope="module")
def over_the_network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[TestClient[Any], Path]]:
    data = tmp_path_factory.mktemp("network")
    config = Config(data=str(data))
    with Workspace.open(data):
        pass
    worker = Worker(config)
    try:
        worker.notice()
        with TestClient(api(worker, config.warehouse, lambda _: ADMIN)) as client:
            until(client, "warehouse", lambda entry: entry["status"]["warehouse"]["state"] == "loading")
            yield client, data
    finally:
        worker.end()
        worker.close()


@pytest.mark.parametrize("to", ["/tmp/x", "../x", "a/b", ".hidden", 7, ""])
def test_over_the_network_files_go_into_the_exports_alone(
    over_the_network: tuple[TestClient[Any], Path], to: object
) -> None:
    client, _ = over_the_network
    for job in ("snapshot", "export"):
        order = {"job": job, "arguments": {"to": to}}
        assert 409 == client.post("/api/v1/warehouses/warehouse/jobs", json=order).status_code


def test_a_snapshot_over_the_network_is_in_the_exports(over_the_network: tuple[TestClient[Any], Path]) -> None:
    client, data = over_the_network
    order = {"job": "snapshot", "arguments": {"to": "copy.duckdb"}}
    job = done(client, client.post("/api/v1/warehouses/warehouse/jobs", json=order).json())
    assert ("done", True) == (job["state"], (data / "exports" / "copy.duckdb").exists())


def test_settings_of_warehouses_are_an_admins(tmp_path: Path) -> None:
    asking = Asking()
    with Workspace.open(tmp_path):
        pass
    with asked(tmp_path, asking) as client:
        path = "/warehouses/warehouse"
        file = {"settings": {"snapshot_path": "workspace.db"}}
        orders: tuple[tuple[str, str, dict[str, Any], int], ...] = (
            ("POST", "/warehouses", {"kind": "duckdb", "nickname": "Second", "is_checked": False}, 201),
            ("POST", "/warehouses/checks", {"kind": "duckdb", **file}, 200),
            ("PATCH", path, file, 200),
            ("POST", f"{path}/checks", file, 200),
        )
        asking.as_role("editor")
        assert [(403, "role_refused")] * 4 == [
            (answer.status_code, answer.json()["code"])
            for answer in (client.request(method, at, json=order) for method, at, order, _ in orders)
        ]
        assert {} == client.get(f"{path}/state").json()["warehouse"]["settings"]
        assert 200 == client.patch(path, json={"nickname": "Ours", "paused": True}).status_code
        assert 200 == client.post(f"{path}/checks", json={}).status_code
        refused = client.patch(path, json={"nickname": "\n", "paused": False})
        assert (409, True) == (
            refused.status_code,
            client.get(f"{path}/state").json()["warehouse"]["paused"],
        )
        asking.as_role("admin")  # the control
        for method, at, order, status in orders:
            assert status == client.request(method, at, json=order).status_code, order


def test_arguments_of_a_job_may_have_any_name(over_the_network: tuple[TestClient[Any], Path]) -> None:
    client, _ = over_the_network
    order = {"job": "rebuild", "arguments": {"schema": "shop", "job": "other"}}
    assert 409 == client.post("/api/v1/warehouses/warehouse/jobs", json=order).status_code


def test_a_postgresql_warehouse_is_mended_step_by_step_and_fills(client: TestClient[Any]) -> None:
    server = postgresql_server.shared()
    database = server.database()
    wrong = {"kind": "postgresql", "settings": {"dsn": server.dsn(database, password="wrong secret")}}
    found = client.post("/api/v1/warehouses/checks", json=wrong)
    assert (False, True) == (found.json()["ok"], "password" in found.json()["steps"][-1]["text"])
    assert "wrong%20secret" not in found.text
    server.sql(f"REVOKE CREATE ON DATABASE {database} FROM {postgresql_server.ROLE}")
    right = {"kind": "postgresql", "settings": {"dsn": server.dsn(database)}}
    refused = client.post("/api/v1/warehouses/checks", json=right).json()
    assert f"GRANT CREATE ON DATABASE {database}" in refused["steps"][-1]["remedy"].replace('"', "")
    server.sql(f"GRANT CREATE ON DATABASE {database} TO {postgresql_server.ROLE}")
    added = client.post("/api/v1/warehouses", json={**right, "nickname": "Team"})
    assert 201 == added.status_code
    assert postgresql_server.PASSWORD not in added.text
    until(client, "team", lambda entry: entry["status"]["totals"]["loaded"] == len(EVENTS))
    tables = client.get("/api/v1/warehouses/team/tables").json()["tables"]
    assert [(8, True, True)] == [
        (one["rows"], one["is_exact"], one["size_bytes"] > 0) for one in tables if one["table"] == "tracks"
    ]
    loads = client.get(
        "/api/v1/warehouses/team/loads",
        params={"before": f"{datetime.now(UTC) + timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}"},
    )
    assert 8 == sum(load["rows"].get("shop.tracks", 0) for load in loads.json()["loads"])
    rows = client.get("/api/v1/warehouses/team/tables/shop/tracks/rows").json()
    assert 8 == len(rows["rows"])
    masked = added.json()["settings"]["dsn"]
    assert [True] == [client.post("/api/v1/warehouses/team/checks", json={"settings": {"dsn": masked}}).json()["ok"]]
    offered = {kind["job"]: kind["why_not"] for kind in client.get("/api/v1/warehouses/team/job-kinds").json()}
    assert ("", True) == (offered["rebuild"], bool(offered["snapshot"]))
    assert 200 == client.delete("/api/v1/warehouses/team").status_code
