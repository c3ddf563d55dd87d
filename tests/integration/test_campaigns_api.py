"""Campaigns over the worker's API: the list with its total, comparisons, and several reports at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
from litestar.testing import TestClient

import email_tables
from headrace.app.working import Worker
from headrace.config import Config, WarehouseConfig
from headrace.console.access import INSIDER
from headrace.console.api import api
from headrace.reports.model.schema import COUNTS
from headrace.warehouses._duckdb import DuckDB
from headrace.workspace.workspace import Workspace

NOW: Final = datetime(2026, 11, 20, 12, tzinfo=UTC)
SENDS: Final[Sequence[tuple[Any, ...]]] = (
    # campaign, days ago, journey, delivered, human opens, human clicks, orders, revenue
    ("old", 12, None, 9_000, 1_800, 270, 10, 900.0),
    ("new", 2, None, 10_000, 2_500, 280, 4, 500.0),
    ("newer<b>", 40, None, 100, 20, 3, 0, 0.0),
    ("journey", 30, "J-1", 50, 10, 5, 1, 9.0),
    ("journey", 0.1, "J-1", 50, 10, 5, 1, 9.0),
    ("empty", 5, None, 0, 0, 0, 0, 0.0),
    ("trial", 1, None, 99, 0, 0, 0, 0.0),  # the last by its day, and too small to be told as such
)


def counts(delivered: int, opens: int, clicks: int, orders: int, revenue: float) -> dict[str, Any]:
    known = {"delivered": delivered, "sent": delivered + 10, "bounces": 10, "hard_bounces": 10, "orders": orders}
    known |= {"opens": opens * 2, "human_opens": opens, "clicks": clicks * 3, "human_clicks": clicks}
    return {**dict.fromkeys(COUNTS, 0), **known, "revenue": revenue}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient[Any]]:
    folder = tmp_path_factory.mktemp("campaigns")
    with Workspace.open(folder) as workspace:
        workspace.add_source("selligent-marketing-cloud", "Mails")
    warehouse: Any = DuckDB(folder / "warehouse.duckdb", WarehouseConfig(memory_bytes=128_000_000))
    email_tables.create(warehouse)
    sends = [
        {"source": "mails", "campaign_id": id_, "email_id": "e", "journey_id": journey, "sent_quarter": NOW - timedelta(days=days)}
        | counts(*figures)
        for id_, days, journey, *figures in SENDS
    ]  # fmt: skip
    curve = [
        {"campaign_id": id_, "hour": hour, "opens": each, "human_opens": each, "clicks": 2, "human_clicks": 1}
        for id_, each in (("old", 15), ("new", 52))
        for hour in range(48 if id_ == "new" else 120)
    ]
    email_tables.fill(
        warehouse,
        {
            "campaign_sends": sends,
            "engagement_curve": curve,
            "names": [{"campaign_id": "new", "campaign_name": "New & shiny"}],
            "labels": [{"campaign_id": "new", "label_set": "type", "label": "sale"}],
            "progress": [{"schema_name": "mails", "table_name": "t", "role": "mail", "loaded_to": NOW}],
        },
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


def campaigns(client: TestClient[Any], **order: Any) -> Any:
    answer = client.post("/api/v1/campaigns", json={"since": "2026-01-01", **order})
    assert 200 == answer.status_code, answer.text
    return answer.json()


def figure(answer: Any, name: str, figures: Any) -> Any:
    return figures[[measure["name"] for measure in answer["measures"]].index(name)]


def test_each_campaign_is_there_with_its_name_its_labels_and_when_it_was_sent(client: TestClient[Any]) -> None:
    found = {one["campaign_id"]: one for one in campaigns(client)["campaigns"]}
    assert {"old", "new", "newer<b>", "journey", "empty", "trial"} == found.keys()
    assert ("New & shiny", {"type": "sale"}) == (found["new"]["name"], found["new"]["labels"])
    assert ("J-1", None) == (found["journey"]["journey_id"], found["new"]["journey_id"])
    journey = [datetime.fromisoformat(found["journey"][name]) for name in ("first_sent_at", "last_sent_at")]
    assert [NOW - timedelta(days=30), NOW - timedelta(days=0.1)] == journey


def test_the_total_divides_sums_and_is_no_average_of_rates(client: TestClient[Any]) -> None:
    answer = campaigns(client)
    delivered, opened = sum(row[3] for row in SENDS), sum(row[4] for row in SENDS)
    assert delivered == figure(answer, "delivered", answer["total"])
    assert opened / delivered == pytest.approx(figure(answer, "human_open_rate", answer["total"]))
    rates = [figure(answer, "human_open_rate", one["figures"]) for one in answer["campaigns"]]
    known = [rate for rate in rates if rate is not None]
    assert len(known) == len(rates) - 1  # nothing was delivered of one of them
    assert sum(known) / len(known) != pytest.approx(opened / delivered, abs=0.005)  # the control


def test_the_last_campaign_is_compared_with_the_one_before_at_the_same_age(client: TestClient[Any]) -> None:
    latest = campaigns(client)["latest"]
    assert ["old", "new"] == [one["campaign_id"] for one in latest["campaigns"]]
    rate = next(one for one in latest["figures"] if one["measure"] == "human_open_rate")
    assert "more" == rate["differences"][1]["verdict"]
    # The new one is two days old: of each only the first 47 whole hours count.
    assert 47 == latest["same_age"]["hours"]
    young = latest["same_age"]["figures"][0]
    assert [47 * 15 / 9_000, 47 * 52 / 10_000] == pytest.approx(young["values"])
    assert rate["values"] != pytest.approx(young["values"])  # the control: all of their opens so far
    assert [0, 15, 15, 2, 1] == latest["curves"]["old"][0]


def test_a_comparison_is_with_the_first_that_is_named(client: TestClient[Any]) -> None:
    asked = {"campaigns": ["new", "journey", "old"], "since": "2026-01-01"}
    answer = client.post("/api/v1/campaigns/compare", json=asked).json()
    assert asked["campaigns"] == [one["campaign_id"] for one in answer["campaigns"]]
    rate = next(one for one in answer["figures"] if one["measure"] == "click_rate")
    assert [None, "more", "same"] == [one and one["verdict"] for one in rate["differences"]]
    assert 0.975 == pytest.approx(answer["confidence"])
    assert answer["same_age"] is None  # a journey has no age


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ({"campaigns": ["new"]}, 400),
        ({"campaigns": [f"c{number}" for number in range(6)]}, 400),
        ({"campaigns": ["new", "gone"]}, 404),
        ({"campaigns": ["new", "new"]}, 400),
        ({"campaigns": ["new", "old"], "until": "2026-01-01"}, 404),
        ({"campaigns": ["new", "old"], "zone": "Atlantis"}, 409),
    ],
)
def test_what_cannot_be_compared_is_said(client: TestClient[Any], asked: dict[str, Any], status: int) -> None:
    assert status == client.post("/api/v1/campaigns/compare", json=asked).status_code


def test_a_period_without_mails_is_an_empty_list(client: TestClient[Any]) -> None:
    answer = campaigns(client, since="2020-01-01", until="2020-02-01")
    assert ([], None, 0) == (answer["campaigns"], answer["latest"], figure(answer, "delivered", answer["total"]))


def test_of_several_reports_each_is_answered_for_itself(client: TestClient[Any]) -> None:
    order = {
        "reports": {"days": {"preset": "daily"}, "odd": {"measures": ["delivred"]}},
        "funnels": {"way": {}},
    }
    answer = client.post("/api/v1/reports/batch", json=order).json()
    assert (["days"], ["way"], ["odd"]) == tuple(list(answer[part]) for part in ("reports", "funnels", "problems"))
    assert (404, "did you mean delivered?") == (
        answer["problems"]["odd"]["status"],
        answer["problems"]["odd"]["detail"].partition("; ")[2].split(" there")[0],
    )
    assert answer["reports"]["days"] | {"seconds": 0} == client.post("/api/v1/reports", json={"preset": "daily"}).json() | {"seconds": 0}  # fmt: skip
    many: dict[str, Any] = {"reports": {f"r{number}": {} for number in range(25)}}
    assert 400 == client.post("/api/v1/reports/batch", json=many).status_code
