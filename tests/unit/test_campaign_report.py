"""The campaign report: its definitions case by case, and that it finds the truth in a simulated month."""

from __future__ import annotations

import json
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from headrace.reports.campaigns import COLUMNS, campaigns_sql
from headrace.simulator import figures
from headrace.simulator.orders import is_order
from headrace.simulator.simulation import Simulation
from headrace.warehouses.base import TableName

CASES = json.loads((Path(__file__).parents[1] / "cases" / "campaigns" / "reports.json").read_text(encoding="utf-8"))
BEGIN = datetime(2026, 11, 1, 8, tzinfo=UTC)
MAIL, SHOP = 'mail"box', "shop"
Rows = dict[TableName, list[dict[str, Any]]]
TYPES = {bool: "BOOLEAN", float: "DOUBLE", int: "DOUBLE", datetime: "TIMESTAMPTZ"}


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def report(rows: Rows, shop: str | None = SHOP) -> list[dict[str, Any]]:
    """Stores the rows in tables that have the columns which they use, and asks the report."""
    there: dict[TableName, dict[str, str]] = {}
    with duckdb.connect() as connection:
        for schema in (MAIL, SHOP):
            connection.execute(f"CREATE SCHEMA {quoted(schema)}")
        for table, entries in rows.items():
            columns = {"id": "VARCHAR"} | {
                name: TYPES.get(type(v), "VARCHAR") for e in entries for name, v in e.items() if v is not None
            }
            there[table] = columns
            name = f"{quoted(table.schema)}.{quoted(table.table)}"
            connection.execute(f"CREATE TABLE {name} ({', '.join(f'{quoted(c)} {t}' for c, t in columns.items())})")
            lines = pa.Table.from_pylist([{c: e.get(c) for c in columns} for e in entries])
            connection.register("lines", lines)
            connection.execute(f"INSERT INTO {name} SELECT * FROM lines")
            connection.unregister("lines")
        found = connection.execute(campaigns_sql(MAIL, shop, there))
        return [dict(zip(COLUMNS, row, strict=True)) for row in found.fetchall()]


def stored(events: list[Any]) -> Rows:
    rows: Rows = defaultdict(list)
    for number, (table, user_id, seconds, *more) in enumerate(events):
        order = table == "order_completed"
        standard = {"id": f"m{number}", "user_id": user_id, "timestamp": BEGIN + timedelta(seconds=seconds)}
        mail = {} if order else {"campaign_id": "1", "campaign_name": "One", "email_id": "11"}
        rows[TableName(SHOP if order else MAIL, table)].append(standard | mail | (more[0] if more else {}))
    return rows


@pytest.mark.parametrize("case", CASES["cases"], ids=lambda case: case["name"])
def test_every_definition_counts_as_written(case: dict[str, Any]) -> None:
    nothing = dict.fromkeys(COLUMNS, 0) | {"campaign_id": "1", "campaign_name": "One"}
    assert [nothing | expected for expected in case["expected"]] == report(stored(case["events"]))


def test_a_shop_is_not_needed() -> None:
    events = [["email_delivered", "ada", 0], ["email_opened", "ada", 60], ["order_completed", "ada", 90, {"total": 1}]]
    assert [0] == [row["orders"] for row in report(stored(events), shop=None)]


def simulated() -> tuple[Rows, dict[str, dict[str, set[str]]]]:
    """A month's tables, and by campaign the sends to which each thing happened, as the messageIds tell."""
    end = datetime(2026, 11, 1, tzinfo=UTC).timestamp()
    rows: Rows = defaultdict(list)
    truth: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    seen: set[str] = set()
    for event in Simulation(1_500, 4, 11, end - 4 * figures.WEEK, end):
        if event["messageId"] in seen:
            continue
        seen.add(event["messageId"])
        properties, context = event["properties"], event["context"]
        row = {
            "id": event["messageId"],
            "user_id": event.get("userId"),
            "anonymous_id": event.get("anonymousId"),
            "timestamp": datetime.fromisoformat(event["timestamp"]),
            "context_traits_email": context["traits"]["email"],
            "context_user_agent": context.get("userAgent"),
        }
        flat = {name: value for name, value in properties.items() if not isinstance(value, list)}
        table = event["event"].lower().replace(" ", "_")
        rows[TableName(SHOP if is_order(event) else MAIL, table)].append(row | flat)
        if not is_order(event):
            # A message as the report counts it: a journey may mail the same person twice.
            message = f"{properties['email_id']} {row['user_id'] or row['context_traits_email']}"
            truth[properties["campaign_id"]][event["messageId"].split("-")[3]].add(message)
    return rows, truth


def test_the_report_finds_the_truth_of_a_simulated_month() -> None:
    rows, truth = simulated()
    found = {row["campaign_id"]: row for row in report(rows)}
    assert set(truth) == set(found)
    for campaign_id, happened in truth.items():
        row = found[campaign_id]
        people = happened["opn"] | happened["clk"]
        assert (len(people), len(happened["clk"])) == (row["human_opens"], row["human_clicks"])
        assert len(happened["opn"] | happened["mop"]) == row["opens"]
        assert len(happened["clk"] | happened["scn"]) == row["clicks"]
        assert len(happened["dlv"] | happened["bnc"]) == row["sent"]
        assert (len(happened["bnc"]), len(happened["uns"])) == (row["bounces"], row["unsubscribes"])
        assert row["sent"] - row["bounces"] <= row["delivered"] <= row["sent"]


def test_the_naive_counts_would_not_have_found_it() -> None:
    rows, _ = simulated()
    total = {
        name: sum(row[name] for row in report(rows)) for name in ("opens", "human_opens", "clicks", "human_clicks")
    }
    assert total["human_opens"] * 1.3 < total["opens"]
    assert total["human_clicks"] * 1.7 < total["clicks"]
