"""Errors as the API tells them: problem details (RFC 9457) with step, subject and remedy."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any, Final

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException

from headrace.errors import ConfigError, HeadraceError, NotFoundError, RequestError, RetryableError

logger = logging.getLogger(__name__)

PROBLEM_JSON: Final = "application/problem+json"


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """`detail` is the whole text; `step`, `subject` and `remedy` are its parts, empty where it has no such part. `code` is for programs."""

    status: int
    code: str
    detail: str
    title: str
    step: str = ""
    subject: str = ""
    remedy: str = ""
    type: str = "about:blank"


def problem(status: int, code: str, detail: str) -> Problem:
    step, subject, remedy = parts_of(detail)
    title = HTTPStatus(status).phrase
    return Problem(status=status, code=code, detail=detail, title=title, step=step, subject=subject, remedy=remedy)


def parts_of(text: str) -> tuple[str, str, str]:
    """Step, subject and remedy of an error's text; a text that is not made so is all subject.

    >>> parts_of("source: there is no 'x'; see: headrace source list")
    ('source', "there is no 'x'", 'see: headrace source list')
    """
    step, separator, rest = text.partition(": ")
    if not separator or len(step) > _LONGEST_STEP:
        step, rest = "", text
    subject, separator, remedy = rest.rpartition("; ")
    return (step, subject, remedy) if separator else (step, rest, "")


_LONGEST_STEP: Final = 40


def problem_of(error: HeadraceError) -> Problem:
    match error:
        case RequestError():
            return problem(error.status, error.code, str(error))
        case NotFoundError():
            return problem(404, "not_found", str(error))
        case ConfigError():
            return problem(409, "refused", str(error))
        case RetryableError():
            return problem(503, "unavailable", str(error))
    return problem(500, "internal", str(error))


def of_error(_: Request[Any, Any, Any], error: HeadraceError) -> Response[Problem]:
    found = problem_of(error)
    again = error.retry_after_seconds if isinstance(error, RequestError | RetryableError) else None
    headers = {} if again is None else {"retry-after": str(max(1, round(again)))}
    return Response(found, status_code=found.status, media_type=PROBLEM_JSON, headers=headers)


def of_bug(request: Request[Any, Any, Any], error: Exception) -> Response[Problem]:
    """What nobody thought of: the server's output has it with its stack, the answer tells nothing of it."""
    logger.error("console: %s %s failed", request.method, request.url.path, exc_info=error)
    text = "console: it failed within headrace; see what `headrace serve` prints, and report it"
    return Response(problem(500, "internal", text), status_code=500, media_type=PROBLEM_JSON)


def of_http(_: Request[Any, Any, Any], error: HTTPException) -> Response[Problem]:
    """What the framework refuses: an unknown address, another method, a body that does not fit."""
    detail = error.detail
    if error.extra:
        places = [entry for entry in error.extra if isinstance(entry, dict)] if isinstance(error.extra, list) else []
        named = "; ".join(f"{entry.get('key', '')}: {entry.get('message', '')}".strip(": ") for entry in places)
        detail = f"request: {named}" if named else detail
    code = {401: "login_required", 404: "not_found", 405: "method_refused"}.get(error.status_code, "request_refused")
    return Response(
        problem(error.status_code, code, detail),
        status_code=error.status_code,
        media_type=PROBLEM_JSON,
        headers=error.headers,
    )
