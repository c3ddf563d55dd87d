"""What axe-core finds on a page, and what stands beside the window."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from playwright.sync_api import Page

_AXE: Final = Path(__file__).parents[2] / "web/node_modules/axe-core/axe.min.js"
ALL: Final = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")
COLOURS: Final = ("color-contrast", "link-in-text-block")
"""The rules whose findings depend on the theme."""
_RUN: Final = """async (rules) => (await axe.run(document, {runOnly: rules})).violations
  .map(found => `${found.id}: ${found.nodes.map(node => node.target.join(' ') + ' ' + (node.any[0]?.message ?? '')).slice(0, 4).join(' | ')}`)"""
_BESIDE: Final = """() => [...document.querySelectorAll('main *')].filter(one => one.getBoundingClientRect().right > innerWidth + 1
  && !one.closest('[role=region], .rows, [role=grid], [role=dialog], .scroll, nav, pre, svg, .visually-hidden') && one.offsetParent)
  .map(one => one.outerHTML.slice(0, 120)).slice(0, 3)"""


def violations(page: Page, rules: Sequence[str] = ALL) -> list[str]:
    """Of WCAG 2.2 A and AA and of good practice, a line each."""
    page.evaluate("source => window.axe || eval(source)", _AXE.read_text())
    found: list[str] = page.evaluate(_RUN, list(rules))
    return found


def beside(page: Page) -> list[str]:
    """The beginnings of elements that reach beyond the right edge and cannot be scrolled to."""
    found: list[str] = page.evaluate(_BESIDE)
    return found
