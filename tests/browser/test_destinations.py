"""The engineer's way through the console: a tool refuses, Event Delivery says why, it is mended, and what failed is sent again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, expect

from browser import demo_data
from browser.conftest import Console, running
from fault_server import FaultServer, answers

Open = Callable[..., Page]
EVENTS = 6
MOVED = b'{"error": "this address moved to /v2 <script>alert(1)</script>"}'


@pytest.fixture(scope="module")
def tool() -> Iterator[FaultServer]:
    with FaultServer() as server:
        server.behave("/v1", answers(404, MOVED, {"content-type": "application/json"}))
        yield server


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    with running(tmp_path_factory.mktemp("tools") / "data", {"HEADRACE_ALLOWED_NETWORKS": "127.0.0.0/8"}) as console:
        console.set_up()
        yield console


@pytest.fixture(scope="module")
def write_key(house: Console) -> str:
    return str(house.ask("POST", "/sources", {"kind": "http-api", "nickname": "Shop"})["write_key"])


def send(house: Console, write_key: str) -> None:
    batch: list[dict[str, Any]] = [
        {
            "type": "track",
            "event": "Order Completed",
            "userId": f"u-{n}",
            "messageId": f"order-{n}",
            "properties": {"revenue": n},
        }
        for n in range(EVENTS)
    ]
    answer = httpx.post(
        f"{house.server.url}/v1/batch", json={"batch": batch}, auth=(write_key, ""), trust_env=False, timeout=30
    )
    assert answer.is_success, answer.text


@pytest.fixture(scope="module")
def desk(house: Console, write_key: str, tool: FaultServer) -> str:
    """The slug of the destination that the first test makes, which need not have run here."""
    if demo_data.ask(house.data, "GET", "/destinations/order-desk").status_code == 404:
        settings = {"url": f"{tool.url}/v2"}
        order = {"kind": "webhook", "nickname": "Order desk", "sources": ["shop"], "settings": settings}
        house.ask("POST", "/destinations", order)
        send(house, write_key)
    return "order-desk"


def test_a_tool_that_refuses_is_seen_mended_and_gets_what_it_missed(
    house: Console, write_key: str, tool: FaultServer, open_page: Open
) -> None:
    page = open_page(house, "/destinations")
    page.get_by_role("link", name="Add a destination").first.click()
    page.get_by_label("Search the catalogue").fill("signed json")
    page.get_by_role("link", name="Webhooks").click()
    page.get_by_label("Nickname").fill("Order desk")
    expect(page.get_by_label("Shop")).to_be_checked()
    page.get_by_label("URL").fill(f"{tool.url}/v1")
    page.get_by_role("button", name="Test with one event").click()
    expect(page.get_by_text("Not delivered.")).to_be_visible()
    expect(page.get_by_text("moved to /v2 <script>alert(1)</script>").first).to_be_visible()
    page.get_by_role("button", name="Add the destination").click()

    expect(page.get_by_role("heading", name="Order desk")).to_be_visible()
    send(house, write_key)
    page.get_by_text("The tool refused the request").click()
    expect(page.get_by_text("The sample shows the request and the answer.")).to_be_visible()
    page.get_by_role("button", name="Requests and answers").click()
    sample = page.get_by_role("dialog")
    expect(sample.get_by_text(f"POST {tool.url}/v1")).to_be_visible()
    expect(sample.get_by_text("404", exact=True)).to_be_visible()
    sample.get_by_role("button", name="Look them up").click()
    expect(sample.get_by_text("failed", exact=True)).to_be_visible()
    sample.get_by_role("button", name="Close").click()

    page.get_by_role("link", name="Settings", exact=True).last.click()
    page.get_by_label("URL").fill(f"{tool.url}/v2")
    page.get_by_role("button", name="Test before saving").click()
    expect(page.get_by_text("Delivered: the tool has it.")).to_be_visible()
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("Saved.")).to_be_visible()

    page.get_by_role("link", name="Dead letters").click()
    page.get_by_role("button", name="Order Completed").first.click()
    expect(page.get_by_role("dialog").get_by_text("BAD_REQUEST").first).to_be_visible()
    page.get_by_role("dialog").get_by_role("button", name="Close").last.click()
    page.get_by_role("button", name=f"Send all {EVENTS} again…").click()
    expect(page.get_by_role("heading", name=f"Send {EVENTS} dead letters again?")).to_be_visible()
    page.get_by_role("button", name="Send them again").click()
    expect(page.get_by_role("heading", name="No dead letters")).to_be_visible()

    page.get_by_role("link", name="Event Delivery").last.click()
    chain = page.get_by_role(
        "img", name=f"{EVENTS} accepted: {EVENTS} delivered, 0 left out, 0 waiting, 0 retrying, 0 failed"
    )
    expect(chain).to_be_visible()
    assert {f"order-{n}" for n in range(EVENTS)} <= {request.json()["messageId"] for request in tool.received("/v2")}


def test_a_filter_is_checked_on_real_events_as_it_is_written_and_a_field_is_mapped(
    house: Console, desk: str, open_page: Open
) -> None:
    page = open_page(house, f"/destinations/{desk}/mapping", allowed=("409",))
    editor = page.get_by_role("textbox", name="Filter", exact=True)
    editor.fill('event = "Order Completed" and propertes.revenue > 2')
    expect(page.get_by_text("Column 31:")).to_contain_text("Did you mean properties")
    expect(page.get_by_role("button", name="Save", exact=True)).to_be_disabled()
    editor.fill('event = "Order Completed" and properties.revenue > 2')
    expect(page.get_by_text(f"3 of the newest {EVENTS} events")).to_be_visible()
    page.get_by_label("Event", exact=True).select_option("Example: Order completed")
    expect(page.get_by_text("It could be sent. Nothing was sent.")).to_be_visible()
    page.get_by_label("Name of the new field").fill("order.value")
    page.get_by_role("button", name="Add the field").click()
    made = page.get_by_label("What order.value is made of")
    made.fill("properties.revenue")
    made.press("Tab")
    expect(page.get_by_text("1 fields: order")).to_be_visible()
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("Saved. It holds")).to_be_visible()
    kept = house.ask("GET", f"/destinations/{desk}")["destination"]["settings"]
    assert {"track": {"order.value": "properties.revenue"}} == kept["mapping"]
    assert kept["filter"].endswith("> 2")


def test_a_replay_is_counted_before_it_is_sent(house: Console, desk: str, open_page: Open) -> None:
    house.ask("PATCH", f"/destinations/{desk}", {"settings": {"filter": "properties.revenue > 2"}})
    page = open_page(house, f"/destinations/{desk}/replays")
    page.get_by_role("button", name="Replay a period…").click()
    page.get_by_role("button", name="Count them").click()
    expect(page.get_by_text("3 events would be sent")).to_be_visible()
    expect(page.get_by_text("FILTERED_BY_RULES")).to_be_visible()
    page.get_by_role("button", name="Send 3 again").click()
    expect(page.get_by_text("done", exact=True)).to_be_visible()
    expect(page.get_by_text("3 delivered")).to_be_visible()


def test_somebody_is_told_when_deliveries_fail(house: Console, tool: FaultServer, open_page: Open) -> None:
    tool.behave("/team", answers(200, b"ok"))
    page = open_page(house, "/alerts")
    page.get_by_role("button", name="Add a channel").first.click()
    page.get_by_label("Nickname").fill("Team")
    page.get_by_label("URL").fill(f"{tool.url}/team")
    page.get_by_role("button", name="Send a test notice").click()
    expect(page.get_by_text("The test notice was taken")).to_be_visible()
    page.get_by_role("dialog").get_by_role("button", name="Add the channel").click()
    page.get_by_role("button", name="Add an alert").first.click()
    page.get_by_label("Nickname").fill("Deliveries")
    page.get_by_role("dialog").get_by_role("button", name="Add the alert").click()
    expect(page.get_by_role("heading", name="Deliveries")).to_be_visible()
    page.get_by_role("button", name="More about Deliveries").click()
    page.get_by_role("menuitem", name="Pause").click()
    expect(page.get_by_text("Paused", exact=True)).to_be_visible()
    assert 1 == len(tool.received("/team"))
