"""When the tables that are made from those of the events are carried on: between loads, at most a share of the time, whatever goes wrong."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final, NamedTuple, Protocol

from headrace.errors import RetryableError
from headrace.warehouses.base import Columns, TableName

logger = logging.getLogger(__name__)

SHARE: Final = 0.2
"""Of the loader's time at the most, while events come in: a quarter of what the loads may take."""
RETRY_SECONDS: Final = 5.0
BROKEN_SECONDS: Final = 60.0
NOTICE_SECONDS: Final = 0.5
"""How soon other settings, or what was loaded after a rest, are noticed."""


class Step(Protocol):
    """What an increment did."""

    @property
    def rows(self) -> int: ...
    @property
    def is_more(self) -> bool: ...


class Model(Protocol):
    def step(self, tables: Mapping[TableName, Columns]) -> Step:
        """One increment, in one transaction. Raises WarehouseUnavailableError for what may pass."""
        ...


class DerivedState(NamedTuple):
    """`is_behind`: loads wait to be taken up. `error`: why the last increment came to nothing."""

    is_behind: bool
    last_at: datetime | None
    last_seconds: float | None
    error: str | None


class Deriving:
    """Only the loader's thread calls it; `state` may be asked from any."""

    def __init__(
        self,
        model: Callable[[], Model | None],
        interval_seconds: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`model` gives another object when what was chosen has changed; None: there is none for this warehouse. `interval_seconds`:
        from one increment to the next while nothing waits but what came in meanwhile."""
        self._model = model
        self._interval_seconds = interval_seconds
        self._monotonic = monotonic
        self._current: Model | None = None
        self._is_behind = True
        self._next = monotonic()
        self._state = DerivedState(is_behind=True, last_at=None, last_seconds=None, error=None)

    @property
    def state(self) -> DerivedState:
        return self._state._replace(is_behind=self._is_behind)

    def loaded(self) -> None:
        """There are new rows, or other tables."""
        self._is_behind = True

    def is_due(self) -> bool:
        if self._monotonic() < self._next:
            return False
        try:
            model = self._model()
        except Exception as error:  # noqa: BLE001 -- what was chosen cannot be read now: no reason not to load
            self._failed(error, RETRY_SECONDS)
            self._is_behind = True  # the increment that follows takes the error away
            return False
        if model is not self._current:
            self._current, self._is_behind = model, True
        if self._is_behind and model is not None:
            return True
        self._next = self._monotonic() + NOTICE_SECONDS
        return False

    def step(self, tables: Callable[[], Mapping[TableName, Columns]], *, in_haste: bool) -> bool:
        """One increment; False when it came to nothing. `in_haste`: loads wait meanwhile."""
        assert self._current is not None  # noqa: S101 -- `is_due` said so
        began = self._monotonic()
        try:
            done = self._current.step(tables())
        except RetryableError as error:
            self._failed(error, RETRY_SECONDS)
            return False
        except Exception as error:  # noqa: BLE001 -- a fault of the model must not keep events from being loaded
            self._failed(error, BROKEN_SECONDS)
            return False
        seconds = self._monotonic() - began
        self._is_behind = done.is_more
        share = seconds * (1 / SHARE - 1)
        if done.is_more:
            self._next = began + seconds + (share if in_haste else 0)
        else:
            self._next = began + max(self._interval_seconds, seconds + share)
        self._state = DerivedState(done.is_more, datetime.now(UTC), seconds, None)
        return True

    def _failed(self, error: Exception, pause_seconds: float) -> None:
        text = f"{type(error).__name__}: {error}"
        if self._state.error != text:
            logger.error("email model: tried again in %d s: %s", pause_seconds, text)
        self._state = self._state._replace(error=text)
        self._next = self._monotonic() + pause_seconds
