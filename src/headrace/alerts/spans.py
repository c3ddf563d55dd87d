"""Lengths of time in words, and moments in a time zone. Pure."""

from __future__ import annotations

from datetime import datetime, tzinfo


def span(seconds: float) -> str:
    """No more than two units.

    >>> span(0.4), span(59), span(3_599), span(7_260), span(200_000)
    ('0 seconds', '59 seconds', '59 minutes', '2 hours 1 minute', '2 days 7 hours')
    """
    whole = max(0, int(seconds))
    if whole < 60:
        return _counted(whole, "second")
    minutes = whole // 60
    if minutes < 60:
        return _counted(minutes, "minute")
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return _both(_counted(hours, "hour"), minutes, "minute")
    days, hours = divmod(hours, 24)
    return _both(_counted(days, "day"), hours, "hour")


def _counted(number: int, unit: str) -> str:
    return f"{number} {unit}{'' if number == 1 else 's'}"


def _both(first: str, number: int, unit: str) -> str:
    return f"{first} {_counted(number, unit)}" if number else first


def moment(at: datetime, zone: tzinfo) -> str:
    return f"{at.astimezone(zone):%Y-%m-%d %H:%M} {at.astimezone(zone).tzname() or ''}".rstrip()
