"""The console's pages with the demo's data, each opened by a browser that has nothing of them yet, and again: bytes that come, the time until they
can be used, and the CPU time of the page's main thread in it. The control is a page of one word: what the browser takes for itself.

python bench/console_pages.py [--recipients 2000] [--rounds 7]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from playwright.sync_api import Browser, Page, sync_playwright

from browser.conftest import Console, furnished
from figures import Figure, table
from machine import description

BYTES_LIMIT: Final = 150.0
INTERACTIVE_LIMIT_MS: Final = 500.0
NOBODY: Final[dict[str, Any]] = {"cookies": [], "origins": []}
CONTROL: Final = "one word"
PAGES: Final = (
    ("the login", "/"),
    ("Home", "/"),
    ("Campaigns", "/campaigns"),
    ("Sources", "/sources"),
    ("Delivery", "/delivery"),
)
USABLE: Final = """() => {
  const look = () => {
    const ready = document.querySelector('h1') && !document.querySelector('[role=status][aria-label=Loading]')
    if (ready) requestAnimationFrame(() => { window.usable = performance.now() })
    else requestAnimationFrame(look)
  }
  requestAnimationFrame(look)
}"""
BYTES: Final = """() => [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]
  .map(one => [one.name, one.encodedBodySize])"""


class Opened(NamedTuple):
    usable_ms: float
    again_ms: float
    cpu_ms: float
    code_bytes: int
    all_bytes: int


def opened(browser: Browser, console: Console, path: str, state: Any) -> Opened:
    context = browser.new_context(storage_state=state, base_url=console.url)
    context.add_init_script(f"({USABLE})()")
    page = context.new_page()
    if path == CONTROL:
        path = "/control"
        page.route("**/control", lambda route: route.fulfill(body="<h1>word</h1>", content_type="text/html"))
    told = context.new_cdp_session(page)
    told.send("Performance.enable", {"timeDomain": "threadTicks"})
    usable = _usable(page, path)
    metrics = told.send("Performance.getMetrics")["metrics"]
    cpu = next(one["value"] for one in metrics if one["name"] == "TaskDuration")
    came = page.evaluate(BYTES)
    again = _usable(page, path)
    context.close()
    code = sum(size for name, size in came if "/api/" not in name)
    return Opened(usable, again, cpu * 1e3, code, sum(size for _, size in came))


def _usable(page: Page, path: str) -> float:
    page.goto(path)
    page.locator("h1").first.wait_for()
    while (usable := page.evaluate("() => window.usable ?? null")) is None:
        page.wait_for_timeout(20)
    return float(usable)


def figures(recipients: int = 2_000, rounds: int = 7) -> Sequence[Figure]:
    found: list[Figure] = []
    with (
        tempfile.TemporaryDirectory() as folder,
        furnished(Path(folder) / "data", recipients) as console,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        for name, path in (("control", CONTROL), *PAGES):
            state = NOBODY if name == "the login" else console.state
            seen = [opened(browser, console, path, state) for _ in range(rounds)]
            limit = None if path == CONTROL else INTERACTIVE_LIMIT_MS
            found += [
                Figure(f"{name}: usable after", "ms", statistics.median(of.usable_ms for of in seen), limit),
                Figure(
                    f"{name}: usable after, the second time", "ms", statistics.median(of.again_ms for of in seen), limit
                ),
                Figure(f"{name}: CPU of its main thread", "ms", statistics.median(of.cpu_ms for of in seen)),
            ]
            if path == CONTROL:
                continue
            found += [
                Figure(f"{name}: pages, code and styles", "kB", max(of.code_bytes for of in seen) / 1e3, BYTES_LIMIT),
                Figure(f"{name}: with what it asks the API", "kB", max(of.all_bytes for of in seen) / 1e3),
            ]  # fmt: skip
        browser.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipients", type=int, default=2_000)
    parser.add_argument("--rounds", type=int, default=7)
    chosen = parser.parse_args()
    print(description(), flush=True)
    print(table(figures(chosen.recipients, chosen.rounds)))


if __name__ == "__main__":
    main()
