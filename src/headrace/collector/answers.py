"""The answers of the tracking API."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final, NamedTuple

import msgspec

from headrace.errors import RetryableError

Header = tuple[bytes, bytes]

ANY_ORIGIN: Final[Header] = (b"access-control-allow-origin", b"*")
PREFLIGHT: Final[tuple[Header, ...]] = (
    (b"access-control-allow-methods", b"GET, POST, OPTIONS"),
    (
        b"access-control-allow-headers",
        b"Authorization, Content-Type, Content-Encoding, X-Write-Key, AnonymousId, SentAt, X-Retry-Count",
    ),
    (b"access-control-max-age", b"86400"),
)


class Answer(NamedTuple):
    status: int
    body: bytes
    headers: tuple[Header, ...] = ()
    content_type: bytes = b"application/json"

    def all_headers(self) -> list[Header]:
        return [
            (b"content-type", self.content_type),
            (b"content-length", b"%d" % len(self.body)),
            ANY_ORIGIN,
            *self.headers,
        ]


def as_http(answer: Answer, *, keep_alive: bool) -> bytes:
    """The answer as HTTP/1.1."""
    status = HTTPStatus(answer.status)
    lines = [b"HTTP/1.1 %d %b" % (status, status.phrase.encode())]
    lines += [b"%b: %b" % header for header in answer.all_headers()]
    if not keep_alive:
        lines.append(b"connection: close")
    return b"\r\n".join((*lines, b"", answer.body))


ACCEPTED: Final = Answer(200, b'{"success": true}')
ACCEPTED_HTTP: Final = as_http(ACCEPTED, keep_alive=True)


def problem(status: int, code: str, text: str) -> Answer:
    return Answer(status, msgspec.json.encode({"success": False, "code": code, "message": text}))


def unavailable(reason: RetryableError) -> Answer:
    answer = problem(503, "internal", str(reason))
    return answer._replace(headers=((b"retry-after", b"%d" % max(1, round(reason.retry_after_seconds))),))


def too_many(wait_seconds: int) -> Answer:
    answer = problem(429, "too_many_requests", f"too many events; send again in {wait_seconds} s")
    return answer._replace(headers=((b"retry-after", b"%d" % wait_seconds),))
