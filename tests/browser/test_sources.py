"""Sources and Home in real Chromium: a newcomer adds a Selligent source, sends an event, and finds it."""

from __future__ import annotations

import re

import pytest
import segment.analytics as sdk
from playwright.sync_api import Page, expect

from browser.conftest import Console, Open

SCRIPT = "<img src=x onerror=alert(1)>"


def added(page: Page, nickname: str) -> str:
    """From the first page to the write key, as somebody who has never been here. Returns the key."""
    page.get_by_role("link", name="Add a source").first.click()
    page.get_by_label("Search the catalogue").fill("marigold")
    expect(page.get_by_role("link", name="Selligent Marketing Cloud")).to_be_visible()
    expect(page.get_by_role("link", name="HTTP API")).to_have_count(0)
    page.get_by_role("link", name="Selligent Marketing Cloud").click()
    page.get_by_label("Nickname").fill(nickname)
    expect(page.get_by_text("is free")).to_be_visible()
    page.get_by_role("button", name="Add source").click()
    expect(page.get_by_text("Waiting for the first event")).to_be_visible()
    key = page.get_by_text(re.compile(r"^hr_\w+$")).inner_text()
    expect(page.get_by_text("Please enable the Segment source")).to_contain_text(key)
    return key


def send(console: Console, key: str, event: str) -> None:
    client = sdk.Client(key, host=console.server.url, sync_mode=True)
    client.track("u-1", event, {"email_id": "1", "campaign_id": "c", "campaign_name": SCRIPT, "email_subject": "Hi"})


def test_a_newcomer_adds_a_selligent_source_and_sees_its_first_event(empty_console: Console, open_page: Open) -> None:
    page = open_page(empty_console, "/")
    expect(page.get_by_role("button", name="Load demo data")).to_be_visible()
    key = added(page, SCRIPT)
    expect(page.get_by_role("heading", name=SCRIPT)).to_be_visible()
    page.get_by_role("tab", name="Python").click()
    expect(page.get_by_role("tabpanel")).to_contain_text(f'analytics.write_key = "{key}"')
    send(empty_console, key, "Email Opened")
    expect(page.get_by_role("heading", name="The first event is here")).to_be_visible()
    expect(page.get_by_role("region", name="The event as it is stored")).to_contain_text(SCRIPT)
    send(empty_console, key, SCRIPT)
    page.get_by_role("link", name="Events", exact=False).and_(page.locator("[href$='/events']")).first.click()
    expect(page.get_by_role("button", name="Email Opened")).to_be_visible()
    page.get_by_role("button", name=SCRIPT).click()
    expect(page.get_by_role("dialog")).to_contain_text("1 accepted, 0 refused")
    page.keyboard.press("Escape")
    page.reload()
    page.get_by_role("link", name="Overview").click()
    expect(page.get_by_text(key)).to_have_count(0)


def test_a_source_is_set_and_its_key_is_changed(console: Console, open_page: Open) -> None:
    source = console.ask("POST", "/sources", {"kind": "selligent-marketing-cloud", "nickname": "Set here"})
    page = open_page(console, "/sources/set-here/settings")
    page.get_by_label("Address").select_option("sha256")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Saved. It holds for events from now on.")).to_be_visible()
    page.get_by_role("button", name="Make a second key").click()
    expect(page.get_by_text("The new key.")).to_be_visible()
    old = source["write_key"][-4:]
    page.get_by_role("listitem").filter(has_text=old).get_by_role("button", name="Retire").click()
    page.get_by_role("dialog").get_by_role("button", name="Retire").click()
    expect(page.get_by_role("listitem").filter(has_text=old)).to_have_count(0)
    entry = console.ask("GET", "/sources/set-here")["entry"]["source"]
    assert ("sha256", 1) == (entry["settings"]["address"], len(entry["keys"]))
    console.ask("DELETE", "/sources/set-here")


@pytest.mark.parametrize(
    ("words", "address"), [("selligent", "/sources/selligent"), ("email op", "/debugger?source=selligent&event=")]
)
def test_the_search_finds_what_is_called_so(console: Console, open_page: Open, words: str, address: str) -> None:
    page = open_page(console, "/")
    expect(page.get_by_role("heading", name="Arriving now")).to_be_visible()
    page.keyboard.press("Control+k")
    page.get_by_role("combobox", name="Search everywhere").fill(words)
    expect(page.get_by_role("listbox").locator(f"a[href^='{address}']").first).to_be_visible()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_tables_and_columns_of_a_source_are_shown(console: Console, open_page: Open) -> None:
    page = open_page(console, "/sources/selligent/schema")
    page.get_by_role("link", name="email_opened").click()
    row = page.get_by_role("row").filter(has_text="campaign_name")
    expect(row).to_contain_text("100")
    expect(page.get_by_text("of the newest")).to_be_visible()
