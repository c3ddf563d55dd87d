"""The first half of a rebuild: the log's events become rows of new tables beside the old ones, through the same code as loads."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

import msgspec

from headrace.config import LoaderConfig
from headrace.errors import PositionError
from headrace.event import Event, hour_of
from headrace.loader.batch import Batch
from headrace.loader.conversions import refitted
from headrace.loader.loader import JOURNAL_BYTES, LOAD_CELLS
from headrace.loader.parts import read_up_to
from headrace.loader.rebuilt_ids import Judged, RebuiltIds
from headrace.loader.replacing import (
    INCARNATION,
    NOTES_COLUMNS,
    Moved,
    NotedDiscard,
    Plan,
    Replacing,
    beside,
    commit,
    consumer_of,
    noted,
    notes_of,
    plan_load,
)
from headrace.loader.retyping import BESIDE, HISTORY
from headrace.loader.selection import Selection, selector
from headrace.loader.standard import EXTRA
from headrace.loader.tables import Tables
from headrace.log.base import LogReader
from headrace.warehouses.base import HOUSEKEEPING, Columns, ColumnType, Hour, Load, Position, TableName, Warehouse
from headrace.workspace.records import Source

_KEPT_TYPE: Final = "a rebuild keeps the types of columns"


class Workplace(NamedTuple):
    """What a rebuild needs, on the thread of the warehouse's loader, between two loads.

    `consumer` is the loader's, up to whose positions the tables are rebuilt. `readers` may reach back to the archive: they
    are read from the first offset of their bounds. `selections` are those of now."""

    warehouse: Warehouse
    consumer: str
    readers: Sequence[LogReader]
    sources: Callable[[], Mapping[str, Source]]
    config: LoaderConfig
    stop: threading.Event
    selections: Callable[[], Mapping[str, Selection]] = dict
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    monotonic: Callable[[], float] = time.monotonic


class Advance(msgspec.Struct, frozen=True):
    """`read` of about `entries` entries of the log; `step` says what is being done: reading or replacing."""

    schema: str
    step: str
    read: int
    entries: int


class _Beside:
    """What a batch asks of the warehouse, asked of the new tables."""

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse

    def integers_within(self, table: TableName, column: str, bound: int) -> bool:
        return self._warehouse.integers_within(beside(table), column, bound)


class Build:
    """The first half: events become rows of new tables. Whatever it has done is undone by `clear`."""

    def __init__(
        self,
        place: Workplace,
        schema: str,
        only: Collection[str] | None,
        sources: Mapping[str, Source],
        progress: Callable[[Advance], None],
    ) -> None:
        warehouse = place.warehouse
        self._place = place
        self._schema = schema
        self._sources = sources
        self._progress = progress
        self._parts = _placed(place)
        self.entries = sum(end - reader.bounds().first for reader, end in self._parts)
        self.read = 0
        books = {hour: books for hour, books in warehouse.books().items() if hour.source in sources}
        self._filtered = {hour: counts.filtered for hour, counts in books.items() if counts.filtered}
        with_rejected = {hour.source for hour, counts in books.items() if counts.rejected}
        self._ids = RebuiltIds(warehouse, schema, with_rejected, timedelta(days=place.config.dedup_days))
        self._selections = {slug: chosen for slug, chosen in place.selections().items() if slug in sources}
        self._only = only
        self._stored = _of_schema(warehouse, schema)
        self._tables = self._seeded()
        position = warehouse.position(consumer_of(schema), 0)
        self._start = self._position = 0 if position is None else position.next
        newest = warehouse.latest_rows("loads", 1)["started"].to_pylist()
        self._loaded_at = max([place.now() - datetime.resolution, *newest])
        """Of the load before: rows of the rebuild are told from older ones by theirs."""
        self._began = self._loaded_at + datetime.resolution
        self._waiting: list[tuple[str, Hour, bool]] = []
        """Of the load that is being made: id and hour of each event that may be regained, and whether it repeats another."""
        self._rows_by_table: Counter[str] = Counter()
        self._regained: Counter[Hour] = Counter()
        self._repetitions: Counter[Hour] = Counter()
        self._columns: list[dict[str, Any]] = []
        self._create: dict[str, Columns] = {}
        self._add: dict[str, Columns] = {}

    def close(self) -> None:
        self._ids.close()

    def run(self) -> Replacing | None:
        """None when it was told to stop."""
        began = self._place.monotonic()
        for batch in self._loads():
            if self._place.stop.is_set():
                return None
            self._load(batch)
        if self._place.stop.is_set():
            return None
        plan = self._plan(self._place.monotonic() - began)
        commit(
            self._place.warehouse,
            plan_load(self._schema, plan, is_first=self._position == self._start),
            self._place.stop,
        )
        return Replacing.interrupted(self._place.warehouse, self._schema)

    def _seeded(self) -> Tables:
        """What the old tables teach: names and types of columns. Tables to rebuild count as not there yet."""
        config = self._place.config
        named = [column for column in self._place.warehouse.named_columns() if column.schema == self._schema]
        tables = Tables(self._stored, named, max_columns=config.max_columns, max_tables=config.max_tables)
        for name, table in tables.table_by_name.items():
            if name.table in HISTORY or (self._only is not None and name.table not in self._only):
                continue
            table.types_stored = {}
            integers = [column for column, kind in table.types.items() if kind is ColumnType.INTEGER]
            table.unwidenable.update(dict.fromkeys(integers, _KEPT_TYPE))
        return tables

    def _loads(self) -> Iterator[Batch]:
        """Batches, each to be committed before the next is asked for."""
        config = self._place.config
        batch, taken, size_bytes = self._batch(), 0, 0
        for events, part_bytes in self._events():
            rest = events
            while rest:
                count, rest = self._take(batch, rest)
                taken += count
                if rest:
                    yield batch
                    batch, taken, size_bytes = self._batch(), 0, 0
            size_bytes += part_bytes
            if taken >= config.load_events or size_bytes >= config.load_bytes or batch.cells >= LOAD_CELLS:
                yield batch
                batch, taken, size_bytes = self._batch(), 0, 0
        if taken:
            yield batch

    def _events(self) -> Iterator[tuple[Sequence[Event], int]]:
        """The sources' events, in parts, with the size of the part of the log."""
        for reader, end in self._parts:
            offset = reader.bounds().first
            while offset < end and not self._place.stop.is_set():
                part = read_up_to(reader, offset, end)
                if part.next > end or part.next == offset:
                    break  # what the log gives from here on is for later loads
                events = [entry for entry in part.entries if isinstance(entry, Event) and entry.source in self._sources]
                self.read += part.next - offset
                offset = part.next
                yield events, part.size_bytes

    def _batch(self) -> Batch:
        self._loaded_at = max(self._place.now(), self._loaded_at + datetime.resolution)
        return Batch(
            self._tables,
            self._ids,
            _Beside(self._place.warehouse),
            self._place.sources,
            self._loaded_at,
            self._selections,
            self._only,
            refitted,
        )

    def _take(self, batch: Batch, events: Sequence[Event]) -> tuple[int, Sequence[Event]]:
        """Give the batch those that are new: how many they are, and from where on it must be another batch, since one holds an
        id once only."""
        kept = [event for event in events if self._keeps(event)]
        fresh: list[Event] = []
        rest: Sequence[Event] = ()
        for place, judged in enumerate(self._ids.judged(kept)):
            if judged.is_new and judged.is_waiting:
                rest = kept[place:]
                break
            if judged.is_new:
                self._ids.take(judged)
                fresh.append(judged.event)
            if judged.is_regained:
                self._expect(judged)
        batch.add(fresh)
        return len(fresh), rest

    def _expect(self, judged: Judged) -> None:
        hour = Hour(judged.event.source, hour_of(judged.event.received_at))
        if judged.is_new or judged.is_waiting:
            self._waiting.append((judged.message_id, hour, not judged.is_new))
        else:
            self._repetitions[hour] += 1

    def _keeps(self, event: Event) -> bool:
        chosen = self._selections.get(event.source)
        return chosen is None or selector(chosen).keeps(event)

    def _load(self, batch: Batch) -> None:
        place = self._place
        position = Position(INCARNATION, self._position + 1)
        consumer = consumer_of(self._schema)
        load = batch.load(consumer, position, partition=0, start=self._position, seconds=0.0)
        commit(place.warehouse, self._redirected(load), place.stop)
        batch.committed()
        self._position += 1
        self._count_regained()
        self._progress(Advance(self._schema, "reading", self.read, self.entries))
        if place.warehouse.journal_bytes() > JOURNAL_BYTES:
            place.warehouse.checkpoint(force=True)

    def _redirected(self, load: Load) -> Load:
        """The same rows for the new tables; what concerns other tables waits for the plan."""
        notes = notes_of(self._schema)
        rows = {beside(name): of_table for name, of_table in load.rows.items() if name.schema == self._schema}
        create = {beside(name): columns for name, columns in load.create.items() if name.table not in HISTORY}
        add = {beside(name): columns for name, columns in load.add.items() if name.table not in HISTORY}
        widen = {beside(name): columns for name, columns in load.widen.items() if name.table not in HISTORY}
        for name, of_table in load.rows.items():
            if name.schema == self._schema:
                self._rows_by_table[name.table] += of_table.num_rows
        self._keep_for_later(load)
        if self._position == self._start:
            create[notes] = NOTES_COLUMNS
        discards = load.rows.get(TableName(HOUSEKEEPING, "discards"))
        if discards is not None:
            rows[notes] = self._noted(discards.to_pylist())
        return msgspec.structs.replace(
            load, rows=rows, create=create, add=add, widen=widen, upserts=(), books={}, touched=()
        )

    def _keep_for_later(self, load: Load) -> None:
        for name, columns in load.create.items():
            if name.table in HISTORY:
                self._create[name.table] = dict(columns)
        for name, columns in load.add.items():
            if name.table in HISTORY:
                self._create.get(name.table, self._add.setdefault(name.table, {})).update(columns)
        named = load.rows.get(TableName(HOUSEKEEPING, "columns"))
        if named is not None:
            self._columns += named.to_pylist()

    def _noted(self, discards: Iterable[Mapping[str, Any]]) -> Any:
        rows: list[tuple[str, datetime, datetime, NotedDiscard]] = []
        for row in discards:
            discard = NotedDiscard(*(row[field] for field in NotedDiscard._fields))
            rows.append((f"discard {self._position} {len(rows)}", discard.received_at, row["loaded_at"], discard))
        return noted(rows)

    def _count_regained(self) -> None:
        """What was expected of the load and did come in."""
        waiting, self._waiting = self._waiting, []
        for message_id, hour, is_repetition in waiting:
            if message_id in self._ids.loaded:
                counted = self._repetitions if is_repetition else self._regained
                counted[hour] += 1

    def _plan(self, seconds: float) -> Plan:
        self._loaded_at = max(self._place.now(), self._loaded_at + datetime.resolution)
        return Plan(
            self._position + 1,
            self._began,
            self._loaded_at,
            self.read,
            seconds,
            dict(self._rows_by_table),
            {table: columns for table in self._rows_by_table if (columns := self._restored(table))},
            self._moved(),
            self._columns,
            self._create,
            self._add,
        )

    def _moved(self) -> list[Moved]:
        """Never more than were filtered in that hour: an event that is in no table may also have been removed from it by hand."""
        moved = []
        for hour, filtered in self._filtered.items():
            loaded = min(self._regained[hour], filtered)
            duplicates = min(self._repetitions[hour], filtered - loaded)
            if loaded or duplicates:
                moved.append(Moved(*hour, loaded, duplicates))
        return moved

    def _restored(self, table: str) -> list[str]:
        """The columns of the old table whose values no event brings."""
        name = TableName(self._schema, table)
        known = self._tables.existing(name)
        selectors = [selector(chosen) for chosen in self._selections.values()]
        return [
            column
            for column in self._stored.get(name, {})
            if column not in known.standard
            and column != EXTRA
            and (
                column not in known.path_by_column
                or any(not chosen.keeps_column(table, column) for chosen in selectors)
            )
        ]


def _of_schema(warehouse: Warehouse, schema: str) -> Mapping[TableName, Columns]:
    return {
        name: columns
        for name, columns in warehouse.tables().items()
        if name.schema == schema and not name.table.startswith(BESIDE)
    }


def _placed(place: Workplace) -> Sequence[tuple[LogReader, int]]:
    """The readers, each with the offset before which everything is in the warehouse."""
    found = []
    for reader in place.readers:
        position = place.warehouse.position(place.consumer, reader.partition)
        if position is None:
            continue
        if position.incarnation != reader.incarnation:
            raise PositionError(
                f"rebuild: partition {reader.partition} of this log is {reader.incarnation}, but the warehouse was loaded from "
                f"{position.incarnation}; rebuild it with the data folder it belongs to"
            )
        found.append((reader, position.next))
    return found
