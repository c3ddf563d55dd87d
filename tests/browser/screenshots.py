"""Pictures of every page in both themes, of the demo's data: `python tests/browser/screenshots.py FOLDER [--widths 360,1280,1920] [--only sources]`.

docs/pictures is made by `make pictures`, with `--docs`: of the pages alone that the documentation shows."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).parents[1]))

from playwright.sync_api import Browser, sync_playwright

from browser import pages
from browser.conftest import Console, furnished
from browser.pages import PAGES, Shown, settled

RECIPIENTS: Final = 2_000
SETTLED_MS: Final = 400
DELIVERY_SECONDS: Final = 120.0
DOCS: Final = (
    "home",
    "campaigns",
    "campaign",
    "report",
    "sql",
    "debugger",
    "event",
    "source",
    "destination",
    "warehouse",
)


def await_deliveries(console: Console) -> None:
    ends = time.monotonic() + DELIVERY_SECONDS
    while any(one["waiting"] for one in console.ask("GET", "/home")["destinations"]):
        if time.monotonic() > ends:
            raise SystemExit(f"pictures: not everything was delivered in {DELIVERY_SECONDS:.0f} s")
        time.sleep(0.2)


def take(
    browser: Browser, console: Console, names: dict[str, str], out: Path, widths: Sequence[int], shown: Sequence[Shown]
) -> list[str]:
    troubles = []
    for theme in ("light", "dark"):
        for width in widths:
            context = browser.new_context(
                storage_state=console.state,
                viewport={"width": width, "height": 800 if width > 600 else 740},
                color_scheme="dark" if theme == "dark" else "light",
                base_url=console.url,
                timezone_id="Europe/Berlin",
                locale="en-US",
            )
            page = context.new_page()
            page.on("pageerror", lambda error: troubles.append(str(error)))
            for picture in shown:
                page.goto(picture.path.format(**names))
                settled(page, picture)
                page.wait_for_timeout(SETTLED_MS)
                suffix = "" if len(widths) == 1 else f"-{width}"
                page.screenshot(path=out / f"{picture.name}-{theme}{suffix}.png")
                sys.stdout.write(f"{picture.name}-{theme}{suffix}.png\n")
            context.close()
    return troubles


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--widths", default="1280")
    parser.add_argument("--only", default="", help="pages with this in their name")
    parser.add_argument("--docs", action="store_true")
    given = parser.parse_args()
    shown = [page for page in PAGES if given.only in page.name and (page.name in DOCS or not given.docs)]
    given.folder.mkdir(parents=True, exist_ok=True)
    chromium = shutil.which("chromium-headless-shell") or shutil.which("chromium")
    if chromium is None:
        sys.stderr.write("pictures: there is no chromium; `make setup` as root installs it\n")
        return 1
    with (
        tempfile.TemporaryDirectory() as folder,
        furnished(Path(folder) / "data", RECIPIENTS) as console,
        sync_playwright() as playwright,
    ):
        await_deliveries(console)
        names = pages.names(console)
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        troubles = take(browser, console, names, given.folder, [int(w) for w in given.widths.split(",")], shown)
        browser.close()
    for trouble in troubles:
        sys.stderr.write(f"thrown: {trouble}\n")
    return int(bool(troubles))


if __name__ == "__main__":
    sys.exit(main())
