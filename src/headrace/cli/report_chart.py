"""Bars and lines of block characters, for whoever looks at a report in a terminal."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Final

_EIGHTHS: Final = " ▏▎▍▌▋▊▉█"
_LEVELS: Final = "▁▂▃▄▅▆▇█"
_PLAIN_LEVELS: Final = "._-=+*%#"


def has_blocks() -> bool:
    """Whether standard output can show them."""
    try:
        (_EIGHTHS + _LEVELS).encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def first_drawn(measures: Sequence[str]) -> str:
    """The first of them; where it counts machines, the one of people alone, if that is there, too."""
    of_people = {"all_click_rate": "click_rate"}.get(measures[0], f"human_{measures[0]}")
    return of_people if of_people in measures else measures[0]


def bar(value: float | None, greatest: float, widest: int, *, blocks: bool) -> str:
    """Of `widest` characters its length is the value's share of the greatest; what is not nothing is never shown as nothing."""
    if not value or value < 0 or greatest <= 0:
        return ""
    eighths = max(round(value / greatest * widest * 8), 1)
    if not blocks:
        return "#" * max(round(eighths / 8), 1)
    return _EIGHTHS[8] * (eighths // 8) + _EIGHTHS[eighths % 8].strip()


def line(values: Sequence[float | None], *, blocks: bool) -> str:
    """A character each, from 0 (or the least, below it) to the greatest; a blank where there is no value."""
    levels = _LEVELS if blocks else _PLAIN_LEVELS
    there = [value for value in values if value is not None]
    least, greatest = min([0.0, *there]), max([0.0, *there])
    span = greatest - least or 1.0
    return "".join(
        " " if value is None else levels[min(int((value - least) / span * len(levels)), len(levels) - 1)]
        for value in values
    )


def by_day(values: Mapping[str, float | None], step_days: int) -> list[float | None]:
    """Values by their day in ISO, with None for each day (or week) between them that has none."""
    if not values:
        return []
    days = sorted(date.fromisoformat(day) for day in values)
    steps = (days[-1] - days[0]).days // step_days
    every = [days[0] + timedelta(days=step * step_days) for step in range(steps + 1)]
    return [values.get(day.isoformat()) for day in every]
