"""Moments as text."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache


def iso(at: float) -> str:
    """Seconds since 1970 as ISO 8601 in UTC, to the millisecond (what is finer is cut off)."""
    minute, milliseconds = divmod(int(at * 1000), 60_000)
    return f"{_minute(minute)}:{milliseconds // 1000:02d}.{milliseconds % 1000:03d}Z"


def next_minute(at: float) -> str:
    return f"{_minute(int(at // 60) + 1)}:00.000Z"


@lru_cache(maxsize=4096)
def _minute(number: int) -> str:
    return datetime.fromtimestamp(number * 60, UTC).isoformat(timespec="minutes")[:16]
