"""Token buckets: how many events a source or an address may send. Pure; time is an argument."""

from __future__ import annotations

import math
from collections import OrderedDict

BUCKETS = 50_000
"""Addresses remembered at the most; the one longest unseen is forgotten, which gives it a full bucket."""


class Rate:
    """`per_second` events a second with a burst of ten seconds' worth; 0 is no limit."""

    def __init__(self, per_second: int) -> None:
        self._per_second = per_second
        self._burst = per_second * 10
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_seconds(self, name: str, events: int, now: float) -> int:
        """0 when the events may pass (and are counted), else whole seconds to wait. A batch larger than the burst passes a full bucket."""
        if not self._per_second:
            return 0
        level, since = self._buckets.pop(name, (float(self._burst), now))
        level = min(self._burst, level + (now - since) * self._per_second)
        wanted = min(events, self._burst)
        passes = level >= wanted
        self._buckets[name] = (level - events if passes else level, now)
        if len(self._buckets) > BUCKETS:
            self._buckets.popitem(last=False)
        return 0 if passes else max(1, math.ceil((wanted - level) / self._per_second))
