"""The ids of a rebuild, exact and of any number, in a private file that vanishes: which events have their rows already.

The old tables say which of several events with one id became its row: that one becomes it again, wherever the log begins now
and in whatever order its partitions are read. For ids that the old tables do not have, the first event within the window does.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

import pyarrow as pa

from headrace.event import Event
from headrace.loader.columns import ARROW_TYPES
from headrace.loader.rows import event_id
from headrace.warehouses.base import HISTORY_TABLES, ColumnType, TableName, Warehouse

EPOCH: Final = datetime.fromisoformat("1970-01-01T00:00:00+00:00")
CACHE_KILOBYTES: Final = 32_768

Moments = dict[int, bool]
"""Microseconds of received_at of an id's rows, and whether the row is regained: the old tables do not have its id."""


class Judged(NamedTuple):
    """`moment` is its received_at in microseconds. `is_new`: the event is to become a row. `is_waiting`: another one with its id is in the load that is being made.
    `is_regained`: it, or what it repeats, is in no old table."""

    event: Event
    message_id: str
    moment: int
    is_new: bool
    is_waiting: bool
    is_regained: bool


class RebuiltIds:
    """What `Batch` asks of `Duplicates`, and more. One thread."""

    def __init__(
        self, warehouse: Warehouse, schema: str, sources_with_rejected: Iterable[str], window: timedelta
    ) -> None:
        self.sources_with_rejected = set(sources_with_rejected)
        self.loaded: Mapping[str, datetime] = {}
        """received_at by id, of the last load."""
        self._warehouse = warehouse
        self._window = _microseconds(window)
        self._in_load: dict[str, Moments] = {}
        # A database without a name is a file that vanishes when it is closed.
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.execute("PRAGMA journal_mode = OFF")
        self._database.execute("PRAGMA synchronous = OFF")
        self._database.execute(f"PRAGMA cache_size = -{CACHE_KILOBYTES}")
        self._database.execute("CREATE TABLE old (id TEXT, received_at INTEGER)")
        self._database.execute(
            "CREATE TABLE new (id TEXT, received_at INTEGER, is_regained INTEGER, PRIMARY KEY (id, received_at)) WITHOUT ROWID"
        )
        self._read_old(schema)

    def _read_old(self, schema: str) -> None:
        stored = self._warehouse.tables()
        self._database.execute("BEGIN")
        for name in (TableName(schema, table) for table in HISTORY_TABLES):
            for block in self._warehouse.column_values(name, "id") if name in stored else ():
                moments = block["received_at"].cast(ARROW_TYPES[ColumnType.TIMESTAMP]).cast(pa.int64())
                rows = zip(block["id"].to_pylist(), moments.to_pylist(), strict=True)
                self._database.executemany("INSERT INTO old VALUES (?, ?)", rows)
        self._database.execute("COMMIT")
        # Sorted at once, which is much cheaper than row by row.
        self._database.execute("CREATE INDEX old_ids ON old (id, received_at)")

    def close(self) -> None:
        self._database.close()

    def among(self, slug: str, schema: str | None, ids: Sequence[str]) -> set[str]:  # noqa: ARG002 - the signature of Duplicates
        """Those that the loader rejected when they came: they stay rejected."""
        return self._warehouse.rejected_ids(slug, ids) if slug in self.sources_with_rejected else set()

    def add(self, schema: str, received_at_by_id: Mapping[str, datetime]) -> None:  # noqa: ARG002 - as above
        """Asked after the commit of the load."""
        in_load, self._in_load = self._in_load, {}
        self.loaded = received_at_by_id
        rows = [
            (message_id, moment := _of(received_at), in_load[message_id][moment])
            for message_id, received_at in received_at_by_id.items()
        ]
        self._database.execute("BEGIN")
        self._database.executemany("INSERT INTO new VALUES (?, ?, ?)", rows)
        self._database.execute("COMMIT")

    def take(self, judged: Judged) -> None:
        """The event is in the load that is being made."""
        self._in_load.setdefault(judged.message_id, {})[judged.moment] = judged.is_regained

    def judged(self, events: Sequence[Event]) -> Iterator[Judged]:
        """Of a part of the log; what was taken of the events before is known at each."""
        ids = sorted({event_id(event) for event in events})
        old = self._found("old", "1", ids)
        new = self._found("new", "is_regained", ids)
        for event in events:
            message_id, moment = event_id(event), _of(event.received_at)
            in_load = self._in_load.get(message_id, {})
            known = {**new.get(message_id, {}), **in_load}
            of_old = old.get(message_id)
            if of_old is not None:
                is_new, is_regained = moment in of_old and moment not in known, False
            else:
                near = [regained for other, regained in known.items() if abs(moment - other) <= self._window]
                is_new, is_regained = not near, not near or any(near)
            yield Judged(event, message_id, moment, is_new, bool(in_load), is_regained)

    def _found(self, table: str, regained: str, ids: Sequence[str]) -> dict[str, Moments]:
        places = ", ".join("?" * len(ids))
        found: dict[str, Moments] = {}
        for message_id, moment, is_regained in self._database.execute(
            f"SELECT id, received_at, {regained} FROM {table} WHERE id IN ({places})",  # noqa: S608 - names of this file
            ids,
        ):
            found.setdefault(message_id, {})[moment] = bool(is_regained)
        return found


def _of(moment: datetime) -> int:
    return _microseconds(moment - EPOCH)


def _microseconds(span: timedelta) -> int:
    return span // timedelta(microseconds=1)
