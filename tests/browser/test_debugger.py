"""The debugger in a real browser: events appear, wait while it is paused, are found again by address, and nothing of theirs runs."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import Locator, Page, expect

from browser.conftest import Console, Open
from server import NewSource

SCRIPT = '<script>document.title="run"</script><img src=x onerror="document.title=1">'
RESTART_MS = 60_000
LOST = (
    "ERR_CONNECTION_REFUSED",
    "ERR_INCOMPLETE_CHUNKED_ENCODING",
    "ERR_CONNECTION_RESET",
    "ERR_EMPTY_RESPONSE",
    "503",
)


@pytest.fixture(scope="module")
def source(console: Console) -> NewSource:
    return console.server.add_source("Debugged in a browser")


def send(console: Console, source: NewSource, *events: dict[str, Any]) -> None:
    answer = console.server.post("/v1/batch", {"batch": list(events)}, source)
    assert answer.status == 200, answer.body


def track(message_id: str, event: str = "Order Completed", **fields: Any) -> dict[str, Any]:
    return {"type": "track", "event": event, "userId": "anna", "messageId": message_id} | fields


def lines(page: Page) -> Locator:
    return page.get_by_role("list", name="Events, the newest first").get_by_role("listitem")


def is_live(page: Page) -> None:
    expect(page.get_by_text("Live", exact=True)).to_be_visible()


def test_an_event_appears_and_is_followed_into_its_table(console: Console, source: NewSource, open_page: Open) -> None:
    page = open_page(console, f"/debugger?source={source.slug}")
    is_live(page)
    send(console, source, track("way-1", SCRIPT, userId=7, properties={"note": SCRIPT, "big": 12345678901234567890}))
    expect(lines(page).first).to_contain_text("1 warning")
    lines(page).first.click()
    expect(page).to_have_url(re.compile(r"/debugger/way-1\?.*at="))
    detail = page.get_by_label("The chosen event")
    expect(detail.get_by_text("an id was a number")).to_be_visible()
    expect(detail.get_by_text("12345678901234567890")).to_be_visible()
    expect(detail.get_by_role("listitem").filter(has_text="Warehouse loaded")).to_be_visible()
    detail.get_by_text(f"{source.schema}.tracks").click()
    expect(detail.get_by_text("user_id", exact=True)).to_be_visible()
    detail.get_by_role("button", name="Raw").click()
    expect(detail.get_by_label("The event as it is stored")).to_contain_text('"big": 12345678901234567890')
    expect(page).to_have_title(re.compile("Debugger"))
    page.keyboard.press("Escape")
    expect(detail).to_be_hidden()


def test_a_refused_event_says_why(console: Console, source: NewSource, open_page: Open) -> None:
    page = open_page(console, f"/debugger?source={source.slug}&state=refused")
    is_live(page)
    send(console, source, track("fine-1"), {"type": "track", "userId": "u", "messageId": "bad-1"})
    expect(lines(page)).to_have_count(1)
    lines(page).first.click()
    expect(page.get_by_label("The chosen event").get_by_text("event_not_defined").first).to_be_visible()


def test_while_it_is_paused_it_counts_and_then_goes_on(console: Console, source: NewSource, open_page: Open) -> None:
    page = open_page(console, f"/debugger?source={source.slug}&event=Paused+*")
    is_live(page)
    send(console, source, track("pause-1", "Paused 1"))
    expect(lines(page)).to_have_count(1)
    page.keyboard.press("Space")
    send(console, source, track("pause-2", "Paused 2"), track("other", "Other"), track("pause-3", "Paused 3"))
    expect(page.get_by_text("Paused · 2 events came")).to_be_visible()
    expect(lines(page)).to_have_count(1)
    page.keyboard.press("Space")
    expect(lines(page)).to_have_count(3)
    expect(lines(page).first).to_contain_text("Paused 3")
    page.keyboard.press("j")
    page.keyboard.press("j")
    expect(page).to_have_url(re.compile("pause-2"))


def test_lines_have_their_date_once_the_day_is_over(console: Console, source: NewSource, open_page: Open) -> None:
    page = open_page(console, f"/debugger?source={source.slug}&event=Day")
    is_live(page)
    today = datetime.now(UTC)
    page.clock.set_fixed_time(today)
    send(console, source, track("day-1", "Day"))
    expect(lines(page)).to_have_count(1)
    page.clock.set_fixed_time(today + timedelta(days=2))
    expect(lines(page).first.locator(".time")).to_have_text(re.compile(r"^\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}$"))


def test_an_event_is_found_by_its_id_and_an_unknown_one_is_explained(
    console: Console, source: NewSource, open_page: Open
) -> None:
    send(console, source, track("order/1 2", "Found"))
    console.server.wait_until_loaded()
    page = open_page(console, f"/debugger/{quote('order/1 2', safe='')}", width=360)
    expect(page.get_by_role("dialog").get_by_text("Durable in the log")).to_be_visible()
    page.get_by_role("button", name="Close").click()
    page.get_by_label("Where is my event? Its messageId").fill("never-sent")
    page.get_by_role("button", name="Find").click()
    expect(page.get_by_role("dialog").get_by_text("Nobody knows this event")).to_be_visible()


def test_filters_stand_in_the_address_and_a_wrong_expression_says_where(
    console: Console, source: NewSource, open_page: Open
) -> None:
    send(
        console,
        source,
        track("dear-1", "Bought", properties={"total": 900}),
        track("cheap-1", "Bought", properties={"total": 1}),
    )
    page = open_page(console, f"/debugger?source={source.slug}", allowed=("400",))
    page.get_by_role("button", name="More").click()
    page.get_by_label("Expression").fill("properties.total > 500")
    expect(page).to_have_url(re.compile("filter=properties.total"))
    expect(lines(page)).to_have_count(1)
    page.get_by_label("Expression").fill("properties.total >")
    expect(page.get_by_role("alert")).to_contain_text("column")
    expect(page.get_by_text("Stopped")).to_be_visible()
    expect(page.get_by_text("trying again")).to_have_count(0)


def test_a_restart_of_the_server_loses_nothing(empty_console: Console, open_page: Open) -> None:
    source = empty_console.server.add_source("Restarted")
    page = open_page(empty_console, "/debugger", allowed=LOST)
    is_live(page)
    send(empty_console, source, track("r-1", "Before"))
    expect(lines(page)).to_have_count(1)
    empty_console.server.stop()
    expect(page.get_by_text("The connection is gone")).to_be_visible()
    empty_console.server.start()
    send(empty_console, source, track("r-2", "After"))
    expect(lines(page)).to_have_count(2, timeout=RESTART_MS)
    is_live(page)
    expect(lines(page).first).to_contain_text("After")
