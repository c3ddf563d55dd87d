"""The reports' page on a million events: from the drop of a field to the redrawn chart, in headless Chromium.

    python bench/console_reports.py [--events 1000000] [--data FOLDER]

The demo's month is loaded through a whole server; then the tables of the e-mail model are multiplied, each mail with all that came of it,
until they hold so many events. With --data such a folder is kept, and taken as it is where it is there already.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from playwright.sync_api import Locator, Page, expect, sync_playwright

import servers
from figures import Figure, table
from headrace.app.folder import WORKER_SOCKET
from headrace.reports.model.schema import TABLES, Type
from machine import description

LIMIT_MS = 300.0
RECIPIENTS = 4_000
SUMS = (
    "campaigns",
    "campaign_sends",
    "domains",
    "campaigns_daily",
    "links",
    "engagement_curve",
    "list_health",
    "quality",
)
OWNER = {"name": "Bench", "email": "bench@example.com", "password": "a password for the bench"}
DROPS = (
    ("Delivered", "Values"),
    ("Human open rate", "Values"),
    ("Sent (day)", "Rows"),
    ("Device", "Series"),
    ("Click rate", "Values"),
    ("Domain", "Series"),
)
WATCH = """() => {
  window.redraws = []
  addEventListener('pointerup', () => {
    const start = performance.now()
    const look = () => {
      const asked = performance.getEntriesByType('resource').filter((one) => one.name.endsWith('/reports/table'))
      const body = document.querySelector('[aria-label="The report"] [aria-busy]')
      const last = asked.at(-1)
      const done = last && last.startTime > start && last.responseEnd > 0 && body?.getAttribute('aria-busy') === 'false' && !body.querySelector('.stale') && body.querySelector('.shown')
      if (done) requestAnimationFrame(() => window.redraws.push(performance.now() - start))
      else if (performance.now() - start < 20000) requestAnimationFrame(look)
    }
    requestAnimationFrame(look)
  }, { capture: true })
}"""


def multiply(folder: Path, events: int) -> int:
    """How many events the model has then. For a process of its own: nobody else may hold the file open."""
    import duckdb

    with duckdb.connect(str(folder / "warehouse.duckdb")) as warehouse:

        def one(sql: str) -> int:
            row = warehouse.execute(sql).fetchone()
            assert row is not None
            return int(row[0])

        times = -(-events // one("SELECT count(*) FROM email.events"))
        if times > 1:
            for name in ("messages", "events", "attribution", "recipients"):
                keys = [
                    key
                    for key in ("message_id", "event_key", "conversion_key", "recipient_key", "person_key")
                    if key in TABLES[name].columns
                ]
                made = ", ".join(
                    f"{key} + n AS {key}"
                    if TABLES[name].columns[key].type == Type.KEY
                    else f"{key} || '-' || n AS {key}"
                    for key in keys
                )
                warehouse.execute(
                    f"INSERT INTO email.{name} SELECT * EXCLUDE (n) REPLACE ({made}) FROM email.{name}, range(1, {times}) AS r (n)"
                )
            for name in SUMS:
                sums = [
                    key
                    for key, of in TABLES[name].columns.items()
                    if of.type in (Type.COUNT, Type.MONEY) and key not in TABLES[name].key
                ]
                warehouse.execute(f"UPDATE email.{name} SET " + ", ".join(f"{key} = {key} * {times}" for key in sums))
        return one("SELECT count(*) FROM email.events")


def ask(folder: Path, method: str, path: str, body: Any = None) -> Any:
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(folder / WORKER_SOCKET)), timeout=120) as client:
        answer = client.request(method, f"http://worker/api/v1{path}", json=body)
        answer.raise_for_status()
        return answer.json()


@contextmanager
def console(folder: Path) -> Iterator[str]:
    """A server, and where its console is."""
    port = servers.free_port()
    command = [sys.executable, "-m", "headrace", "serve", "--data", str(folder), "--console", f"127.0.0.1:{port}"]
    server = subprocess.Popen([*command, "--collector", f"127.0.0.1:{servers.free_port()}"], stdout=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        ends = time.monotonic() + 120
        while True:
            try:
                httpx.get(f"{url}/health", timeout=5)
                break
            except httpx.TransportError:
                if time.monotonic() > ends:
                    raise SystemExit("the server does not answer") from None
                time.sleep(0.2)
        yield url
    finally:
        server.terminate()
        server.wait(60)


def filled(folder: Path, events: int) -> int:
    """A folder with the demo's month, multiplied; how many events it has."""
    if not (folder / "warehouse.duckdb").exists():
        with console(folder) as url:
            httpx.post(f"{url}/api/v1/setup", json=OWNER, headers={"origin": url}, timeout=60).raise_for_status()
            ask(folder, "POST", "/demo", {"recipients": RECIPIENTS, "campaigns": 4})
            while (state := ask(folder, "GET", "/demo")["state"]) != "done":
                if state not in ("sending", "loading", "modelling"):
                    raise SystemExit(f"the demo is {state}")
                time.sleep(1)
    child = subprocess.run(
        [sys.executable, __file__, "--data", str(folder), "--events", str(events), "--multiply"],
        check=True,
        capture_output=True,
        text=True,
    )
    return int(child.stdout)


def drag(page: Page, start: Locator, end: Locator) -> float:
    """The milliseconds from the drop to the redrawn report."""
    start.scroll_into_view_if_needed()
    begin, target = start.bounding_box(), end.bounding_box()
    assert begin is not None
    assert target is not None
    before = page.evaluate("() => window.redraws.length")
    page.mouse.move(begin["x"] + 20, begin["y"] + begin["height"] / 2)
    page.mouse.down()
    page.mouse.move(begin["x"] + 40, begin["y"] + 20, steps=2)
    page.mouse.move(target["x"] + target["width"] - 12, target["y"] + target["height"] - 10, steps=3)
    page.mouse.up()
    ends = time.monotonic() + 30
    while page.evaluate("() => window.redraws.length") == before:
        if time.monotonic() > ends:
            raise SystemExit("nothing was redrawn")
        page.wait_for_timeout(50)
    return float(page.evaluate("() => window.redraws.at(-1)"))


def measured(url: str, rounds: int) -> tuple[list[float], list[float]]:
    """Milliseconds of every drop; and the seconds that the server needed for the reports of the last round."""
    times: list[float] = []
    answered: list[float] = []
    with sync_playwright() as playwright, httpx.Client(base_url=url, timeout=60) as client:
        login = {name: OWNER[name] for name in ("email", "password")}
        client.post("/api/v1/session", json=login, headers={"origin": url}).raise_for_status()
        cookies: Any = [{"name": of.name, "value": of.value or "", "url": url} for of in client.cookies.jar]
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        for _ in range(rounds):
            context = browser.new_context(base_url=url, viewport={"width": 1440, "height": 1000})
            context.add_cookies(cookies)
            page = context.new_page()
            page.on(
                "response",
                lambda one: answered.append(one.json()["seconds"]) if one.url.endswith("/reports/table") else None,
            )
            page.goto("/reports/new")
            fields = page.get_by_label("Fields", exact=True)
            expect(fields.get_by_role("button", name="Delivered", exact=True)).to_be_visible(timeout=30_000)
            page.evaluate(WATCH)
            for field, well in DROPS:
                start = fields.get_by_role("button", name=field, exact=True)
                times.append(drag(page, start, page.get_by_role("region", name=well, exact=True)))
            context.close()
        browser.close()
    return times, answered


def figures(events: int = 1_000_000, data: Path | None = None, rounds: int = 4) -> Sequence[Figure]:
    with tempfile.TemporaryDirectory() as scratch:
        folder = (data or Path(scratch) / "data").absolute()
        count = filled(folder, events)
        with console(folder) as url:
            times, answered = measured(url, rounds)
    times.sort()
    return [
        Figure(f"from drop to redraw, {count:,} events, median", "ms", statistics.median(times), LIMIT_MS),
        Figure("from drop to redraw, nine of ten", "ms", times[int(len(times) * 0.9)]),
        Figure("of it the server's report, median", "ms", 1000 * statistics.median(answered)),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--multiply", action="store_true", help="only this, for a process of its own")
    chosen = parser.parse_args()
    if chosen.multiply:
        sys.stdout.write(json.dumps(multiply(chosen.data, chosen.events)))
        return
    print(description(), flush=True)
    print(table(figures(chosen.events, chosen.data, chosen.rounds)))


if __name__ == "__main__":
    main()
