"""The SQL page with 10,000 rows of 20 columns: from the answer to its first picture, and how smoothly it scrolls.

python bench/console_sql.py [FOLDER]
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from playwright.sync_api import Page, sync_playwright

from browser.conftest import running
from figures import Figure

ROWS: Final = 10_000
ROUNDS: Final = 5
SQL: Final = (
    "SELECT "
    + ", ".join([f"n * {i + 1} AS i{i}" for i in range(6)])
    + ", "
    + ", ".join([f"'some text ' || n AS t{i}" for i in range(8)])
    + ", "
    + ", ".join([f"TIMESTAMPTZ '2026-01-01 00:00:00.123+00' + to_seconds(n) AS at{i}" for i in range(4)])
    + f", n / 7.0 AS d0, n / 11.0 AS d1 FROM range({ROWS}) r (n)"
)
_FRAMES: Final = """async () => {
  const grid = document.querySelector('[role=grid]')
  const times = []
  let before = performance.now()
  grid.scrollTop = 0
  while (grid.scrollTop + grid.clientHeight < grid.scrollHeight - 1) {
    grid.scrollTop += 1400
    grid.scrollLeft = (grid.scrollLeft + 130) % Math.max(1, grid.scrollWidth - grid.clientWidth)
    await new Promise((done) => requestAnimationFrame(done))
    const now = performance.now()
    times.push(now - before)
    before = now
  }
  return times
}"""
_PAINT: Final = """() => new Promise((done) => {
  window.painted = null
  const ask = window.fetch
  window.fetch = async (...given) => {
    const answer = await ask(...given)
    if (!String(given[0]).includes('/queries')) return answer
    const text = await answer.clone().text()
    if (text.includes('"state":"done"')) {
      const came = performance.now()
      const look = () => {
        if (document.querySelector('[role=gridcell]')) requestAnimationFrame(() => { window.painted = performance.now() - came })
        else requestAnimationFrame(look)
      }
      requestAnimationFrame(look)
    }
    return answer
  }
  done()
})"""


def figures(folder: str | None = None) -> list[Figure]:
    with (
        tempfile.TemporaryDirectory(dir=folder) as made,
        running(Path(made) / "data") as console,
        sync_playwright() as playwright,
    ):
        console.set_up()
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        paints, totals, frames = [], [], []
        for _ in range(ROUNDS):
            context = browser.new_context(storage_state=console.state, base_url=console.url)
            page = context.new_page()
            page.goto("/sql")
            paint, total = _first_paint(page)
            paints.append(paint)
            totals.append(total)
            frames += page.evaluate(_FRAMES)
            context.close()
        browser.close()
    frames.sort()
    return [
        Figure("from the answer to its first picture", "ms", statistics.median(paints)),
        Figure("from Ctrl+Enter to its first picture", "ms", statistics.median(totals)),
        Figure("a frame while scrolling, median", "ms", statistics.median(frames)),
        Figure("a frame while scrolling, 99 of 100", "ms", frames[int(len(frames) * 0.99)]),
    ]


def _first_paint(page: Page) -> tuple[float, float]:
    page.locator(".cm-content").click()
    page.keyboard.insert_text(SQL)
    page.evaluate(_PAINT)
    began = time.perf_counter()
    page.keyboard.press("Control+Enter")
    page.get_by_role("gridcell").first.wait_for()
    total = (time.perf_counter() - began) * 1000
    page.wait_for_timeout(200)
    return float(page.evaluate("window.painted")), total


if __name__ == "__main__":
    for figure in figures(*sys.argv[1:2]):
        sys.stdout.write(f"{figure.what}: {figure.measured:.1f} {figure.unit}\n")
