"""A worker whose API is asked without a server, for tests: nothing listens, nothing is loaded or delivered."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from litestar.testing import TestClient

from headrace.app.working import Worker
from headrace.config import Config
from headrace.console.access import INSIDER, Requester
from headrace.console.api import api


class Asking:
    """Who asks, changed by a test in the middle of it."""

    def __init__(self) -> None:
        self.requester: Requester | None = INSIDER

    def as_role(self, role: Any) -> None:
        self.requester = Requester("Ada", role, "token")


@contextmanager
def asked(folder: Path, asking: Asking | None = None, **settings: Any) -> Iterator[TestClient[Any]]:
    """The API of a data folder that is there already."""
    config = Config(data=str(folder), **settings)
    who = asking or Asking()
    worker = Worker(config)
    try:
        with TestClient(
            api(worker, config.warehouse, lambda _: who.requester), base_url="http://testserver.local/api/v1"
        ) as client:
            yield client
    finally:
        worker.end()
        worker.close()
