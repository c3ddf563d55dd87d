"""`headrace status`: where every event is."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Final

import typer

from headrace.cli import options
from headrace.cli.options import ConfigFile, Data, Json
from headrace.cli.output import plain, print_error, print_json, print_line, print_table

if TYPE_CHECKING:
    from headrace.console.status import Status, WarehouseStatus

_POLL_SECONDS: Final = 0.1
_COLUMNS: Final = ("received", "accepted", "refused", "loaded", "duplicates", "filtered", "rejected", "pending")

_DELIVERY: Final = ("accepted", "delivered", "filtered", "waiting", "retrying", "failed")
_HOURLY: Final = ("accepted", "refused", "loaded", "duplicates", "filtered", "rejected", "pending")


def register(app: typer.Typer) -> None:
    app.command("status")(status)


def status(
    *,
    wait: Annotated[
        bool, typer.Option("--wait", help="Return when everything accepted is in every warehouse, paused ones aside.")
    ] = False,
    timeout: Annotated[float, typer.Option(metavar="SECONDS", min=0.0, help="How long --wait waits.")] = 60.0,
    hours: Annotated[
        float,
        typer.Option(metavar="N", min=0.0, max=9_600.0, help="Show the books of the last N hours, hour by hour, too."),
    ] = 0.0,
    as_json: Json = False,
    data: Data = None,
    config: ConfigFile = None,
) -> None:
    """Show the books: for each source what was received and what became of it, in events."""
    import msgspec  # noqa: PLC0415 - --help needs none of these

    from headrace.app import reach  # noqa: PLC0415 - as above

    chosen = options.settings(data, config)
    found = reach.status_of(chosen, hours)
    deadline = time.monotonic() + timeout
    while wait and _unsettled(found) and found.running and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
        found = reach.status_of(chosen, hours)
    if as_json:
        print_json(msgspec.to_builtins(found))
    else:
        _print(found)
    if wait and _unsettled(found):
        why = f"after {timeout:g} s" if found.running else "and no server runs; start it with `headrace serve`"
        for one in filter(_is_unsettled, _awaited(found)):
            where = f"into {one.warehouse.slug} " if one.warehouse else ""
            print_error(f"status: {one.totals['pending']} events are not loaded {where}{why}")
        raise typer.Exit(1)


def _awaited(found: Status) -> Sequence[WarehouseStatus]:
    """A paused warehouse is not waited for. Without any warehouse the log alone is, which never settles."""
    every = found.warehouses or [found]
    return [one for one in every if one.warehouse is None or one.warehouse.state != "paused"]


def _unsettled(found: Status) -> bool:
    return any(map(_is_unsettled, _awaited(found)))


def _is_unsettled(one: WarehouseStatus) -> bool:
    """Whether anything in the log has not been read yet: accepted events, or refused ones on their way to headrace.rejected."""
    unreached = one.warehouse is not None and one.warehouse.as_of is not None
    return unreached or bool(one.totals["pending"]) or any(p.position < p.next for p in one.partitions)


def _print(found: Status) -> None:
    for one in found.warehouses or [found]:
        if len(found.warehouses) > 1 and one.warehouse is not None:
            print_line(f"warehouse {plain(one.warehouse.slug)} ({one.warehouse.kind}): {one.warehouse.state}")
        if one.warehouse is None or one.warehouse.known:
            _print_books(one)
        _print_warehouse(one)
        _print_hours(one)
        if len(found.warehouses) > 1:
            print_line("")
    if not found.warehouses:
        print_line(
            "there is no warehouse, events wait in the log; add one with `headrace warehouse add KIND --name NICKNAME`"
        )
    _print_destinations(found)
    if found.archive is not None and not found.archive.error:
        waiting = sum(partition["waiting"] for partition in found.archive.partitions)
        print_line(f"archive: {waiting:,} entries of the log are not in it yet")
    if found.archive is not None and found.archive.error:
        print_line(f"archive: it stands still: {plain(found.archive.error)}")
    print_line(f"server: {'running' if found.running else 'not running'}")
    if found.totals["rejected"] or found.totals["refused"]:
        print_line("rejected and refused events are in headrace.rejected, each with its reason")


def _print_destinations(found: Status) -> None:
    if not found.destinations:
        return
    print_table(
        ("DESTINATION", "STATE", *(f"{column.upper()} 24 H" for column in _DELIVERY), "P95"),
        (
            (
                one.slug,
                one.state,
                *(f"{getattr(one, column):,}" for column in _DELIVERY),
                f"{one.p95_seconds:.2f} s" if one.p95_seconds is not None else "-",
            )
            for one in found.destinations
        ),
        "",
    )
    for one in found.destinations:
        if one.error:
            error = plain(one.error.removeprefix(f"destination {one.slug}: "))
            print_line(f"destination {plain(one.slug)}: {error}; see `headrace delivery show {plain(one.slug)}`")
    print_line("")


def _print_books(one: WarehouseStatus) -> None:
    print_table(
        ("SOURCE", "SCHEMA", *(column.upper() for column in _COLUMNS), "LAG", "LAST EVENT"),
        (
            (
                entry.source + (" (removed)" if entry.removed else "" if entry.enabled else " (disabled)"),
                entry.schema,
                *(f"{getattr(entry, column):,}" for column in _COLUMNS),
                f"{entry.lag_seconds:.1f} s" if entry.pending else "-",
                f"{entry.last_event_at:%Y-%m-%d %H:%M:%S} UTC" if entry.last_event_at else "none yet",
            )
            for entry in one.sources
        ),
        "No sources yet; add one with `headrace source add KIND --name NICKNAME`.",
    )
    print_line("")


def _print_hours(one: WarehouseStatus) -> None:
    if not one.hours:
        return
    print_table(
        ("HOUR (UTC)", "SOURCE", *(column.upper() for column in _HOURLY), ""),
        (
            (
                f"{entry.hour:%Y-%m-%d %H}:00" if entry.hour else "before",
                entry.source,
                *(f"{getattr(entry, column):,}" for column in _HOURLY),
                "" if entry.is_balanced else "does not add up",
            )
            for entry in one.hours
        ),
        "",
    )
    print_line("")


def _print_warehouse(one: WarehouseStatus) -> None:
    warehouse = one.warehouse
    if warehouse is None:
        return
    if warehouse.error:
        print_line(f"warehouse: loading stands still: {plain(warehouse.error)}")
    if not warehouse.known:
        print_line("warehouse: it has not been reached since the server started, so what it holds is not known")
    elif warehouse.as_of and warehouse.state != "closed":
        print_line(f"warehouse: it cannot be asked; these figures are of {warehouse.as_of:%Y-%m-%d %H:%M:%S} UTC")
    if warehouse.email_model is not None and warehouse.email_model.error:
        print_line(
            f"warehouse: the e-mail model stands still, and is tried again: {plain(warehouse.email_model.error)}"
        )
    if warehouse.discards:
        print_line(f"warehouse: {warehouse.discards:,} values did not fit their columns; see headrace.discards")
    for held in warehouse.held:
        name = plain(f"{held.schema}.{held.table}.{held.column}")
        print_line(f"warehouse: {name} stays integer, so values with a fraction are discards: {plain(held.reason)}")
