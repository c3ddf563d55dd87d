"""Times as the tools count them. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any


def epoch_milliseconds(value: Any) -> Any:
    """Milliseconds since 1970 of an ISO-8601 text; what is no such text stays as it is, for the tool to judge.

    >>> epoch_milliseconds("2026-03-01T12:00:00.123Z")
    1772366400123
    """
    at = moment_in(value)
    return value if at is None else round(at.timestamp() * 1_000)


def epoch_seconds(value: Any) -> Any:
    """The same in whole seconds, rounded down.

    >>> epoch_seconds("2026-03-01T12:00:00.999Z")
    1772366400
    """
    at = moment_in(value)
    return value if at is None else int(at.timestamp() // 1)


def moment_in(value: Any) -> datetime | None:
    """The time that an ISO-8601 text says, UTC where it names no zone; else None."""
    if not isinstance(value, str):
        return None
    try:
        at = datetime.fromisoformat(value)
    except ValueError:
        return None
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at
