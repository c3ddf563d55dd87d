"""Real Chromium, driven by Playwright, on a real server. Every page that a test opens may ask that server only, and may log no error."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Error, Page, Request, expect, sync_playwright

from browser import demo_data
from fault_server import FaultServer, answers
from server import Server

OWNER: Final = {"name": "Olga Owner", "email": "olga@example.com", "password": "correct horse battery"}
WAIT_MS: Final = 15_000
OPENED: Final[list[Page]] = []
"""The pages of the test that runs, and of its module."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What the pages showed when a test failed: a machine elsewhere keeps nothing but what it prints."""
    report = yield
    if report.failed and report.when == "call":
        for page in OPENED:
            try:
                shown = page.locator("main, body").last.inner_text(timeout=2_000)[:4_000]
            except Error as error:
                shown = f"nothing to be read: {error.message}"
            report.sections.append((f"page {page.url[:300]}", shown))
    return report


class Console:
    """A server with somebody logged in. `url` is where its pages are; `state` is what a browser needs to be logged in."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.data = server.data
        self.url = f"http://{server.host}:{server.console_port}"
        self.state: Any = None

    def set_up(self) -> None:
        """The owner chooses a password, as at the first start."""
        self._enter("/api/v1/setup", OWNER)

    def log_in(self, email: str = OWNER["email"], password: str = OWNER["password"]) -> None:
        self._enter("/api/v1/session", {"email": email, "password": password})

    def _enter(self, path: str, order: dict[str, str]) -> None:
        with httpx.Client(base_url=self.url, trust_env=False, timeout=30.0) as client:
            answer = client.post(path, json=order, headers={"origin": self.url})
            assert answer.is_success, answer.text
            cookies = [
                {
                    "name": cookie.name,
                    "value": cookie.value or "",
                    "domain": self.server.host,
                    "path": "/",
                    "httpOnly": True,
                }
                for cookie in client.cookies.jar
            ]
        self.state = {"cookies": cookies, "origins": []}

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """One request to the API, as the owner of the data folder; `path` begins behind /api/v1."""
        answer = demo_data.ask(self.data, method, path, body)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None


@contextmanager
def running(data: Path, settings: dict[str, str] | None = None) -> Iterator[Console]:
    """A console that nobody has set up yet."""
    with Server(
        data, {"HEADRACE_LOADER_INTERVAL_SECONDS": "0.2", "HEADRACE_LOADER_MODEL_SECONDS": "0.5", **(settings or {})}
    ) as server:
        yield Console(server)


@pytest.fixture(scope="module")
def chromium(need_chromium: str) -> Iterator[Browser]:
    """Of one module: while Playwright is there, its event loop runs in this thread, and tests elsewhere could run none of their own."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=need_chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def furnished(data: Path, recipients: int = demo_data.RECIPIENTS) -> Iterator[Console]:
    """A workspace with an owner, the demo's data, and a destination that takes what the shop sends."""
    refused = answers(422, b'{"error": "there is no customer with this id"}')
    with FaultServer() as tool, running(data, {"HEADRACE_ALLOWED_NETWORKS": "127.0.0.0/8"}) as console:
        tool.behave("/orders", *[answers()] * 40, *[refused] * 3, answers())
        console.set_up()
        demo_data.begin(console.data, recipients)
        order = {
            "kind": "webhook",
            "nickname": "Order desk",
            "sources": ["shop"],
            "settings": {"url": f"{tool.url}/orders"},
        }
        console.ask("POST", "/destinations", order)
        demo_data.done(console.data)
        yield console


@pytest.fixture(scope="session")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    """A workspace with the demo's data, for all tests that leave others' things alone."""
    with furnished(tmp_path_factory.mktemp("console") / "data") as console:
        yield console


@pytest.fixture
def empty_console(tmp_path: Path) -> Iterator[Console]:
    """A workspace of this test alone, with an owner and nothing in it."""
    with running(tmp_path / "data", {"HEADRACE_ALLOWED_NETWORKS": "127.0.0.0/8"}) as console:
        console.set_up()
        yield console


Open = Callable[..., Page]


@pytest.fixture
def open_page(chromium: Browser) -> Iterator[Open]:
    """Of one test; see `opening`."""
    with opening(chromium) as open_page:
        yield open_page


@contextmanager
def opening(chromium: Browser) -> Iterator[Open]:
    """`open_page(console, "/sources")`: a page of somebody who is logged in; `width`, `height`, `theme` ("light", "dark"), `state` as wanted.

    At the end it fails where a page asked another host, logged an error or broke the content security policy. `allowed` are parts of logged
    errors that a test brings about itself, for example the 409 of a refused answer."""
    with ExitStack() as stack:
        troubles: list[str] = []
        expected: list[str] = []

        def open_page(
            console: Console,
            path: str = "/",
            *,
            width: int = 1280,
            height: int = 800,
            theme: str = "light",
            state: Any = None,
            allowed: tuple[str, ...] = (),
        ) -> Page:
            expected.extend(allowed)
            context: BrowserContext = chromium.new_context(
                storage_state=console.state if state is None else state,
                viewport={"width": width, "height": height},
                color_scheme="dark" if theme == "dark" else "light",
                base_url=console.url,
                accept_downloads=True,
                timezone_id="Europe/Berlin",
                reduced_motion="reduce",  # a look in the middle of a transition finds colours of neither theme
                locale="en-US",
            )
            stack.callback(context.close)
            context.set_default_timeout(WAIT_MS)

            def asked(request: Request) -> None:
                if not request.url.startswith((console.url, "data:", "blob:")):
                    troubles.append(f"a request to the outside: {request.url}")

            def said(message: ConsoleMessage) -> None:
                if message.type == "error":
                    troubles.append(f"logged: {message.text} {message.location.get('url', '')}")

            context.on("request", asked)
            page = context.new_page()
            OPENED.append(page)
            stack.callback(OPENED.remove, page)
            page.on("console", said)
            page.on("pageerror", lambda error: troubles.append(f"thrown: {error}"))
            page.goto(path)
            return page

        expect.set_options(timeout=WAIT_MS)
        yield open_page
    assert [] == [trouble for trouble in troubles if not any(part in trouble for part in expected)]
