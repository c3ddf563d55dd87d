"""What must hold on each page, in both themes: nothing for axe-core to find, nothing beside the window, nothing from elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from browser import pages
from browser.conftest import Console, Open
from browser.pages import PAGES, Shown, settled

AXE = Path(__file__).parents[2] / "web/node_modules/axe-core/axe.min.js"
RUN = """async () => (await axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']})).violations
  .map(found => `${found.id}: ${found.nodes.map(node => node.target.join(' ') + ' ' + (node.any[0]?.message ?? '')).slice(0, 4).join(' | ')}`)"""
BESIDE = """() => [...document.querySelectorAll('main *')].filter(one => one.getBoundingClientRect().right > innerWidth + 1
  && !one.closest('[role=region], .rows, [role=grid], [role=dialog], .scroll, nav, pre, svg, .visually-hidden') && one.offsetParent)
  .map(one => one.outerHTML.slice(0, 120)).slice(0, 3)"""


@pytest.fixture(scope="session")
def names(console: Console) -> dict[str, str]:
    return pages.names(console)


def violations(page: Page) -> list[str]:
    page.evaluate(AXE.read_text())
    found: list[str] = page.evaluate(RUN)
    return found


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("shown", PAGES, ids=[shown.name for shown in PAGES])
def test_axe_finds_nothing_and_no_page_asks_elsewhere(
    console: Console, open_page: Open, names: dict[str, str], shown: Shown, theme: str
) -> None:
    page = open_page(console, shown.path.format(**names), theme=theme)
    settled(page, shown)
    assert [] == violations(page)


@pytest.mark.parametrize("shown", PAGES, ids=[shown.name for shown in PAGES])
def test_a_phone_shows_all_of_it(console: Console, open_page: Open, names: dict[str, str], shown: Shown) -> None:
    page = open_page(console, shown.path.format(**names), width=360, height=740)
    settled(page, shown)
    assert 360 == page.evaluate("() => document.documentElement.scrollWidth")
    beside: Any = page.evaluate(BESIDE)
    assert [] == beside


def test_the_looks_find_what_is_wrong(console: Console, open_page: Open) -> None:
    """The control: a picture without a text, grey on grey, and something wider than the window."""
    page = open_page(console, "/", width=360)
    settled(page, PAGES[0])
    page.evaluate("""() => document.querySelector('main').insertAdjacentHTML('beforeend',
        '<img src="/icon.svg"><p style="color:#999;background:#aaa">grey</p><div class="wide" style="width:900px;height:9px"></div>')""")
    found = violations(page)
    assert {"image-alt", "color-contrast"} <= {text.partition(":")[0] for text in found}
    assert page.evaluate(BESIDE)
