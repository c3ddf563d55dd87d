"""Every page of the console with the demo's data in it: for pictures, and for what must hold on all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from playwright.sync_api import Page

from browser.conftest import Console

QUERY: Final = (
    "select campaign_name, sent, human_opens, human_clicks, orders, revenue from email.campaigns order by revenue desc"
)


class Shown(NamedTuple):
    """`path` may have {campaign} and {message} in it. `prepare` does what a person would do first."""

    name: str
    path: str
    prepare: Callable[[Page], object] = lambda _: None


def _run(page: Page) -> None:
    page.get_by_role("button", name="Run", exact=True).click()  # exact: names of tables are buttons, too
    page.get_by_role("grid").first.wait_for()


PAGES: Final = (
    Shown("home", "/"),
    Shown("campaigns", "/campaigns"),
    Shown("campaign", "/campaigns/id/{campaign}"),
    Shown("email-overview", "/campaigns/overview"),
    Shown("reports", "/reports"),
    Shown("report", "/reports/new?preset=daily"),
    Shown("dashboards", "/dashboards"),
    Shown("sql", f"/sql?q={QUERY.replace(' ', '%20')}", _run),
    Shown("debugger", "/debugger"),
    Shown("event", "/debugger/{message}"),
    Shown("delivery", "/delivery"),
    Shown("sources", "/sources"),
    Shown("source", "/sources/selligent"),
    Shown("source-events", "/sources/selligent/events"),
    Shown("source-schema", "/sources/selligent/schema"),
    Shown("source-settings", "/sources/selligent/settings"),
    Shown("source-add", "/sources/_add"),
    Shown("destinations", "/destinations"),
    Shown("destination", "/destinations/order-desk"),
    Shown("destination-test", "/destinations/order-desk/test"),
    Shown("destination-shaping", "/destinations/order-desk/mapping"),
    Shown("destination-add", "/destinations/_add"),
    Shown("warehouses", "/warehouses"),
    Shown("warehouse", "/warehouses/warehouse"),
    Shown("warehouse-tables", "/warehouses/warehouse/tables"),
    Shown("warehouse-loads", "/warehouses/warehouse/loads"),
    Shown("warehouse-table", "/warehouses/warehouse/tables/selligent/tracks"),
    Shown("warehouse-selection", "/warehouses/warehouse/selection"),
    Shown("warehouse-misfits", "/warehouses/warehouse/misfits"),
    Shown("warehouse-jobs", "/warehouses/warehouse/jobs"),
    Shown("warehouse-settings", "/warehouses/warehouse/settings"),
    Shown("warehouse-add", "/warehouses/_add"),
    Shown("warehouse-form", "/warehouses/_add/postgresql"),
    Shown("email-model", "/email-model"),
    Shown("email-rules", "/email-model/rules"),
    Shown("email-goals", "/email-model/goals"),
    Shown("email-labels", "/email-model/labels"),
    Shown("alerts", "/alerts"),
    Shown("settings", "/settings"),
    Shown("configuration", "/settings/configuration"),
    Shown("audit", "/settings/audit"),
    Shown("tokens", "/settings/tokens"),
    Shown("account", "/settings/account"),
)


def names(console: Console) -> dict[str, str]:
    """What stands in the paths."""
    campaign = console.ask(
        "POST", "/query", {"sql": "select campaign_id from email.campaigns order by sent desc limit 1"}
    )
    message = console.ask(
        "POST", "/query", {"sql": "select id from selligent.tracks order by received_at desc limit 1"}
    )
    return {"campaign": str(campaign["rows"][0][0]), "message": str(message["rows"][0][0])}


def settled(page: Page, shown: Shown) -> None:
    """Wait until the page shows what it shows."""
    page.locator("h1").first.wait_for()
    page.get_by_role("status", name="Loading").first.wait_for(state="detached")
    shown.prepare(page)
