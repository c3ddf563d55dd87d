"""The sessions of a warehouse: one for the loader, others for whoever asks, opened when needed and again when broken."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from headrace.errors import ConfigError
from headrace.warehouses._session import Session

IDLE: Final = 4
"""Sessions that are kept open for the next who asks."""
CLOSE_SECONDS: Final = 10.0


class Sessions:
    """Any thread may ask for a session; each is one thread's until it is given back."""

    def __init__(self, connect: Callable[[], Session]) -> None:
        self._connect = connect
        self._loading = threading.RLock()
        self._loader: Session | None = None
        self._changed = threading.Condition()
        self._idle: list[Session] = []
        self._busy: set[Session] = set()
        self._closed = False

    @contextmanager
    def loading(self) -> Iterator[Session]:
        """The loader's own session. Its holder alone uses it; the same thread may ask again within."""
        with self._loading:
            if self._loader is not None and self._loader.is_broken:
                self._loader.close()
                self._loader = None
            self._check_open()
            if self._loader is None:
                self._loader = self._connect()
            yield self._loader

    @contextmanager
    def asking(self) -> Iterator[Session]:
        """A session for one question."""
        session = self._taken()
        try:
            yield session
        finally:
            with self._changed:
                self._busy.discard(session)
                is_kept = not session.is_broken and not self._closed and len(self._idle) < IDLE
                if is_kept:
                    self._idle.append(session)
                self._changed.notify_all()
            if not is_kept:
                session.close()

    def _taken(self) -> Session:
        while True:
            with self._changed:
                self._check_open()
                session = self._idle.pop() if self._idle else None
            if session is None or session.is_fit():
                break
            # The server was restarted, or ended what stood idle.
            session.close()
        session = session or self._connect()
        with self._changed:
            self._busy.add(session)
        return session

    def _check_open(self) -> None:
        if self._closed:
            raise ConfigError("warehouse: it is closed already")

    def close(self) -> None:
        """Ends what runs, more than once: a cancellation between two statements is lost. Safe to call twice."""
        until = time.monotonic() + CLOSE_SECONDS
        with self._changed:
            self._closed = True
            while self._busy and time.monotonic() < until:
                for session in self._busy:
                    session.cancel()
                self._changed.wait(0.05)
            idle, self._idle = self._idle, []
        for session in idle:
            session.close()
        with self._loading:
            if self._loader is not None:
                self._loader.close()
                self._loader = None
