"""Demo data for a running server, for tests and screenshots: `python tests/browser/demo_data.py DATA_FOLDER [RECIPIENTS]`."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any, Final

import httpx

from headrace.app.folder import WORKER_SOCKET, short_path

SECONDS: Final = 120.0
RECIPIENTS: Final = 300
"""About 2,500 events; they are there, loaded and modelled, within some seconds."""


def ask(folder: Path, method: str, path: str, body: Any = None) -> httpx.Response:
    """One request to the API on the data folder's socket, which needs no login."""
    name, descriptor = short_path(folder / WORKER_SOCKET)
    try:
        with httpx.Client(transport=httpx.HTTPTransport(uds=name), timeout=30.0) as client:
            return client.request(method, f"http://worker/api/v1{path}", json=body)
    finally:
        os.close(descriptor)


def awaited(folder: Path) -> dict[str, Any]:
    """The state of the demo once it is no longer on its way."""
    deadline = time.monotonic() + SECONDS
    while True:
        state: dict[str, Any] = ask(folder, "GET", "/demo").json()
        if state["state"] not in ("sending", "loading", "modelling"):
            return state
        assert time.monotonic() < deadline, f"the demo is not there after {SECONDS:.0f} s: {state}"
        time.sleep(0.1)


def begin(folder: Path, recipients: int = RECIPIENTS, campaigns: int = 4) -> None:
    """Its sources are there afterwards, and their events come."""
    answer = ask(folder, "POST", "/demo", {"recipients": recipients, "campaigns": campaigns})
    assert answer.status_code == httpx.codes.CREATED, answer.text


def done(folder: Path) -> dict[str, Any]:
    """The demo, sent, loaded and modelled."""
    state = awaited(folder)
    assert state["state"] == "done", state
    return state


def load(folder: Path, recipients: int = RECIPIENTS, campaigns: int = 4) -> dict[str, Any]:
    begin(folder, recipients, campaigns)
    return done(folder)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    begin(folder, *map(int, sys.argv[2:3]))
    sys.stdout.write(f"{done(folder)['sentence']}\n")
