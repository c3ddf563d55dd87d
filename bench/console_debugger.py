"""The debugger's page under load: a whole server, 1,000 events a second, and Chromium that shows every one of them.

    python bench/console_debugger.py [--seconds 20] [--per-second 1000] [--chromium /usr/bin/chromium]

The times between the pictures that the page draws come from requestAnimationFrame in the page, and need a quiet machine; the CPU times do not.
"""

from __future__ import annotations

import argparse
import re
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import httpx
from playwright.sync_api import CDPSession, Page, sync_playwright

import samples
import servers
from client import Client, Job, Stream
from figures import Figure, table
from headrace.collector import accept
from headrace.config import Config
from headrace.console.debugger import sent
from headrace.debugger.choice import Choice, Wanted
from headrace.debugger.position import Position
from headrace.debugger.tail import Slices, Tail
from headrace.log.base import Tally
from headrace.log.sqlite import SqliteLog
from headrace.sources.base import configured
from machine import Watch, yardstick

FRAME_LIMIT_MS = 33.0
SETTLE_SECONDS = 30
BATCH = 10
EVENTS = 50_000
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
    page_cpu_seconds: float


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


def page_cpu(told: CDPSession) -> float:
    """Seconds of CPU that the page's main thread has taken: what others do on the machine does not count."""
    metrics = told.send("Performance.getMetrics")["metrics"]
    return float(next(one["value"] for one in metrics if one["name"] == "TaskDuration"))


def server_cpu(folder: Path) -> float:
    """CPU us that reading, choosing and encoding take for an event, in frames of a tenth of a second's events."""
    log = SqliteLog(folder / "log", Config().log)
    writer = log.writer(0)
    fresh = samples.events("sdk")
    kind = configured("http-api", "bench", {})
    for _ in range(EVENTS // 100):
        now = datetime.now(UTC)
        found = [accept.single(next(fresh), None, kind, now, accept.Origin()) for _ in range(100)]
        lines = [line for one in found for line in one.lines]
        writer.append(lines, {found[0].hour: Tally(len(lines), 0)})
    writer.close()
    reader = log.reader(0)
    tail = Tail(Slices([reader]), Choice(Wanted()), Position(reader.incarnation, {0: 0}), lambda: now)
    seen, began = 0, time.thread_time()
    while (frame := tail.frame()).looked_at:
        sent("frame", frame, frame.position)
        seen += len(frame.entries)
    taken = time.thread_time() - began
    reader.close()
    return taken / seen * 1e6


def came(page: Page) -> int:
    text = page.get_by_text("since you opened this").inner_text()
    found = re.search(r"([\d,]+) events? came since", text)
    return int(found[1].replace(",", "")) if found else 0


def run(folder: Path, seconds: float, per_second: float, chromium: str) -> Shown:
    key = servers.add_sources(folder, ["http-api"])["http-api"]
    with servers.serve(folder) as running:
        job = Job(running.port, [Stream(key, "sdk", BATCH)], 8, per_second / BATCH)
        with Client(job) as client:
            client.run(2)  # tables are made
            with opened(f"http://127.0.0.1:{running.console_port}", chromium) as page:
                page.wait_for_timeout(2_000)
                first = came(page)
                page.evaluate(COUNT_FRAMES)
                told = page.context.new_cdp_session(page)
                told.send("Performance.enable", {"timeDomain": "threadTicks"})
                before = page_cpu(told)
                result = client.run(seconds)
                taken = page_cpu(told) - before
                frames: list[float] = page.evaluate("() => window.frames_ms")
                for _ in range(SETTLE_SECONDS):  # what is still on its way
                    if came(page) - first >= result.events:
                        break
                    page.wait_for_timeout(1_000)
                return Shown(frames[1:], came(page) - first, result.events, result.seconds, taken)


def part(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(int(len(values) * share), len(values) - 1)]


def figures(seconds: float = 20.0, per_second: float = 1_000.0, chromium: str = "/usr/bin/chromium") -> list[Figure]:
    stick = yardstick(next(samples.events("single")))
    with Watch() as watch, tempfile.TemporaryDirectory() as folder:
        shown = run(Path(folder), seconds, per_second, chromium)
    with tempfile.TemporaryDirectory() as folder:
        extra = server_cpu(Path(folder))
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
        Figure("debugger: CPU of the page's main thread", "ms/s", shown.page_cpu_seconds / shown.seconds * 1e3),
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
