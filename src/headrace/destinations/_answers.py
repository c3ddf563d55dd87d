"""An HTTP answer -> the result of an attempt, where the tool says no more than its status; and the round of requests of a batch.

Retried are 408, 423, 425, 429 and 5xx except 501 and 505; everything else that is no 2xx is final (spec: Attempts).
"""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

import msgspec

from headrace.destinations.base import (
    CONFIGURATION_CODES,
    DELIVERED,
    Answer,
    Exchange,
    Http,
    HttpKind,
    Outgoing,
    Prepared,
    Result,
)

DETAIL_CHARACTERS: Final = 1_000
_PASSING: Final = frozenset((408, 423, 425, 429))
_FINAL_5XX: Final = frozenset((501, 505))
_OWN_CODE: Final = frozenset((410, 429, 502, 503))
_SECONDS: Final = re.compile(r"\s*[0-9]{1,10}(\.[0-9]+)?\s*", re.ASCII)


def of_status(answer: Answer, now: datetime, *, whole: bool = False) -> Result:
    """What the status says; `whole` where several events stand in the request."""
    status = answer.status
    if 200 <= status < 300:
        return DELIVERED
    detail = said(answer)
    if status in _PASSING or (500 <= status < 600 and status not in _FINAL_5XX) or status == 410:
        code = str(status) if status in _OWN_CODE else "SERVER_ERROR"
        return Result("retry", code, detail, retry_after_seconds=retry_after(answer, now))
    if status in (401, 403):
        return Result("failed", "INVALID_AUTHENTICATION", detail)
    code = "REDIRECTED" if 300 <= status < 400 else "BAD_REQUEST"
    if code == "REDIRECTED" and "location" in answer.headers:
        detail = f"{status} to {answer.headers['location']}"[:DETAIL_CHARACTERS]
    return Result("failed", code, detail, is_whole_request=whole and code == "BAD_REQUEST")


def said(answer: Answer) -> str:
    """The status and the beginning of the body, as one line."""
    text = " ".join(answer.body[: 4 * DETAIL_CHARACTERS].decode("utf-8", "replace").split())
    return f"{answer.status} {text}"[:DETAIL_CHARACTERS].rstrip()


def retry_after(answer: Answer, now: datetime) -> float | None:
    """The header Retry-After in seconds from now, which may be given as seconds or as a date (RFC 9110, 10.2.3)."""
    text = answer.headers.get("retry-after")
    if text is None:
        return None
    if _SECONDS.fullmatch(text):
        return float(text)
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    at = at.replace(tzinfo=UTC) if at.tzinfo is None else at
    seconds = (at - now).total_seconds()
    return max(0.0, seconds) if math.isfinite(seconds) else None


async def collected(kind: HttpKind, batch: Sequence[Prepared], http: Http) -> Sequence[Result]:
    """All requests of a batch at once, and a result for each event."""
    results: dict[int, Result] = dict(kind.refusals(batch))
    requests = kind.requests(batch)
    exchanges = (
        [await http.exchange(requests[0].request)]
        if len(requests) == 1
        else await asyncio.gather(*(http.exchange(outgoing.request) for outgoing in requests))
    )
    for outgoing, exchange in zip(requests, exchanges, strict=True):
        for place, result in zip(outgoing.events, _of(kind, outgoing, batch, exchange), strict=True):
            if place not in results or results[place].outcome == "delivered":  # an event may need several requests
                results[place] = result
    missing = Result("failed", "PAYLOAD_VALIDATION_FAILED", "the tool has no request for this event")
    return [results.get(place, missing) for place in range(len(batch))]


def _of(kind: HttpKind, outgoing: Outgoing, batch: Sequence[Prepared], exchange: Exchange) -> Sequence[Result]:
    if exchange.answer is None:
        is_final = exchange.code in CONFIGURATION_CODES
        result = Result("failed" if is_final else "retry", exchange.code, exchange.error, exchange=exchange)
        return [result] * len(outgoing.events)
    results = kind.results(outgoing, batch, exchange.answer)
    return [msgspec.structs.replace(result, exchange=exchange) for result in results]


def unreadable(answer: Answer) -> Result:
    """For an answer that is not what the tool documents: nobody knows what became of the event."""
    return Result("retry", "ANSWER_UNREADABLE", said(answer))
