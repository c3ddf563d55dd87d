"""A query's answer while it comes, and what ends it from outside."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final, Literal, NamedTuple

from headrace.errors import QueryError

CellKind = Literal[
    "boolean", "integer", "float", "decimal", "timestamp", "date", "time", "interval", "text", "bytes", "nested"
]
"""How the cells of a column are to be read; `_values.cells` says how they look. It says what the engine's name of the type leaves open."""
AGAIN_SECONDS: Final = 0.05
CANCELLED: Final = "query_cancelled"


class ReadColumn(NamedTuple):
    """`type` is the engine's name."""

    name: str
    type: str
    kind: CellKind


class Reading(NamedTuple):
    """`blocks` are rows of cells, read while the query runs; they raise QueryError, too. `rows_read` is how many rows of tables the engine
    read for it, where it says so; asked when the blocks are read."""

    columns: Sequence[ReadColumn]
    blocks: Iterator[Sequence[Sequence[Any]]]
    rows_read: Callable[[], int | None] = lambda: None


class Stop:
    """Ends one query. Whoever runs it says how (`by`); whoever wants it ended calls `stop`, from any thread, before or while it runs."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._end: Callable[[], None] | None = None
        self._wanted = threading.Event()

    @property
    def is_wanted(self) -> bool:
        return self._wanted.is_set()

    def check(self) -> None:
        """Raises QueryError when it is to end."""
        if self.is_wanted:
            raise QueryError("the query was cancelled", CANCELLED)

    def stop(self) -> None:
        """Returns at once. What runs is ended again and again until it has ended: what comes between two statements is lost."""
        with self._turn:
            if self._wanted.is_set():
                return
            self._wanted.set()
        threading.Thread(target=self._insist, name="query-stop", daemon=True).start()

    def _insist(self) -> None:
        pause = threading.Event()
        while True:
            with self._turn:  # `by` has not ended while this is held, so nothing else is hit
                if self._end is None:
                    return
                with suppress(Exception):
                    self._end()
            pause.wait(AGAIN_SECONDS)

    @contextmanager
    def by(self, end: Callable[[], None]) -> Iterator[None]:
        """Within, `end` ends what runs. Raises QueryError (query_cancelled) instead of an error that it caused."""
        with self._turn:
            self.check()
            self._end = end
        try:
            yield
        except QueryError:
            self.check()
            raise
        finally:
            with self._turn:
                self._end = None


def kind_of(type_: str) -> CellKind | None:
    """What an engine's name of a type says beyond its Arrow type; None where that suffices.

    >>> kind_of("HUGEINT"), kind_of("jsonb"), kind_of("VARCHAR")
    ('integer', 'nested', None)
    """
    return _KIND_BY_NAME.get(type_.casefold())


_KIND_BY_NAME: Final[dict[str, CellKind]] = {
    "hugeint": "integer",
    "uhugeint": "integer",
    "numeric": "decimal",
    "json": "nested",
    "jsonb": "nested",
    "super": "nested",
    "variant": "nested",
    "object": "nested",
    "array": "nested",
}
