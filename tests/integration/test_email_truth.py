"""The simulator knows the truth, and the e-mail model must find it: rates within the 99 % interval, counts as near as can be known."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from math import sqrt
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

import mailed
from headrace.reports.model.settings import RULES, ModelSettings
from headrace.simulator.realism import FULL, Realism
from headrace.simulator.simulation import simulate
from headrace.simulator.truth import Truth
from headrace.simulator.truth_file import described
from headrace.warehouses.base import Warehouse

NORMAL_99: Final = 2.576
REPEATED: Final = msgspec.structs.replace(FULL, duplicates=3.0)
RATES: Final = {
    "delivery_rate": ("delivered", "sent"),
    "bounce_rate": ("bounces", "sent"),
    "open_rate": ("opens", "delivered"),
    "human_open_rate": ("human_opens", "delivered"),
    "click_rate": ("human_clicks", "delivered"),
    "click_to_open_rate": ("human_clicks", "human_opens"),
    "unsubscribe_rate": ("unsubscribes", "delivered"),
    "spam_rate": ("spam", "delivered"),
    "conversion_rate": ("orders", "delivered"),
}
LIVES: Final = {
    "usual": ("duckdb", 1_000, 4, FULL),
    "usual on PostgreSQL": ("postgresql", 500, 3, FULL),
    "every event four times": ("duckdb", 250, 3, REPEATED),
}


class Life:
    """A simulation in a warehouse, its truth, and what the model makes of it."""

    def __init__(self, folder: Path, engine: str, recipients: int, campaigns: int, realism: Realism) -> None:
        truth = Truth()
        simulation = simulate(recipients, campaigns, 1, mailed.END, realism, truth)
        assert any(simulation)
        for _ in simulation:
            pass
        self.truth = described(simulation, truth)
        self.warehouse: Warehouse = importlib.import_module(f"engines.{engine}").fresh(folder)()
        mailed.loaded(self.warehouse, list(mailed.entries(recipients, campaigns, realism)), load_events=20_000)
        mailed.modelled(self.warehouse)

    def rows(self, sql: str) -> list[dict[str, Any]]:
        found = self.warehouse.query(sql, max_rows=100_000, timeout_seconds=60)
        return [dict(zip(found.columns, row, strict=True)) for row in found.rows]

    def campaigns(self) -> dict[str, dict[str, Any]]:
        return {row["campaign_id"]: row for row in self.rows("SELECT * FROM email.campaigns")}


@pytest.fixture(scope="module", params=LIVES)
def life(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Life]:
    found = Life(tmp_path_factory.mktemp("life"), *LIVES[request.param])
    yield found
    found.warehouse.close()


def within_99_percent(true: float, total: float, found: float) -> bool:
    """Whether a share that was found is as near to the true one as a sample of `total` lets expect."""
    return abs(found - true) <= NORMAL_99 * sqrt(max(true * (1 - true), 1 / total) / total)


@pytest.mark.parametrize("rate", RATES)
def test_each_rate_of_all_campaigns_is_the_true_one_within_the_99_percent_interval(life: Life, rate: str) -> None:
    above, below = RATES[rate]
    rows = life.campaigns().values()
    found = sum(row[above] for row in rows) / sum(row[below] for row in rows)
    assert within_99_percent(life.truth["total"][rate], life.truth["total"][below], found), (
        life.truth["total"][rate],
        found,
    )


def test_each_campaigns_counts_are_true_but_for_what_no_event_tells(life: Life) -> None:
    found = life.campaigns()
    assert found.keys() - {""} == {campaign["campaign_id"] for campaign in life.truth["campaigns"]}
    unknowable = life.truth["machines"]["human_clicks_under_10_seconds"] + 2
    for campaign in life.truth["campaigns"]:
        mine, details = found[campaign["campaign_id"]], life.truth["details"][campaign["campaign_id"]]
        journey = details["repeated_sends"] + details["crossed_events"]
        for name in ("opens", "clicks", "bounces", "hard_bounces", "soft_bounces", "unsubscribes", "spam"):
            assert abs(campaign[name] - mine[name]) <= details["crossed_events"], (campaign["campaign_id"], name)
        for name in ("sent", "delivered"):
            assert abs(campaign[name] - mine[name]) <= journey, (campaign["campaign_id"], name)
        for name in ("human_opens", "human_clicks"):
            assert abs(campaign[name] - mine[name]) <= details["crossed_events"] + unknowable, (
                campaign["campaign_id"],
                name,
            )


def test_orders_and_revenue_are_given_to_the_campaigns_that_led_to_them(life: Life) -> None:
    rows = life.campaigns().values()
    total = life.truth["total"]
    assert total["orders"] == pytest.approx(sum(row["orders"] for row in rows), abs=1)
    assert total["revenue"] == pytest.approx(sum(row["revenue"] for row in rows), rel=0.02)
    conversions = life.rows("SELECT count(*) AS orders, sum(value) AS revenue FROM email.conversions")[0]
    assert life.truth["orders"]["orders"] == conversions["orders"]
    assert life.truth["orders"]["revenue"] == pytest.approx(float(conversions["revenue"]))


def test_people_who_were_known_later_are_the_same_people_as_before(life: Life) -> None:
    found = life.rows("SELECT count(*) AS people FROM email.recipients WHERE NOT is_matched")[0]
    assert life.truth["identities"]["never"] >= found["people"]
    aliases = life.rows(
        "SELECT count(DISTINCT recipient) AS raw, count(DISTINCT recipient_key) AS people FROM email.events"
    )[0]
    assert aliases["people"] < aliases["raw"]


def test_without_the_rules_for_machines_the_rates_would_be_wrong(tmp_path: Path) -> None:
    # The control: the same events, and nothing flagged.
    blind = Life.__new__(Life)
    _, recipients, campaigns, realism = LIVES["every event four times"]
    truth = Truth()
    simulation = simulate(recipients, campaigns, 1, mailed.END, realism, truth)
    for _ in simulation:
        pass
    blind.truth = described(simulation, truth)
    blind.warehouse = importlib.import_module("engines.duckdb").fresh(tmp_path)()
    mailed.loaded(blind.warehouse, list(mailed.entries(recipients, campaigns, realism)), load_events=20_000)
    mailed.modelled(blind.warehouse, ModelSettings(disabled_rules=[rule.name for rule in RULES]))
    rows = blind.campaigns().values()
    for above, below in (RATES["human_open_rate"], RATES["click_rate"]):
        found = sum(row[above] for row in rows) / sum(row[below] for row in rows)
        true = blind.truth["total"][above] / blind.truth["total"][below]
        assert not within_99_percent(true, blind.truth["total"][below], found)
    blind.warehouse.close()
