"""`headrace status`: where every event is."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Final

import typer

from headrace.cli import options
from headrace.cli.options import ConfigFile, Data, Json
from headrace.cli.output import plain, print_error, print_json, print_line, print_table

if TYPE_CHECKING:
    from headrace.console.status import Status

_POLL_SECONDS: Final = 0.1
_COLUMNS: Final = ("received", "accepted", "refused", "loaded", "duplicates", "filtered", "rejected", "pending")


def register(app: typer.Typer) -> None:
    app.command("status")(status)


def status(
    *,
    wait: Annotated[bool, typer.Option("--wait", help="Return when everything accepted is loaded.")] = False,
    timeout: Annotated[float, typer.Option(metavar="SECONDS", min=0.0, help="How long --wait waits.")] = 60.0,
    as_json: Json = False,
    data: Data = None,
    config: ConfigFile = None,
) -> None:
    """Show the books: for each source what was received and what became of it, in events."""
    import msgspec  # noqa: PLC0415 - --help needs none of these

    from headrace.app import reach  # noqa: PLC0415 - as above

    chosen = options.settings(data, config)
    found = reach.status_of(chosen)
    deadline = time.monotonic() + timeout
    while wait and _unsettled(found) and found.running and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
        found = reach.status_of(chosen)
    if as_json:
        print_json(msgspec.to_builtins(found))
    else:
        _print(found)
    if wait and _unsettled(found):
        why = f"after {timeout:g} s" if found.running else "and no server runs; start it with `headrace serve`"
        print_error(f"status: {found.totals['pending']} events are not loaded {why}")
        raise typer.Exit(1)


def _unsettled(found: Status) -> bool:
    """Whether anything in the log has not been read yet: accepted events, or refused ones on their way to headrace.rejected."""
    return bool(found.totals["pending"]) or any(p.position < p.next for p in found.partitions)


def _print(found: Status) -> None:
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
            for entry in found.sources
        ),
        "No sources yet; add one with `headrace source add KIND --name NICKNAME`.",
    )
    warehouse = found.warehouse
    print_line(f"\nserver: {'running' if found.running else 'not running'}")
    if warehouse.error:
        print_line(f"warehouse: loading stands still: {plain(warehouse.error)}")
    if warehouse.discards:
        print_line(f"warehouse: {warehouse.discards:,} values did not fit their columns; see headrace.discards")
    if found.totals["rejected"] or found.totals["refused"]:
        print_line("rejected and refused events are in headrace.rejected, each with its reason")
