"""Quiet hours: a time of day to another one, by the clock on the wall of a time zone. Pure.

Where the clock is changed, the longer reading wins: a time that comes twice begins at its first and ends at its second coming.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, time, timedelta, tzinfo
from functools import cache
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

_HOURS: Final = re.compile(r"\s*(\d{1,2}):(\d{2})\s*-\s*(\d{1,2}):(\d{2})\s*", re.ASCII)


class Hours(NamedTuple):
    start: time
    end: time


@cache
def zone(name: str) -> tzinfo:
    """Raises ValueError. UTC is known without the system's time zones."""
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, LookupError):
        raise ValueError(
            f"time_zone: {name[:60]!r} is not known here; give a name such as UTC or Europe/Brussels"
        ) from None


@cache
def hours(text: str) -> Hours:
    """Raises ValueError."""
    found = _HOURS.fullmatch(text)
    try:
        begin, end = (time(int(found[at]), int(found[at + 1])) for at in (1, 3)) if found else (time(), time())
    except ValueError:
        begin = end = time()
    if begin == end:
        raise ValueError(f"quiet: {text[:40]!r} is not HH:MM-HH:MM with two different times, for example 22:00-07:00")
    return Hours(begin, end)


def is_quiet(text: str, zone: tzinfo, now: datetime) -> bool:
    """Whether `now` lies in the quiet hours; the end does not. An empty text has none."""
    if not text:
        return False
    start, end = hours(text)
    today = now.astimezone(zone).date()
    for day in (today - timedelta(days=1), today):
        begins = min(_moments(datetime.combine(day, start, zone)))
        ends = max(_moments(datetime.combine(day + timedelta(days=end < start), end, zone)))
        if begins <= now < ends:
            return True
    return False


def _moments(wall: datetime) -> tuple[datetime, datetime]:
    """Both readings of a time on the wall; they differ where the clock is changed."""
    return wall.replace(fold=0).astimezone(UTC), wall.replace(fold=1).astimezone(UTC)
