"""The debugger of a server: the log and its archive live and backwards, and each event's way through warehouses and destinations."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Final

from headrace.app.delivery_accounts import Ask
from headrace.app.tracing import NAME, PLAIN, Tracer
from headrace.catalog import connectors
from headrace.collector.accept import WARNINGS
from headrace.console.debugger import EventTold
from headrace.console.tracing import Sight, Trace
from headrace.debugger import history
from headrace.debugger.choice import Choice
from headrace.debugger.history import EventPage
from headrace.debugger.position import Position
from headrace.debugger.shown import Stored, stored
from headrace.debugger.streams import Streams
from headrace.errors import NotFoundError, RequestError
from headrace.log.base import LogReader
from headrace.sources.base import SourceKind
from headrace.warehouses.base import QueryResult
from headrace.workspace.workspace import Workspace

PAGE_SECONDS: Final = 2.0
"""A page that takes longer ends where it is, and says so."""
_WAREHOUSE_UNDER_WAY: Final = frozenset(("pending", "unknown"))
_DESTINATION_UNDER_WAY: Final = frozenset(("waiting", "retrying"))
_BACKTICKS: Final = frozenset(("bigquery", "clickhouse"))


class Debugger:
    """May be called from any thread, the streams in the event loop."""

    def __init__(
        self, workspace: Workspace, readers: Callable[[], Sequence[LogReader]], tracer: Tracer, ask: Ask
    ) -> None:
        """`readers` opens readers of one's own, which are closed here."""
        self._workspace = workspace
        self._readers = readers
        self._tracer = tracer
        self._ask = ask
        self.streams = Streams(readers)

    def page(self, choice: Choice, before: str | None, until: datetime | None, limit: int) -> EventPage:
        """Raises RequestError."""
        if until is not None and until.tzinfo is None:
            raise RequestError("time_without_zone", "debugger: `until` has no zone; write 2026-03-01T12:00:00Z")
        ends = time.monotonic() + PAGE_SECONDS
        with self._opened() as readers:
            place = Position.read(before) if before is not None else None
            return history.page(readers, choice, place, until, limit, lambda: time.monotonic() > ends)

    def stored(self, partition: int, offset: int) -> Stored:
        """Raises NotFoundError."""
        with self._opened() as readers:
            return self._stored(readers, partition, offset)

    def told(self, message_id: str, since: str) -> EventTold:
        """Raises RequestError for a `since` that is no time."""
        return self._told(self._tracer.trace(message_id, since))

    def told_at(self, partition: int, offset: int) -> EventTold:
        """Raises NotFoundError."""
        return self._told(self._tracer.at(partition, offset))

    def rows(self, message_id: str, warehouse: str, schema: str, table: str) -> QueryResult:
        """All columns of an event's rows in one table. Raises NotFoundError."""
        record = self._workspace.warehouse(warehouse)
        if not NAME.fullmatch(schema) or not NAME.fullmatch(table):
            raise NotFoundError(
                f"debugger: there is no table {schema[:80]!r}.{table[:80]!r}; see: headrace warehouse show"
            )
        if not PLAIN.fullmatch(message_id):
            raise RequestError(
                "id_not_plain", "debugger: the id has characters that are not asked for in SQL; ask for it there"
            )
        place = f"{_quoted(record.kind, schema)}.{_quoted(record.kind, table)}"
        return self._ask(f"SELECT * FROM {place} WHERE id = '{message_id}'", record.slug)  # noqa: S608 - plain names and a plain id

    def end(self) -> None:
        self.streams.end()

    def _told(self, trace: Trace) -> EventTold:
        found: list[Stored] = []
        with self._opened() as readers:
            for sight in trace.sights:
                partition, offset = sight.accepted.partition, sight.accepted.offset
                if partition is not None and offset is not None:
                    with suppress(NotFoundError):
                        found.append(self._stored(readers, partition, offset))
        return EventTold(trace, found, all(_is_settled(sight) for sight in trace.sights))

    def _stored(self, readers: Sequence[LogReader], partition: int, offset: int) -> Stored:
        entry = history.entry_at(readers, partition, offset)
        return stored(partition, offset, entry, self._warnings(entry.source))

    def _warnings(self, slug: str) -> Mapping[str, str]:
        """In words, those of the collector and of the source's kind."""
        kind = next((one.kind for one in self._workspace.sources(include_removed=True) if one.slug == slug), None)
        found = connectors("headrace.sources", SourceKind).get(kind) if kind is not None else None
        own = found.warnings if found is not None and issubclass(found, SourceKind) else {}
        return {**WARNINGS, **own}

    @contextmanager
    def _opened(self) -> Iterator[Sequence[LogReader]]:
        readers = self._readers()
        try:
            yield readers
        finally:
            for reader in readers:
                reader.close()


def _is_settled(sight: Sight) -> bool:
    return not (
        any(one.outcome in _WAREHOUSE_UNDER_WAY for one in sight.warehouses)
        or any(one.outcome in _DESTINATION_UNDER_WAY for one in sight.destinations)
    )


def _quoted(kind: str, name: str) -> str:
    """As the engine writes names: a table may be called as a word of its SQL is. Snowflake keeps all in capitals.

    >>> _quoted("duckdb", "order"), _quoted("snowflake", "order"), _quoted("bigquery", "order")
    ('"order"', '"ORDER"', '`order`')
    """
    if kind in _BACKTICKS:
        return f"`{name}`"
    return f'"{name.upper() if kind == "snowflake" else name}"'
