"""`headrace audit`: who changed what, and when."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from headrace.cli import options
from headrace.cli.options import ConfigFile, Data, Json
from headrace.cli.output import plain, print_json, print_line

if TYPE_CHECKING:
    from headrace.workspace.audit import AuditEntry


def register(app: typer.Typer) -> None:
    app.command("audit")(audit)


def audit(
    *,
    who: Annotated[str | None, typer.Option("--who", metavar="NAME", help="Only of this one, as it is shown.")] = None,
    kind: Annotated[
        str | None, typer.Option("--kind", metavar="KIND", help="Only of source, destination, warehouse, person, ...")
    ] = None,
    subject: Annotated[str | None, typer.Option("--subject", metavar="SLUG", help="Only of this one.")] = None,
    text: Annotated[str | None, typer.Option("--search", metavar="TEXT", help="Only where the text stands.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000, help="So many of the newest.")] = 50,
    before: Annotated[
        int | None, typer.Option("--before", metavar="NUMBER", help="Only older ones than this entry.")
    ] = None,
    data: Data = None,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """Show the audit trail, newest first: every change of the workspace, logins, tests and replays."""
    import msgspec  # noqa: PLC0415 - --help needs none of it

    from headrace.workspace.audit import Choice  # noqa: PLC0415 - as above

    choice = Choice(who=who, kind=kind, subject=subject, text=text, before=before)
    with options.workspace(options.settings(data, config)) as workspace:
        entries = workspace.audit().entries(choice, limit + 1)
    shown = entries[:limit]
    if as_json:
        print_json([msgspec.to_builtins(entry) for entry in shown])
        return
    for entry in shown:
        _print(entry)
    if not shown:
        print_line("Nothing. Every change of the workspace will stand here.")
    if len(entries) > limit:
        print_line(f"\nOlder ones: headrace audit --before {shown[-1].id}")


def _print(entry: AuditEntry) -> None:
    what = " ".join(part for part in (entry.verb, entry.kind, entry.subject) if part)
    print_line(f"{entry.at:%Y-%m-%d %H:%M:%S} UTC  {plain(entry.who)} {plain(what)}")
    for field, (before, after) in entry.changes.items():
        told = _value(after) if before is None else f"{_value(before)} -> {_value(after)}"
        print_line(f"    {plain(field)}: {told}")


def _value(value: Any) -> str:
    return "nothing" if value is None else plain(value)
