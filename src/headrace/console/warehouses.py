"""What is shown of one warehouse: its last loads, its failures, and the values that did not fit, by column."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from headrace.console.status import WarehouseStatus
from headrace.errors import HeadraceError
from headrace.warehouses.base import Warehouse

LOADS: Final = 200
"""Rows of headrace.loads that are looked at, failures among them."""
SHOWN_LOADS: Final = 10
DISCARDS: Final = 10_000
"""The newest values of headrace.discards; older ones are in `discards` alone."""
OK: Final = "ok"


class LoadShown(msgspec.Struct, frozen=True):
    """A row of headrace.loads. `rows` is by `schema.table`; `result` is `ok` or the engine's text."""

    started: datetime
    seconds: float
    partition: int
    position_from: int
    position_to: int
    events: int
    rows: dict[str, int]
    result: str


class Misfit(msgspec.Struct, frozen=True):
    """Values that did not fit a column, and why: also what keeps the column from another type."""

    schema: str
    table: str
    column: str
    reason: str
    values: int
    last_received_at: datetime | None


class WarehouseDetail(msgspec.Struct, frozen=True):
    """`misfits` are counted over the newest `misfits_of` of all discarded values; `problem` says why loads and misfits are missing."""

    status: WarehouseStatus
    loads: Sequence[LoadShown] = ()
    failures: Sequence[LoadShown] = ()
    misfits: Sequence[Misfit] = ()
    misfits_of: int = 0
    problem: str | None = None


def detail(status: WarehouseStatus, warehouse: Callable[[], Warehouse]) -> WarehouseDetail:
    """`warehouse` gives the opened one, or raises what keeps it from being asked: then its status is told alone."""
    try:
        opened = warehouse()
        loads = loads_of(opened.latest_rows("loads", LOADS))
        newest = opened.latest_rows("discards", DISCARDS)
    except HeadraceError as error:
        return WarehouseDetail(status, problem=str(error))
    return WarehouseDetail(
        status,
        loads=[load for load in loads if load.result == OK][:SHOWN_LOADS],
        failures=[load for load in loads if load.result != OK][:SHOWN_LOADS],
        misfits=misfits_of(newest),
        misfits_of=newest.num_rows,
    )


def loads_of(table: Any) -> list[LoadShown]:
    """headrace.loads as a pyarrow.Table, in its order."""
    return [load_of(row) for row in table.to_pylist()]


def load_of(row: Mapping[str, Any]) -> LoadShown:
    return LoadShown(
        started=row["started"],
        seconds=float(row["seconds"] or 0.0),
        partition=int(row["partition"] or 0),
        position_from=int(row["position_from"] or 0),
        position_to=int(row["position_to"] or 0),
        events=int(row["events"] or 0),
        rows={str(name): int(count) for name, count in msgspec.json.decode(row["rows"] or "{}").items()},
        result=str(row["result"]),
    )


def misfits_of(table: Any) -> list[Misfit]:
    """headrace.discards as a pyarrow.Table, counted by column and reason, most values first."""
    values: Counter[tuple[str, str, str, str]] = Counter()
    last: dict[tuple[str, str, str, str], datetime] = {}
    for row in table.select(["schema", "table", "column", "reason", "received_at"]).to_pylist():
        key = (row["schema"] or "", row["table"] or "", row["column"] or "", row["reason"] or "")
        values[key] += 1
        if row["received_at"] is not None:
            last[key] = max(last.get(key, row["received_at"]), row["received_at"])
    return [Misfit(*key, count, last.get(key)) for key, count in sorted(values.items(), key=lambda e: (-e[1], e[0]))]
