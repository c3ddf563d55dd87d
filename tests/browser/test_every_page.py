"""What must hold on each page, in both themes: nothing for axe-core to find, nothing beside the window, nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from browser import pages
from browser.conftest import WAIT_MS, Console, Open, opening
from browser.looks import COLOURS, beside, violations
from browser.pages import PAGES, Shown, settled


@pytest.fixture(scope="session")
def names(console: Console) -> dict[str, str]:
    return pages.names(console)


@pytest.fixture(scope="module")
def page(console: Console, chromium: Browser) -> Iterator[Page]:
    """One for all pages, as its cache spares them most of their time."""
    with opening(chromium) as open_page:
        yield open_page(console, "/")


@pytest.mark.parametrize("shown", PAGES, ids=[shown.name for shown in PAGES])
def test_axe_finds_nothing_in_either_theme_and_a_phone_shows_all_of_it(
    page: Page, names: dict[str, str], shown: Shown
) -> None:
    page.emulate_media(color_scheme="light")
    page.set_viewport_size({"width": 1280, "height": 800})
    page.goto(shown.path.format(**names))
    settled(page, shown)
    assert [] == violations(page), "light"
    page.emulate_media(color_scheme="dark")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    assert [] == violations(page, COLOURS), "dark"
    page.set_viewport_size({"width": 360, "height": 740})
    expect(page.get_by_role("button", name="Open the menu")).to_be_visible()
    for _ in range(WAIT_MS // 50):  # what is drawn anew for the width needs a moment
        width = page.evaluate("() => document.documentElement.scrollWidth")
        if width == 360:
            break
        page.wait_for_timeout(50)
    assert 360 == width
    assert [] == beside(page)


def test_the_looks_find_what_is_wrong(console: Console, open_page: Open) -> None:
    """The control: a picture without a text, grey on grey, and something wider than the window."""
    page = open_page(console, "/", width=360)
    settled(page, PAGES[0])
    page.evaluate("""() => document.querySelector('main').insertAdjacentHTML('beforeend',
        '<img src="/icon.svg"><p style="color:#999;background:#aaa">grey</p><div class="wide" style="width:900px;height:9px"></div>')""")
    found = violations(page)
    assert {"image-alt", "color-contrast"} <= {text.partition(":")[0] for text in found}
    assert "color-contrast" in {text.partition(":")[0] for text in violations(page, COLOURS)}
    assert beside(page)
