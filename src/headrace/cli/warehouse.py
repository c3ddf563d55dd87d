"""`headrace warehouse ...`: warehouses, their settings and what they load. Works with and without a running server."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from headrace.cli import assignments, options, warehouse_jobs, warehouse_select, warehouse_shown
from headrace.cli.options import ConfigFile, Data, Json
from headrace.cli.output import plain, print_error, print_json, print_line, print_table
from headrace.cli.warehouse_shown import described, print_findings, print_warehouse, state
from headrace.errors import ConfigError, HeadraceError

if TYPE_CHECKING:
    from headrace.config import Config
    from headrace.console.warehouses import WarehouseDetail
    from headrace.warehouses.base import Finding
    from headrace.workspace.records import Warehouse
    from headrace.workspace.workspace import Workspace

commands: Final = typer.Typer(
    no_args_is_help=True, help="Add, test, watch and change warehouses, and what they load of which source."
)

Slug = Annotated[str, typer.Argument(metavar="SLUG", help="The warehouse, as `headrace warehouse list` names it.")]


def register(app: typer.Typer) -> None:
    app.add_typer(commands, name="warehouse")


@commands.command()
def add(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="The engine, as `headrace catalog` names it.")],
    *,
    name: Annotated[str, typer.Option("--name", metavar="NICKNAME", help="How people call this warehouse.")],
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
        bool, typer.Option("--no-check", help="Add it without testing it, or though the test fails.")
    ] = False,
    data: Data = None,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """Test a warehouse and add it: everything that the log still has is loaded into it, then whatever comes."""
    from headrace.warehouses import base  # noqa: PLC0415 - --help needs no catalogue

    chosen = options.settings(data, config)
    settings = assignments.settings(base.kind(kind).Settings, given or [])
    with options.workspace(chosen, create=True) as workspace:
        slug = workspace.free_warehouse_slug(kind, name, slug)
        if not unchecked:
            _check_before(chosen, kind, slug, settings)
        warehouse = workspace.add_warehouse(kind, name, settings, slug)
    if as_json:
        print_json(described(warehouse))
        return
    print_line(f"Added the warehouse {plain(warehouse.nickname)} to {plain(chosen.folder.absolute())}.\n")
    print_warehouse(warehouse)
    print_line("\nEverything that the log still has is loaded into it, then whatever comes.")
    print_line(f"Watch it: headrace warehouse show {warehouse.slug}")


@commands.command("list")
def list_warehouses(
    *,
    include_removed: Annotated[bool, typer.Option("--all", help="Removed ones too.")] = False,
    data: Data = None,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """List the warehouses."""
    with _workspace(data, config) as workspace:
        warehouses = workspace.warehouses(include_removed=include_removed)
    if as_json:
        print_json([described(warehouse) for warehouse in warehouses])
        return
    print_table(
        ("SLUG", "NICKNAME", "KIND", "STATE", "SELECTION", "ADDED"),
        (
            (w.slug, w.nickname, w.kind, state(w), ", ".join(w.selection) or "all", f"{w.created_at:%Y-%m-%d %H:%M}Z")
            for w in warehouses
        ),
        "No warehouses: events wait in the log. `headrace catalog` lists the kinds; "
        "`headrace warehouse add KIND --name NICKNAME` adds one.",
    )


@commands.command()
def show(slug: Slug, *, data: Data = None, config: ConfigFile = None, as_json: Json = False) -> None:
    """Show a warehouse: settings, position, last loads, failures, and values that did not fit their columns."""
    import msgspec  # noqa: PLC0415 - --help needs none of it

    from headrace.app import reach  # noqa: PLC0415 - as above

    chosen = options.settings(data, config)
    with options.workspace(chosen) as workspace:
        warehouse = workspace.warehouse(slug)
    detail: WarehouseDetail | None = None
    problem: str | None = None
    if warehouse.removed_at is None:
        try:
            detail = reach.warehouse_detail(chosen, slug)
        except HeadraceError as error:  # the settings are shown all the same: they may be what is wrong
            problem = str(error)
    if as_json:
        print_json({**described(warehouse), "detail": msgspec.to_builtins(detail), "problem": problem})
        return
    print_warehouse(warehouse, detail)
    if detail is not None:
        warehouse_shown.print_detail(detail)
    if problem is not None:
        print_error(f"note: the warehouse cannot be asked now: {problem}; try: headrace warehouse test {slug}")


@commands.command("test")
def check(slug: Slug, *, data: Data = None, config: ConfigFile = None, as_json: Json = False) -> None:
    """Test whether a warehouse can be reached and written, step by step; exit code 1 when it cannot."""
    chosen = options.settings(data, config)
    with options.workspace(chosen) as workspace:
        kind, settings = workspace.warehouse(slug).kind, workspace.revealed_settings(slug)
    found = _findings(chosen, kind, slug, settings)
    if as_json:
        print_json([finding._asdict() for finding in found])
    else:
        print_findings(found, print_line)
    if not all(finding.ok for finding in found):
        raise typer.Exit(1)


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
    """Change a warehouse's settings; those that are not named stay. `test` tells whether they work."""
    from headrace.warehouses import base  # noqa: PLC0415 - --help needs no catalogue

    if not given and not unset:
        raise typer.BadParameter("give KEY=VALUE or --unset KEY")
    with _workspace(data, config) as workspace:
        changes = assignments.settings(base.kind(workspace.warehouse(slug).kind).Settings, given or [])
        warehouse = workspace.set_warehouse_settings(slug, {**dict.fromkeys(unset or []), **changes})
    _answer(warehouse, as_json=as_json)


@commands.command()
def rename(
    slug: Slug,
    nickname: Annotated[str, typer.Argument(metavar="NICKNAME", help="The new nickname.")],
    *,
    data: Data = None,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """Give a warehouse another nickname; the slug stays."""
    _change(data, config, lambda workspace: workspace.rename_warehouse(slug, nickname), as_json=as_json)


@commands.command()
def pause(slug: Slug, *, data: Data = None, config: ConfigFile = None, as_json: Json = False) -> None:
    """Load nothing into a warehouse until it is resumed; events wait in the log as long as the log keeps them."""
    _change(data, config, lambda workspace: workspace.pause_warehouse(slug), as_json=as_json)


@commands.command()
def resume(slug: Slug, *, data: Data = None, config: ConfigFile = None, as_json: Json = False) -> None:
    """Load into a paused warehouse again, beginning where it was paused."""
    _change(data, config, lambda workspace: workspace.resume_warehouse(slug), as_json=as_json)


@commands.command()
def remove(
    slug: Slug,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    data: Data = None,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """Remove a warehouse: nothing is loaded into it any more, and its data stays where it is. Its slug stays taken."""
    if not yes and (as_json or not sys.stdin.isatty()):
        raise typer.BadParameter("removing ends loading for good; say --yes", param_hint="--yes")
    with _workspace(data, config) as workspace:
        others = [w for w in workspace.warehouses() if w.slug != slug]
        wait = "" if others else " It is the last one: from now on events wait in the log."
        if not yes:
            text = f"Remove {plain(slug)}? Its data stays, its secrets are forgotten, loading ends for good.{wait}"
            typer.confirm(text, abort=True, err=True)
        warehouse = workspace.remove_warehouse(slug)
    _answer(warehouse, as_json=as_json)
    if not as_json:
        print_line(f"\nIts data stays where it is.{wait}")


@contextmanager
def _workspace(data: str | None, config: Path | None) -> Iterator[Workspace]:
    with options.workspace(options.settings(data, config)) as workspace:
        yield workspace


def _change(data: str | None, config: Path | None, change: Callable[[Workspace], Warehouse], *, as_json: bool) -> None:
    with _workspace(data, config) as workspace:
        warehouse = change(workspace)
    _answer(warehouse, as_json=as_json)


def _answer(warehouse: Warehouse, *, as_json: bool) -> None:
    if as_json:
        print_json(described(warehouse))
    else:
        print_warehouse(warehouse)


def _check_before(chosen: Config, kind: str, slug: str, settings: dict[str, object]) -> None:
    """Raises ConfigError, after printing the steps, when the warehouse cannot be used."""
    from headrace.app import checking  # noqa: PLC0415 - --help needs none of it

    found = checking.findings(chosen, kind, slug, settings)
    failed = next((finding for finding in found if not finding.ok), None)
    if failed is not None:
        print_findings(found, print_error)
        raise ConfigError(
            f"warehouse: nothing was added, since {failed.step} failed; mend it, or add it all the same with --no-check"
        )


def _findings(chosen: Config, kind: str, slug: str, settings: dict[str, object]) -> Sequence[Finding]:
    """A file that the running server has open cannot be opened a second time: then it is asked through the server."""
    from headrace.app import checking, folder, reach  # noqa: PLC0415 - --help needs none of it

    found = checking.findings(chosen, kind, slug, settings)
    if not found or found[-1].ok or found[-1].step != "open" or not folder.is_served(chosen.folder):
        return found
    try:
        reach.query(chosen, "SELECT 1", warehouse=slug)
    except HeadraceError:
        return found
    return [*found[:-1], found[-1]._replace(ok=True, text="the running server has it open, and it answers", remedy="")]


warehouse_select.register(commands)
warehouse_jobs.register(commands)
