"""The pages of campaigns: the same figures as the command line, found, sorted, compared, loaded; names stay text."""

from __future__ import annotations

import json
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, Final

from playwright.sync_api import Locator, Page, expect

from browser.conftest import Console, Open

ODD: Final = '"><img src=x onerror=alert(1)>{{7*7}}'


def report(console: Console, since: str = "90d") -> dict[str, dict[str, Any]]:
    """What `headrace report campaigns --json` says, by campaign id."""
    text = console.server.command("report", "campaigns", "--since", since, "--zone", "Europe/Berlin", "--json")
    return {row["campaign_id"]: row for row in json.loads(text)}


def percent(share: float) -> str:
    """Rounded as a page rounds."""
    digits = 2 if 0 < share < 0.01 else 1
    return f"{Decimal(share * 100).quantize(Decimal(10) ** -digits, ROUND_HALF_UP)} %"


def rows(page: Page) -> Locator:
    return page.get_by_role("region", name="Campaigns with their figures").locator("tbody tr")


def test_a_marketer_finds_sorts_and_opens_a_campaign_with_the_figures_of_the_command_line(
    console: Console, open_page: Open
) -> None:
    known = report(console)
    page = open_page(console, "/campaigns")
    expect(rows(page)).to_have_count(len(known))
    latest = max((row for row in known.values() if not row["campaign_name"].startswith("Journey")), key=lambda row: row["campaign_id"])  # fmt: skip
    card = page.get_by_role("region", name=latest["campaign_name"])
    expect(card).to_contain_text(percent(latest["human_open_rate"]))
    expect(card).to_contain_text("the one before.")

    page.get_by_role("button", name="Delivered", exact=True).click()
    page.get_by_role("button", name="Delivered", exact=True).click()
    order = sorted(known.values(), key=lambda row: row["delivered"])
    expect(rows(page).first).to_contain_text(order[0]["campaign_name"])
    total = page.locator("tfoot")
    expect(total).to_contain_text(f"{sum(row['delivered'] for row in known.values()):,}")
    rate = sum(row["human_opens"] for row in known.values()) / sum(row["delivered"] for row in known.values())
    expect(total).to_contain_text(percent(rate))

    page.get_by_label("Search campaigns").fill("members")
    expect(rows(page)).to_have_count(1)
    found = next(row for row in known.values() if "MembersSale" in row["campaign_name"])
    expect(page.locator("tfoot")).to_contain_text(percent(found["human_open_rate"]))  # the total is of what is shown
    rows(page).get_by_role("link").click()

    expect(page.get_by_role("heading", level=1)).to_have_text(found["campaign_name"])
    figures = page.locator("dl").first
    for name in ("human_open_rate", "open_rate", "click_rate", "unsubscribe_rate", "bounce_rate"):
        expect(figures).to_contain_text(percent(found[name]))
    expect(figures).to_contain_text(f"{found['revenue']:,.2f}")
    figures.get_by_role("button", name="Human open rate").focus()
    expect(page.get_by_role("tooltip").filter(has_text="human_opens ÷ delivered")).to_be_visible()
    page.get_by_role("button", name="Show Day by day as a table").click()
    days = page.get_by_role("region", name="Day by day: table").locator("tbody tr")
    expect(days).not_to_have_count(0)
    delivered = [int(day.locator("td").first.inner_text().replace(",", "")) for day in days.all()]
    assert sum(delivered) == found["delivered"]  # a mail that goes out around midnight has its deliveries on two days


def test_campaigns_are_compared_with_the_first(console: Console, open_page: Open) -> None:
    page = open_page(console, "/campaigns")
    names = [row["campaign_name"] for row in report(console).values() if "_W" in row["campaign_name"]][:2]
    for name in names:
        page.get_by_label(f"Compare {name}").check()
    page.get_by_role("link", name="Compare 2").click()
    table = page.get_by_role("region", name="Figures of the campaigns")
    for name in names:
        expect(table.get_by_role("link", name=name)).to_be_visible()
    expect(table.get_by_role("row", name="Conversion rate")).to_contain_text("points")


def test_a_first_workspace_loads_the_demo_and_a_campaigns_name_is_only_text(
    empty_console: Console, open_page: Open
) -> None:
    page = open_page(empty_console, "/campaigns", allowed=("409",))
    small = json.dumps({"recipients": 300, "campaigns": 2})
    page.route(
        "**/api/v1/demo", lambda route: route.continue_(post_data=small if route.request.method == "POST" else None)
    )
    page.get_by_role("button", name="Load demo data").click()
    expect(page.get_by_role("progressbar", name="Demo data")).to_be_visible()
    source = empty_console.server.add_source("Odd", "selligent-marketing-cloud")
    properties = {"campaign_id": ODD, "campaign_name": ODD, "email_id": "1"}
    event = {"type": "track", "event": "Email Delivered", "userId": "u", "messageId": "odd", "properties": properties}
    assert 200 == empty_console.server.post("/v1/batch", {"batch": [event]}, source).status
    expect(page.get_by_role("heading", name="MembersSale")).to_be_visible(timeout=90_000)
    page.reload()
    page.get_by_role("link", name=ODD).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(ODD)
    expect(page.locator("main img")).to_have_count(0)
    expect(page.locator("dl").first).to_contain_text("100.0 %")  # the control: it is that campaign's page
