"""Where every event is: by warehouse the books of each source, and the position in the log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple

import msgspec

from headrace.console import books
from headrace.console.books import HourBooks, SourceBooks
from headrace.errors import PositionError
from headrace.event import Hour, hour_of
from headrace.log.base import UNKNOWN_HOUR, Hourly, LogReader, Tally
from headrace.warehouses.base import Account, Books
from headrace.workspace.records import Source

State = Literal["loading", "failing", "opening", "paused", "stopped", "closed"]
"""failing: it takes no load now, and is tried again. opening: it cannot be reached yet, and is tried again. stopped: something is wrong
that a person must mend; it is tried again all the same. closed: no server runs."""


class HeldColumn(msgspec.Struct, frozen=True):
    """An integer column that the warehouse does not let become float, and what holds it."""

    schema: str
    table: str
    column: str
    reason: str


class EmailModelState(msgspec.Struct, frozen=True):
    """Of a warehouse's schema email. `is_behind`: loads wait to be taken up. `error`: why the last increment came to nothing."""

    is_behind: bool
    last_at: datetime | None
    last_seconds: float | None
    error: str | None


class SecondsToRow(msgspec.Struct, frozen=True):
    """From receipt to row: half and 95 of 100 of the `events` that were loaded since `since` took no longer."""

    p50: float
    p95: float
    events: int
    since: datetime


class WarehouseState(msgspec.Struct, frozen=True):
    """`error` is why loading stands still, None when it does not. `dedup_since` is where the window of duplicates begins by schema.
    `as_of` is None when the figures are of this moment, else since when the warehouse cannot be asked."""

    slug: str
    kind: str
    nickname: str
    state: State
    error: str | None = None
    last_load_at: datetime | None = None
    last_load_seconds: float | None = None
    last_load_events: int = 0
    discards: int = 0
    held: Sequence[HeldColumn] = ()
    dedup_since: Mapping[str, datetime] = {}
    as_of: datetime | None = None
    known: bool = True
    """False: it has not been reached since the server started, so nobody knows what it holds."""
    email_model: EmailModelState | None = None
    """None where the engine has no model, or no server works."""
    seconds_to_row: SecondsToRow | None = None
    """Of the last hour; None when nothing was loaded in it, or no server works."""


class PartitionStatus(msgspec.Struct, frozen=True):
    """`position` is the loader's; entries from there to before `next` are pending."""

    partition: int
    incarnation: str
    first: int
    next: int
    position: int


class WarehouseStatus(msgspec.Struct, frozen=True):
    """The books add up within each entry of `sources`, and in `totals`."""

    warehouse: WarehouseState | None
    totals: Mapping[str, int]
    sources: Sequence[SourceBooks]
    partitions: Sequence[PartitionStatus]
    lag_seconds: float
    hours: Sequence[HourBooks] = ()
    """Only where they were asked for."""


class ArchiveStatus(msgspec.Struct, frozen=True):
    """`error` is why it stands still, None when it does not. `partitions`: see `archive.archiver.Progress`."""

    path: str
    error: str | None
    partitions: Sequence[Mapping[str, Any]]


class DestinationStatus(msgspec.Struct, frozen=True):
    """A destination and its events of the last 24 hours, by the time of receipt: `accepted` is the sum of the counts after it."""

    slug: str
    kind: str
    nickname: str
    state: str
    error: str | None = None
    accepted: int = 0
    waiting: int = 0
    filtered: int = 0
    retrying: int = 0
    failed: int = 0
    delivered: int = 0
    p95_seconds: float | None = None


class Status(WarehouseStatus, frozen=True, kw_only=True):
    """Beside all warehouses the one that is meant where none is named: the only one, or the one called `warehouse`."""

    running: bool
    warehouses: Sequence[WarehouseStatus]
    destinations: Sequence[DestinationStatus] = ()
    archive: ArchiveStatus | None = None
    """None where the settings have it off, or no server runs."""


class Answer(NamedTuple):
    """What a warehouse said, None when it has never been reached. It was asked before the log is."""

    state: WarehouseState
    account: Account | None


def status(
    sources: Sequence[Source],
    readers: Sequence[LogReader],
    answers: Sequence[Answer],
    meant: str | None,
    now: datetime,
    *,
    running: bool,
    destinations: Sequence[DestinationStatus] = (),
    archive: ArchiveStatus | None = None,
    hours: float = 0.0,
) -> Status:
    """The books add up exactly at any moment, since each warehouse was asked before the log is. `meant` is a slug, `hours`
    how many of the last hours are told one by one."""
    log = _Log(readers, now - timedelta(hours=hours) if hours else None)
    warehouses = [_warehouse(sources, log, answer, now) for answer in answers]
    first = next(
        (found for found in warehouses if found.warehouse is not None and found.warehouse.slug == meant),
        _warehouse(sources, log, None, now),
    )
    fields = {name: getattr(first, name) for name in WarehouseStatus.__struct_fields__}
    return Status(**fields, running=running, warehouses=warehouses, destinations=destinations, archive=archive)


class _Log:
    """The log as it is now."""

    def __init__(self, readers: Sequence[LogReader], hours_since: datetime | None) -> None:
        self.readers = readers
        self.hours_since = hours_since
        self.bounds = {reader.partition: reader.bounds() for reader in readers}
        self.hourly = summed([reader.hourly() for reader in readers]) if hours_since is not None else None
        self.tallies: Mapping[str, Tally] = books.sum_tallies(reader.totals() for reader in readers)


def summed(partitions: Sequence[Hourly]) -> Hourly:
    """The books of all partitions as those of one."""
    tallies: dict[Hour, Tally] = {}
    for partition in partitions:
        for key, tally in partition.tallies.items():
            before = tallies.get(key, Tally())
            tallies[key] = Tally(before.accepted + tally.accepted, before.refused + tally.refused)
    return Hourly(max((partition.since for partition in partitions), default=UNKNOWN_HOUR), tallies)


def _warehouse(sources: Sequence[Source], log: _Log, answer: Answer | None, now: datetime) -> WarehouseStatus:
    account = answer.account if answer and answer.account else Account({}, {}, 0, {})
    consumer = answer.state.slug if answer else ""
    partitions = []
    oldest: datetime | None = None
    for reader in log.readers:
        bounds = log.bounds[reader.partition]
        stored = account.positions.get((consumer, reader.partition))
        position = stored.next if stored else bounds.first
        partitions.append(PartitionStatus(reader.partition, reader.incarnation, bounds.first, bounds.next, position))
        if position < bounds.next:
            pending = _received_at(reader, position)
            oldest = min(filter(None, (oldest, pending)), default=None)
    lag_seconds = max(0.0, (now - oldest).total_seconds()) if oldest else 0.0
    last_event_at = {s.slug: account.last_received[s.schema] for s in sources if s.schema in account.last_received}
    loaded = by_source(account.books)
    entries = books.balance(sources, log.tallies, loaded, lag_seconds=lag_seconds, last_event_at=last_event_at)
    state = msgspec.structs.replace(answer.state, discards=account.discards) if answer else None
    hours: Sequence[HourBooks] = ()
    if log.hourly is not None and log.hours_since is not None:
        is_at_end = all(partition.position >= partition.next for partition in partitions)
        hours = books.by_hour(log.hourly, account.books, hour_of(log.hours_since), is_at_end=is_at_end)
    return WarehouseStatus(state, books.totals(entries), entries, partitions, lag_seconds, hours)


def by_source(hourly: Mapping[Hour, Books]) -> dict[str, Books]:
    """The books of all hours as one."""
    total: dict[str, Books] = {}
    for key, counts in hourly.items():
        total[key.source] = total.get(key.source, Books()).plus(counts)
    return total


def _received_at(reader: LogReader, position: int) -> datetime | None:
    try:
        entries = reader.read(position, max_entries=1, max_bytes=1).entries
    except PositionError:
        return None
    return entries[0].received_at if entries else None
