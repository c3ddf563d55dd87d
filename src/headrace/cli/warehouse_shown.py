"""How warehouses are shown: settings in force with secrets masked, positions, loads, failures and misfits."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from headrace.cli import kind_shown
from headrace.cli.output import plain, print_fields, print_line, print_table

if TYPE_CHECKING:
    from headrace.console.warehouses import LoadShown, WarehouseDetail
    from headrace.warehouses.base import Finding
    from headrace.workspace.records import Warehouse

_TABLES: Final = 5
"""Of a load, so many tables are named; how many more there are is said."""

_LOADING: Final[Mapping[str, str]] = {
    "loading": "yes",
    "failing": "no: it takes no load now, and is tried again; see below",
    "opening": "not yet: it is being opened, again and again until it answers",
    "paused": "no: it is paused",
    "stopped": "no: something is wrong that needs a person; it is tried again all the same",
    "closed": "no: no server runs",
}


def described(warehouse: Warehouse) -> dict[str, Any]:
    """For programs. Secret settings are masked."""
    return {
        "slug": warehouse.slug,
        "kind": warehouse.kind,
        "nickname": warehouse.nickname,
        "state": state(warehouse),
        "paused": warehouse.paused,
        "settings": _settings_in_force(warehouse),
        "selection": warehouse.selection,
        "created_at": warehouse.created_at.isoformat(),
        "removed_at": warehouse.removed_at.isoformat() if warehouse.removed_at else None,
    }


def state(warehouse: Warehouse) -> str:
    if warehouse.removed_at is not None:
        return "removed"
    return "paused" if warehouse.paused else "active"


def print_warehouse(warehouse: Warehouse, detail: WarehouseDetail | None = None) -> None:
    from headrace.warehouses import base  # noqa: PLC0415 - --help needs no catalogue

    kind = base.kinds().get(warehouse.kind)
    fields: dict[str, object] = {
        "slug": warehouse.slug,
        "nickname": warehouse.nickname,
        "kind": warehouse.kind if kind else f"{warehouse.kind} (not installed here; nothing is loaded)",
        "state": state(warehouse),
    }
    if detail is not None and detail.status.warehouse is not None:
        of_loader = detail.status.warehouse.state
        fields |= {"loading": _LOADING.get(of_loader, of_loader), "lag": f"{detail.status.lag_seconds:.1f} s"}
    fields |= {
        "exactly once": kind.guarantee if kind else "-",
        "added": f"{warehouse.created_at:%Y-%m-%d %H:%M:%S}Z",
        **{name: "-" if value in ("", None) else value for name, value in _settings_in_force(warehouse).items()},
        **{f"selection of {source}": json.dumps(of_source) for source, of_source in warehouse.selection.items()},
    }
    print_fields(fields)


def _settings_in_force(warehouse: Warehouse) -> dict[str, Any]:
    from headrace.warehouses import base  # noqa: PLC0415 - --help needs no catalogue

    kind = base.kinds().get(warehouse.kind)
    return kind_shown.in_force(kind.Settings if kind else None, warehouse.settings)


def print_findings(found: Sequence[Finding], write: Callable[[str], None]) -> None:
    """A line a step, and below a failed one what mends it."""
    width = max((len(finding.step) for finding in found), default=0)
    for finding in found:
        write(f"{'ok' if finding.ok else 'failed':<6}  {plain(finding.step):<{width}}  {plain(finding.text)}".rstrip())
        for line in finding.remedy.splitlines():
            write(f"        {plain(line)}")


def print_detail(detail: WarehouseDetail) -> None:
    status = detail.status
    if status.warehouse is not None and status.warehouse.error:
        print_line(f"\nloading stands still: {plain(status.warehouse.error)}")
    print_line()
    print_table(
        ("PARTITION", "POSITION", "END OF LOG", "WAITING"),
        ((p.partition, f"{p.position:,}", f"{p.next:,}", f"{p.next - p.position:,}") for p in status.partitions),
        "Nothing has been collected yet.",
    )
    print_line("\nLast loads")
    print_table(
        ("STARTED", "EVENTS", "ROWS", "SECONDS", "TABLES"),
        (
            (_moment(load), f"{load.events:,}", f"{sum(load.rows.values()):,}", f"{load.seconds:.2f}", _tables(load))
            for load in detail.loads
        ),
        f"They cannot be asked for now: {plain(detail.problem)}" if detail.problem else "None yet.",
    )
    if detail.failures:
        print_line("\nLast failures")
        print_table(("STARTED", "REASON"), ((_moment(load), load.result) for load in detail.failures), "")
    _print_misfits(detail)


def _print_misfits(detail: WarehouseDetail) -> None:
    state = detail.status.warehouse
    if state is not None and state.held:
        print_line("\nColumns that cannot change their type")
        print_table(("COLUMN", "HELD BY"), ((f"{h.schema}.{h.table}.{h.column}", h.reason) for h in state.held), "")
    if not detail.misfits:
        return
    discards = max(detail.misfits_of, state.discards if state else 0)
    part = f", the newest {detail.misfits_of:,} by column" if detail.misfits_of < discards else ""
    print_line(f"\nValues that did not fit their column: {discards:,}{part} (as they were sent in headrace.discards)")
    print_table(
        ("COLUMN", "VALUES", "REASON"),
        ((f"{m.schema}.{m.table}.{m.column}", f"{m.values:,}", m.reason) for m in detail.misfits),
        "",
    )
    of_this = f" --warehouse {state.slug}" if state else ""
    print_line(f"Give a column the type that fits: headrace warehouse retype SCHEMA.TABLE.COLUMN TYPE{of_this}")


def _moment(load: LoadShown) -> str:
    return f"{load.started:%Y-%m-%d %H:%M:%S}Z"


def _tables(load: LoadShown) -> str:
    by_rows: Iterable[tuple[str, int]] = sorted(load.rows.items(), key=lambda entry: (-entry[1], entry[0]))
    named = [f"{name} {rows:,}" for name, rows in by_rows]
    more = f", and {len(named) - _TABLES} more" if len(named) > _TABLES else ""
    return ", ".join(named[:_TABLES]) + more
