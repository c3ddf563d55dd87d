"""Settings of the e-mail model over the worker's API."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from litestar.testing import TestClient

import email_tables
from headrace.app.working import Worker
from headrace.config import Config, WarehouseConfig
from headrace.console.access import INSIDER
from headrace.console.api import api
from headrace.reports.model import kept
from headrace.reports.model.settings import RULES
from headrace.warehouses._duckdb import DuckDB
from headrace.workspace.workspace import Workspace

CAMPAIGNS = {"c1": "NL 1", "c2": "Sale", "c3": None}
LABELS = [
    {"set": "type", "label": "Newsletter", "pattern": "nl*"},
    {"set": "type", "label": "Never", "pattern": "zzz"},
]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient[Any]]:
    folder = tmp_path_factory.mktemp("served")
    with Workspace.open(folder) as workspace:
        workspace.add_source("selligent-marketing-cloud", "Mails")
    warehouse: Any = DuckDB(folder / "warehouse.duckdb", WarehouseConfig(memory_bytes=128_000_000))
    email_tables.create(warehouse)
    email_tables.fill(
        warehouse, {"names": [{"campaign_id": id_, "campaign_name": name} for id_, name in CAMPAIGNS.items()]}
    )
    warehouse.close()
    config = Config(data=str(folder))
    worker = Worker(config)
    try:
        worker.notice()
        with TestClient(api(worker, config.warehouse, lambda _: INSIDER)) as client:
            yield client
    finally:
        worker.end()
        worker.close()


def test_settings_are_shown_and_changed_with_their_revision(client: TestClient[Any]) -> None:
    before = client.get("/api/v1/email/settings").json()
    assert ["order_completed"] == [goal["name"] for goal in before["settings"]["goals"]]
    order = {"revision": before["revision"], "settings": {"disabled_rules": ["fast_click"], "labels": LABELS}}
    tried = client.put("/api/v1/email/settings", json={**order, "dry_run": True}).json()
    assert before == client.get("/api/v1/email/settings").json()
    changed = client.put("/api/v1/email/settings", json=order).json()
    assert (before["revision"] + 1, LABELS[0]["pattern"]) == (
        changed["revision"],
        changed["settings"]["labels"][0]["pattern"],
    )
    assert ["~ rule fast_click: switched off", *(f"+ label type: campaign_name {one['pattern']} is {one['label']}" for one in LABELS)] == changed["differences"]  # fmt: skip
    assert ["rules", "labels"] == list(changed["made_anew"])
    assert {**tried, "revision": changed["revision"]} == changed
    now = client.get("/api/v1/email/settings").json()
    assert {"revision": changed["revision"], "settings": changed["settings"]} == now


def test_a_change_made_from_older_settings_is_refused(client: TestClient[Any]) -> None:
    revision = client.get("/api/v1/email/settings").json()["revision"]
    first = client.put("/api/v1/email/settings", json={"revision": revision, "settings": {"email_sources": ["mails"]}})
    lost = client.put("/api/v1/email/settings", json={"revision": revision, "settings": {"labels": LABELS}})
    assert [200, 409] == [first.status_code, lost.status_code]
    assert "read them again" in lost.json()["detail"]
    assert [] == client.get("/api/v1/email/settings").json()["settings"]["labels"]


def test_settings_that_make_no_sense_are_refused(client: TestClient[Any]) -> None:
    revision = client.get("/api/v1/email/settings").json()["revision"]
    refused = client.put("/api/v1/email/settings", json={"revision": revision, "settings": {"goals": []}})
    assert (409, True) == (refused.status_code, "give one at least" in refused.json()["detail"])
    assert 400 == client.put("/api/v1/email/settings", json={"settings": {}}).status_code


def test_rules_are_shown_with_sentences_fields_and_operators(client: TestClient[Any]) -> None:
    revision = client.get("/api/v1/email/settings").json()["revision"]
    own = {"name": "office", "sentence": "Ours.", "when": [["ip", "starts_with", "10."]], "enabled": False}
    client.put("/api/v1/email/settings", json={"revision": revision, "settings": {"rules": [own]}})
    found = client.get("/api/v1/email/rules").json()
    assert [(rule.name, True, True) for rule in RULES] == [
        (rule["name"], rule["on"], rule["built_in"]) for rule in found["rules"][:-1]
    ]
    assert {**own, "kind": "both", "built_in": False, "on": False, "enabled": False} == {
        **found["rules"][-1],
        "enabled": False,
    }
    assert {"machine_flag", "campaign_id"} < {field["name"] for field in found["fields"]}
    assert "contains_any" in found["operators"]


def test_labels_are_tried_on_the_campaigns_of_the_warehouse(client: TestClient[Any]) -> None:
    found = client.post("/api/v1/email/labels/test", json={"labels": LABELS}).json()
    assert ["c2", "c3"] == found["unlabelled"]["type"]
    assert [("c1", {"type": "Newsletter"}), ("c2", {}), ("c3", {})] == [
        (one["campaign_id"], one["labels"]) for one in found["campaigns"]
    ]
    assert [("nl*", 1, 1), ("zzz", 0, 0)] == [
        (one["rule"]["pattern"], one["fits"], one["taken"]) for one in found["rules"]
    ]
    assert 404 == client.post("/api/v1/email/labels/test", json={"warehouse": "none"}).status_code
    assert 400 == client.post("/api/v1/email/labels/test", json={"labels": [{"set": "Big Set"}]}).status_code


def test_it_is_told_what_is_read_and_where_the_model_stands(client: TestClient[Any]) -> None:
    shown = client.get("/api/v1/email/model").json()
    assert [("mails", True, "its kind is e-mail")] == [
        (one["slug"], one["is_kind"], one["why"]) for one in shown["sources"]
    ]
    (warehouse,) = shown["warehouses"]
    assert ("warehouse", None) == (warehouse["slug"], warehouse["problem"])
    assert warehouse["state"] in ("up to date", "behind", "none yet")


def test_the_api_describes_its_settings(client: TestClient[Any]) -> None:
    schema = client.get("/api/v1/openapi.json").json()
    assert "/api/v1/email/settings" in schema["paths"]


def test_sources_of_kinds_for_e_mail_are_told_apart(tmp_path: Path) -> None:
    with Workspace.open(tmp_path) as workspace:
        workspace.add_source("selligent-marketing-cloud", "Mails", "mail")
        workspace.add_source("http-api", "Shop")
        found = kept.mail_sources(workspace.sources())
    assert [("mails", "mail", True), ("shop", "shop", False)] == [tuple(one) for one in found]
