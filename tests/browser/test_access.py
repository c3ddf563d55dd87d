"""Logging in, the first start, invitations and who sees what, in real Chromium."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from browser.conftest import OWNER, Console, running
from headrace.workspace.workspace import Workspace

Open = Callable[..., Page]
NOBODY: dict[str, Any] = {"cookies": [], "origins": []}
REFUSED = ("401", "403", "409", "429")
PASSWORD = "some other long words"


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    """Nobody is in it, until the first test of this file."""
    with running(tmp_path_factory.mktemp("access") / "data") as console:
        yield console


@pytest.fixture
def ready(fresh: Console) -> Console:
    """With the owner logged in, whether or not the first start was tried before."""
    if fresh.state is None:
        with Workspace.open(Path(fresh.data)) as workspace:
            is_new = workspace.people().nobody()
        if is_new:
            fresh.set_up()
        else:
            fresh.log_in()
    return fresh


def log_in(page: Page, email: str, password: str) -> None:
    page.get_by_label("E-mail").fill(email)
    page.get_by_label("Password", exact=True).fill(password)
    page.get_by_role("button", name="Log in").click()


def test_the_first_start_makes_the_owner_who_logs_out_and_in_again(fresh: Console, open_page: Open) -> None:
    page = open_page(fresh, "/sources", state=NOBODY, allowed=REFUSED)
    expect(page.get_by_role("heading", name="Welcome to headrace")).to_be_visible()
    expect(page.get_by_label("Setup code")).to_have_count(0)
    page.get_by_label("Your name").fill(OWNER["name"])
    page.get_by_label("E-mail").fill(OWNER["email"])
    page.get_by_label("Password", exact=True).fill("password123")
    page.get_by_role("button", name="Begin").click()
    expect(page.get_by_role("alert")).to_contain_text("everybody would try that one")
    page.get_by_label("Password", exact=True).fill(OWNER["password"])
    page.get_by_role("button", name="Begin").click()
    expect(page.get_by_role("navigation", name="Pages")).to_be_visible()

    page.get_by_role("button", name=OWNER["name"]).click()
    page.get_by_role("menuitem", name="Log out").click()
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    log_in(page, OWNER["email"], "wrong")
    expect(page.get_by_role("alert")).to_contain_text("do not fit")
    expect(page.get_by_label("Password", exact=True)).to_be_focused()
    log_in(page, OWNER["email"], OWNER["password"])
    expect(page.get_by_role("navigation", name="Pages")).to_be_visible()
    fresh.state = page.context.storage_state()


def test_somebody_is_added_takes_up_the_link_and_sees_no_button_that_would_be_refused(
    ready: Console, open_page: Open
) -> None:
    page = open_page(ready, "/settings/people")
    page.get_by_role("button", name="Add a person").click()
    page.get_by_label("Name", exact=True).fill("Vera")
    page.get_by_label("E-mail").fill("vera@example.com")
    page.get_by_role("button", name="Add", exact=True).click()
    link = page.get_by_role("dialog").locator("pre").inner_text()
    assert link.startswith(f"{ready.url}/invitation#hri_")
    page.get_by_role("button", name="Done").click()
    expect(page.get_by_role("row", name="Vera")).to_contain_text("invited")

    veras = open_page(ready, link, state=NOBODY, allowed=REFUSED)
    expect(veras.get_by_role("heading", name="Hello, Vera")).to_be_visible()
    veras.get_by_label("Password", exact=True).fill(PASSWORD)
    veras.get_by_role("button", name="Log in").click()
    expect(veras.get_by_role("navigation", name="Pages")).to_be_visible()
    veras.goto("/settings")
    tabs = veras.get_by_role("navigation", name="Settings")
    expect(tabs.get_by_role("link")).to_have_text(["API tokens", "My account"])
    veras.goto("/settings/people")
    expect(veras.get_by_text("People is for the role admin")).to_be_visible()
    for path, button in (("/sources", "Add a source"), ("/destinations", "Add a destination")):
        veras.goto(path)
        expect(veras.get_by_role("heading", level=1)).to_be_visible()
        expect(veras.get_by_role("link", name=button)).to_have_count(0)
        page.goto(path)
        expect(page.get_by_role("link", name=button).first).to_be_visible()  # the owner has it


def test_a_token_is_shown_once_and_works(ready: Console, open_page: Open) -> None:
    page = open_page(ready, "/settings/tokens")
    page.get_by_role("button", name="Make a token").click()
    page.get_by_label("Name", exact=True).fill("nightly")
    page.get_by_role("button", name="Make it").click()
    clear = page.get_by_role("dialog").locator("pre").first.inner_text()
    page.get_by_role("button", name="I have copied it").click()
    expect(page.get_by_role("row", name="nightly")).to_contain_text(clear[-4:])
    expect(page.get_by_text(clear)).to_have_count(0)
    answer = page.request.get("/api/v1/status", headers={"authorization": f"Bearer {clear}"})
    assert answer.ok
    page.get_by_role("button", name="Remove the token nightly").click()
    page.get_by_role("button", name="Remove", exact=True).click()
    expect(page.get_by_text("No tokens yet")).to_be_visible()


def test_the_trail_is_read_filtered_and_paged(ready: Console, open_page: Open) -> None:
    with Workspace.open(Path(ready.data)) as workspace:
        workspace.add_source("http-api", "Shop")
        workspace.rename("shop", "The <b>shop</b>")
        for number in range(60):
            workspace.audit().note("sent a test to", "destination", f"tool-{number}")
    page = open_page(ready, "/settings/audit")
    entries = page.get_by_role("listitem").filter(has=page.locator("time"))
    expect(entries).to_have_count(50)
    page.get_by_role("button", name="Show older ones").click()
    expect(entries.filter(has_text="added source shop")).to_have_count(1)
    page.get_by_label("What", exact=True).select_option("source")
    expect(entries).to_have_count(2)
    expect(entries.first).to_contain_text("renamed source shop")
    expect(entries.first).to_contain_text("The <b>shop</b>")
    page.get_by_role("searchbox", name="Search the audit trail").fill("added")
    expect(entries).to_have_count(1)
    page.reload()
    expect(entries).to_have_count(1)  # the filter stands in the address
    page.get_by_role("button", name="Clear").click()
    expect(entries).to_have_count(50)


def test_a_new_password_and_the_theme_are_chosen(ready: Console, open_page: Open) -> None:
    page = open_page(ready, "/settings/account", allowed=REFUSED)
    page.get_by_text("Dark", exact=True).click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    page.get_by_label("Present password").fill("wrong")
    page.get_by_label("New password").fill(PASSWORD)
    page.get_by_role("button", name="Change", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("the present one is another")
    page.get_by_label("Present password").fill(OWNER["password"])
    page.get_by_role("button", name="Change", exact=True).click()
    expect(page.get_by_text("The password is changed")).to_be_visible()
    page.reload()
    expect(page.get_by_role("heading", name=OWNER["name"])).to_be_visible()  # still logged in here
