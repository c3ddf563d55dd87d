"""Saved queries, reports and dashboards over the API: kept whole, changed by one at a time, and what does not fit any more is told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from litestar.testing import TestClient

from headrace.app.working import Worker
from headrace.config import Config
from headrace.console.access import Requester
from headrace.console.api import api
from headrace.workspace.workspace import Workspace

SAVED = "/api/v1/saved"
BY_LABEL = {"request": {"dimensions": ["label:type"], "measures": ["delivered"]}, "drawn": {"chart": "bar"}}


class Served:
    def __init__(self, folder: Path) -> None:
        config = Config(data=str(folder))
        self.requester = Requester("ada", "editor", "session", 1)
        self.worker = Worker(config)
        self.client = TestClient(api(self.worker, config.warehouse, lambda _: self.requester))

    def add(self, kind: str, title: str, body: Any) -> Any:
        return self.client.post(f"{SAVED}/{kind}", json={"title": title, "body": body})


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("saved")
    with Workspace.open(folder) as workspace:
        workspace.add_source("selligent-marketing-cloud", "Mails")
    served = Served(folder)
    try:
        with served.client:
            yield served
    finally:
        served.worker.end()
        served.worker.close()


def labels(served: Served, *rules: dict[str, str]) -> None:
    address = "/api/v1/email/settings"
    order = {"revision": served.client.get(address).json()["revision"], "settings": {"labels": list(rules)}}
    assert 200 == served.client.put(address, json=order).status_code


def test_a_report_is_kept_as_it_was_given_and_found_by_its_address(served: Served) -> None:
    title = "<script>alert(1)</script> März"
    body: dict[str, Any] = {
        "request": {"preset": "campaigns", "since": "30d", "filters": [["campaign_name", "contains", "'; DROP"]]},
        "drawn": {"chart": "heat", "shown": 5},
    }
    made = served.add("report", title, body)
    assert 201 == made.status_code
    address = f"{SAVED}/report/{made.json()['slug']}"
    found = served.client.get(address).json()
    assert (title, "ada", 1, []) == (found["title"], found["author"], found["revision"], found["misfits"])
    assert body["request"] | found["body"]["request"] == found["body"]["request"]
    assert ("heat", 5) == (found["body"]["drawn"]["chart"], found["body"]["drawn"]["shown"])
    assert made.json() in served.client.get(f"{SAVED}/report").json()
    again = served.add("report", title, body).json()
    assert f"{found['slug']}-2" == again["slug"]
    assert 204 == served.client.delete(address).status_code
    assert [404, 404] == [served.client.delete(address).status_code, served.client.get(address).status_code]


def test_of_two_changes_from_the_same_revision_the_second_is_refused(served: Served) -> None:
    made = served.add("query", "Orders", {"sql": "SELECT 1"}).json()
    address = f"{SAVED}/query/{made['slug']}"
    change = {"title": "Orders", "revision": 1, "body": {"sql": "SELECT 2"}}
    first = served.client.put(address, json=change)
    second = served.client.put(address, json={**change, "body": {"sql": "SELECT 3"}})
    assert [200, 409] == [first.status_code, second.status_code]
    assert "somebody has changed it since" in second.json()["subject"] + second.json()["remedy"]
    assert ("SELECT 2", 2) == (served.client.get(address).json()["body"]["sql"], first.json()["revision"])


@pytest.mark.parametrize(
    ("kind", "body", "words"),
    [
        ("report", {"request": {"dimensions": ["campaing_id"]}}, "did you mean campaign_id"),
        ("report", {"request": {"dimensions": ["link"]}}, "the dataset links has it"),
        ("report", {"request": {"since": "yesterday"}}, "since is 'yesterday'"),
        ("report", {"request": {"preset": "daily", "zone": "Mars"}}, "no time zone 'Mars'"),
        ("report", {"request": {}, "drawn": {"chart": "pie"}}, "take one of area, auto"),
        ("report", {"request": {"dimensions": ["domain"]}, "drawn": {"series": ["device"]}}, "stands for series"),
        ("report", {}, "request is missing"),
        ("query", {"sql": ""}, "1 to 100000 characters"),
        ("query", {"sql": "SELECT 1", "colour": "red"}, "there is no setting 'colour'"),
        ("dashboard", {"tiles": [{"x": 0, "y": 0, "width": 6, "height": 4}]}, "needs one of report"),
        ("dashboard", {"tiles": [{"x": 8, "y": 0, "width": 6, "height": 4, "text": "a"}]}, "ends beyond column 12"),
        ("dashboard", {"tiles": [{"x": 0, "y": 0, "width": 6, "height": 4, "preset": "none"}]}, "take another"),
    ],
)
def test_what_cannot_be_shown_is_not_kept(served: Served, kind: str, body: Any, words: str) -> None:
    before = served.client.get(f"{SAVED}/{kind}").json()
    refused = served.add(kind, "A", body)
    assert 409 == refused.status_code
    assert words in refused.json()["detail"]
    assert before == served.client.get(f"{SAVED}/{kind}").json()


@pytest.mark.parametrize(
    ("address", "order"),
    [
        ("paper", {"title": "A", "body": {}}),
        ("report", {"title": "", "body": {}}),
        ("report", {"title": "A"}),
        ("report", {"title": "A", "body": []}),
        ("report", {"title": "A", "body": {}, "colour": "red"}),
    ],
)
def test_orders_of_another_form_are_refused(served: Served, address: str, order: Any) -> None:
    assert 400 == served.client.post(f"{SAVED}/{address}", json=order).status_code


def test_a_report_whose_field_is_gone_is_kept_and_says_so(served: Served) -> None:
    labels(served, {"set": "type", "label": "Newsletter", "pattern": "nl*"})
    made = served.add("report", "By type", BY_LABEL).json()
    address = f"{SAVED}/report/{made['slug']}"
    assert [] == served.client.get(address).json()["misfits"]
    labels(served)
    found = served.client.get(address).json()
    assert made["body"] == found["body"]
    (misfit,) = found["misfits"]
    assert "there is no set of labels 'label:type'" in misfit
    change = {"title": "By type, once", "revision": 1, "body": found["body"]}
    assert 200 == served.client.put(address, json=change).status_code
    refused = served.client.put(address, json={**change, "revision": 2, "body": {**BY_LABEL, "drawn": {}}})
    assert 409 == refused.status_code


def test_a_dashboard_says_which_of_its_reports_are_gone(served: Served) -> None:
    report = served.add("report", "Shown", {"request": {"preset": "daily"}}).json()["slug"]
    tile = {"x": 0, "y": 0, "width": 6, "height": 4, "report": report}
    board = served.add("dashboard", "Board", {"tiles": [tile], "period": {"since": "30d"}}).json()
    assert [board["slug"]] == served.client.get(f"{SAVED}/report/{report}").json()["used_by"]
    served.client.delete(f"{SAVED}/report/{report}")
    (misfit,) = served.client.get(f"{SAVED}/dashboard/{board['slug']}").json()["misfits"]
    assert "is not there any more" in misfit
    moved = {"title": "Board", "revision": 1, "body": {"tiles": [{**tile, "x": 3}]}}
    assert 200 == served.client.put(f"{SAVED}/dashboard/{board['slug']}", json=moved).status_code


def test_viewers_read_and_change_nothing(served: Served) -> None:
    made = served.add("query", "Seen", {"sql": "SELECT 1"}).json()
    address = f"{SAVED}/query/{made['slug']}"
    served.requester = Requester("vic", "viewer", "session", 2)
    try:
        assert made["body"] == served.client.get(address).json()["body"]
        change = {"title": "A", "revision": 1, "body": {"sql": "SELECT 2"}}
        answers = [served.client.delete(address), served.client.put(address, json=change), served.add("query", "B", {})]
        assert [403, 403, 403] == [answer.status_code for answer in answers]
    finally:
        served.requester = Requester("ada", "editor", "session", 1)
