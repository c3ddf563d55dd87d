"""Samples: the newest requests and answers of each outcome, as an engineer wants to see them, without any secret. Counts never come from them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from headrace import event as events
from headrace.delivery.commits import Sample
from headrace.destinations.base import Answer, Prepared, Request, Result
from headrace.event import Event
from headrace.workspace.secret_settings import MASK

EVERY_SECONDS: Final = 1.0
DELIVERED_EVERY_SECONDS: Final = 10.0
SHOWN_BYTES: Final = 16_384
_SECRET_HEADERS: Final = re.compile(r"authorization|cookie|key|secret|token|signature|password", re.IGNORECASE)

Mask = Callable[[str], str]


class Choice:
    """One sample of a code a second at the most, of what is delivered less."""

    def __init__(self) -> None:
        self._kept_at: dict[str, float] = {}

    def wants(self, code: str, now: float) -> bool:
        """`now` in seconds of any clock; counts as taken."""
        pause = EVERY_SECONDS if code else DELIVERED_EVERY_SECONDS
        if now - self._kept_at.get(code, -pause) < pause:
            return False
        self._kept_at[code] = now
        return True


def sample(event: Event, prepared: Prepared, result: Result, count: int, seconds: float, at: int, mask: Mask) -> Sample:
    """`count` is how many events the attempt had; `at` milliseconds since 1970."""
    exchange = result.exchange
    if exchange is None:
        request: Mapping[str, Any] = {"body": _text(prepared.json(), mask)}
        answer: Mapping[str, Any] = {}
    else:
        request = shown_request(exchange.request, mask)
        answer = shown_answer(exchange.answer, mask) if exchange.answer else {"error": mask(exchange.error)}
        seconds = exchange.seconds or seconds
    line = events.encode(event)
    return Sample(result.code, at, event, line, count, round(seconds, 4), mask(result.detail), request, answer)


def shown_request(request: Request, mask: Mask) -> dict[str, Any]:
    return {
        "method": request.method,
        "url": mask(request.url),
        "headers": _headers(request.headers, mask),
        "body": _text(request.body, mask),
    }


def shown_answer(answer: Answer, mask: Mask) -> dict[str, Any]:
    return {"status": answer.status, "headers": _headers(answer.headers, mask), "body": _text(answer.body, mask)}


def _headers(headers: Mapping[str, str], mask: Mask) -> dict[str, str]:
    return {name: MASK if _SECRET_HEADERS.search(name) else mask(value) for name, value in headers.items()}


def _text(body: bytes, mask: Mask) -> str:
    """Masked before it is cut, so that no half of a secret is left."""
    text = mask(body.decode("utf-8", "replace"))
    return text if len(text) <= SHOWN_BYTES else f"{text[:SHOWN_BYTES]}… ({len(body):,} bytes)"
