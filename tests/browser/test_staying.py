"""Going from one to another of a kind keeps the page: nothing of the first passes for the second, and nothing is written over it."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

from playwright.sync_api import Page, Route, expect

from browser.conftest import Console, Open


def dashboard(console: Console, title: str, *presets: str) -> str:
    tiles = [{"preset": preset, "x": 0, "y": 4 * at, "width": 6, "height": 4} for at, preset in enumerate(presets)]
    body = {"period": {"since": "30d", "until": None, "zone": None, "compare": None}, "tiles": tiles}
    slug: str = console.ask("POST", "/saved/dashboard", {"title": title, "description": "", "body": body})["slug"]
    return slug


def presets(console: Console, slug: str) -> list[str]:
    return [tile["preset"] for tile in console.ask("GET", f"/saved/dashboard/{slug}")["body"]["tiles"]]


def test_what_is_edited_stays_with_its_dashboard(console: Console, open_page: Open) -> None:
    first = dashboard(console, "Edited one", "devices", "domains")
    second = dashboard(console, "Other one", "campaigns")
    page = open_page(console, f"/dashboards/{second}")
    title = page.get_by_role("heading", level=1).first
    expect(title).to_have_text("Other one")
    page.evaluate("to => { const link = document.createElement('a'); link.href = to; document.querySelector('main').append(link); link.click(); link.remove() }", f"/dashboards/{first}")  # fmt: skip
    expect(title).to_have_text("Edited one")
    page.get_by_role("button", name="Edit", exact=True).click()
    page.get_by_role("region", name="Devices", exact=True).press("Delete")
    expect(page.get_by_role("region", name="Devices", exact=True)).to_have_count(0)

    page.go_back()
    expect(title).to_have_text("Other one")
    expect(page.get_by_role("region", name="Campaigns", exact=True)).to_be_visible()
    expect(page.get_by_role("region", name="Domains", exact=True)).to_have_count(0)
    expect(page.get_by_role("button", name="Save", exact=True)).to_have_count(0)
    page.get_by_role("button", name="Edit", exact=True).click()
    expect(page.get_by_role("button", name="Save", exact=True)).to_be_disabled()
    page.get_by_role("region", name="Campaigns", exact=True).press("Shift+ArrowLeft")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_role("button", name="Edit", exact=True)).to_be_visible()
    assert ["campaigns"] == presets(console, second)
    assert ["devices", "domains"] == presets(console, first)

    page.go_forward()
    expect(title).to_have_text("Edited one")
    expect(page.get_by_text("Your changes from before are still here")).to_be_visible()
    expect(page.get_by_role("region", name="Devices", exact=True)).to_have_count(0)
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_role("button", name="Edit", exact=True)).to_be_visible()
    assert ["domains"] == presets(console, first)
    for slug in (first, second):
        console.ask("DELETE", f"/saved/dashboard/{slug}")


def sent_at_once(console: Console) -> list[dict[str, Any]]:
    """In the order of sending."""
    every = console.ask("POST", "/campaigns", {"since": "90d"})["campaigns"]
    return sorted((one for one in every if one["journey_id"] is None), key=lambda one: str(one["first_sent_at"]))


def test_no_figure_of_a_campaign_stands_under_the_name_of_the_next(console: Console, open_page: Open) -> None:
    first, second = sent_at_once(console)[:2]
    page = open_page(console, f"/campaigns/id/{first['campaign_id']}?since=90d", allowed=("ERR_FAILED", "ERR_ABORTED"))
    figures = page.locator("dl").first
    expect(figures).to_be_visible()
    expect(page.locator("main time").first).to_have_attribute("title", re.compile(r"\(Europe/Berlin\)"))
    problem = page.locator("main").get_by_role("alert").filter(has=page.get_by_role("button", name="Try again"))
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route("**/api/v1/reports/batch", hold)
    page.get_by_role("link", name="Next", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(second["name"])
    expect(figures).to_have_count(0)
    wait_for(page, held)
    held.pop().abort()
    expect(problem).to_be_visible()
    expect(figures).to_have_count(0)
    page.unroute("**/api/v1/reports/batch")
    problem.get_by_role("button").click()
    expect(figures).to_be_visible()
    expect(problem).to_have_count(0)

    held.clear()
    page.route("**/api/v1/reports/batch", hold)
    page.get_by_label("Period: mails sent in it").select_option("365d")
    expect(page.locator("main [aria-busy=true]").filter(has=figures)).to_have_count(1)
    wait_for(page, held)
    held.pop().abort()
    expect(problem).to_be_visible()
    expect(page.locator("main .stale").filter(has=figures)).to_have_count(1)


def wait_for(page: Page, held: list[Route]) -> None:
    for _ in range(100):
        if held:
            return
        page.wait_for_timeout(50)
    raise AssertionError("nothing was asked")


def test_the_overview_compares_with_as_many_days_up_to_the_same_time(console: Console, open_page: Open) -> None:
    page = open_page(console, "/")
    orders: list[dict[str, Any]] = []

    def without_opens(route: Route) -> None:
        orders.append(json.loads(route.request.post_data or "")["reports"])
        answer = route.fetch()
        told = answer.json()
        before = told["reports"]["before"]
        names = [column["name"] for column in before["columns"]]
        before["rows"][0][names.index("human_open_rate")] = None
        before["rows"][0][names.index("delivered")] = 7
        route.fulfill(response=answer, json=told)

    page.route("**/api/v1/reports/batch", without_opens)
    today = datetime.now(UTC)
    page.clock.set_fixed_time(today)  # midnight may come in between
    page.goto("/campaigns/overview?since=7d&zone=UTC")
    expect(page.get_by_text("against the 8 days before, up to the same time of day")).to_be_visible()
    before = orders[0]["before"]
    assert "15d" == before["since"]
    assert f"{today - timedelta(days=8):%Y-%m-%dT%H:%M}:00" == before["until"]
    key = page.locator("dl").first.locator(".key")
    expect(key.filter(has_text="Delivered").first).to_contain_text("from 7")
    expect(key.filter(has_text="Human open rate")).not_to_contain_text("points")


def test_a_period_from_to_begins_with_the_days_of_its_zone(console: Console, open_page: Open) -> None:
    page = open_page(console, "/")
    page.clock.set_fixed_time(datetime(2026, 11, 22, 23, 30, tzinfo=UTC))
    for zone, since, until in (
        ("Europe/Berlin", "2026-10-24", "2026-11-23"),
        ("America/New_York", "2026-10-23", "2026-11-22"),
    ):
        page.goto(f"/campaigns?zone={zone}")
        page.get_by_label("Period: mails sent in it").select_option("own")
        expect(page).to_have_url(re.compile(rf"since={since}&.*until={until}|until={until}&.*since={since}"))


def test_spam_is_a_warning_and_an_alarm_in_words(console: Console, open_page: Open) -> None:
    warned, alarmed = sent_at_once(console)[:2]
    page = open_page(console, "/")
    levels = {warned["campaign_id"]: (0.0012, 1), alarmed["campaign_id"]: (0.004, 2)}

    def marked(route: Route) -> None:
        answer = route.fetch()
        told = answer.json()
        names = [measure["name"] for measure in told["measures"]]
        for one in told["campaigns"]:
            rate, level = levels.get(one["campaign_id"], (0.0, 0))
            one["figures"][names.index("spam_rate")], one["figures"][names.index("spam_alarm")] = rate, level
        route.fulfill(response=answer, json=told)

    def marked_one(route: Route) -> None:
        answer = route.fetch()
        told = answer.json()
        key = told["reports"]["key"]
        names = [column["name"] for column in key["columns"]]
        key["rows"][0][names.index("spam_rate")], key["rows"][0][names.index("spam_alarm")] = levels[alarmed["campaign_id"]]  # fmt: skip
        route.fulfill(response=answer, json=told)

    page.route("**/api/v1/campaigns", marked)
    page.route("**/api/v1/reports/batch", marked_one)
    page.goto("/campaigns?since=90d")
    rows = page.get_by_role("region", name="Campaigns with their figures").locator("tbody tr")
    expect(rows.filter(has_text=warned["name"]).locator(".badge.warn")).to_contain_text("warning: 0.12 %")
    expect(rows.filter(has_text=alarmed["name"]).locator(".badge.bad")).to_contain_text("alarm: 0.40 %")
    rows.filter(has_text=alarmed["name"]).get_by_role("link").click()
    expect(page.get_by_text("spam alarm").first).to_be_visible()
    expect(page.locator("dl").first).to_contain_text("alarm: 0.3 % or more")


def test_the_way_to_an_order_is_of_the_chosen_source_and_bounces_are_of_all_domains(
    console: Console, open_page: Open
) -> None:
    source = next(
        entry["source"] for entry in console.ask("GET", "/sources") if "Selligent" in entry["source"]["title"]
    )
    campaign = sent_at_once(console)[0]
    page = open_page(console, "/")
    with page.expect_response("**/api/v1/reports/batch") as asked:
        page.goto(f"/campaigns/id/{campaign['campaign_id']}?since=90d&source={source['slug']}")
    order = json.loads(asked.value.request.post_data or "")
    assert ["source", "is", source["schema"]] in order["funnels"]["way"]["filters"]
    told = asked.value.json()
    assert {} == told["problems"]
    key = dict(zip((column["name"] for column in told["reports"]["key"]["columns"]), told["reports"]["key"]["rows"][0], strict=True))  # fmt: skip
    assert key["delivered"] == told["funnels"]["way"]["parts"][0]["steps"][0]["messages"] > 0
    assert key["bounces"] == sum(row[-1] for row in told["reports"]["bounces"]["rows"]) > 0
    expect(page.get_by_text("by last touch, however")).to_be_visible()
