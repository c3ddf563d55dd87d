"""What is counted for a campaign while it is simulated, and how long people took."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from typing import Final

import msgspec

from headrace.simulator import figures

_STEPS: Final = 200
"""Bins for each factor of e: the middle of one is at most 0.25 % off."""


class Tally(msgspec.Struct):
    """Counts of distinct messages where nothing else is said; those of a campaign, or with `plus` of many.

    The first twelve (money in cents) are those of email.campaigns."""

    sent: int = 0
    delivered: int = 0
    opens: int = 0
    human_opens: int = 0
    clicks: int = 0
    human_clicks: int = 0
    hard_bounces: int = 0
    soft_bounces: int = 0
    unsubscribes: int = 0
    spam: int = 0
    orders: int = 0
    cents: int = 0

    repeated_sends: int = 0
    """Not the recipient's first of this campaign: a journey's."""
    crossed_events: int = 0
    """Opens and clicks of a message after a later one of the same campaign reached the same recipient."""
    taken_for_human: int = 0
    """Opened by a machine without a flag and by nobody else."""
    led_orders: int = 0
    led_cents: int = 0
    """Orders that this campaign's mails brought about, whomever last touch gives them to."""
    refunded_orders: int = 0
    refunded_cents: int = 0
    """Of `orders`, those refunded since."""
    ordering_messages: int = 0
    """With a human click to which an order is attributed."""
    human_clicks_by_link: list[int] = msgspec.field(default_factory=lambda: [0] * len(figures.LINKS))
    scanned_by_link: list[int] = msgspec.field(default_factory=lambda: [0] * len(figures.LINKS))
    test_messages: int = 0
    """They count nowhere else."""

    def plus(self, other: Tally) -> None:
        for name in self.__struct_fields__:
            mine, theirs = getattr(self, name), getattr(other, name)
            if isinstance(mine, list):
                setattr(self, name, [a + b for a, b in zip(mine, theirs, strict=True)])
            else:
                setattr(self, name, mine + theirs)


class Durations:
    """Quantiles of durations in seconds: exact up to `exact` of them, then within 0.25 %, in bounded memory."""

    def __init__(self, exact: int = 100_000) -> None:
        self.count = 0
        self._exact = exact
        self._values: array[float] | None = array("d")
        self._bins: Counter[int] = Counter()

    def add(self, seconds: float) -> None:
        self.count += 1
        if self._values is not None:
            self._values.append(seconds)
            if self.count > self._exact:
                self._bins.update(map(_bin, self._values))
                self._values = None
        else:
            self._bins[_bin(seconds)] += 1

    def quantile(self, share: float) -> float | None:
        """Interpolated between neighbours, as SQL's percentile_cont does; None when there are none."""
        if not self.count:
            return None
        place = share * (self.count - 1)
        if self._values is not None:
            ordered = sorted(self._values)
            low = ordered[int(place)]
            high = ordered[min(int(place) + 1, self.count - 1)]
            return low + (high - low) * (place - int(place))
        seen = 0
        for number in sorted(self._bins):
            seen += self._bins[number]
            if seen > place:
                return math.exp((number + 0.5) / _STEPS)
        raise AssertionError("bins hold as many as were counted")


def _bin(seconds: float) -> int:
    return math.floor(math.log(max(seconds, 1e-3)) * _STEPS)
