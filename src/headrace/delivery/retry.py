"""When an event is tried again, and when a destination as a whole is left in peace. Pure: clock and chance are parameters.

Full jitter (https://aws.amazon.com/builders-library/timeouts-retries-and-backoff-with-jitter/): any time up to 1 s after the first
attempt, up to 2 s after the second, doubling to 5 min.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final, Literal

FIRST_SECONDS: Final = 1.0
LONGEST_SECONDS: Final = 300.0
LONGEST_PROBE_SECONDS: Final = 30.0
"""While a destination is down it is asked this often at the least: once it is back, nobody waits longer."""
LONGEST_ASKED_SECONDS: Final = 3_600.0
"""A Retry-After beyond this is taken as this."""
FAILURES: Final = 5
"""So many requests in a row that come to nothing open the circuit."""

Chance = Callable[[], float]
"""A number from 0 to 1."""


def delay_seconds(attempts: int, asked_seconds: float | None, chance: Chance = random.random) -> float:
    """How long after the last of `attempts` (1 or more) attempts the next one comes. The tool's Retry-After is honoured."""
    jittered = chance() * min(LONGEST_SECONDS, FIRST_SECONDS * 2.0 ** min(attempts - 1, 30))
    return max(jittered, min(asked_seconds or 0.0, LONGEST_ASKED_SECONDS))


BreakerState = Literal["closed", "open", "half-open"]


class Breaker:
    """Closed: requests go out. Open, after several that came to nothing in a row or where the tool asks for a pause: none does.
    Half-open, when the pause is over: one does, and decides. Nothing is lost meanwhile: events wait in the log.

    Times are seconds of any clock that does not go back."""

    def __init__(self, chance: Chance = random.random) -> None:
        self._chance = chance
        self._failures = 0
        self._pauses = 0
        self._open_until: float | None = None
        self._is_probing = False

    @property
    def is_open(self) -> bool:
        return self._open_until is not None

    @property
    def open_until(self) -> float | None:
        """When the next one may be tried; None while it is closed."""
        return self._open_until

    def state(self, now: float) -> BreakerState:
        if self._open_until is None:
            return "closed"
        return "open" if now < self._open_until or self._is_probing else "half-open"

    def wait_seconds(self, now: float) -> float | None:
        """How long nobody may send; 0 now; None while a probe is on its way, whose end decides."""
        if self._open_until is None:
            return 0.0
        if self._is_probing:
            return None
        return max(0.0, self._open_until - now)

    def begin(self) -> bool:
        """Call it when `wait_seconds` is 0, right before a request. Whether that is the probe."""
        if self._open_until is None:
            return False
        self._is_probing = True
        return True

    def succeeded(self) -> bool:
        """A request brought something about. Whether that closed the circuit."""
        was_open = self._open_until is not None
        self._failures = self._pauses = 0
        self._open_until = None
        self._is_probing = False
        return was_open

    def failed(self, now: float, asked_seconds: float | None = None, *, was_probe: bool = False) -> bool:
        """A request came to nothing. Whether the circuit is open now, and was not before."""
        self._failures += 1
        if was_probe:
            self._is_probing = False
        elif self._open_until is not None:
            # One of those that were on their way when the circuit opened.
            self._pause_as_asked(now, asked_seconds)
            return False
        if was_probe or self._failures >= FAILURES or asked_seconds:
            was_open = self._open_until is not None
            self._open(now, asked_seconds)
            return not was_open
        return False

    def abandoned(self) -> None:
        """The probe found nothing to send, or was cancelled."""
        self._is_probing = False

    def _open(self, now: float, asked_seconds: float | None) -> None:
        longest = min(LONGEST_PROBE_SECONDS, FIRST_SECONDS * 2.0 ** min(self._pauses, 30))
        self._pauses += 1
        # Half of it for certain: many servers that come back at once find it spread, and none is asked without end.
        self._open_until = now + longest * (0.5 + 0.5 * self._chance())
        self._pause_as_asked(now, asked_seconds)

    def _pause_as_asked(self, now: float, asked_seconds: float | None) -> None:
        if asked_seconds and self._open_until is not None:
            self._open_until = max(self._open_until, now + min(asked_seconds, LONGEST_ASKED_SECONDS))
