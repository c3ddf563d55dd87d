"""An analyst loads a month of events and asks which campaigns led to orders, without bots: by command, in SQL and by the API."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import httpx
import pytest

from headrace import cli
from headrace.app import folder
from server import Server

SECONDS: Final = 60.0
SQL: Final = "SELECT campaign_id, human_clicks, orders, revenue FROM email.campaigns ORDER BY campaign_id"


class Month(NamedTuple):
    server: Server
    truth: dict[str, Any]

    def asked(self) -> dict[str, Any]:
        """The answer of the API."""
        transport = httpx.HTTPTransport(uds=str(self.server.data / folder.WORKER_SOCKET))
        with httpx.Client(transport=transport, base_url="http://worker", timeout=30) as client:
            answer = client.post("/api/v1/reports", json={"preset": "campaigns", "sort": ["campaign_id"]})
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found

    def by_api(self) -> list[dict[str, Any]]:
        found = self.asked()
        return [dict(zip([column["name"] for column in found["columns"]], row, strict=True)) for row in found["rows"]]

    def wait(self) -> None:
        """Until the model knows all that was accepted."""
        self.server.wait_until_loaded()
        ends = time.monotonic() + SECONDS
        while True:
            try:
                if self.asked()["loads_behind"] == 0:
                    return
            except httpx.HTTPStatusError:  # no tables of e-mail yet
                pass
            assert time.monotonic() < ends, self.server.tail()
            time.sleep(0.1)


@pytest.fixture(scope="module")
def month(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Month]:
    """The server is killed while the month is loaded and made into figures, and started again."""
    place = tmp_path_factory.mktemp("month")
    with Server(
        place / "data", {"HEADRACE_LOADER_MODEL_SECONDS": "0.5", "HEADRACE_LOADER_LOAD_EVENTS": "2000"}
    ) as server:
        mail = server.add_source("Mail", "selligent-marketing-cloud")
        shop = server.add_source("Shop")
        truth = place / "truth.json"
        arguments = ["simulate", "--url", server.url, "--write-key", mail.write_key, "--shop-write-key", shop.write_key]
        assert 0 == cli.run(
            cli.app,
            [
                *arguments,
                "--recipients",
                "300",
                "--seed",
                "4",
                "--end",
                "2026-11-08T12:00:00Z",
                "--full",
                "--truth",
                str(truth),
                "--json",
            ],
        )
        server.kill()
        server.start()
        found = Month(server, json.loads(truth.read_text()))
        found.wait()
        yield found


def test_command_sql_and_api_give_the_same_right_answer(month: Month) -> None:
    by_command = json.loads(month.server.command("report", "campaigns", "--sort", "campaign_id", "--json"))
    in_sql = month.server.query(SQL)
    assert month.by_api() == by_command
    assert [{name: row[name] for name in ("campaign_id", "human_clicks", "orders")} for row in by_command] == [
        {name: row[name] for name in ("campaign_id", "human_clicks", "orders")} for row in in_sql
    ]
    assert [row["revenue"] for row in by_command] == pytest.approx([float(row["revenue"]) for row in in_sql])
    truth = {campaign["campaign_id"]: campaign for campaign in month.truth["campaigns"]}
    assert truth.keys() == {row["campaign_id"] for row in by_command} - {""}
    assert any(campaign["orders"] for campaign in truth.values())
    unknowable = (
        month.truth["machines"]["human_clicks_under_10_seconds"] + month.truth["total_details"]["crossed_events"] + 1
    )
    for row in by_command:
        true = truth.get(row["campaign_id"], row)
        assert abs(true["human_clicks"] - row["human_clicks"]) <= unknowable
        assert abs(true["orders"] - row["orders"]) <= unknowable
    # The control: with bots the answer would be another.
    assert sum(row["clicks"] for row in by_command) > 1.5 * sum(row["human_clicks"] for row in by_command)


def test_made_anew_all_is_as_it_was(month: Month) -> None:
    before = month.by_api()
    month.server.command("email", "rebuild")
    month.wait()
    assert before == month.by_api()
    state = month.server.status()["warehouses"][0]["warehouse"]["email_model"]
    assert (None, False) == (state["error"], state["is_behind"])


def test_a_rule_that_is_switched_off_changes_the_figures_of_the_running_server(month: Month) -> None:
    before = sum(row["human_opens"] for row in month.by_api())
    month.server.command("email", "rules", "off", "privacy_agent")
    try:
        ends = time.monotonic() + SECONDS
        while sum(row["human_opens"] for row in month.by_api()) <= before:
            assert time.monotonic() < ends
            time.sleep(0.2)
    finally:
        month.server.command("email", "rules", "on", "privacy_agent")
