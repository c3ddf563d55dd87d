"""`headrace destination ...`: destinations, their settings and whose events go to them. Works with and without a running server."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from headrace.cli import assignments, destination_test, options
from headrace.cli.destination_shown import described, print_destination, print_next_steps
from headrace.cli.options import ConfigFile, Data, Json
from headrace.cli.output import plain, print_error, print_json, print_line, print_table
from headrace.errors import ConfigError, HeadraceError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.config import Config
    from headrace.workspace.records import Destination
    from headrace.workspace.workspace import Workspace

commands: Final = typer.Typer(
    no_args_is_help=True, help="Add, list and change destinations, and say whose events go to them."
)

Slug = Annotated[str, typer.Argument(metavar="SLUG", help="The destination, as `headrace destination list` names it.")]
Sources = Annotated[
    list[str] | None,
    typer.Option("--source", metavar="SLUG", help="A source, as `headrace source list` names it; may be repeated."),
]


def register(app: typer.Typer) -> None:
    app.add_typer(commands, name="destination")


@commands.command()
def add(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="The tool, as `headrace catalog` names it.")],
    *,
    name: Annotated[str, typer.Option("--name", metavar="NICKNAME", help="How people call this destination.")],
    sources: Sources = None,
    given: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help=f"A setting of the kind; may be repeated. {assignments.FORMS}; a secret belongs in a file or a variable.",
        ),
    ] = None,
    slug: Annotated[
        str | None, typer.Option(metavar="SLUG", help="Its name in commands, for good. [default: from the nickname]")
    ] = None,
    unchecked: Annotated[
        bool, typer.Option("--no-check", help="Add it though its kind, filter or mapping finds its settings wrong.")
    ] = False,
    data: Data = None,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """Add a destination: the events of its sources that arrive from now on are sent to it."""
    from headrace.destinations import base  # noqa: PLC0415 - --help needs no catalogue

    chosen = options.settings(data, config)
    settings = assignments.settings(base.kind(kind).Settings, given or [])
    with options.workspace(chosen) as workspace:
        slug = workspace.free_destination_slug(kind, name, slug)
        warnings = [] if unchecked else _checked(chosen, kind, slug, settings)
        destination = workspace.add_destination(kind, name, sources or [], settings, slug)
        known = {source.slug: source for source in workspace.sources(include_removed=True)}
    _tell_server(chosen)
    if as_json:
        print_json(described(destination))
        return
    print_line(f"Added the destination {plain(destination.nickname)} to {plain(chosen.folder.absolute())}.\n")
    print_destination(destination, known)
    _print_warnings(warnings)
    print_next_steps(destination, base.kind(kind).setup)


@commands.command("list")
def list_destinations(
    *,
    include_removed: Annotated[bool, typer.Option("--all", help="Removed ones too.")] = False,
    data: Data = None,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """List the destinations."""
    from headrace.console.destination_shown import state  # noqa: PLC0415 - --help needs no catalogue

    with options.workspace(options.settings(data, config)) as workspace:
        destinations = workspace.destinations(include_removed=include_removed)
    if as_json:
        print_json([described(destination) for destination in destinations])
        return
    print_table(
        ("SLUG", "NICKNAME", "KIND", "STATE", "SOURCES", "ADDED"),
        (
            (d.slug, d.nickname, d.kind, state(d), ", ".join(d.sources) or "none", f"{d.created_at:%Y-%m-%d %H:%M}Z")
            for d in destinations
        ),
        "No destinations yet. `headrace catalog` lists the kinds; "
        "`headrace destination add KIND --name NICKNAME --source SLUG` adds one.",
    )


@commands.command()
def show(slug: Slug, *, data: Data = None, config: ConfigFile = None, as_json: Json = False) -> None:
    """Show a destination: state, sources, settings, and what is to be known about them."""
    chosen = options.settings(data, config)
    warnings: Sequence[str] = ()
    problem: str | None = None
    with options.workspace(chosen) as workspace:
        destination = workspace.destination(slug)
        known = {source.slug: source for source in workspace.sources(include_removed=True)}
        if destination.removed_at is None:
            try:
                warnings = _checked(chosen, destination.kind, slug, workspace.revealed_destination_settings(slug))
            except ConfigError as error:  # shown all the same: the settings are what is to be mended
                problem = str(error)
    if as_json:
        print_json({**described(destination), "warnings": list(warnings), "problem": problem})
        return
    print_destination(destination, known)
    _print_warnings(warnings)
    if problem is not None:
        print_error(f"note: it cannot send with these settings: {problem}")
    if destination.removed_at is None:
        print_line(f"\nWhat was sent and what became of it: headrace delivery show {slug}")


@commands.command("set")
def set_settings(
    slug: Slug,
    given: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE...", help=f"Settings, see `headrace catalog KIND`. {assignments.FORMS}."),
    ] = None,
    *,
    unset: Annotated[
        list[str] | None,
        typer.Option("--unset", metavar="KEY", help="Take a setting back to its default; may be repeated."),
    ] = None,
    data: Data = None,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """Change a destination's settings; those that are not named stay. What failed because of them is then sent again."""
    from headrace.destinations import base  # noqa: PLC0415 - --help needs no catalogue

    if not given and not unset:
        raise typer.BadParameter("give KEY=VALUE or --unset KEY")
    chosen = options.settings(data, config)

    def change(workspace: Workspace) -> Destination:
        kind = workspace.destination(slug).kind
        changes: dict[str, Any] = dict.fromkeys(unset or [])
        changes |= assignments.settings(base.kind(kind).Settings, given or [])
        warnings.extend(_checked(chosen, kind, slug, workspace.destination_settings_after(slug, changes)))
        return workspace.set_destination_settings(slug, changes)

    warnings: list[str] = []
    _change(chosen, change, as_json=as_json)
    if not as_json:
        _print_warnings(warnings)


@commands.command()
def connect(
    slug: Slug, *, sources: Sources = None, data: Data = None, config: ConfigFile = None, as_json: Json = False
) -> None:
    """Send the events of further sources to a destination too, from where it stands in the log."""
    wanted = _named(sources)
    chosen = options.settings(data, config)
    _change(chosen, lambda workspace: workspace.connect_destination(slug, wanted), as_json=as_json)


@commands.command()
def disconnect(
    slug: Slug, *, sources: Sources = None, data: Data = None, config: ConfigFile = None, as_json: Json = False
) -> None:
    """Send a source's events to a destination no more."""
    wanted = _named(sources)
    chosen = options.settings(data, config)
    _change(chosen, lambda workspace: workspace.disconnect_destination(slug, wanted), as_json=as_json)


@commands.command()
def rename(
    slug: Slug,
    nickname: Annotated[str, typer.Argument(metavar="NICKNAME", help="The new nickname.")],
    *,
    data: Data = None,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """Give a destination another nickname; the slug stays."""
    chosen = options.settings(data, config)
    _change(chosen, lambda workspace: workspace.rename_destination(slug, nickname), as_json=as_json)


@commands.command()
def pause(slug: Slug, *, data: Data = None, config: ConfigFile = None, as_json: Json = False) -> None:
    """Send nothing to a destination until it is resumed; events wait in the log as long as the log keeps them."""
    chosen = options.settings(data, config)
    _change(chosen, lambda workspace: workspace.pause_destination(slug), as_json=as_json)


@commands.command()
def resume(slug: Slug, *, data: Data = None, config: ConfigFile = None, as_json: Json = False) -> None:
    """Send to a paused destination again, or to one that headrace switched off, beginning where it stopped."""
    chosen = options.settings(data, config)
    _change(chosen, lambda workspace: workspace.resume_destination(slug), as_json=as_json)


@commands.command()
def remove(
    slug: Slug,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    data: Data = None,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """Remove a destination: nothing is sent to it any more, also nothing that waits. Its slug stays taken."""
    if not yes:
        if as_json or not sys.stdin.isatty():
            raise typer.BadParameter("removing ends sending for good; say --yes", param_hint="--yes")
        text = f"Remove {plain(slug)}? What waits for it is not sent any more, and its secrets are forgotten."
        typer.confirm(text, abort=True, err=True)
    chosen = options.settings(data, config)
    _change(chosen, lambda workspace: workspace.remove_destination(slug), as_json=as_json)


def _named(sources: list[str] | None) -> list[str]:
    if not sources:
        raise typer.BadParameter("say which source", param_hint="--source")
    return sources


def _change(chosen: Config, change: Callable[[Workspace], Destination], *, as_json: bool) -> None:
    with options.workspace(chosen) as workspace:
        destination = change(workspace)
        known = {source.slug: source for source in workspace.sources(include_removed=True)}
    _tell_server(chosen)
    if as_json:
        print_json(described(destination))
    else:
        print_destination(destination, known)


def _tell_server(chosen: Config) -> None:
    """After a change: when the command ends, it holds."""
    from headrace.app import reach  # noqa: PLC0415 - --help needs none of it

    try:
        reach.notice(chosen)
    except HeadraceError as error:  # it is stored, and the server looks by itself too
        print_error(f"note: the change is stored, but the running server did not take it up yet: {error}")


def _checked(chosen: Config, kind: str, slug: str, settings: dict[str, Any]) -> Sequence[str]:
    """The kind's warnings about the settings, which are in clear. Raises ConfigError."""
    from headrace.app import destination_checks  # noqa: PLC0415 - --help needs none of it

    return destination_checks.check_settings(kind, settings, destination_checks.place_of(chosen, slug))


def _print_warnings(warnings: Sequence[str]) -> None:
    for warning in warnings:
        print_error(f"note: {warning}")


destination_test.register(commands)
