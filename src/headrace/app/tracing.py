"""Where is my event: from the log or the archive to every warehouse and destination, by its messageId.

The id is looked for where it can be found at once (the destinations' books, the warehouses); only when nobody knows it the log is read, backwards.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from headrace.app import folder, reach
from headrace.app.archiving import Archive
from headrace.app.deliveries import FOLDER
from headrace.app.delivery_accounts import Ask, DeliveryAccounts, StatusOf, told_by
from headrace.config import Config
from headrace.console.status import WarehouseStatus
from headrace.console.tracing import Accepted, Row, Sight, Trace, in_warehouse, steps_of
from headrace.debugger import history
from headrace.delivery import trace as of_books
from headrace.delivery.account import minute_at, period, time_of
from headrace.delivery.trace import Fate, Sighting
from headrace.errors import HeadraceError, PositionError, RequestError
from headrace.event import Event, LogEntry
from headrace.log.base import LogReader
from headrace.log.sqlite import SqliteLog
from headrace.warehouses.base import HISTORY_TABLES
from headrace.workspace.records import Source, Warehouse
from headrace.workspace.workspace import Workspace

SLICE_ENTRIES: Final = 5_000
SLICE_BYTES: Final = 8_000_000
AROUND_ENTRIES: Final = 500_000
"""So many entries are looked at at the most around the minute in which a warehouse says that the event was received."""
SCAN_WAIT_SECONDS: Final = 10.0
"""One looks through the log at a time: it may be long, and the loaders need the processor."""
MOST_SIGHTS: Final = 20
PLAIN: Final = re.compile(r"[\w.:@+/=~-]{1,500}", re.ASCII)
"""Ids that are the same text in the SQL of every engine."""
NAME: Final = re.compile(r"[a-z_][a-z0-9_]*")
TABLE_BY_TYPE: Final = dict(zip(("track", "identify", "group", "page", "screen", "alias"), HISTORY_TABLES, strict=True))

OnProgress = Callable[[int, int], object]
"""Told how many parts of the log were read, of how many."""


class _Entry(NamedTuple):
    partition: int
    offset: int
    entry: LogEntry


class _Known(NamedTuple):
    """What a warehouse has of the id: rows by source, and what stands in headrace.rejected as (source, stage, code, reason, received_at)."""

    rows: Mapping[str, Sequence[Row]]
    rejected: Sequence[Sequence[Any]]
    problem: str


class Tracer:
    """One trace after another; each opens readers of its own."""

    def __init__(
        self,
        config: Config,
        workspace: Workspace,
        accounts: DeliveryAccounts,
        readers: Callable[[], Sequence[LogReader]],
        status: StatusOf,
        ask: Ask,
    ) -> None:
        self._folder = config.folder / FOLDER
        self._workspace = workspace
        self._accounts = accounts
        self._open_readers = readers
        self._status = status
        self._ask = ask
        self._scanning = threading.Lock()

    def trace(self, message_id: str, since: str = "24h", on_progress: OnProgress = lambda *_: None) -> Trace:
        """`since` is how far the log is read for an id that nobody knows. Raises RequestError for one that is no time."""
        first = period(since, now=datetime.now(UTC)).since
        sources = {source.slug: source for source in self._workspace.sources(include_removed=True)}
        warehouses = {record.slug: record for record in self._workspace.warehouses()}
        statuses = [one for one in self._status(0.0).warehouses if one.warehouse is not None]
        known = {slug: self._in_warehouse(slug, message_id, sources.values()) for slug in warehouses}
        with _closing(self._open_readers()) as readers:
            found = self._seen(readers, message_id, known)
            looked_back_to: datetime | None = None
            if not found and not any(known_.rejected for known_ in known.values()):
                looked_back_to = first
                found = self._scanned(readers, message_id, minute_at(first), on_progress)
        accepted = [_accepted(entry) for entry in found[:MOST_SIGHTS]] or _refused(known)
        sights = [self._sight(one, warehouses, statuses, known) for one in accepted]
        if not sights and any(of.rows for of in known.values()):
            sights = [self._row_alone(source, warehouses, statuses, known) for source in _sources_with_rows(known)]
        notes = [f"warehouse {slug}: {of.problem}" for slug, of in known.items() if of.problem]
        if len(found) > MOST_SIGHTS:
            notes.append(f"the id was sent {len(found)} times; the first {MOST_SIGHTS} are shown")
        steps = [step for sight in sights for step in steps_of(sight)]
        if not sights:
            steps = [_never_seen(message_id, first)]
        return Trace(message_id, bool(sights), steps, sights, looked_back_to, notes)

    def at(self, partition: int, offset: int) -> Trace:
        """Of the event at a place of the log. A warehouse is asked only when its turn is over, for this event alone, so that it may be asked
        again and again. Raises NotFoundError."""
        with _closing(self._open_readers()) as readers:
            entry = history.entry_at(readers, partition, offset)
        accepted = _accepted(_Entry(partition, offset, entry))
        source = next((one for one in self._workspace.sources(include_removed=True) if one.slug == entry.source), None)
        warehouses = {record.slug: record for record in self._workspace.warehouses()}
        statuses = [one for one in self._status(0.0).warehouses if one.warehouse is not None]
        known = {slug: _Known({}, (), "") for slug in warehouses}
        if isinstance(entry, Event) and source is not None:
            tables = (TABLE_BY_TYPE[entry.type],)
            turns = [one.warehouse.slug for one in statuses if one.warehouse and _is_over(one, partition, offset)]
            asked = {slug: self._in_warehouse(slug, entry.message_id, [source], tables) for slug in turns}
            known |= {slug: found for slug, found in asked.items() if slug in warehouses}
        sight = self._sight(accepted, warehouses, statuses, known)
        return Trace(entry.message_id or "", is_found=True, steps=list(steps_of(sight)), sights=[sight])

    # Where the event is in the log.

    def _seen(self, readers: Sequence[LogReader], message_id: str, known: Mapping[str, _Known]) -> list[_Entry]:
        """By what the books and the warehouses say of the id, without reading all of the log."""
        found: dict[tuple[int, int], _Entry] = {}
        by_partition = {reader.partition: reader for reader in readers}
        for place in self._accounts.destinations():
            for seen in of_books.sightings(place.file, message_id):
                if (seen.partition, seen.offset) not in found and seen.partition in by_partition:
                    entry = _entry_at(by_partition[seen.partition], seen, message_id)
                    found[seen.partition, seen.offset] = _Entry(seen.partition, seen.offset, entry)
        times = {
            row.received_at for of in known.values() for rows in of.rows.values() for row in rows if row.received_at
        }
        for minute in sorted({minute_at(time) for time in times}):
            if any(minute_at(each.entry.received_at) == minute for each in found.values()):
                continue
            for reader in readers:
                for each in self._around(reader, message_id, minute):
                    found.setdefault((each.partition, each.offset), each)
        return sorted(found.values(), key=lambda each: (each.entry.received_at, each.partition, each.offset))

    def _around(self, reader: LogReader, message_id: str, minute: int) -> Iterator[_Entry]:
        """In the minute and those beside it; a part of a log is in the order of receipt but for moments."""
        start = of_books.offset_of_minute(self._folder, reader.partition, minute - 1)
        start = reader.bounds().first if start is None else start
        for looked, each in enumerate(_entries(reader, start, None)):
            if minute_at(each.entry.received_at) > minute + 1 or looked > AROUND_ENTRIES:
                return
            if each.entry.message_id == message_id:
                yield each

    def _scanned(
        self, readers: Sequence[LogReader], message_id: str, first: int, on_progress: OnProgress
    ) -> list[_Entry]:
        """Raises RequestError (429) while another id is looked for."""
        if not self._scanning.acquire(timeout=SCAN_WAIT_SECONDS):
            text = "debugger: the log is being looked through for another id; try again in a moment"
            raise RequestError("too_many_scans", text, 429, SCAN_WAIT_SECONDS)
        try:
            return self._scan(readers, message_id, first, on_progress)
        finally:
            self._scanning.release()

    def _scan(self, readers: Sequence[LogReader], message_id: str, first: int, on_progress: OnProgress) -> list[_Entry]:
        """From the log's end backwards, minute by minute; all of the first minute that has it."""
        parts = sorted((part for reader in readers for part in self._parts(reader, first)), key=lambda part: -part[0])
        found: list[_Entry] = []
        for number, (minute, reader, start, end) in enumerate(parts):
            if found and minute < minute_at(found[0].entry.received_at) - 1:
                break
            found.extend(each for each in _entries(reader, start, end) if each.entry.message_id == message_id)
            on_progress(number + 1, len(parts))
        return found

    def _parts(self, reader: LogReader, first: int) -> Iterator[tuple[int, LogReader, int, int]]:
        """Minute, reader, and from where to where: of the minutes from `first` on. Where nobody counted minutes it is all that there is."""
        bounds = reader.bounds()
        places = of_books.places_since(self._folder, reader.partition, first - 1) or [(first, bounds.first)]
        ends = [offset for _, offset in places[1:]]
        for (minute, start), end in zip(places, [*ends, bounds.next], strict=True):
            if start < end:
                yield minute, reader, start, end

    # What the warehouses have.

    def _in_warehouse(
        self, slug: str, message_id: str, sources: Iterable[Source], tables: Sequence[str] = HISTORY_TABLES
    ) -> _Known:
        if not PLAIN.fullmatch(message_id):
            return _Known({}, (), "the id has characters that are not asked for in SQL; the log alone was looked at")
        rows: dict[str, list[Row]] = {}
        try:
            rejected = self._ask(
                "SELECT source, stage, code, reason, received_at FROM headrace.rejected "  # noqa: S608 - a plain id
                f"WHERE message_id = '{message_id}' ORDER BY received_at",
                slug,
            ).rows
            for source in sources:
                found = self._rows(slug, source.schema, message_id, tables)
                if found:
                    rows[source.slug] = found
        except HeadraceError as error:
            return _Known(rows, (), f"it could not be asked: {error}")
        return _Known(rows, rejected, "")

    def _rows(self, slug: str, schema: str, message_id: str, tables: Sequence[str]) -> list[Row]:
        if not NAME.fullmatch(schema):
            return []
        there = {str(row[0]).lower() for row in self._ask(_TABLES.format(schema=schema), slug).rows}
        found: list[Row] = []
        for table in tables:
            if table not in there:
                continue
            event = "event" if table == "tracks" else "NULL"
            select = f"SELECT received_at, loaded_at, {event} FROM {schema}.{table} WHERE id = '{message_id}'"  # noqa: S608 - plain names
            for received_at, loaded_at, name in self._ask(select, slug).rows:
                found.append(Row(schema, table, _time(received_at), _time(loaded_at)))
                if name:
                    found.append(Row(schema, str(name), _time(received_at), _time(loaded_at)))
        return found

    # One event.

    def _sight(
        self,
        accepted: Accepted,
        warehouses: Mapping[str, Warehouse],
        statuses: Sequence[WarehouseStatus],
        known: Mapping[str, _Known],
    ) -> Sight:
        in_warehouses = [
            in_warehouse(accepted, warehouses[slug], status, known[slug].rows.get(accepted.source, ()), known[slug].rejected,
                         known[slug].problem)
            for status in statuses
            if status.warehouse is not None and (slug := status.warehouse.slug) in warehouses
        ]  # fmt: skip
        return Sight(accepted, in_warehouses, self._fates(accepted))

    def _fates(self, accepted: Accepted) -> list[Fate]:
        """At every destination, removed ones only where they had the event."""
        if accepted.outcome == "refused" or accepted.partition is None or accepted.offset is None:
            return []
        seen = Sighting(accepted.partition, accepted.offset, accepted.source, accepted.received_at)
        fates = [(place, of_books.fate(place, seen)) for place in self._accounts.destinations()]
        gone = ("waiting", "not_connected", "unknown")
        return [fate for place, fate in fates if place.removed_at is None or fate.outcome not in gone]

    def _row_alone(
        self,
        source: str,
        warehouses: Mapping[str, Warehouse],
        statuses: Sequence[WarehouseStatus],
        known: Mapping[str, _Known],
    ) -> Sight:
        """Neither the log nor the archive has the event any more: the warehouse is who knows it."""
        times = [row.received_at for of in known.values() for row in of.rows.get(source, ()) if row.received_at]
        accepted = Accepted(outcome="accepted", source=source, received_at=min(times, default=time_of(0)))
        return self._sight(accepted, warehouses, statuses, known)


def _is_over(status: WarehouseStatus, partition: int, offset: int) -> bool:
    """Whether the warehouse's loader has come by."""
    return any(one.partition == partition and offset < one.position for one in status.partitions)


_TABLES: Final = "SELECT table_name FROM information_schema.tables WHERE table_schema = '{schema}'"


def _entries(reader: LogReader, start: int, end: int | None) -> Iterator[_Entry]:
    at = start
    while end is None or at < end:
        try:
            found = reader.read(at, max_entries=SLICE_ENTRIES, max_bytes=SLICE_BYTES)
        except PositionError:
            return
        for offset, entry in enumerate(found.entries, found.next - len(found.entries)):
            if end is not None and offset >= end:
                return
            yield _Entry(reader.partition, offset, entry)
        if found.next == at:
            return
        at = found.next


def _entry_at(reader: LogReader, seen: Sighting, message_id: str) -> LogEntry:
    """As the log or the archive has it; what the books say where they do not have it any more."""
    for each in _entries(reader, seen.offset, seen.offset + 1):
        return each.entry
    return Event(seen.source, "track", message_id, seen.received_at, seen.received_at)


def _accepted(found: _Entry) -> Accepted:
    entry = found.entry
    if isinstance(entry, Event):
        return Accepted(outcome="accepted", source=entry.source, received_at=entry.received_at, partition=found.partition, offset=found.offset,
                        type=entry.type, event=entry.event or entry.name)  # fmt: skip
    return Accepted(outcome="refused", source=entry.source, received_at=entry.received_at, partition=found.partition, offset=found.offset,
                    code=entry.code, reason=entry.reason)  # fmt: skip


def _refused(known: Mapping[str, _Known]) -> list[Accepted]:
    """Those that only a warehouse's headrace.rejected knows."""
    found: dict[tuple[Any, ...], Accepted] = {}
    for of in known.values():
        for source, stage, code, reason, received_at in of.rejected:
            time = _time(received_at)
            if stage == "collector" and time is not None:
                found[source, code, time] = Accepted(
                    outcome="refused", source=source, received_at=time, code=code, reason=str(reason)
                )
    return list(found.values())


def _sources_with_rows(known: Mapping[str, _Known]) -> list[str]:
    return sorted({source for of in known.values() for source in of.rows})


def _time(text: Any) -> datetime | None:
    if isinstance(text, datetime) or text is None:
        return text
    moment = datetime.fromisoformat(str(text))
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _never_seen(message_id: str, first: datetime) -> str:
    return (
        f"no event with the id {message_id} was accepted or refused since {first:%Y-%m-%d %H:%M} UTC, as far as log, warehouses and books "
        "know; look further back with --since, or at whether it was sent at all"
    )


@contextmanager
def _closing(readers: Sequence[LogReader]) -> Iterator[Sequence[LogReader]]:
    try:
        yield readers
    finally:
        for reader in readers:
            reader.close()


@contextmanager
def opened(config: Config) -> Iterator[Tracer]:
    """For a command, whether or not a server works on the folder. Raises NotFoundError where there is none."""
    with Workspace.open(config.folder, create=False) as workspace:
        log = SqliteLog(config.folder / folder.LOG, config.log)
        archive = Archive(config, log, log.partitions())
        yield Tracer(
            config,
            workspace,
            told_by(config, workspace),
            archive.readers,
            lambda hours: reach.status_of(config, hours),
            lambda sql, slug: reach.query(config, sql, warehouse=slug),
        )
