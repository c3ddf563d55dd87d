"""`headrace warehouse select`: what of a source a warehouse loads."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from headrace.cli import options
from headrace.cli.options import ConfigFile, Data, Json
from headrace.cli.output import plain, print_error, print_json, print_line
from headrace.cli.warehouse_shown import described, print_warehouse


def register(commands: typer.Typer) -> None:
    commands.command("select")(select)


def select(
    slug: Annotated[str, typer.Argument(metavar="SLUG", help="The warehouse, as `headrace warehouse list` names it.")],
    *,
    source: Annotated[str, typer.Option(metavar="SLUG", help="The source, as `headrace source list` names it.")],
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="TABLE", help="Load this table and no other; may be repeated."),
    ] = None,
    without: Annotated[
        list[str] | None, typer.Option("--without", metavar="TABLE", help="Leave this table out; may be repeated.")
    ] = None,
    without_properties: Annotated[
        list[str] | None,
        typer.Option(
            "--without-property",
            metavar="TABLE.COLUMN",
            help="Leave this column out, *.COLUMN in every table; may be repeated.",
        ),
    ] = None,
    where: Annotated[
        str | None,
        typer.Option(metavar="EXPRESSION", help="Load only events for which this holds, see docs/filters.md."),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Load everything of the source again.")] = False,
    data: Data = None,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """Say what of a source a warehouse loads from now on. It replaces what was said before; what is there already stays."""
    from headrace.loader import selection  # noqa: PLC0415 - --help needs none of it

    given: dict[str, Any] = {
        "only": only or None,
        "without": without or None,
        "without_properties": without_properties or None,
        "where": where,
    }
    given = {name: value for name, value in given.items() if value is not None}
    if everything == bool(given):
        raise typer.BadParameter(
            "say what to load with --only or --without, --without-property and --where, or everything with --all"
        )
    parsed = selection.parse(given) if given else None
    with options.workspace(options.settings(data, config)) as workspace:
        warehouse = workspace.select(slug, source, selection.as_json(parsed) if parsed else None)
    notes = selection.consequences(parsed) if parsed else ()
    if as_json:
        print_json({**described(warehouse), "notes": list(notes)})
        return
    print_warehouse(warehouse)
    for note in notes:
        print_error(f"note: {note}")
    print_line(
        f"\nIt holds for what is loaded from now on. For what was left out before: "
        f"headrace warehouse backfill {plain(slug)} --source {plain(source)}"
    )
