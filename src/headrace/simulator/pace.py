"""A steady rate."""

from __future__ import annotations

import time
from collections.abc import Callable


class Pace:
    """Spreads events evenly over time; what could not be sent in time is not made up for by a burst."""

    def __init__(
        self,
        events_per_second: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self.events_per_second = events_per_second
        self._clock = clock
        self._sleep = sleep
        self._next = clock()

    def wait(self, events: int) -> None:
        """Return when this many may go."""
        now = self._clock()
        if self._next > now:
            self._sleep(self._next - now)
        self._next = max(self._next, now) + events / self.events_per_second
