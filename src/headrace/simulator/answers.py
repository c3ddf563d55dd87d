"""What a tracking API's answer to a batch means to the one who sent it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgspec

_AGAIN: Final = frozenset((408, 410, 429))
_NEVER_AGAIN: Final = frozenset((501, 505))
_LONGEST_WAIT_SECONDS: Final = 300.0


class Refusal(NamedTuple):
    """An event that was not accepted. `place` is its index in the batch, None when the answer does not say."""

    place: int | None
    code: str
    text: str


class Stored(NamedTuple):
    """The batch is stored, but for the refusals."""

    refusals: Sequence[Refusal]


class Refused(NamedTuple):
    """None of the batch is stored, and it never will be."""

    code: str
    text: str


class Again(NamedTuple):
    """Send the same again, after the wait that the answer asks for (0 when it asks for none)."""

    text: str
    wait_seconds: float = 0.0


class Useless(NamedTuple):
    """No batch will fare better: the write key, the address or the server is wrong."""

    text: str


Verdict = Stored | Refused | Again | Useless


def verdict(status: int, retry_after: str | None, body: bytes) -> Verdict:
    """200 {"success": true} alone means stored. Retried are 408, 410, 429 and 5xx, as Segment's SDKs do."""
    answer = _object(body)
    code = str(answer.get("code") or f"status_{status}")
    text = str(answer.get("message") or f"HTTP status {status}")
    if status == 200:
        if answer.get("success") is True:
            return Stored(_refusals(answer.get("rejected")))
        return Useless('the answer 200 is not {"success": true}: this is not a tracking API')
    if status in _AGAIN or (status >= 500 and status not in _NEVER_AGAIN):
        return Again(f"{status}: {text}", _seconds(retry_after))
    if status in (401, 403):
        return Useless(f"the write key is refused ({status} {code}): {text}")
    if status == 404 and code == "source_disabled":
        return Useless(f"the source is disabled: {text}")
    if status in (404, 405) or not 400 <= status < 500:
        return Useless(f"the answer is {status}: this is not the address of a tracking API")
    return Refused(code, text)


def _object(body: bytes) -> dict[str, Any]:
    try:
        answer = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return {}
    return answer if isinstance(answer, dict) else {}


def _refusals(listed: Any) -> list[Refusal]:
    found = []
    for entry in listed if isinstance(listed, list) else ():
        fields = entry if isinstance(entry, dict) else {}
        index = fields.get("index")
        index = index if type(index) is int and index >= 0 else None
        found.append(Refusal(index, str(fields.get("code", "unknown")), str(fields.get("message", ""))))
    return found


def _seconds(retry_after: str | None) -> float:
    """Whole seconds only; a date is not worth the clock it needs."""
    if retry_after is None or not (retry_after.isascii() and retry_after.isdigit()):
        return 0.0
    return min(float(retry_after), _LONGEST_WAIT_SECONDS)
