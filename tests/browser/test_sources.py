"""Sources and the search in real Chromium; how one is added, test_newcomer tells."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from browser.conftest import Console, Open


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
