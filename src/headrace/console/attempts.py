"""How often somebody may try: passwords and codes. In memory; a restart begins anew."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

MOST_KEYS: Final = 20_000


class Limit(NamedTuple):
    """`tries` at once, then one in every `seconds`."""

    tries: int
    seconds: float


PEER: Final = Limit(15, 6.0)
ACCOUNT_HERE: Final = Limit(8, 30.0)
"""One account from one place, or from one browser that has logged in before."""
ACCOUNT: Final = Limit(100, 5.0)
"""One account from all places together, except from browsers that have logged in before: nobody shuts its owner out."""
CODE: Final = Limit(20, 30.0)


class Attempts:
    """Safe to use from several threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._turn = threading.Lock()
        self._full_at: OrderedDict[str, float] = OrderedDict()  # when a key has all its tries again

    def take(self, wanted: Sequence[tuple[str, Limit]]) -> float:
        """0.0, and one try of each key is taken; else the seconds until all of them have one, and nothing is taken."""
        with self._turn:
            now = self._clock()
            waits = [self._at(key, now) - now - (limit.tries - 1) * limit.seconds for key, limit in wanted]
            if max(waits) > 0:
                return max(waits)
            for key, limit in wanted:
                self._full_at[key] = self._at(key, now) + limit.seconds
                self._full_at.move_to_end(key)
            while len(self._full_at) > MOST_KEYS:
                self._full_at.popitem(last=False)
            return 0.0

    def give_back(self, wanted: Sequence[tuple[str, Limit]]) -> None:
        """It was right: the try does not count."""
        with self._turn:
            for key, limit in wanted:
                if key in self._full_at:
                    self._full_at[key] -= limit.seconds

    def _at(self, key: str, now: float) -> float:
        return max(self._full_at.get(key, now), now)
