"""How many may do something costly at once: hash a password, ask a warehouse. Whoever waits holds a thread of the API, so few may wait, too."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from headrace.errors import RequestError


class Turns:
    """Safe to use from several threads. `at_once` have a turn, `waiting` more wait for one, up to `seconds`; whoever comes then is refused.
    None may be asked for by whoever has one."""

    def __init__(self, at_once: int, waiting: int, seconds: float, refusal: Callable[[], RequestError]) -> None:
        self._free = threading.BoundedSemaphore(at_once)
        self._room = threading.BoundedSemaphore(at_once + waiting)
        self._seconds = seconds
        self._refusal = refusal

    @contextmanager
    def one(self) -> Iterator[None]:
        """Raises the refusal."""
        if not self._room.acquire(blocking=False):
            raise self._refusal()
        try:
            if not self._free.acquire(timeout=self._seconds):
                raise self._refusal()
            try:
                yield
            finally:
                self._free.release()
        finally:
            self._room.release()
