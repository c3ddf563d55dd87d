"""Warehouses in real Chromium: one is added after a test that fails, fills, and gets a column another type."""

from __future__ import annotations

import json
from typing import Any

from playwright.sync_api import expect

import postgresql_server
from browser.conftest import Console, Open

MARKUP = "<img src=x onerror=alert(1)>"


def collect(console: Console) -> None:
    """Orders, one of which has its total as text, and an event whose names and values try to be a script."""
    source = console.server.add_source("Web shop")

    def track(name: str, properties: dict[str, Any]) -> None:
        body = {"type": "track", "event": name, "userId": "u", "properties": properties}
        assert 200 == console.server.post("/v1/track", body, source).status

    for total in (1, 2, 3, 4, "12.50"):
        track("Order Completed", {"total": total})
    track(f"Seen {MARKUP}", {MARKUP: MARKUP})
    console.server.wait_until_loaded()


def test_a_postgresql_warehouse_is_added_after_its_test_said_what_to_mend(
    empty_console: Console, open_page: Open
) -> None:
    collect(empty_console)
    server = postgresql_server.shared()
    database = server.database()
    server.sql(f"REVOKE CREATE ON DATABASE {database} FROM {postgresql_server.ROLE}")
    page = open_page(empty_console, "/warehouses")
    page.get_by_role("link", name="Add a warehouse").click()
    page.get_by_role("link", name="PostgreSQL A database").click()
    page.get_by_label("Name", exact=True).fill("Team")
    page.get_by_label("DSN").fill(server.dsn(database))
    page.get_by_role("button", name="Test and add").click()
    result = page.get_by_role("status", name="Result of the test")
    expect(result).to_contain_text(f'GRANT CREATE ON DATABASE "{database}"')
    server.sql(f"GRANT CREATE ON DATABASE {database} TO {postgresql_server.ROLE}")
    page.get_by_role("button", name="Test and add").click()
    expect(page.get_by_role("heading", name="Team")).to_be_visible()
    expect(page.get_by_text("of 6 accepted")).to_be_visible()

    page.get_by_role("link", name="Tables").click()
    page.get_by_role("link", name="web_shop.order_completed").click()
    page.get_by_role("button", name="Show 50 rows").click()
    expect(page.get_by_role("region", name="Rows, newest first").get_by_role("row")).to_have_count(6)
    page.get_by_role("link", name="Loads").click()
    expect(page.get_by_role("region", name="List of loads")).to_contain_text("web_shop.")

    page.get_by_role("link", name="Misfits").click()
    page.get_by_role("button", name="Make it float").click()
    page.get_by_role("button", name="Change the type").click()
    job = page.get_by_role("article", name="Change a type")
    expect(job).to_contain_text("done")
    expect(job).to_contain_text("reapplied")
    page.get_by_role("button", name="Close").last.click()
    expect(page.get_by_text("Every value fits its column")).to_be_visible()
    found = empty_console.server.command(
        "query", "SELECT sum(total) AS total FROM web_shop.order_completed", "--warehouse", "team", "--json"
    )
    assert [{"total": 22.5}] == json.loads(found)


def test_scripts_in_names_and_values_stay_text(empty_console: Console, open_page: Open) -> None:
    collect(empty_console)
    page = open_page(empty_console, "/warehouses/warehouse/tables")
    page.get_by_role("link", name="web_shop.seen_img").click()
    expect(page.get_by_text(MARKUP).first).to_be_visible()
    page.get_by_role("button", name="Show 50 rows").click()
    expect(page.get_by_role("region", name="Rows, newest first")).to_contain_text(MARKUP)
    assert 0 == page.locator("img[src=x]").count()


def test_a_label_is_tried_and_saved_after_its_consequences_were_shown(console: Console, open_page: Open) -> None:
    page = open_page(console, "/email-model/labels")
    page.get_by_label("Label", exact=True).fill("All")
    page.get_by_label("Fits").fill("*")
    page.get_by_role("button", name="Add", exact=True).click()
    page.get_by_role("button", name="Try on the campaigns").click()
    expect(page.get_by_role("list", name="Campaigns with their labels")).to_contain_text("type: All")
    page.get_by_role("button", name="Review and save").click()
    expect(page.get_by_role("dialog")).to_contain_text("label type: campaign_name * is All")
    page.get_by_role("dialog").get_by_role("button", name="Save").click()
    expect(page.get_by_text("Not saved yet.")).to_have_count(0)
    assert ["All"] == [rule["label"] for rule in console.ask("GET", "/email/settings")["settings"]["labels"]]
    page.get_by_role("button", name="Remove").click()
    page.get_by_role("button", name="Review and save").click()
    page.get_by_role("dialog").get_by_role("button", name="Save").click()
    expect(page.get_by_text("No labels yet")).to_be_visible()
