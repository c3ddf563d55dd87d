"""Tables made anew from log and archive: beside the old ones, then in their place. Rows that neither has any more are carried over.

The same job is the backfill of what a selection left out: events that are stored now move in the books from filtered to loaded.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from typing import Final

import msgspec

from headrace.errors import ConfigError, HeadraceError, NotFoundError
from headrace.loader.building import Advance, Build, Workplace
from headrace.loader.replacing import Replacing, clear, commit, consumer_of
from headrace.loader.retyping import BESIDE, HISTORY, discards_of, known_table
from headrace.loader.selection import selector
from headrace.names import STANDARD_TABLES
from headrace.warehouses.base import Load, TableName, Warehouse
from headrace.workspace.records import Source

TRACKS: Final = "tracks"


class RebuiltTable(msgspec.Struct, frozen=True):
    """`rows` were made from events, `carried` over from the old table."""

    table: str
    rows: int
    carried: int


class Rebuilt(msgspec.Struct, frozen=True):
    """`regained` events were filtered before and are loaded now, `repetitions` of them count as duplicates. `resumed` tells that
    a rebuild which had been interrupted was ended first."""

    schema: str
    tables: Sequence[RebuiltTable]
    entries: int
    regained: int
    repetitions: int
    discards: int
    seconds: float
    is_complete: bool = True
    """False when it was told to stop: then everything is as it was before."""
    resumed: bool = False


class Rebuild(msgspec.Struct, frozen=True):
    """Of one table, or of a whole schema. An event's table takes `tracks` along, where each of its events has a row, too;
    `users` and `accounts` stand for `identifies` and `groups`, and are computed anew with them."""

    schema: str
    table: str | None = None

    @staticmethod
    def parsed(name: str) -> Rebuild:
        """From `shop` or `shop.order_completed`. Raises ConfigError."""
        schema, dot, table = name.partition(".")
        if not schema or "." in table or (dot and not table):
            raise ConfigError(f"rebuild: expected SCHEMA or SCHEMA.TABLE, found {name!r}")
        return Rebuild(schema, table or None)

    def run(self, place: Workplace, progress: Callable[[Advance], None] = lambda _: None) -> Rebuilt:
        """Raises ConfigError, PositionError, WideningRefusedError and WarehouseUnavailableError; safe to call again after each.

        Whoever knows the warehouse's tables and ids must read them again afterwards, also after an error."""
        began = place.monotonic()
        sources = {slug: source for slug, source in place.sources().items() if source.schema == self.schema}
        if not sources:
            raise NotFoundError(f"rebuild: no source has the schema {self.schema!r}; `headrace source list` shows them")
        interrupted = Replacing.interrupted(place.warehouse, self.schema)
        _make_again(place.warehouse, self.schema, interrupted, place.stop)
        if interrupted is not None:
            interrupted.run(place.stop)
        clear(place.warehouse, self.schema)
        build = Build(place, self.schema, self._only(place, sources), sources, progress)
        replacing: Replacing | None = None
        try:
            replacing = build.run()
        finally:
            build.close()
            if replacing is None:
                with suppress(HeadraceError, ValueError):
                    clear(place.warehouse, self.schema)
        if replacing is None:
            seconds = place.monotonic() - began
            return Rebuilt(self.schema, (), 0, 0, 0, 0, seconds, is_complete=False, resumed=interrupted is not None)
        progress(Advance(self.schema, "replacing", build.read, build.entries))
        replacing.run(place.stop)
        return self._outcome(place, replacing, began, resumed=interrupted is not None)

    def _only(self, place: Workplace, sources: Mapping[str, Source]) -> Collection[str] | None:
        """The tables to rebuild; None: all of the schema."""
        if self.table is None:
            return None
        table = HISTORY.get(self.table, self.table)
        may_be_left_out = any(
            books.filtered for hour, books in place.warehouse.books().items() if hour.source in sources
        )
        if not may_be_left_out:
            known_table(place.warehouse.tables(), TableName(self.schema, table), "rebuild")
        chosen = place.selections()
        if not any(slug not in chosen or selector(chosen[slug]).keeps_table(table) for slug in sources):
            raise ConfigError(
                f"rebuild: the selection leaves out {self.schema}.{table}; change the selection first, or leave the table as it is"
            )
        return {table} if table in STANDARD_TABLES else {table, TRACKS}

    def _outcome(self, place: Workplace, replacing: Replacing, began: float, *, resumed: bool) -> Rebuilt:
        plan = replacing.plan
        tables = [
            RebuiltTable(table, rows, replacing.carried_by_table.get(table, 0))
            for table, rows in plan.rows_by_table.items()
        ]
        discards = discards_of(place.warehouse, self.schema)["table"].to_pylist()
        return Rebuilt(
            self.schema,
            tables,
            plan.entries,
            sum(moved.loaded for moved in plan.books),
            sum(moved.duplicates for moved in plan.books),
            sum(table in plan.rows_by_table for table in discards),
            place.monotonic() - began,
            resumed=resumed,
        )


def end_interrupted(warehouse: Warehouse, stop: threading.Event) -> Sequence[str]:
    """End what a kill cut off after its plan stood, before anything is loaded: the books have moved already. Returns the schemas.

    Raises what `Rebuild.run` raises; safe to call again."""
    ended = []
    for schema in sorted({name.schema for name in warehouse.tables() if name.table == BESIDE}):
        interrupted = Replacing.interrupted(warehouse, schema)
        if interrupted is not None:
            _make_again(warehouse, schema, interrupted, stop)
            interrupted.run(stop)
            clear(warehouse, schema)
            ended.append(schema)
    return ended


def _make_again(warehouse: Warehouse, schema: str, interrupted: Replacing | None, stop: threading.Event) -> None:
    """A per-table warehouse wants a load that was cut off once more. Its tables are removed next, save when it was the plan's."""
    unfinished = warehouse.unfinished(consumer_of(schema), 0)
    if unfinished is None or (interrupted is not None and interrupted.plan.position == unfinished.start):
        return
    span = (consumer_of(schema), 0, unfinished.incarnation, unfinished.start, unfinished.end)
    commit(warehouse, Load(*span, {}, started=unfinished.loaded_at), stop)
