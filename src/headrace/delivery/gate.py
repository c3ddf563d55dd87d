"""Where requests of one destination wait for their turn: for the circuit, and for the rate that the settings allow."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from headrace.delivery.retry import Breaker, Chance


class Gate:
    """For one event loop."""

    def __init__(self, requests_per_second: float, chance: Chance) -> None:
        """0 is no limit."""
        self.breaker = Breaker(chance)
        self._requests_per_second = requests_per_second
        self._next_request = 0.0
        self._news = asyncio.Condition()

    async def turn(self) -> bool:
        """Wait until the circuit lets a request through. Whether it is the probe, whose end must be told."""
        while True:
            wait_seconds = self.breaker.wait_seconds(time.monotonic())
            if wait_seconds == 0.0:
                return self.breaker.begin()
            async with self._news:
                try:
                    async with asyncio.timeout(wait_seconds):
                        await self._news.wait()
                except TimeoutError:
                    continue

    async def pace(self) -> None:
        """Wait until the rate allows the next request."""
        if not self._requests_per_second:
            return
        now = time.monotonic()
        at = max(now, self._next_request)
        self._next_request = at + 1.0 / self._requests_per_second
        if at > now:
            await asyncio.sleep(at - now)

    async def tell(self, what: Callable[[], object] = lambda: None) -> None:
        """Do this to the breaker, where anything is to be done, and wake those who wait for it."""
        what()
        async with self._news:
            self._news.notify_all()
