"""What a simulation decided, what the e-mail model finds, and what counting rows would say: `python bench/email_truth.py`.

Prints a Markdown table for each kind of life; docs/email-model.md shows the first.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import mailed
from headrace.config import WarehouseConfig
from headrace.simulator.realism import FULL, Realism
from headrace.simulator.simulation import simulate
from headrace.simulator.truth import Truth
from headrace.simulator.truth_file import described
from headrace.warehouses._duckdb import DuckDB
from headrace.warehouses.base import Warehouse

LIVES: Final[Mapping[str, Realism]] = {
    "1.5 % of the events twice, 1 % days late": FULL,
    "every event four times on average, 1 % days late": msgspec.structs.replace(FULL, duplicates=3.0),
}
MEASURES: Final = (
    "delivery_rate", "bounce_rate", "open_rate", "human_open_rate", "click_rate", "click_to_open_rate", "unsubscribe_rate",
    "spam_rate", "conversion_rate", "revenue_per_recipient",
)  # fmt: skip
NAIVE: Final = {
    "delivery_rate": "(SELECT count(*) FROM selligent.email_delivered) / (SELECT count(*) FROM every)",
    "bounce_rate": "(SELECT count(*) FROM selligent.email_bounced) / (SELECT count(*) FROM every)",
    "open_rate": "(SELECT count(*) FROM selligent.email_opened) / (SELECT count(*) FROM selligent.email_delivered)",
    "human_open_rate": "(SELECT count(*) FROM selligent.email_opened WHERE NOT coalesce(machine_open, false)) / (SELECT count(*) FROM selligent.email_delivered)",
    "click_rate": "(SELECT count(*) FROM selligent.email_link_clicked) / (SELECT count(*) FROM selligent.email_delivered)",
    "click_to_open_rate": "(SELECT count(*) FROM selligent.email_link_clicked) / (SELECT count(*) FROM selligent.email_opened)",
    "unsubscribe_rate": "(SELECT count(*) FROM selligent.email_unsubscribed) / (SELECT count(*) FROM selligent.email_delivered)",
}
"""Rows over rows, as a first query would have it; without what it would need joins for."""


def totals(warehouse: Warehouse) -> dict[str, Any]:
    """The measures of email.campaigns over all campaigns."""
    counts = [
        "sent",
        "delivered",
        "opens",
        "human_opens",
        "clicks",
        "human_clicks",
        "bounces",
        "unsubscribes",
        "spam",
        "orders",
        "revenue",
    ]
    sums = ", ".join(f"sum({name})::DOUBLE AS {name}" for name in counts)
    found = _row(warehouse, f"SELECT {sums} FROM email.campaigns")
    return found | {
        "delivery_rate": found["delivered"] / found["sent"],
        "bounce_rate": found["bounces"] / found["sent"],
        "open_rate": found["opens"] / found["delivered"],
        "human_open_rate": found["human_opens"] / found["delivered"],
        "click_rate": found["human_clicks"] / found["delivered"],
        "click_to_open_rate": found["human_clicks"] / found["human_opens"],
        "unsubscribe_rate": found["unsubscribes"] / found["delivered"],
        "spam_rate": found["spam"] / found["delivered"],
        "conversion_rate": found["orders"] / found["delivered"],
        "revenue_per_recipient": found["revenue"] / found["delivered"],
    }


def naive(warehouse: Warehouse) -> dict[str, Any]:
    every = "SELECT id FROM selligent.email_delivered UNION ALL SELECT id FROM selligent.email_bounced"
    chosen = ", ".join(f"{sql} AS {name}" for name, sql in NAIVE.items())
    return _row(warehouse, f"WITH every AS ({every}) SELECT {chosen}")


def _row(warehouse: Warehouse, sql: str) -> dict[str, Any]:
    found = warehouse.query(sql, max_rows=1, timeout_seconds=60)
    return dict(zip(found.columns, found.rows[0], strict=True))


def compared(recipients: int, campaigns: int, realism: Realism, seed: int) -> list[tuple[str, Any, Any, Any]]:
    """Rows of measure, truth, model and naive count."""
    truth = Truth()
    simulation = simulate(recipients, campaigns, seed, mailed.END, realism, truth)
    for _ in simulation:
        pass
    total = described(simulation, truth)["total"]
    with tempfile.TemporaryDirectory() as folder:
        warehouse = DuckDB(Path(folder) / "warehouse.duckdb", WarehouseConfig())
        mailed.loaded(warehouse, list(mailed.entries(recipients, campaigns, realism, seed)), load_events=50_000)
        mailed.modelled(warehouse)
        found, counted = totals(warehouse), naive(warehouse)
        warehouse.close()
    return [(name, total[name], found[name], counted.get(name)) for name in MEASURES]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipients", type=int, default=20_000)
    parser.add_argument("--campaigns", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    for life, realism in LIVES.items():
        print(f"\n{given.recipients:,} people, {given.campaigns} campaigns and three journeys; {life}\n")
        print("| measure | truth | model | counting rows |\n|---|---|---|---|")
        for name, true, model, counted in compared(given.recipients, given.campaigns, realism, given.seed):
            print(f"| {name} | {_shown(name, true)} | {_shown(name, model)} | {_shown(name, counted)} |")


def _shown(name: str, value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.4f}" if name == "revenue_per_recipient" else f"{value * 100:.3f} %"


if __name__ == "__main__":
    main()
