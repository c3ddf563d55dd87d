"""What stands before API and pages on the TCP address: the names under which it answers, and the headers of every answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from headrace.config import ConsoleConfig
from headrace.console import pages
from headrace.console.api import PREFIX
from headrace.console.problems import PROBLEM_JSON, problem
from headrace.console.ways import allowed_hosts, host_of, is_allowed

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self'; connect-src 'self'; "
    "manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
HEADERS: Final = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
OPEN: Final = ("/health", "/metrics")
"""Of programs that watch servers, by whatever name they know this one: nothing of the workspace stands in them that a login hides."""


def front(api: Any, config: ConsoleConfig) -> Callable[[Any, Any, Any], Any]:
    """The ASGI application of the TCP address. `api` answers what begins with /api, and health and metrics."""
    names = allowed_hosts(config)
    is_https = config.public_url.startswith("https://")

    async def application(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await api(scope, receive, send)
            return
        path: str = scope["path"]
        is_api = path in OPEN or path == "/api" or path.startswith("/api/")

        async def guarded(event: Any) -> None:
            if event["type"] == "http.response.start":
                event = {**event, "headers": _with_headers(event.get("headers", ()), is_api=is_api, is_https=is_https)}
            await send(event)

        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        if path not in OPEN and not is_allowed(host_of(headers.get("host", "")), names):
            await _refuse(headers.get("host", ""), guarded, is_api=is_api)
        elif is_api:
            await api(scope, receive, guarded)
        else:
            await pages.serve(scope, guarded, headers)

    return application


def _with_headers(given: Any, *, is_api: bool, is_https: bool) -> list[tuple[bytes, bytes]]:
    headers = [(bytes(name), bytes(value)) for name, value in given]
    names = {name.lower() for name, _ in headers}
    headers += [(name, value) for name, value in HEADERS if name not in names]
    if is_api and b"cache-control" not in names:
        headers.append((b"cache-control", b"no-store"))
    if is_https:
        headers.append((b"strict-transport-security", b"max-age=31536000"))
    return headers


async def _refuse(host: str, send: Any, *, is_api: bool) -> None:
    text = (
        f"request: the console does not answer as {host[:100]!r}; if it is meant to, name that host in allowed_hosts or public_url "
        "of [console], see docs/console-access.md"
    )
    body = msgspec.json.encode(problem(421, "host_refused", text)) if is_api else f"{text}\n".encode()
    kind = PROBLEM_JSON if is_api else "text/plain; charset=utf-8"
    headers = [(b"content-type", kind.encode()), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 421, "headers": headers})
    await send({"type": "http.response.body", "body": body})


assert PREFIX.startswith("/api/")  # noqa: S101 - what `front` tells the API by
