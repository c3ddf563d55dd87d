"""The console's TCP address for tests, without a server: a worker of its own and clients that come from where a test says."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from litestar.testing import TestClient

from headrace.app.working import Worker
from headrace.config import Config, ConsoleConfig
from headrace.console.api import api
from headrace.console.front import front

EMAIL = "ada@example.com"
PASSWORD = "correct horse battery"
ORIGIN = "http://localhost"


class Door:
    """Clients share the worker; each has its own cookies, like browsers."""

    def __init__(self, worker: Worker, config: Config) -> None:
        self.worker = worker
        self.config = config
        self.app = self.application(config.console)

    def application(self, console: ConsoleConfig) -> Any:
        return front(api(self.worker, self.config.warehouse, self.worker.logins.who), console)

    def client(self, peer: str = "127.0.0.1", base_url: str = ORIGIN, app: Any = None) -> Browser:
        return Browser(_from(app or self.app, peer), base_url)

    def logged_in(self, email: str = EMAIL, password: str = PASSWORD) -> Browser:
        client = self.client()
        client.log_in(email, password)
        return client


class Browser(TestClient[Any]):
    """Sends what the pages send."""

    def __init__(self, app: Any, base_url: str) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # it would like another name than localhost
            super().__init__(app, base_url=base_url, raise_server_exceptions=True)
        self.headers.update({"origin": base_url})

    def log_in(self, email: str = EMAIL, password: str = PASSWORD) -> Any:
        answer = self.post("/api/v1/session", json={"email": email, "password": password})
        self.take(answer)
        return answer

    def take(self, answer: Any) -> None:
        """Use the CSRF token of an answer from now on."""
        if answer.is_success:
            self.headers["x-csrf-token"] = answer.json()["csrf_token"]

    @property
    def session(self) -> Any:
        return self.get("/api/v1/session").json()


def _from(app: Any, peer: str) -> Any:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        await app({**scope, "client": (peer, 50_000)} if scope["type"] == "http" else scope, receive, send)

    return application


@contextmanager
def door(folder: Path, console: ConsoleConfig | None = None) -> Iterator[Door]:
    """Of a folder that may be empty yet."""
    config = msgspec.structs.replace(Config(data=str(folder)), console=console or ConsoleConfig())
    worker = Worker(config)
    try:
        yield Door(worker, config)
    finally:
        worker.end()
        worker.close()
