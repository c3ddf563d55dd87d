"""`headrace report` with and without a server, and the same figures over the API."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pytest
from rich.console import Console

import email_tables
import report_rows
from headrace import cli
from headrace.app import folder
from headrace.app.reach import Opened
from headrace.cli import report_shown
from headrace.config import Config
from headrace.warehouses.base import Deriving
from report_rows import COUNTS, counts, sales
from server import Server

ROWS = report_rows.made()


def run(data: Path, *arguments: str) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = cli.run(cli.app, ["report", *arguments, "--data", str(data)])
    return code, out.getvalue(), err.getvalue()


def printed(data: Path, *arguments: str) -> str:
    code, out, err = run(data, *arguments)
    assert (0, "") == (code, err)
    return out


def rows(data: Path, *arguments: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(printed(data, *arguments, "--json"))
    return found


def fill(data: Path) -> None:
    """Put ROWS into the warehouse of a folder on which no server works."""
    with Opened(Config(data=str(data))) as opened, opened.warehouse(None) as (_, warehouse):
        assert isinstance(warehouse, Deriving)
        email_tables.create(warehouse)
        of = {
            table: [{k: v for k, v in row.items() if table != "messages" or k != "sent_quarter"} for row in found]
            for table, found in ROWS.items()
        }
        email_tables.fill(warehouse, of)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ROWS in its warehouse."""
    data = tmp_path_factory.mktemp("reports") / "data"
    with contextlib.redirect_stdout(io.StringIO()):
        added = ["source", "add", "selligent-marketing-cloud", "--name", "Mail", "--data", str(data)]
        assert 0 == cli.run(cli.app, added)
    before = run(data, "campaigns")
    assert (1, "") == before[:2]
    assert "has no tables of e-mail yet" in before[2]
    fill(data)
    return data


@pytest.fixture(scope="module")
def served(stopped: Path) -> Iterator[Path]:
    """The same folder with a server, from here on: tests that need none stand above those that do."""
    with Server(stopped):
        yield stopped


def total() -> dict[str, Any]:
    return counts(ROWS["messages"], sales(ROWS))


def test_campaigns_without_a_server(stopped: Path) -> None:
    found = rows(stopped, "campaigns", "--sort", "-revenue")
    assert total() == {name: pytest.approx(sum(row[name] for row in found)) for name in COUNTS}
    assert sorted((row["revenue"] for row in found), reverse=True) == [row["revenue"] for row in found]
    assert ["spring"] == [
        row["campaign_id"] for row in rows(stopped, "campaigns", "--where", "campaign_name contains SPRING")
    ]


def test_a_table_for_people_says_what_is_counted(stopped: Path) -> None:
    shown = printed(stopped, "campaigns", "--zone", "Europe/Berlin", "--since", "2026-10-01", "--chart")
    lines = shown.splitlines()
    (last,) = [line for line in lines if line.startswith("all ")]
    assert f"{total()['sent']:,}" in last.split()
    assert f"{100 * total()['human_opens'] / total()['delivered']:.2f}" in last.split()
    assert "From 2026-10-01 00:00 until now, time zone Europe/Berlin." in shown
    assert "machines are flagged, never deleted" in shown
    assert "the goal order_completed, given by last touch" in shown
    assert "Test sends count nowhere." in shown
    assert "█" in shown or "#" in shown
    assert "\x1b" not in shown


def test_goals_that_are_told_apart_are_not_added_up(stopped: Path) -> None:
    shown = printed(stopped, "attribution", "--by", "goal,campaign_id")
    assert [] == [line for line in shown.splitlines() if line.startswith("all ")]
    assert "Orders are told apart by goal." in shown
    one = printed(stopped, "attribution", "--by", "goal,campaign_id", "--goal", "order_completed")
    assert 1 == sum(line.startswith("all ") for line in one.splitlines())
    assert "Orders are those of the goal order_completed." in one


def test_a_series_is_drawn_over_its_days(stopped: Path) -> None:
    first = printed(stopped, "daily", "--chart").splitlines()[0]
    assert first.startswith("sent  ")
    assert "total" not in first


def narrow(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    monkeypatch.setattr(report_shown, "_console", lambda: Console(file=sys.stdout, width=width))


def test_links_have_figures_on_a_narrow_terminal(stopped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    narrow(monkeypatch, 80)
    shown = printed(stopped, "links")
    heading, left_out = shown.splitlines()[0].split(), shown.partition("left out: ")[2].partition(".")[0].split(", ")
    assert {"campaign_name", "link", "clicks"} <= set(heading)
    assert "link_url" in left_out


def test_campaigns_without_a_name_are_told_by_their_id(stopped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    narrow(monkeypatch, 80)
    some, named = ("campaigns",), ("campaigns", "--where", "campaign_name known")
    assert [True, False] == ["campaign_id" in printed(stopped, *asked).splitlines()[0] for asked in (some, named)]


def test_rates_by_day_of_activity_say_what_they_divide(stopped: Path) -> None:
    words = "also of older mails"
    assert words not in printed(stopped, "activity")
    assert words in printed(stopped, "activity", "--measures", "open_rate")


@pytest.mark.parametrize("width", [80, 120])
def test_bars_stand_below_the_name_of_what_they_draw(
    stopped: Path, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    narrow(monkeypatch, width)
    for asked, drawn in (
        (("campaigns",), "human_open_rate"),
        (("campaigns", "--measures", "opens,human_opens"), "human_opens"),
        (("run", "--by", "domain", "--measures", "sent,opens"), "sent"),
    ):
        assert drawn == printed(stopped, *asked, "--chart").splitlines()[0].split()[-1]


def test_csv_runs_nothing_in_a_spreadsheet(stopped: Path) -> None:
    with Opened(Config(data=str(stopped))) as opened, opened.warehouse(None) as (_, warehouse):
        assert isinstance(warehouse, Deriving)
        name = {"campaign_id": "autumn", "campaign_name": "=1+1\x1b[31m", "happened_at": report_rows.BEGIN}
        email_tables.fill(warehouse, {"names": [name]})
    found = list(csv.DictReader(io.StringIO(printed(stopped, "campaigns", "--csv"))))
    assert ["'=1+1\x1b[31m"] == [row["campaign_name"] for row in found if row["campaign_id"] == "autumn"]
    assert "=1+1\\x1b[31m" in printed(stopped, "campaigns")


def test_the_select_is_printed_and_gives_the_same(stopped: Path) -> None:
    asked = ("run", "--by", "device,sent_month", "--measures", "opens,orders", "--since", "2026-10-01")
    sql = printed(stopped, *asked, "--sql")
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert 0 == cli.run(cli.app, ["query", sql, "--json", "--data", str(stopped)])
    assert rows(stopped, *asked) == json.loads(out.getvalue())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("run", "--measures", "open_rates"), "did you mean open_rate?"),
        (("campaigns", "--zone", "Berlin"), "no time zone 'Berlin'"),
        (("campaigns", "--where", "nothing"), "is not understood"),
        (("campaigns", "--source", "shop"), "there are mail"),
        (("campaigns", "--model", "linear"), "last, first, any"),
        (("funnel", "--step", "delivered", "--step", "goal:signup"), "signup"),
        (("funnel", "--by", "device"), "--by: take one of campaign_id, domain, email_id, journey_id, source; found"),
        (("funnel", "--step", "sent", "--step", "opened@0d"), "steps: number 2: within_days: give a number above 0"),
        (("fields", "--dataset", "nothing"), "no dataset 'nothing'"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(stopped: Path, arguments: tuple[str, ...], words: str) -> None:
    code, out, err = run(stopped, *arguments)
    assert (1, "") == (code, out)
    assert words in err
    assert 1 == err.count("\n")


def test_what_may_be_asked_for_is_listed() -> None:
    for command, name in (("list", "campaigns"), ("measures", "human_open_rate")):
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            assert 0 == cli.run(cli.app, ["report", command, "--json"])
        assert name in {entry["name"] for entry in json.loads(out.getvalue())}


def test_fields_are_listed_by_dataset(stopped: Path) -> None:
    found = json.loads(printed(stopped, "fields", "--json", "--dataset", "links"))
    assert ["links"] == [dataset["name"] for dataset in found]
    assert {"link", "campaign_name", "sent_day"} <= {field["name"] for field in found[0]["fields"]}


def test_funnel_and_holdout_are_asked(stopped: Path) -> None:
    found = json.loads(printed(stopped, "funnel", "--step", "delivered", "--step", "human_opened@20d", "--json"))
    delivered = [message for message in ROWS["messages"] if message["is_delivered"] and not message["is_test"]]
    opened = [message for message in delivered if message["is_human_opened"]]
    assert [len(delivered), len(opened)] == [step["messages"] for step in found["parts"][0]["steps"]]
    assert "delivered" in printed(stopped, "funnel", "--step", "delivered", "--step", "human_opened", "--by", "domain")
    assert "nobody is in the holdout group" in printed(stopped, "holdout")
    assert "given to a click" in printed(stopped, "funnel")
    assert 0 == json.loads(printed(stopped, "holdout", "--json"))["result"]["holdout"]["revenue"]


def asked(data: Path, method: str, path: str, body: Any = None) -> httpx.Response:
    name, descriptor = folder.short_path(data / folder.WORKER_SOCKET)
    try:
        with httpx.Client(transport=httpx.HTTPTransport(uds=name), timeout=60) as client:
            return client.request(method, f"http://worker{path}", json=body)
    finally:
        os.close(descriptor)


def test_the_worker_answers_as_the_folder_does(served: Path) -> None:
    found = rows(served, "campaigns")
    assert total() == {name: pytest.approx(sum(row[name] for row in found)) for name in COUNTS}
    answer = asked(served, "POST", "/api/v1/reports", {"preset": "campaigns"}).json()
    names = [column["name"] for column in answer["columns"]]
    assert found == [dict(zip(names, row, strict=True)) for row in answer["rows"]]
    assert {"kind": "measure", "type": "number", "unit": "share"}.items() <= answer["columns"][-2].items()
    assert answer["sql"].startswith("SELECT ")
    assert asked(served, "POST", "/api/v1/reports/sql", {"preset": "campaigns"}).json() == {"sql": answer["sql"]}


def test_arrow_has_the_same_rows(served: Path) -> None:
    request = {"dimensions": ["campaign_id"], "measures": ["sent", "revenue"]}
    stream = asked(served, "POST", "/api/v1/reports/arrow", request).content
    with pa.ipc.open_stream(stream) as reader:
        table = reader.read_all()
    answer = asked(served, "POST", "/api/v1/reports", request).json()
    assert answer["rows"] == [[row["campaign_id"], row["sent"], float(row["revenue"])] for row in table.to_pylist()]


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, {"measures": ["nothing"]}),
        (409, {"preset": "campaigns", "zone": "Mars"}),
        (400, {"prest": "campaigns"}),
        (400, {"limit": 0}),
        (400, {"filters": [["campaign_id", "like", "x"]]}),
    ],
)
def test_wrong_requests_are_the_client_s(served: Path, status: int, body: Any) -> None:
    assert status == asked(served, "POST", "/api/v1/reports", body).status_code


def test_the_api_tells_what_there_is_and_describes_itself(served: Path) -> None:
    for path in ("measures", "presets"):
        assert asked(served, "GET", f"/api/v1/reports/{path}").json()
    assert "messages" in {
        dataset["name"] for dataset in asked(served, "GET", "/api/v1/reports/fields").json()["datasets"]
    }
    assert 200 == asked(served, "POST", "/api/v1/reports/funnel", {}).status_code
    assert 200 == asked(served, "POST", "/api/v1/reports/holdout", {}).status_code
    paths = asked(served, "GET", "/api/v1/openapi.json").json()["paths"]
    assert {"/api/v1/reports", "/api/v1/reports/arrow", "/api/v1/reports/funnel"} <= set(paths)
