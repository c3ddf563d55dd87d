"""The debugger's page under load: a whole server, 1,000 events a second, and Chromium that shows every one of them.

    python bench/console_debugger.py [--seconds 20] [--per-second 1000] [--chromium /usr/bin/chromium]

The times between the pictures that the page draws come from requestAnimationFrame in the page. What the stream costs the server is the
worker's CPU time while somebody watches, less that of the same load while nobody does.
"""

from __future__ import annotations

import argparse
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
from playwright.sync_api import Page, sync_playwright

import samples
import servers
from client import Client, Job, Stream
from figures import Figure, table
from machine import Watch, cpu_seconds, yardstick

FRAME_LIMIT_MS = 33.0
SETTLE_SECONDS = 30
BATCH = 10
OWNER = {"name": "Bench", "email": "bench@example.com", "password": "correct horse battery"}
COUNT_FRAMES = """() => {
  window.frames_ms = []
  let before = performance.now()
  const note = (now) => { window.frames_ms.push(now - before); before = now; requestAnimationFrame(note) }
  requestAnimationFrame(note)
}"""


class Shown(NamedTuple):
    """`came` is how many events the page says it was told of, `sent` how many there were."""

    frames_ms: Sequence[float]
    came: int
    sent: int
    seconds: float
    watched_cpu_seconds: float
    unwatched_cpu_seconds: float


@contextmanager
def opened(console: str, chromium: str) -> Iterator[Page]:
    """The debugger of somebody who is logged in."""
    with httpx.Client(base_url=console, trust_env=False) as http:
        http.post("/api/v1/setup", json=OWNER, headers={"origin": console}).raise_for_status()
        cookies: list[Any] = [{"name": one.name, "value": one.value or "", "url": console} for one in http.cookies.jar]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        context = browser.new_context(viewport={"width": 1_280, "height": 800})
        context.add_cookies(cookies)
        page = context.new_page()
        page.goto(f"{console}/debugger")
        page.get_by_text("Live", exact=True).wait_for()
        yield page
        browser.close()


def came(page: Page) -> int:
    text = page.get_by_text("since you opened this").inner_text()
    found = re.search(r"([\d,]+) events? came since", text)
    return int(found[1].replace(",", "")) if found else 0


def run(folder: Path, seconds: float, per_second: float, chromium: str) -> Shown:
    key = servers.add_sources(folder, ["http-api"])["http-api"]
    with servers.serve(folder) as running:
        worker = running.pids["worker"]
        job = Job(running.port, [Stream(key, "sdk", BATCH)], 8, per_second / BATCH)
        with Client(job) as client:
            client.run(2)  # tables are made
            before = cpu_seconds(worker)
            client.run(seconds)
            unwatched = cpu_seconds(worker) - before
            with opened(f"http://127.0.0.1:{running.console_port}", chromium) as page:
                page.wait_for_timeout(2_000)
                first = came(page)
                page.evaluate(COUNT_FRAMES)
                before = cpu_seconds(worker)
                result = client.run(seconds)
                watched = cpu_seconds(worker) - before
                frames: list[float] = page.evaluate("() => window.frames_ms")
                for _ in range(SETTLE_SECONDS):  # what is still on its way
                    if came(page) - first >= result.events:
                        break
                    page.wait_for_timeout(1_000)
                return Shown(frames[1:], came(page) - first, result.events, result.seconds, watched, unwatched)


def part(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(int(len(values) * share), len(values) - 1)]


def figures(seconds: float = 20.0, per_second: float = 1_000.0, chromium: str = "/usr/bin/chromium") -> list[Figure]:
    stick = yardstick(next(samples.events("single")))
    with Watch() as watch, tempfile.TemporaryDirectory() as folder:
        shown = run(Path(folder), seconds, per_second, chromium)
    extra = (shown.watched_cpu_seconds - shown.unwatched_cpu_seconds) / max(shown.came, 1) * 1e6
    quick = sum(frame < FRAME_LIMIT_MS for frame in shown.frames_ms) / max(len(shown.frames_ms), 1)
    print(
        f"{shown.sent} events at {shown.sent / shown.seconds:.0f} a second, {shown.came} of them on the page; "
        f"{len(shown.frames_ms)} pictures, {quick:.1%} of them within {FRAME_LIMIT_MS:.0f} ms; others used {watch.others:.0%} of the machine"
    )
    if shown.came != shown.sent:
        raise SystemExit(f"{shown.sent} events were sent, and the page was told of {shown.came}")
    return [
        Figure("debugger: picture, median", "ms", part(shown.frames_ms, 0.5), FRAME_LIMIT_MS),
        Figure("debugger: picture, p95", "ms", part(shown.frames_ms, 0.95), FRAME_LIMIT_MS),
        Figure("debugger: picture, p99", "ms", part(shown.frames_ms, 0.99)),
        Figure("debugger: CPU of the server for an event on the page", "us", extra, None, stick),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--per-second", type=float, default=1_000.0)
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    asked = parser.parse_args()
    print(table(figures(asked.seconds, asked.per_second, asked.chromium)))


if __name__ == "__main__":
    main()
