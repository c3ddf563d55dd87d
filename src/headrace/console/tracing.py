"""Where an event is, step by step: what the collector did with it, each warehouse, each destination."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

import msgspec

from headrace.console.status import WarehouseStatus
from headrace.delivery.trace import Fate
from headrace.workspace.records import Warehouse


class Accepted(msgspec.Struct, frozen=True, kw_only=True):
    """How the collector answered. `partition` and `offset` are its place in the log, None where that is not known; `code` and `reason`
    are those of a refused event."""

    outcome: Literal["accepted", "refused"]
    source: str
    received_at: datetime
    partition: int | None = None
    offset: int | None = None
    type: str | None = None
    event: str | None = None
    code: str = ""
    reason: str = ""


class Row(msgspec.Struct, frozen=True):
    """In a warehouse."""

    schema: str
    table: str
    received_at: datetime | None
    loaded_at: datetime | None


class InWarehouse(msgspec.Struct, frozen=True, kw_only=True):
    slug: str
    kind: str
    nickname: str
    outcome: Literal["loaded", "pending", "duplicate", "filtered", "rejected", "missing", "unknown"]
    text: str
    rows: Sequence[Row] = ()
    code: str = ""
    detail: str = ""


class Sight(msgspec.Struct, frozen=True):
    """One event with the id; the same id may have been sent more than once."""

    accepted: Accepted
    warehouses: Sequence[InWarehouse] = ()
    destinations: Sequence[Fate] = ()


class Trace(msgspec.Struct, frozen=True):
    """`steps` say it all in plain words. `looked_back_to` is how far the log was read because nothing else knew the id, None where it did
    not have to be; `is_found` is false for an id that nobody knows."""

    message_id: str
    is_found: bool
    steps: Sequence[str]
    sights: Sequence[Sight] = ()
    looked_back_to: datetime | None = None
    notes: Sequence[str] = ()


def in_warehouse(
    accepted: Accepted,
    record: Warehouse,
    status: WarehouseStatus,
    rows: Sequence[Row],
    rejected: Sequence[Sequence[Any]],
    problem: str,
) -> InWarehouse:
    """Pure. What became of the event in one warehouse. `rows` are those of its id and source, `rejected` those of headrace.rejected as
    (source, stage, code, reason, ...), `problem` is why the warehouse could not be asked."""
    name: dict[str, Any] = {"slug": record.slug, "kind": record.kind, "nickname": record.nickname}
    if problem:
        return InWarehouse(**name, outcome="unknown", text=problem)
    if accepted.outcome == "refused":
        text = "it was refused at the door; it stands in headrace.rejected"
        return InWarehouse(**name, outcome="rejected", code=accepted.code, text=text)
    own = [row for row in rows if row.received_at is None or _is_same(row.received_at, accepted.received_at)]
    if own:
        tables = " and ".join(f"{row.schema}.{row.table}" for row in own)
        loaded = f" at {own[0].loaded_at:%Y-%m-%d %H:%M:%S} UTC" if own[0].loaded_at else ""
        return InWarehouse(**name, outcome="loaded", text=f"loaded into {tables}{loaded}", rows=own)
    if rows:
        text = f"a duplicate: the event with this id that was received at {rows[0].received_at} is there"
        return InWarehouse(**name, outcome="duplicate", text=text, rows=rows)
    for source, stage, code, reason, *_ in rejected:
        if source == accepted.source and stage != "collector":
            text = f"it could not become a row: {reason} [{code}]; it stands in headrace.rejected"
            return InWarehouse(**name, outcome="rejected", code=code, detail=str(reason), text=text)
    return _absent(name, accepted, record, status)


def _absent(name: dict[str, Any], accepted: Accepted, record: Warehouse, status: WarehouseStatus) -> InWarehouse:
    state = status.warehouse.state if status.warehouse else "closed"
    for partition in status.partitions:
        if partition.partition == accepted.partition and (accepted.offset or 0) >= partition.position:
            return InWarehouse(**name, outcome="pending", text=f"it waits in the log; the warehouse is {state}")
    if accepted.source in record.selection:
        text = "the warehouse's selection leaves it out; see `headrace warehouse show`"
        return InWarehouse(**name, outcome="filtered", code="FILTERED_BY_RULES", text=text)
    text = "its turn is over and it is in no table: it was removed there, or left out by an earlier selection"
    if accepted.received_at < record.created_at:
        text = f"it was accepted before this warehouse was there; `headrace warehouse backfill {record.slug}` loads it"
    return InWarehouse(**name, outcome="missing", text=text)


def _is_same(stored: datetime, received_at: datetime) -> bool:
    """Engines keep milliseconds at the least."""
    return abs(stored - received_at) < timedelta(milliseconds=2)


def steps_of(sight: Sight) -> Iterator[str]:
    """The same in plain words, a line each."""
    accepted = sight.accepted
    at = f"{accepted.received_at:%Y-%m-%d %H:%M:%S.%f}"[:-3]
    if accepted.outcome == "refused":
        yield f"collector: refused from {accepted.source} at {at} UTC: {accepted.reason} [{accepted.code}]"
        return
    where = "neither the log nor the archive has it any more"
    if accepted.partition is not None:
        where = f"partition {accepted.partition}, offset {accepted.offset} of the log"
    what = "".join(f"{part} " for part in (accepted.type, accepted.event and repr(accepted.event)) if part)
    yield f"collector: accepted {what}from {accepted.source} at {at} UTC ({where})"
    for one in sight.warehouses:
        yield f"warehouse {one.slug}: {one.text}"
    for fate in sight.destinations:
        when = f", {fate.at:%Y-%m-%d %H:%M:%S} UTC" if fate.at and fate.outcome == "delivered" else ""
        yield f"destination {fate.slug}: {fate.text}{when}"
