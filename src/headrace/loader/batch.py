"""Entries of the log -> one load: the events' rows, the refused and rejected ones, the books."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final, Literal, Protocol

import msgspec

from headrace.errors import RejectedEventError
from headrace.event import Event, Hour, LogEntry, RejectedEvent, hour_of
from headrace.loader import rejected, values
from headrace.loader.blocks import Block
from headrace.loader.columns import Fit
from headrace.loader.growing import Growing, arrow_table
from headrace.loader.partition import Failure
from headrace.loader.parts import RowsOf
from headrace.loader.rows import Row, event_id, rows, tracks_only
from headrace.loader.selection import Selection, Selector, selector
from headrace.loader.tables import Table, Tables
from headrace.log.base import Gap
from headrace.warehouses.base import (
    HOUSEKEEPING,
    HOUSEKEEPING_TABLES,
    Books,
    ColumnType,
    Load,
    Position,
    TableName,
    Upsert,
)
from headrace.workspace.records import Source

SEEN_AGAIN_AFTER: Final = timedelta(hours=1)
"""`last_seen` of a column is written at most this often."""

WAITING_ALTOGETHER: Final = 8_192
"""Rows that may wait for company at the most; what waits is in memory as Python values."""

LATEST: Final = {"identifies": ("users", "user_id"), "groups": ("accounts", "group_id")}
"""The latest-state table of a history table, and the key's column in the history."""


def _repeated(events: Sequence[Event], fresh: Mapping[str, Event]) -> Collection[datetime]:
    """When those of the events were received that are not the fresh ones themselves."""
    if len(events) == len(fresh):
        return ()
    return [event.received_at for event in events if fresh.get(event_id(event)) is not event]


def _wanted(row: Row, chosen: Selector | None) -> Row:
    """A row of a table that cannot be made, without the properties that would have had no column there."""
    if chosen is None or chosen.keeps_all_columns:
        return row
    table = Table(TableName("", row.table), 0, {})
    leaves = {path: value for path, value in row.leaves.items() if chosen.keeps_column(row.table, table.asked(path))}
    return row._replace(leaves=leaves)


class KnownIds(Protocol):
    """What a batch asks of `duplicates.Duplicates`."""

    sources_with_rejected: set[str]

    def among(self, slug: str, schema: str | None, ids: Sequence[str]) -> set[str]: ...

    def add(self, schema: str, received_at_by_id: Mapping[str, datetime]) -> None: ...


class Integers(Protocol):
    """What a batch asks of the warehouse."""

    def integers_within(self, table: TableName, column: str, bound: int) -> bool: ...


class Batch:
    """What one load is made of. Afterwards `tables` knows the columns of this load as well: when the load comes to nothing,
    `tables` must be read from the warehouse again."""

    def __init__(
        self,
        tables: Tables,
        duplicates: KnownIds,
        warehouse: Integers,
        sources: Callable[[], Mapping[str, Source]],
        loaded_at: datetime,
        selections: Mapping[str, Selection] | None = None,
        only: Collection[str] | None = None,
        fit: Fit = values.fitted,
        block: Callable[[Sequence[Row]], Block] = Block,
    ) -> None:
        """`selections` says by source what is stored; everything of the others. `only` names the tables that get their rows;
        None: all. Raises ConfigError when a filter is wrong."""
        self._only = only
        self._fit = fit
        self._block = block
        self._selectors = {slug: selector(selection) for slug, selection in (selections or {}).items()}
        self._tables = tables
        self._duplicates = duplicates
        self._warehouse = warehouse
        self._ask_sources = sources
        self._sources = sources()
        self._loaded_at = loaded_at
        self._growing: dict[TableName, Growing] = {}
        self._books: dict[Hour, Books] = {}
        self._rejected: list[RejectedEvent] = []
        self._seen: dict[str, set[str]] = {}
        """Ids by source."""
        self._loaded: dict[str, dict[str, datetime]] = {}
        """received_at by id, by schema: what the filters of duplicates learn after the commit."""
        self.entries = 0

    @property
    def is_empty(self) -> bool:
        return not self.entries and not self._rejected

    @property
    def cells(self) -> int:
        """Values that the tables' columns hold so far, nulls included."""
        return sum(growing.cells for growing in self._growing.values())

    @property
    def tables(self) -> int:
        """That have rows so far."""
        return len(self._growing)

    def add(self, entries: Sequence[LogEntry], rows_of: RowsOf | None = None) -> None:
        """Take the next entries, in order. An event that cannot become a row is rejected; its neighbours proceed."""
        self.entries += len(entries)
        events_by_source: dict[str, list[Event]] = {}
        for entry in entries:
            if isinstance(entry, Event):
                events_by_source.setdefault(entry.source, []).append(entry)
            else:
                self._store_rejected(entry)
        for slug, events in events_by_source.items():
            self._add_events(slug, events, rows_of or rows)
        if sum(len(growing.waiting) for growing in self._growing.values()) >= WAITING_ALTOGETHER:
            self._settle()

    def _settle(self) -> None:
        for growing in self._growing.values():
            growing.settle()

    def add_refused(self, event: Event, reason: str) -> None:
        """Take an event that the warehouse did not."""
        self.entries += 1
        self._reject(event, "warehouse_refused", reason)

    def add_gap(self, gap: Gap) -> None:
        """What the log lost stands in headrace.rejected: accepted events as rejected, refused ones as refused."""
        where = f"events were lost at the log's offsets {gap.first} to {gap.next - 1}: {gap.reason}"
        for hour, lost in gap.lost_by_hour.items():
            if lost.accepted:
                self._add_lost(hour, "log", gap.code, where, lost.accepted)
            if lost.refused:
                self._add_lost(hour, "collector", gap.code, where, lost.refused)

    def _add_lost(self, of: Hour, stage: Literal["log", "collector"], code: str, reason: str, events: int) -> None:
        self._store_rejected(RejectedEvent(of.source, stage, code, reason, "", of.hour, None, events))

    def _reject(self, event: Event, code: str, reason: str) -> None:
        raw, message_id = rejected.raw(event), event_id(event)
        self._store_rejected(RejectedEvent(event.source, "loader", code, reason, raw, event.received_at, message_id))

    def _store_rejected(self, entry: RejectedEvent) -> None:
        self._rejected.append(entry)
        if entry.stage == "collector":
            self._count(entry.source, Books(refused=entry.events), [entry.received_at])
        else:
            self._count(entry.source, Books(rejected=entry.events), [entry.received_at])

    def _count(self, slug: str, each: Books, received_at: Collection[datetime]) -> None:
        """Add `each` to the books for every event received at one of these moments."""
        if not received_at:
            return
        hours = Counter({hour_of(min(received_at)): len(received_at)})
        if hour_of(max(received_at)) not in hours:
            hours = Counter(map(hour_of, received_at))
        for hour, events in hours.items():
            key = Hour(slug, hour)
            counts = Books(*(count * events for count in each))
            self._books[key] = self._books.get(key, Books()).plus(counts)

    def _add_events(self, slug: str, events: Sequence[Event], rows_of: RowsOf) -> None:
        source = self._source(slug)
        chosen = self._selectors.get(slug) if source else None
        if chosen is not None:
            events = self._chosen(slug, chosen, events)
        fresh = self._fresh(slug, source.schema if source else None, events)
        self._count(slug, Books(duplicates=1), _repeated(events, fresh))
        if source is None:
            for event in fresh.values():
                self._reject(event, "source_unknown", f"the workspace has no source {slug!r}")
            return
        loaded: dict[str, datetime] = {}
        rows_by_table: dict[str, list[Row]] = {}
        for message_id, event in fresh.items():
            of_event = self._rows(event, rows_of)
            if not of_event:
                continue
            if chosen is not None and not chosen.keeps_table(of_event[-1].table):
                of_event = of_event[:-1]  # the row in `tracks`
            elif of_event[-1].table not in rows_by_table:
                of_event = self._placed(source.schema, of_event, chosen)
            for row in of_event:
                rows_by_table.setdefault(row.table, []).append(row)
            loaded[message_id] = event.received_at
        self._add_rows(source.schema, rows_by_table, chosen)
        self._count(slug, Books(loaded=1), loaded.values())
        self._loaded.setdefault(source.schema, {}).update(loaded)

    def _add_rows(self, schema: str, rows_by_table: Mapping[str, Sequence[Row]], chosen: Selector | None) -> None:
        for table, of_table in rows_by_table.items():
            if self._only is None or table in self._only:
                self._grow(TableName(schema, table), chosen).add(of_table)

    def _rows(self, event: Event, rows_of: RowsOf) -> Sequence[Row]:
        """Empty for an event that cannot become a row: it is rejected."""
        try:
            return rows_of(event)
        except RejectedEventError as error:
            self._reject(event, error.code, error.reason)
        except Exception as error:  # noqa: BLE001  # whatever is wrong with one event, its neighbours proceed
            self._reject(event, "loader_error", f"{type(error).__name__}: {error}")
        return ()

    def _placed(self, schema: str, of_event: Sequence[Row], chosen: Selector | None) -> Sequence[Row]:
        """The rows of an event, if there is or can be a table for it; otherwise one in `tracks`."""
        if self._tables.table(TableName(schema, of_event[-1].table)) is not None:
            return of_event
        tracks, own = of_event
        return (tracks_only(tracks, _wanted(own, chosen)),)

    def _chosen(self, slug: str, chosen: Selector, events: Sequence[Event]) -> Sequence[Event]:
        """Those of which anything is stored. Each other one is counted, repetitions too: whether it was seen before is not known."""
        kept: list[Event] = []
        left_out: list[datetime] = []
        for event in events:
            if chosen.keeps(event):
                kept.append(event)
            else:
                left_out.append(event.received_at)
        self._count(slug, Books(filtered=1), left_out)
        return kept

    def _source(self, slug: str) -> Source | None:
        if slug not in self._sources:  # added since, just before its first events
            self._sources = self._ask_sources()
        return self._sources.get(slug)

    def _fresh(self, slug: str, schema: str | None, events: Sequence[Event]) -> dict[str, Event]:
        """The events whose id is new, by id: neither in this load yet, nor in the warehouse, nor rejected before."""
        seen = self._seen.setdefault(slug, set())
        fresh: dict[str, Event] = {}
        for event in events:
            message_id = event_id(event)
            if message_id not in seen:
                seen.add(message_id)
                fresh[message_id] = event
        for message_id in self._duplicates.among(slug, schema, list(fresh)):
            del fresh[message_id]
        return fresh

    def _grow(self, name: TableName, chosen: Selector | None) -> Growing:
        growing = self._growing.get(name)
        if growing is None:
            table = self._tables.existing(name)
            growing = self._growing[name] = Growing(
                table,
                self._warehouse.integers_within,
                None if chosen is None or chosen.keeps_all_columns else partial(chosen.keeps_column, name.table),
                self._fit,
                self._block,
            )
        return growing

    def load(
        self,
        consumer: str,
        position: Position,
        *,
        partition: int,
        start: int,
        seconds: float,
        failures: Sequence[Failure] = (),
    ) -> Load:
        """The transaction for everything added, which moves the consumer from `start` to `position`.
        `seconds` is how long making it took; `failures` came since the last load."""
        now = self._loaded_at
        self._settle()
        upserts = [upsert for growing in self._growing.values() for upsert in self._latest(growing)]
        changed = [growing.table for growing in self._growing.values()]
        changed += [self._tables.existing(upsert.table) for upsert in upserts]
        named, touched = self._seen_columns()
        arrow = {name: growing.arrow(now) for name, growing in self._growing.items()}
        counts = {f"{name.schema}.{name.table}": growing.rows for name, growing in self._growing.items()}
        span = (consumer, partition, position.incarnation, start, position.next)
        housekeeping: dict[str, Sequence[Sequence[Any]]] = {
            "rejected": [rejected.row(entry, now) for entry in self._rejected],
            "discards": [(*discard, now) for growing in self._growing.values() for discard in growing.discards],
            "columns": named,
            "loads": [
                *((consumer, *failure[:4], "{}", 0, failure.when, 0.0, failure.error) for failure in failures),
                (*span, msgspec.json.encode(counts).decode(), self.entries, now, seconds, "ok"),
            ],
        }
        for table, of_table in housekeeping.items():
            if of_table:
                arrow[TableName(HOUSEKEEPING, table)] = arrow_table(HOUSEKEEPING_TABLES[table], of_table)
        return Load(
            *span,
            arrow,
            create={table.name: dict(table.types) for table in changed if not table.types_stored},
            add={table.name: added for table in changed if table.types_stored and (added := table.added())},
            widen={table.name: widened for table in changed if (widened := table.widened())},
            upserts=upserts,
            books=self._books,
            touched=touched,
            started=now,
        )

    def _latest(self, growing: Growing) -> Iterable[Upsert]:
        schema, history = growing.table.name
        if history not in LATEST:
            return
        latest, key = LATEST[history]
        if not growing.has_values(key):
            return
        table = self._tables.existing(TableName(schema, latest))
        own = [column for column in growing.columns() if column not in growing.table.standard]
        # A latest-state column that cannot become float keeps what it has; `status` names what holds it.
        own = [column for column in own if not self._is_held(table, column, growing.table.types[column])]
        for column in own:
            kind = growing.table.types[column]
            if table.types.setdefault(column, kind) is ColumnType.INTEGER and kind is ColumnType.FLOAT:
                table.types[column] = kind
        yield Upsert(table.name, growing.table.name, key, own)

    @staticmethod
    def _is_held(latest: Table, column: str, kind: ColumnType) -> bool:
        return (
            kind is ColumnType.FLOAT
            and latest.types_stored.get(column) is ColumnType.INTEGER
            and column in latest.unwidenable
        )

    def _seen_columns(self) -> tuple[list[tuple[Any, ...]], list[tuple[str, str, str]]]:
        """The rows of headrace.columns for new columns, and the known ones to touch."""
        now = self._loaded_at
        new: list[tuple[Any, ...]] = []
        touched: list[tuple[str, str, str]] = []
        for name, growing in self._growing.items():
            table = growing.table
            for column in growing.columns():
                path = table.path_by_column.get(column)
                last_seen = table.last_seen_by_column.get(column)
                if path is None or (last_seen is not None and now - last_seen < SEEN_AGAIN_AFTER):
                    continue
                if last_seen is None:
                    new.append((*name, column, path, table.types[column].value, now, now))
                else:
                    touched.append((*name, column))
                table.last_seen_by_column[column] = now
        return new, touched

    def received(self) -> Iterable[datetime]:
        """When the events of which rows are stored were received."""
        return (at for received_at_by_id in self._loaded.values() for at in received_at_by_id.values())

    def committed(self) -> None:
        """Called when the load is in the warehouse."""
        for name, growing in self._growing.items():
            growing.table.stored_as_known()
            if name.table in LATEST and growing.has_values(LATEST[name.table][1]):
                self._tables.existing(TableName(name.schema, LATEST[name.table][0])).stored_as_known()
        for schema, received_at_by_id in self._loaded.items():
            self._duplicates.add(schema, received_at_by_id)
        self._duplicates.sources_with_rejected.update(
            key.source for key, books in self._books.items() if books.rejected
        )
