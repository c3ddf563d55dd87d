"""How long events took from their receipt until their rows were there, as counts by minute. Kept in memory: no warehouse is asked for it."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta
from math import ceil
from typing import Final, NamedTuple

MINUTES: Final = 60
"""Of loads that are remembered."""
_STEP: Final = 1.1
_BOUNDS: Final = tuple(0.001 * _STEP**number for number in range(260))
"""The upper bounds of the counts in seconds, up to two years: a percentile is at most 10 % too high."""


class SecondsToRow(NamedTuple):
    """Percentiles over `events` that were loaded since `since`."""

    p50: float
    p95: float
    events: int
    since: datetime


class Freshness:
    """The loader's thread counts, any thread may ask."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._counts_by_minute: dict[datetime, Counter[int]] = {}

    def loaded(self, received: Iterable[datetime], now: datetime) -> None:
        """Events received at these moments have their rows since `now`."""
        counts = Counter(bisect_left(_BOUNDS, (now - at).total_seconds()) for at in received)
        with self._turn:
            self._counts_by_minute.setdefault(_minute(now), Counter()).update(counts)
            self._forget(now)

    def told(self, now: datetime) -> SecondsToRow | None:
        """Of the last hour; None when nothing was loaded in it."""
        with self._turn:
            self._forget(now)
            counts = sum(self._counts_by_minute.values(), Counter())
            since = min(self._counts_by_minute, default=now)
        events = counts.total()
        if not events:
            return None
        return SecondsToRow(_percentile(counts, 0.5), _percentile(counts, 0.95), events, since)

    def _forget(self, now: datetime) -> None:
        first = _minute(now) - timedelta(minutes=MINUTES)
        for minute in [minute for minute in self._counts_by_minute if minute < first]:
            del self._counts_by_minute[minute]


def _minute(now: datetime) -> datetime:
    return now.replace(second=0, microsecond=0)


def _percentile(counts: Counter[int], share: float) -> float:
    wanted, counted = ceil(share * counts.total()), 0
    for number in sorted(counts):
        counted += counts[number]
        if counted >= wanted:
            return _BOUNDS[min(number, len(_BOUNDS) - 1)]
    raise AssertionError("the counts do not add up")
