"""A connection that hangs: nothing spins for ever, and it heals."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Page, Route, expect

from browser.conftest import Console

Open = Callable[..., Page]
SOONER = "const late = AbortSignal.timeout.bind(AbortSignal); AbortSignal.timeout = (ms) => late(ms / 50)"


def test_a_server_that_stands_still_is_said_to_be_away_until_it_answers(console: Console, open_page: Open) -> None:
    page = open_page(console, "/")
    page.add_init_script(SOONER)
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.goto("/sources")
    page.locator("h1").first.wait_for()
    page.route("**/api/v1/**", hold)
    page.get_by_role("navigation", name="Pages").get_by_role("link", name="Warehouses").click()
    expect(page.get_by_text("No connection to the server")).to_be_visible()
    expect(page.get_by_role("alert").get_by_text("the server does not answer")).to_be_visible()
    page.unroute_all(behavior="ignoreErrors")
    expect(page.get_by_text("No connection to the server")).to_have_count(0)
    expect(page.get_by_role("alert")).to_have_count(0)
    expect(page.get_by_role("main").get_by_role("link").first).to_be_visible()
