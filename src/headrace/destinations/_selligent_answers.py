"""What Selligent's data API answers -> a result for each row.

The facts are of the vendor's own description of its API (Swagger of `/Portal/Api`, kept in
https://github.com/WPP-Public/wtd-selligent-api/blob/main/spec.yaml: Data_LoadData, Data_LoadSegmentData, Data_DeleteSegmentData):
`result_code` is Succeeded, PartiallySucceeded, Failed, ValidationFailed, NotFound, ServiceUnavailable or InternalServerError; beside it
stand counts, `errors: [{error_code, description}]` and `invalid_records: [{record_index, field_name, message, validation_code}]`.

Not said there, so not assumed here:
- whether `record_index` counts from 0 or from 1. Where the answer does not tell (an index 0, or one that is the number of rows), both rows that may
  be meant are sent once more by themselves, which is harmless since rows are kept by their key; all others stand.
- whether the tool goes on after a bad row. Rows that no count accounts for are sent once more by themselves too.
- what the tool answers to a wrong or expired key beyond its status.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from headrace.destinations._answers import DETAIL_CHARACTERS, of_status, retry_after, said, unreadable
from headrace.destinations.base import DELIVERED, Answer, Result

_READ_STATUSES: Final = frozenset((400, 404, 422))
"""Besides 2xx, those whose body may say more than the status."""
_COUNTED: Final = (
    *("number_of_inserted_records", "number_of_updated_records", "number_of_deleted_records"),
    *("number_of_failed_records", "number_of_duplicate_records", "number_of_records_not_found"),
)
_MOST_SECONDS: Final = 3_600.0

_decode: Final = msgspec.json.Decoder(Any).decode


def results(answer: Answer, rows: int, now: datetime, *, is_segment: bool, is_removal: bool) -> Sequence[Result]:
    """A result for each row, in their order. `is_segment`: list and segment are of the event, not of the settings."""
    is_ok = 200 <= answer.status < 300
    told = _told(answer) if is_ok or answer.status in _READ_STATUSES else None
    if is_ok and answer.is_cut and rows > 1:  # more invalid records than can be read: each row will say its own
        return [Result("failed", "MESSAGE_REJECTED", said(answer), is_whole_request=True)] * rows
    if told is None:
        return [unreadable(answer) if is_ok else _of_status(answer, rows, now, is_segment=is_segment)] * rows
    match told["result_code"]:
        case "Succeeded" | "PartiallySucceeded" as code if is_ok:
            return _by_row(told, rows, code, is_removal=is_removal)
        case "Failed" | "ValidationFailed" as code:
            validation = "PAYLOAD_VALIDATION_FAILED" if code == "ValidationFailed" else "MESSAGE_REJECTED"
            return [Result("failed", validation, _reason(told), is_whole_request=rows > 1)] * rows
        case "NotFound":
            return [_not_found(_reason(told), is_segment=is_segment)] * rows
        case "ServiceUnavailable":
            return [Result("retry", "503", _reason(told), retry_after_seconds=_wait(answer, now))] * rows
        case "InternalServerError":
            return [Result("retry", "SERVER_ERROR", _reason(told))] * rows
    return [unreadable(answer) if is_ok else _of_status(answer, rows, now, is_segment=is_segment)] * rows


def _told(answer: Answer) -> dict[str, Any] | None:
    """The object of the answer, where it is one with a result code."""
    try:
        found = _decode(answer.body)
    except (msgspec.DecodeError, RecursionError):
        return None
    return found if isinstance(found, dict) and isinstance(found.get("result_code"), str) else None


def _of_status(answer: Answer, rows: int, now: datetime, *, is_segment: bool) -> Result:
    if answer.status == 404:
        return _not_found(said(answer), is_segment=is_segment)
    result = of_status(answer, now, whole=rows > 1)
    if result.outcome == "retry" and result.retry_after_seconds is None:
        return msgspec.structs.replace(result, retry_after_seconds=_wait(answer, now))
    return result


def _wait(answer: Answer, now: datetime) -> float | None:
    """Retry-After, else X-RateLimit-Reset: the rest of the current minute, in seconds
    (https://getstarted.meetmarigold.com/engage/EN/Content/Technical_Documents/SelligentAPIRateLimitation.htm)."""
    asked = retry_after(answer, now)
    if asked is not None:
        return asked
    try:
        seconds = float(answer.headers.get("x-ratelimit-reset", ""))
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and 0 <= seconds <= _MOST_SECONDS else None


def _not_found(detail: str, *, is_segment: bool) -> Result:
    """A list of the settings that is not there is put right there; a segment is named by the event."""
    return Result("failed", "MESSAGE_REJECTED" if is_segment else "INVALID_SETTINGS", detail)


def _by_row(told: Mapping[str, Any], rows: int, code: str, *, is_removal: bool) -> Sequence[Result]:
    invalid = told.get("invalid_records") or []
    if not isinstance(invalid, list):
        return [_unknown(told, rows)] * rows
    places = _places(invalid, rows)
    if places is None:
        return [_unknown(told, rows)] * rows
    reasons_by_place, doubtful = places
    counts = {name: _count(told.get(name)) for name in _COUNTED}
    # Removing what is not in the segment is done already; adding what is not in the list is not.
    missing = 0 if is_removal else counts["number_of_records_not_found"]
    failed = counts["number_of_failed_records"]
    is_unaccounted = (
        failed > len(invalid)
        or missing > 0
        or (code == "PartiallySucceeded" and sum(counts.values()) < rows)
        or (code == "PartiallySucceeded" and not invalid)
    )
    found = []
    for place in range(rows):
        if place in reasons_by_place:
            found.append(
                Result("failed", "MESSAGE_REJECTED", reasons_by_place[place], is_whole_request=place in doubtful)
            )
        else:
            found.append(_unknown(told, rows) if is_unaccounted else DELIVERED)
    return found


def _places(invalid: Sequence[Any], rows: int) -> tuple[Mapping[int, str], frozenset[int]] | None:
    """Reasons by place, and the places of which it is not certain that they are meant; None where they contradict each other or what was sent."""
    indexed = [(entry.get("record_index"), entry) for entry in invalid if isinstance(entry, dict)]
    known = [(index, entry) for index, entry in indexed if isinstance(index, int) and 0 <= index <= rows]
    if len(known) < len(invalid):
        return None
    if rows == 1:
        return ({0: "; ".join(_row_reason(entry) for _, entry in known)} if known else {}), frozenset()
    indexes = {index for index, _ in known}
    if {0, rows} <= indexes:
        return None
    if 0 in indexes:
        return {index: _row_reason(entry) for index, entry in known if index < rows}, frozenset()
    if rows in indexes:
        return {index - 1: _row_reason(entry) for index, entry in known}, frozenset()
    reasons = {place: _row_reason(entry) for index, entry in known for place in (index, index - 1) if place < rows}
    return reasons, frozenset(reasons)


def _unknown(told: Mapping[str, Any], rows: int) -> Result:
    return Result("failed", "MESSAGE_REJECTED", _reason(told), is_whole_request=rows > 1)


def _count(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _row_reason(entry: Mapping[str, Any]) -> str:
    named = (entry.get("validation_code"), entry.get("field_name"), entry.get("message"))
    return ": ".join(str(part) for part in named if part)[:DETAIL_CHARACTERS] or "the row is invalid"


def _reason(told: Mapping[str, Any]) -> str:
    """The result code, the errors, and the counts that are not zero."""
    errors = told.get("errors")
    parts = [str(told["result_code"])]
    parts += [
        ": ".join(str(error[name]) for name in ("error_code", "description") if error.get(name))
        for error in (errors if isinstance(errors, list) else ())
        if isinstance(error, dict)
    ]
    if isinstance(told.get("message"), str):
        parts.append(told["message"])
    parts += [f"{name} {told[name]}" for name in _COUNTED if _count(told.get(name))]
    return "; ".join(part for part in parts if part)[:DETAIL_CHARACTERS]
