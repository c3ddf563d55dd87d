"""What the reports' page asks over the API: tables with totals and the period before, which fields go together, values to filter by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from litestar.testing import TestClient

import console_worker
import email_tables
import report_rows
from headrace.app.reporting import Reporting
from headrace.config import WarehouseConfig
from headrace.reports.datasets import DATASETS
from headrace.reports.model import kept
from headrace.reports.model.settings import LabelRule, ModelSettings
from headrace.warehouses._duckdb import DuckDB
from headrace.workspace.workspace import Workspace

ROWS = report_rows.made(400)
MAILS = [row for row in ROWS["messages"] if not row["is_test"]]
SETTINGS = ModelSettings(labels=(LabelRule(set="type", label="promo", pattern="*"),))


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient[Any]]:
    folder = tmp_path_factory.mktemp("reports")
    with Workspace.open(folder) as workspace:
        workspace.add_source("selligent-marketing-cloud", "Mail")
        kept.keep(workspace, SETTINGS, 0)
    warehouse: Any = DuckDB(folder / "warehouse.duckdb", WarehouseConfig(memory_bytes=128_000_000))
    email_tables.create(warehouse)
    rows = {
        name: [{key: value for key, value in row.items() if (name, key) != ("messages", "sent_quarter")} for row in of]
        for name, of in ROWS.items()
    }
    email_tables.fill(warehouse, rows)
    warehouse.close()
    with console_worker.asked(folder) as client:
        yield client


def table(client: TestClient[Any], order: dict[str, Any]) -> dict[str, Any]:
    answer = client.post("/reports/table", json=order)
    assert 200 == answer.status_code, answer.text
    found: dict[str, Any] = answer.json()
    return found


def counted(mails: list[dict[str, Any]], *fields: str) -> dict[tuple[Any, ...], int]:
    return dict(Counter(tuple(mail[field] for field in fields) for mail in mails if mail["is_delivered"]))


def rate(mails: list[dict[str, Any]]) -> float:
    delivered = [mail for mail in mails if mail["is_delivered"]]
    opened = [mail for mail in delivered if mail["is_human_opened"]]
    return len(opened) / len(delivered)


def by_keys(rows: list[list[Any]], keys: int) -> dict[tuple[Any, ...], Any]:
    return {tuple(row[:keys]): row[keys] for row in rows}


def test_rows_series_totals_and_what_is_left_are_those_of_the_mails(client: TestClient[Any]) -> None:
    request = {"dimensions": ["campaign_id", "device"], "measures": ["delivered", "human_open_rate", "recipients"]}
    found = table(client, {"request": request, "series": ["device"], "shown": 2, "series_shown": 1})
    inside = [row[0] for row in found["table"]["by_row"]]
    (device,) = [row[0] for row in found["table"]["by_series"]]
    delivered = counted(MAILS, "campaign_id")
    assert sorted(delivered, key=lambda key: -delivered[key])[:2] == [(key,) for key in inside]
    assert (2, len(delivered), 1, len(counted(MAILS, "device"))) == (
        found["shown"],
        found["rows_in_all"],
        found["series_shown"],
        found["series_in_all"],
    )
    cells = counted(MAILS, "campaign_id", "device")
    assert {(key, device): cells[key, device] for key in inside} == by_keys(found["table"]["cells"], 2)
    outside = [mail for mail in MAILS if mail["campaign_id"] not in inside]
    others = [mail for mail in MAILS if mail["device"] != device]
    (left,) = found["table"]["rest_by_series"]
    assert [device, sum(mail["is_delivered"] for mail in outside if mail["device"] == device)] == left[:2]
    expected = {key: count for key, count in counted(others, "campaign_id").items() if key[0] in inside}
    assert expected == by_keys(found["table"]["rest_by_row"], 1)
    (both,) = found["table"]["rest_both"]
    corner = [mail for mail in outside if mail["device"] != device]
    assert [sum(mail["is_delivered"] for mail in corner), pytest.approx(rate(corner))] == both[:2]
    assert [sum(mail["is_delivered"] for mail in of) for of in (outside, others)] == [
        found["table"][name][0][0] for name in ("rest_rows", "rest_series")
    ]
    (whole,) = found["table"]["whole"]
    people = {mail["person_key"] for mail in MAILS if mail["is_sent"]}
    assert [pytest.approx(rate(MAILS)), len(people)] == whole[1:]
    # The control: neither rates nor people of rows add up to those of all.
    assert whole[1] != pytest.approx(sum(row[2] for row in found["table"]["by_row"]) / 2)
    assert whole[2] < sum(row[3] for row in found["table"]["by_row"])


def test_no_question_is_asked_twice(client: TestClient[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    original = Reporting._query

    def counting(self: Reporting, found: Any, sql: str, step: str) -> Any:
        asked.append(sql)
        return original(self, found, sql, step)

    monkeypatch.setattr(Reporting, "_query", counting)
    request = {"dimensions": ["campaign_id", "device"], "measures": ["delivered"]}
    table(client, {"request": request, "series": ["device"]})
    assert 5 == len(set(asked)) == len(asked)  # rows, series, cells, all; and how far the model is


def test_days_are_never_cut_and_come_in_their_order(client: TestClient[Any]) -> None:
    request = {"dimensions": ["sent_day"], "measures": ["delivered"], "sort": []}
    found = table(client, {"request": request, "shown": 2})
    days = [row[0] for row in found["table"]["cells"]]
    assert days == sorted(days)
    assert len(days) == found["shown"] == found["rows_in_all"] > 2


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin"])
def test_the_period_before_is_as_long_and_ends_where_this_one_begins(client: TestClient[Any], zone: str) -> None:
    request = {"measures": ["delivered"], "since": "2026-10-24", "until": "2026-10-26", "zone": zone}
    found = table(client, {"request": request, "compare": True})

    def mails(first: str, last: str) -> int:
        days = {first, last, min(first, last)[:-2] + f"{int(first[-2:]) + 1:02d}"}
        return sum(
            mail["is_delivered"]
            for mail in MAILS
            if report_rows.local(mail["sent_at"], zone).date().isoformat() in days
        )

    assert [[mails("2026-10-24", "2026-10-26")]] == found["table"]["whole"]
    assert [[mails("2026-10-21", "2026-10-23")]] == found["before"]["whole"]
    assert found["table"]["since"] == found["before"]["until"]


def test_a_period_without_a_beginning_has_none_before_and_says_so(client: TestClient[Any]) -> None:
    found = table(client, {"request": {"measures": ["delivered"]}, "compare": True})
    assert found["before"] is None
    assert "no beginning" in found["notes"][0]


def test_conditions_on_figures_select_rows_and_leave_no_totals(client: TestClient[Any]) -> None:
    most = max(counted(MAILS, "campaign_id").values())
    request = {
        "dimensions": ["campaign_id", "device"],
        "measures": ["delivered"],
        "filters": [["delivered", "at_least", most]],
    }
    found = table(client, {"request": request, "series": ["device"]})
    (name,) = {row[0] for row in found["table"]["cells"]}
    kept_ = {key: count for key, count in counted(MAILS, "campaign_id", "device").items() if key[0] == name}
    assert kept_ == by_keys(found["table"]["cells"], 2)
    assert [] == found["table"]["whole"]
    assert "no totals" in found["notes"][0]


def test_what_goes_with_a_report_is_offered_and_what_does_not_says_why(client: TestClient[Any]) -> None:
    found = client.post("/reports/offers", json={"dimensions": ["domain"], "measures": ["delivered"]}).json()
    offered = {(of["kind"], of["name"]): of for of in found["offers"]}
    assert "messages" == offered["dimension", "device"]["dataset"]
    assert "messages" == offered["dimension", "label:type"]["dataset"]
    assert ("recipients", "Counts something else") == (
        offered["dimension", "recency"]["dataset"],
        offered["dimension", "recency"]["reason"][:21],
    )
    assert ("", True) == (
        offered["dimension", "reason"]["dataset"],
        "It does not go with Domain and Delivered" in offered["dimension", "reason"]["reason"],
    )
    # The control: what is offered can be asked, and what is not is refused.
    for of in found["offers"]:
        dimensions = ["domain", *([of["name"]] if of["kind"] == "dimension" else [])]
        measures = ["delivered", *([of["name"]] if of["kind"] == "measure" else [])]
        if of["name"].endswith("_at"):
            continue
        for dataset in [of["dataset"]] if of["dataset"] else DATASETS:
            request = {"dataset": dataset, "dimensions": dimensions, "measures": measures}
            answer = client.post("/reports/sql", json=request)
            assert (200 if of["dataset"] else 404) == answer.status_code, (of, answer.text)


def test_an_empty_report_is_offered_everything(client: TestClient[Any]) -> None:
    found = client.post("/reports/offers", json={}).json()
    assert [] == [of for of in found["offers"] if not of["dataset"]]
    assert [] == found["misfits"]


def test_values_of_a_field_are_found_by_a_part_of_them(client: TestClient[Any]) -> None:
    found = client.post("/reports/values", json={"field": "domain", "limit": 2}).json()
    sent = Counter(mail["domain"] or "" for mail in MAILS if mail["is_sent"])
    assert [count for _, count in sent.most_common(2)] == [of["figure"] for of in found["values"]]
    assert found["are_all"] is (len(sent) <= 2)
    searched = client.post("/reports/values", json={"field": "campaign_name", "search": "2026 'N"}).json()
    assert ["Spring, 2026 'n' more"] == [of["value"] for of in searched["values"]]
    assert [] == client.post("/reports/values", json={"field": "domain", "search": "' OR 1=1 --"}).json()["values"]
    refused = client.post("/reports/values", json={"field": "sent_day"})
    assert (409, "values") == (refused.status_code, refused.json()["step"])


@pytest.mark.parametrize(
    ("order", "words"),
    [
        ({"request": {"dimensions": ["link"]}}, "the dataset links has it"),
        ({"request": {"dimensions": ["domain"]}, "series": ["device"]}, "stands for series"),
        ({"request": {"measures": []}}, "no measure is asked for"),
        ({"request": {"measures": ["sent"], "since": "soon"}}, "since is 'soon'"),
    ],
)
def test_what_cannot_be_asked_names_what_to_take_instead(
    client: TestClient[Any], order: dict[str, Any], words: str
) -> None:
    refused = client.post("/reports/table", json=order)
    assert refused.status_code in (404, 409)
    assert "report" == refused.json()["step"]
    assert words in refused.json()["detail"]
