"""How many may do something costly at once: hash a password, ask a warehouse. Whoever waits holds a thread of the API, so few may wait, too."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from headrace.errors import RequestError


class Turns:
    """Safe to use from several threads. `at_once` have a turn, `waiting` more wait for one, up to `seconds`; whoever comes then is refused. Of these
    `of_one` of each at the most are the same owner's, so that nobody keeps others out. No turn may be asked for by whoever has one."""

    def __init__(
        self,
        at_once: int,
        waiting: int,
        seconds: float,
        refusal: Callable[[], RequestError],
        of_one: int | None = None,
    ) -> None:
        self._at_once, self._waiting, self._seconds, self._refusal = at_once, waiting, seconds, refusal
        self._of_one = of_one or at_once + waiting
        self._changed = threading.Condition()
        self._having: Counter[str] = Counter()
        self._waits: Counter[str] = Counter()

    @contextmanager
    def one(self, owner: str = "") -> Iterator[None]:
        """Raises the refusal."""
        with self._changed:
            if not self._is_free(owner):
                self._wait(owner)
            self._having[owner] += 1
        try:
            yield
        finally:
            with self._changed:
                self._having[owner] -= 1
                self._having = +self._having  # without owners of none
                self._changed.notify_all()

    def _is_free(self, owner: str) -> bool:
        return self._having.total() < self._at_once and self._having[owner] < self._of_one

    def _wait(self, owner: str) -> None:
        if self._waits.total() >= self._waiting or self._waits[owner] >= self._of_one:
            raise self._refusal()
        self._waits[owner] += 1
        try:
            ends = time.monotonic() + self._seconds
            if not self._changed.wait_for(lambda: self._is_free(owner), ends - time.monotonic()):
                raise self._refusal()
        finally:
            self._waits[owner] -= 1
            self._waits = +self._waits
