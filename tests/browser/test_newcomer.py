"""A newcomer's whole way, by what stands on the pages alone: the first start, a source, its events, their campaign, a report of one's own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import segment.analytics as sdk
from playwright.sync_api import Page, expect

from browser.conftest import OWNER, Console, Open, running
from browser.test_reports import chips, drag, field, is_picture, well

NOBODY: dict[str, Any] = {"cookies": [], "origins": []}
SCRIPT = "<img src=x onerror=alert(1)>"
CAMPAIGN = "Spring <b>sale</b>"
EVENTS = ("Email Delivered", "Email Opened", "Email Link Clicked")
RECIPIENTS = 30


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Console]:
    """Nobody has been here."""
    with running(tmp_path / "data") as console:
        yield console


def send_campaign(console: Console, key: str) -> None:
    """Of yesterday. Every third mail is opened and clicked, an hour after each other: faster ones would be taken for machines'."""
    client = sdk.Client(key, host=console.server.url, sync_mode=True, upload_size=100)
    sent = datetime.now(UTC) - timedelta(days=1)
    for number in range(RECIPIENTS):
        mail = {"email_id": f"m-{number}", "campaign_id": "c-1", "campaign_name": CAMPAIGN, "email_subject": "Hi"}
        for hour, event in enumerate(EVENTS[: 3 if number % 3 == 0 else 1]):
            client.track(f"u-{number}", event, mail, timestamp=sent + timedelta(hours=hour))


def begin(page: Page) -> None:
    expect(page.get_by_role("heading", name="Welcome to headrace")).to_be_visible()
    page.get_by_label("Your name").fill(OWNER["name"])
    page.get_by_label("E-mail").fill(OWNER["email"])
    page.get_by_label("Password", exact=True).fill(OWNER["password"])
    page.get_by_role("button", name="Begin").click()
    expect(page.get_by_role("button", name="Load demo data")).to_be_visible()


def add_source(page: Page, nickname: str) -> str:
    """Returns the write key."""
    page.get_by_role("link", name="Add a source").first.click()
    page.get_by_label("Search the catalogue").fill("marigold")
    expect(page.get_by_role("link", name="Selligent Marketing Cloud")).to_be_visible()
    expect(page.get_by_role("link", name="HTTP API")).to_have_count(0)
    page.get_by_role("link", name="Selligent Marketing Cloud").click()
    page.get_by_label("Nickname").fill(nickname)
    expect(page.get_by_text("is free")).to_be_visible()
    page.get_by_role("button", name="Add source").click()
    expect(page.get_by_text("Waiting for the first event")).to_be_visible()
    expect(page.get_by_role("heading", name=nickname)).to_be_visible()
    key = page.get_by_text(re.compile(r"^hr_\w+$")).inner_text()
    expect(page.get_by_text("Please enable the Segment source")).to_contain_text(key)
    page.get_by_role("tab", name="Python").click()
    expect(page.get_by_role("tabpanel")).to_contain_text(f'analytics.write_key = "{key}"')
    return key


def go(page: Page, name: str) -> None:
    page.get_by_role("navigation", name="Pages").get_by_role("link", name=name, exact=True).click()
    expect(page.get_by_role("heading", level=1, name=name)).to_be_visible()


def test_from_the_first_start_to_a_saved_report(fresh: Console, open_page: Open, tmp_path: Path) -> None:
    page = open_page(fresh, "/", state=NOBODY, allowed=("401",))
    begin(page)
    key = add_source(page, SCRIPT)
    send_campaign(fresh, key)
    expect(page.get_by_role("heading", name="The first event is here")).to_be_visible()
    expect(page.get_by_role("region", name="The event as it is stored")).to_contain_text(CAMPAIGN)
    page.locator("[href$='/events']").first.click()
    page.get_by_role("button", name="Email Delivered").click()
    expect(page.get_by_role("dialog")).to_contain_text(f"{RECIPIENTS} accepted, 0 refused")
    page.keyboard.press("Escape")
    page.reload()
    page.get_by_role("link", name="Overview").click()
    expect(page.get_by_text(key)).to_have_count(0)

    go(page, "Debugger")
    line = page.get_by_role("list", name="Events, the newest first").get_by_role("listitem").first
    expect(line).to_contain_text("Email Delivered")  # of the last mail, which nobody opened
    line.click()
    detail = page.get_by_label("The chosen event")
    expect(detail.get_by_role("listitem").filter(has_text="Warehouse loaded")).to_be_visible()

    go(page, "Campaigns")
    page.get_by_role("region", name="Campaigns with their figures").get_by_role("link", name=CAMPAIGN).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(CAMPAIGN)
    expect(page.locator("dl").first).to_contain_text("33.3 %")

    go(page, "Reports")
    page.get_by_role("link", name="New report").first.click()
    drag(page, field(page, "Delivered"), well(page, "Values"))
    expect(chips(page, "Values")).to_have_text(["Delivered"])
    for title in ("Click rate", "Campaign"):
        field(page, title).press("Enter")
    expect(chips(page, "Rows")).to_have_text(["Campaign"])
    page.get_by_role("button", name="Table", exact=True).click()
    row = page.get_by_role("row").filter(has_text=CAMPAIGN)
    expect(row).to_contain_text(f"{RECIPIENTS}")
    expect(row).to_contain_text("33.3 %")
    page.get_by_role("button", name="Bars", exact=True).click()
    expect(page.get_by_role("img", name="bar chart of")).to_be_visible()
    page.get_by_role("button", name="Save", exact=True).click()
    page.get_by_label("Title").fill("Clicks by campaign")
    page.get_by_role("dialog").get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Clicks by campaign")
    with page.expect_download() as pictured:
        page.get_by_role("button", name="Download PNG").click()
    pictured.value.save_as(tmp_path / "report.png")
    assert is_picture(tmp_path / "report.png")
    go(page, "Reports")
    expect(page.get_by_role("link", name="Clicks by campaign")).to_be_visible()
