"""Reports and dashboards in a real browser: put together by mouse and by keys, saved, opened by their link, as files."""

from __future__ import annotations

import csv
import io
import json
import re
import struct
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from browser.conftest import Console

Open = Callable[..., Page]
TITLE = '<img src=x onerror="document.title=1"> & {b|Spring}'


def field(page: Page, title: str) -> Locator:
    return page.get_by_label("Fields", exact=True).get_by_role("button", name=title, exact=True)


def well(page: Page, name: str) -> Locator:
    return page.get_by_role("region", name=name, exact=True)


def drag(page: Page, start: Locator, end: Locator) -> None:
    start.scroll_into_view_if_needed()
    begin, target = start.bounding_box(), end.bounding_box()
    assert begin is not None
    assert target is not None
    page.mouse.move(begin["x"] + 20, begin["y"] + begin["height"] / 2)
    page.mouse.down()
    page.mouse.move(begin["x"] + 40, begin["y"] + 20, steps=2)
    page.mouse.move(target["x"] + target["width"] - 12, target["y"] + target["height"] - 10, steps=4)
    page.mouse.up()


def asked(page: Page, is_it: Callable[[Any], bool]) -> AbstractContextManager[Any]:
    """Until the page has asked for a chart that is such a one."""
    return page.expect_request(lambda one: one.url.endswith("/reports/table") and is_it(one.post_data_json))


def chips(page: Page, name: str) -> Locator:
    return well(page, name).locator("[data-name]")


def is_picture(path: Path) -> bool:
    """A PNG of a size that shows something."""
    head = path.read_bytes()[:24]
    width, height = struct.unpack(">II", head[16:24])
    return head[:4] == b"\x89PNG" and width > 600 and height > 400


def test_by_mouse_and_by_keys_the_same_report_is_asked(console: Console, open_page: Open) -> None:
    def by_device(order: Any) -> bool:
        return bool(order["series"] == ["device"])

    page = open_page(console, "/reports/new")
    drag(page, field(page, "Delivered"), well(page, "Values"))
    expect(page.locator("[data-name='delivered']")).to_be_visible()
    drag(page, field(page, "Human open rate"), well(page, "Values"))
    drag(page, field(page, "Domain"), well(page, "Rows"))
    drag(page, field(page, "Device"), well(page, "Rows"))
    expect(chips(page, "Rows")).to_have_text(["Domain", "Device"])
    with asked(page, by_device) as dragged:
        drag(page, well(page, "Rows").locator("[data-name='device']"), well(page, "Series"))
    expect(chips(page, "Series")).to_have_text(["Device"])
    expect(page.get_by_role("img", name="chart of")).to_be_visible()
    by_mouse = dragged.value.post_data_json

    other = open_page(console, "/reports/new")
    for title in ("Delivered", "Human open rate", "Domain", "Device"):
        field(other, title).press("Enter")
        expect(other.get_by_role("status").first).to_contain_text(f"{title} is in")
    well(other, "Rows").get_by_role("button", name="More for Device").press("Enter")
    with asked(other, by_device) as typed:
        other.get_by_role("menuitem", name="To Series").press("Enter")
    expect(chips(other, "Series")).to_have_text(["Device"])
    expect(other.get_by_role("img", name="chart of")).to_be_visible()
    assert by_mouse == typed.value.post_data_json
    assert (["domain", "device"], ["delivered", "human_open_rate"], ["device"]) == (
        by_mouse["request"]["dimensions"],
        by_mouse["request"]["measures"],
        by_mouse["series"],
    )
    well(other, "Values").locator("[data-name='human_open_rate']").press("Alt+ArrowUp")
    expect(chips(other, "Values")).to_have_text(["Human open rate", "Delivered"])
    well(other, "Values").locator("[data-name='human_open_rate']").press("Delete")
    expect(chips(other, "Values")).to_have_text(["Delivered"])
    other.get_by_role("button", name="Undo").press("Enter")
    expect(chips(other, "Values")).to_have_text(["Human open rate", "Delivered"])


def test_what_is_dragged_out_is_gone_and_what_does_not_fit_says_why(console: Console, open_page: Open) -> None:
    page = open_page(console, "/reports/new?preset=devices")
    expect(chips(page, "Rows")).to_have_text(["Device"])
    expect(field(page, "Rule")).to_have_attribute("aria-disabled", "true")
    field(page, "Rule").focus()
    expect(page.get_by_label("Fields", exact=True)).to_contain_text("It does not go with")
    field(page, "Rule").press("Enter")
    expect(chips(page, "Rows")).to_have_text(["Device"])
    drag(page, well(page, "Rows").locator("[data-name='device']"), page.get_by_role("heading", level=1))
    expect(chips(page, "Rows")).to_have_count(0)
    page.keyboard.press("Control+z")
    expect(chips(page, "Rows")).to_have_text(["Device"])


def test_a_report_is_saved_opened_by_its_link_and_taken_away_as_files(
    console: Console, open_page: Open, tmp_path: Path
) -> None:
    page = open_page(console, "/reports/new?preset=domains")
    page.get_by_role("button", name="Bars", exact=True).click()
    expect(page.get_by_role("img", name="bar chart of")).to_be_visible()
    page.get_by_role("button", name="Save", exact=True).click()
    page.get_by_label("Title").fill(TITLE)
    page.get_by_role("dialog").get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(TITLE)
    address = page.url.removeprefix(console.url)
    assert address.startswith("/reports/")

    again = open_page(console, address)
    expect(again.get_by_role("heading", level=1)).to_have_text(TITLE)
    expect(again.get_by_role("img", name="bar chart of")).to_be_visible()
    with again.expect_download() as saved:
        again.get_by_role("button", name="Download CSV").click()
    path = tmp_path / "report.csv"
    saved.value.save_as(path)
    rows = list(csv.reader(io.StringIO(path.read_text())))
    slug = address.removeprefix("/reports/")
    body = console.ask("GET", f"/saved/report/{slug}")["body"]
    answer = console.ask("POST", "/reports", body["request"])
    assert [column["name"] for column in answer["columns"]] == rows[0]
    assert len(answer["rows"]) == len(rows) - 1 > 2
    for expected, found in zip(answer["rows"], rows[1:], strict=True):
        assert ["" if cell is None else str(cell) for cell in expected[:3]] == found[:3]
        assert [pytest.approx(cell or 0) for cell in expected[3:]] == [float(cell or 0) for cell in found[3:]]
    with again.expect_download() as pictured:
        again.get_by_role("button", name="Download PNG").click()
    picture = tmp_path / "report.png"
    pictured.value.save_as(picture)
    assert is_picture(picture)

    listed = open_page(console, "/reports")
    expect(listed.get_by_role("link", name=TITLE)).to_be_visible()
    assert "headrace" in listed.title()
    console.ask("DELETE", f"/saved/report/{slug}")


def test_a_filter_is_chosen_from_values_and_the_address_tells_it(console: Console, open_page: Open) -> None:
    page = open_page(console, "/reports/new?preset=devices")
    field(page, "Domain").press("f")
    dialog = page.get_by_role("dialog")
    name = dialog.get_by_role("listitem").first.locator("span").first.inner_text()
    dialog.get_by_role("checkbox").first.check()
    with asked(page, lambda order: ["domain", "in", [name]] in order["request"]["filters"]):
        dialog.get_by_role("button", name="Add the filter").click()
    expect(well(page, "Filters")).to_contain_text(f"Domain is {name}")
    expect(page.get_by_role("region", name="The report")).to_have_attribute("aria-label", "The report")
    other = open_page(console, page.url.removeprefix(console.url))
    expect(well(other, "Filters")).to_contain_text(f"Domain is {name}")
    expect(other.get_by_role("table")).to_be_visible()


def test_a_dashboard_is_made_arranged_and_shown(console: Console, open_page: Open) -> None:
    page = open_page(console, "/dashboards")
    page.get_by_role("button", name="New dashboard").or_(page.get_by_role("button", name="An empty one")).first.click()
    page.get_by_label("Title").fill(TITLE)
    page.get_by_role("button", name="Make it").click()
    expect(page.get_by_role("heading", level=1).first).to_have_text(TITLE)
    page.get_by_role("main").get_by_role("button", name="Add a report").first.click()
    for name in ("Devices", "Domains"):
        page.get_by_role("button", name=f"Add {name}").click()
    page.get_by_role("button", name="Done").click()
    devices = page.get_by_role("region", name="Devices", exact=True)
    expect(devices).to_be_visible()
    devices.press("Shift+ArrowLeft")
    devices.press("ArrowDown")
    head, other = devices.locator(".head"), page.get_by_role("region", name="Domains", exact=True)
    drag(page, head, other)
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_role("button", name="Edit")).to_be_visible()
    slug = page.url.rsplit("/", 1)[1]
    tiles = {one["preset"]: one for one in console.ask("GET", f"/saved/dashboard/{slug}")["body"]["tiles"]}
    assert {"devices", "domains"} == set(tiles)
    assert 5 == tiles["devices"]["width"]
    assert tiles["devices"]["x"] > 0
    page.get_by_label("Period").select_option("90d")
    expect(page).to_have_url(re.compile(f"/dashboards/{slug}\\?since=90d"))
    expect(page.get_by_role("region", name="Domains", exact=True).get_by_role("table")).to_be_visible()
    console.ask("DELETE", f"/saved/dashboard/{slug}")


def test_figures_that_are_still_being_counted_come_by_themselves(console: Console, open_page: Open) -> None:
    page = open_page(console, "/")
    asked: list[Route] = []

    def behind_at_first(route: Route) -> None:
        asked.append(route)
        if len(asked) == 1:
            answer = route.fetch()
            now = datetime.now(UTC).isoformat()
            route.fulfill(response=answer, json=answer.json() | {"loads_behind": 2, "as_of": now})

    page.route("**/reports/table", behind_at_first)
    page.goto(f"/reports/new?r={quote(json.dumps({'values': ['delivered'], 'chart': 'table'}))}")
    report = page.get_by_role("region", name="The report")
    expect(report).to_contain_text("2 loads wait to be counted")
    while len(asked) < 2:
        page.wait_for_timeout(100)
    expect(report).to_contain_text("2 loads wait to be counted")  # what is known stays until there is more
    asked[1].continue_()
    expect(report).not_to_contain_text("to be counted")
