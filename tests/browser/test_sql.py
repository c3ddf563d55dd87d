"""The SQL page in real Chromium: write, complete, run, cancel, read to the last row, draw, download, save."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from playwright.sync_api import Page, Route, expect

from browser.conftest import Console

Open = Callable[..., Page]
ENDLESS = "SELECT count(*) FROM range(100000000000) endless (n) WHERE n % 7 = 9"
ATTACK = "<img src=x onerror=\"document.title='taken'\"><script>document.title='taken'</script>"


def opened(open_page: Open, console: Console, path: str = "/sql", **more: Any) -> Page:
    page = open_page(console, path, **more)
    page.locator(".cm-content").wait_for()
    return page


def write(page: Page, sql: str) -> None:
    page.locator(".cm-content").click()
    page.keyboard.press("Control+A")
    page.keyboard.insert_text(sql)


def run(page: Page, sql: str) -> None:
    write(page, sql)
    page.keyboard.press("Control+Enter")


def kept(page: Page, text: str, *, is_there: bool = True) -> None:
    """Wait until the browser's storage has, or has not, a text of a tab."""
    page.wait_for_function(
        "([text, isThere]) => Object.entries(localStorage).some(([name, value]) => name.startsWith('headrace.sql.tabs') && value.includes(text)) === isThere",
        arg=[text, is_there],
    )


def running(console: Console) -> list[Any]:
    return [query for query in console.ask("GET", "/queries") if query["state"] == "running"]


def test_an_example_runs_is_drawn_and_its_tab_outlives_a_reload(open_page: Open, console: Console) -> None:
    page = opened(open_page, console)
    page.get_by_role("button", name="Where do people leave, from delivery to order?").first.click()
    grid = page.get_by_role("grid", name="Answer")
    expect(grid.get_by_role("columnheader", name=re.compile("^orders_of_clickers"))).to_be_attached()
    page.get_by_role("button", name="Chart").click()
    expect(page.get_by_role("img", name=re.compile("chart of"))).to_be_visible()
    expect(page.locator("canvas").first).to_be_visible()
    page.get_by_label("Shape").select_option("scatter")
    expect(page.get_by_role("img", name=re.compile("^scatter chart"))).to_be_visible()
    page.reload()
    expect(page.locator(".cm-content")).to_contain_text("FROM email.messages m")


def test_run_works_before_the_editors_code_has_come(open_page: Open, console: Console) -> None:
    page = open_page(console)
    page.locator("h1").first.wait_for()
    held: list[Route] = []
    page.route("**/codemirror-*.js", lambda route: held.append(route))  # noqa: PLW0108 -- Playwright takes no built-in method
    page.evaluate(
        "path => { history.pushState({}, '', path); dispatchEvent(new PopStateEvent('popstate')) }",
        f"/sql?q={quote('SELECT 6 * 7 AS answer; SELECT 2')}",
    )
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.get_by_role("grid", name="Answer").get_by_role("gridcell", name="42")).to_be_visible()
    assert len(held) == 1
    held[0].continue_()
    expect(page.locator(".cm-content")).to_contain_text("6 * 7")


def test_completion_knows_columns_by_alias_and_tables_by_schema(open_page: Open, console: Console) -> None:
    page = opened(open_page, console)
    expect(page.get_by_role("button", name="Put email.messages into the editor").or_(page.get_by_title("Put email.messages into the editor"))).to_be_visible()  # fmt: skip
    write(page, "SELECT m. FROM email.messages m")
    for _ in range(len(" FROM email.messages m")):
        page.keyboard.press("ArrowLeft")
    page.keyboard.press("Control+ ")
    options = page.get_by_role("listbox")
    expect(options.get_by_role("option", name=re.compile("^campaign_id"))).to_be_visible()
    page.keyboard.type("is_human_cl")
    expect(options.get_by_role("option")).to_have_count(1)
    page.keyboard.press("Enter")
    expect(page.locator(".cm-content")).to_contain_text("m.is_human_clicked FROM")
    write(page, "SELECT * FROM email.campaigns_d")
    page.keyboard.press("Control+ ")
    expect(options.get_by_role("option", name="campaigns_daily")).to_be_visible()


def test_an_error_is_shown_at_its_place_with_what_to_do(open_page: Open, console: Console) -> None:
    page = opened(open_page, console)
    run(page, "SELECT 1;\nSELECT campaign_id,\n  sent_att\nFROM email.messages")
    expect(page.get_by_role("alert")).to_contain_text("sent_at")
    expect(page.locator(".cm-wrong")).to_have_text("sent_att")
    page.get_by_role("button", name="Go to line 3, column 3").click()
    page.keyboard.press("Control+Shift+ArrowRight")
    page.keyboard.insert_text("sent_at")
    expect(page.locator(".cm-wrong")).to_have_count(0)
    page.keyboard.press("Control+Enter")
    expect(page.get_by_role("columnheader", name=re.compile("^sent_at"))).to_be_visible()


def test_a_long_query_is_cancelled_in_the_warehouse(open_page: Open, console: Console) -> None:
    page = opened(open_page, console)
    run(page, ENDLESS)
    expect(page.get_by_role("button", name="Cancel")).to_be_visible()
    expect(page.get_by_text("Running for")).to_be_visible()
    assert len(running(console)) == 1
    page.locator(".cm-content").click()
    page.keyboard.press("Escape")
    expect(page.get_by_text("Nothing of it runs any more")).to_be_visible()
    assert [] == running(console)
    run(page, "SELECT 42 AS answer")
    expect(page.get_by_role("gridcell", name="42")).to_be_visible()


def test_the_grid_goes_to_the_last_row_sorts_and_shows_values_exactly(open_page: Open, console: Console) -> None:
    page = opened(open_page, console)
    columns = ", ".join(f"n + {number} AS c{number}" for number in range(20))
    run(page, f"SELECT 9007199254740993 + n AS big, NULL AS nothing, '' AS empty, {columns} FROM range(12000) r (n)")
    grid = page.get_by_role("grid", name="Answer")
    expect(page.get_by_text("These are the first 10,000 rows; there are more.")).to_be_visible()
    expect(grid.get_by_role("gridcell", name="9007199254740993", exact=True)).to_be_visible()
    expect(grid.get_by_role("gridcell", name="NULL").first).to_be_visible()
    assert grid.get_by_role("gridcell").count() < 1_500  # of 230,000 cells
    grid.focus()
    page.keyboard.press("Control+End")
    expect(grid.get_by_role("rowheader", name="10000", exact=True)).to_be_visible()
    page.keyboard.press("Control+ArrowLeft")
    expect(grid.get_by_role("gridcell", name="9007199254750992", exact=True)).to_be_visible()
    grid.get_by_role("columnheader", name=re.compile("^big")).get_by_role("button").click()
    grid.get_by_role("columnheader", name=re.compile("^big")).get_by_role("button").click()
    expect(grid.get_by_role("row").nth(1).get_by_role("gridcell").first).to_have_text("9007199254750992")
    page.get_by_role("button", name="Fetch up to 100,000").click()
    expect(page.get_by_text("12,000 rows")).to_be_visible()


def test_the_csv_has_all_rows_of_the_answer(open_page: Open, console: Console, tmp_path: Path) -> None:
    page = opened(open_page, console)
    page.get_by_label("Rows at the most").select_option(label="1,000 rows")
    run(page, "SELECT n AS \"a,b\", '=1+1' AS t FROM range(3000) r (n)")
    expect(page.get_by_text("These are the first 1,000 rows")).to_be_visible()
    for entry, prefix in (("CSV, exactly as it is", ""), ("CSV for a spreadsheet", "'")):
        page.get_by_role("button", name="Download", exact=True).click()
        with page.expect_download() as download:
            page.get_by_role("menuitem", name=entry).click()
        download.value.save_as(tmp_path / "answer.csv")
        with (tmp_path / "answer.csv").open(newline="", encoding="utf-8-sig") as file:
            assert [["a,b", "t"], *([str(n), f"{prefix}=1+1"] for n in range(3000))] == list(csv.reader(file))


def test_a_query_is_saved_and_shared_by_its_link(open_page: Open, console: Console) -> None:
    page = opened(open_page, console)
    write(page, "SELECT 'of the link' AS text")
    page.get_by_role("button", name="Save", exact=True).click()
    page.get_by_role("textbox", name="Name").fill("Of the link")
    page.get_by_role("dialog").get_by_role("button", name="Save").click()
    expect(page).to_have_url(re.compile("/sql/of-the-link$"))
    other = opened(open_page, console, "/sql/of-the-link")
    expect(other.locator(".cm-content")).to_have_text("SELECT 'of the link' AS text")
    other.get_by_role("tab", name="Saved").click()
    expect(other.get_by_role("button", name=re.compile("^Of the link Olga"))).to_be_visible()


def test_a_link_opens_what_is_saved_now(open_page: Open, console: Console) -> None:
    query = {
        "title": "Of two people",
        "description": "",
        "body": {"sql": "SELECT 1 AS old", "warehouse": None, "chart": None},
    }
    saved = console.ask("POST", "/saved/query", query)
    page = opened(open_page, console, f"/sql/{saved['slug']}")
    expect(page.locator(".cm-content")).to_contain_text("AS old")
    kept(page, "AS old")
    query["body"] = {"sql": "SELECT 1 AS new", "warehouse": None, "chart": None}
    console.ask("PUT", f"/saved/query/{saved['slug']}", query | {"revision": saved["revision"]})
    page.reload()
    expect(page.locator(".cm-content")).to_contain_text("AS new")
    write(page, "SELECT 1 AS mine")
    kept(page, "AS mine")
    query["body"] = {"sql": "SELECT 1 AS newest", "warehouse": None, "chart": None}
    console.ask("PUT", f"/saved/query/{saved['slug']}", query | {"revision": saved["revision"] + 1})
    page.reload()
    expect(page.get_by_text("saved anew since you changed it")).to_be_visible()
    expect(page.locator(".cm-content")).to_contain_text("AS mine")


def test_two_windows_leave_each_others_queries_alone(open_page: Open, console: Console) -> None:
    one = opened(open_page, console, f"/sql?q={quote('SELECT 1 AS first')}")
    kept(one, "AS first")
    two = one.context.new_page()
    two.goto(f"/sql?q={quote('SELECT 2 AS second')}")
    two.locator(".cm-content").wait_for()
    kept(two, "AS second")
    write(one, "SELECT 1 AS changed")
    kept(one, "AS changed")
    kept(two, "AS second")
    two.get_by_role("button", name="Close From a link").first.click()
    kept(two, "AS first", is_there=False)
    one.close()
    two.reload()
    two.locator(".cm-content").wait_for()
    tabs = two.get_by_role("group", name="Open queries").get_by_role("button", name="From a link", exact=True)
    expect(tabs).to_have_count(1)
    expect(two.locator(".cm-content")).to_contain_text("AS second")


def test_scripts_in_values_names_and_links_stay_text(open_page: Open, console: Console) -> None:
    literal = ATTACK.replace("'", "''")
    name = ATTACK.replace('"', '""')
    sql = f"SELECT '{literal}' AS \"{name}\", {{'a': '{literal}'}} AS nested"
    page = opened(open_page, console, f"/sql?q={quote(sql)}")
    expect(page.get_by_role("grid")).to_have_count(0)  # a link runs nothing by itself
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.get_by_role("gridcell", name=ATTACK).first).to_be_visible()
    page.get_by_role("grid").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("region", name="Value")).to_have_text(ATTACK)
    assert page.locator("img[src=x]").count() == 0
    expect(page).to_have_title(re.compile("headrace"))
