"""The commands of `headrace warehouse` that are jobs: the worker runs them on the warehouse's loader thread, between two loads."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headrace.cli import options
from headrace.cli.options import ConfigFile, Data, Json, OneOf
from headrace.cli.output import plain, print_error, print_fields, print_json, print_line

if TYPE_CHECKING:
    from headrace.config import Config
    from headrace.console.jobs import OnProgress


def register(commands: typer.Typer) -> None:
    for command in (backfill, retype, rebuild, snapshot, export):
        commands.command(command.__name__)(command)


def backfill(
    slug: Annotated[str, typer.Argument(metavar="SLUG", help="The warehouse, as `headrace warehouse list` names it.")],
    *,
    source: Annotated[str | None, typer.Option(metavar="SLUG", help="Only this source's events.")] = None,
    schema: Annotated[str | None, typer.Option(metavar="NAME", help="Only what goes to this schema.")] = None,
    data: Data = None,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """Load what was collected before and is not there, for example after a wider selection. What is there already stays once."""
    chosen = options.settings(data, config)
    run(chosen, slug, "backfill", {"source": source, "schema": schema}, as_json=as_json)


def retype(
    column: Annotated[str, typer.Argument(metavar="SCHEMA.TABLE.COLUMN", help="The column.")],
    wanted: Annotated[str, typer.Argument(metavar="TYPE", help="boolean, integer, float, timestamp or string.")],
    *,
    warehouse: OneOf = None,
    data: Data = None,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """Give a column another type, and put the values into it that did not fit before. What does not fit now is kept in headrace.discards."""
    from headrace.warehouses.base import ColumnType  # noqa: PLC0415 - --help needs none of it

    types = [kind.value for kind in ColumnType if kind is not ColumnType.JSON]
    if wanted not in types:
        raise typer.BadParameter(f"{plain(wanted[:40])!r} is no type; take {', '.join(types)}", param_hint="TYPE")
    schema, table, name = _parts(column, "SCHEMA.TABLE.COLUMN", 3)
    arguments = {"schema": schema, "table": table, "column": name, "type": wanted}
    run(options.settings(data, config), warehouse, "retype", arguments, as_json=as_json)


def rebuild(
    tables: Annotated[str, typer.Argument(metavar="SCHEMA[.TABLE]", help="A table, or all of a schema.")],
    *,
    warehouse: OneOf = None,
    data: Data = None,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """Make tables anew from what was collected, beside the present ones, then put them in their place. Rows of which the log has nothing any more are kept."""
    schema, table = _parts(tables, "SCHEMA or SCHEMA.TABLE", 2) if "." in tables else (tables, None)
    arguments = {"schema": schema, "table": table}
    run(options.settings(data, config), warehouse, "rebuild", arguments, as_json=as_json)


def snapshot(
    *,
    warehouse: OneOf = None,
    to: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The file. [default: the warehouse's setting, else beside its file]"),
    ] = None,
    data: Data = None,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """Write a copy of an embedded warehouse of this moment, for programs that read it while the server goes on loading."""
    arguments = {"to": str(to.absolute()) if to else None}
    run(options.settings(data, config), warehouse, "snapshot", arguments, as_json=as_json)


def export(
    tables: Annotated[
        list[str] | None, typer.Argument(metavar="[SCHEMA.TABLE]...", help="Tables, or whole schemas. [default: all]")
    ] = None,
    *,
    to: Annotated[Path, typer.Option(metavar="FOLDER", help="Where to: a Parquet file a table, in a folder a schema.")],
    warehouse: OneOf = None,
    data: Data = None,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """Write tables as Parquet files."""
    arguments = {"to": str(to.absolute()), "tables": list(tables or [])}
    run(options.settings(data, config), warehouse, "export", arguments, as_json=as_json)


def _parts(name: str, form: str, count: int) -> list[str]:
    parts = name.split(".")
    if len(parts) != count or not all(parts):
        raise typer.BadParameter(f"{plain(name[:200])!r} is no {form}")
    return parts


def run(chosen: Config, slug: str | None, job: str, arguments: dict[str, Any], *, as_json: bool) -> None:
    """Order the job, show how far it is, and what it tells at its end."""
    from headrace.app import reach  # noqa: PLC0415 - --help needs none of it

    with options.workspace(chosen) as workspace:
        warehouse = workspace.chosen_warehouse(slug).slug
    with _shown(f"{job} {warehouse}", quiet=as_json) as on_progress:
        result = reach.run_job(chosen, warehouse, job, arguments, on_progress)
    if as_json:
        print_json(result)
        return
    print_line(f"{job} of {plain(warehouse)}: done")
    print_fields({name: _text(value) for name, value in result.items() if value is not None})


def _text(value: Any) -> object:
    if isinstance(value, list):
        return ", ".join(str(_text(item)) for item in value)
    if isinstance(value, dict):
        return " ".join(
            str(part) for name, inner in value.items() for part in ((inner,) if name == "table" else (name, inner))
        )
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.3f}" if isinstance(value, float) else value


@contextmanager
def _shown(label: str, *, quiet: bool) -> Iterator[OnProgress]:
    """A bar on a terminal's stderr; elsewhere a line whenever the job does something else."""
    if quiet:
        yield _nothing
    elif sys.stderr.isatty():
        with _bar(label) as on_progress:
            yield on_progress
    else:
        yield _Lines(label)


def _nothing(done: int, total: int | None, text: str) -> None:
    del done, total, text


class _Lines:
    """For logs and pipes."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._text = ""

    def __call__(self, done: int, total: int | None, text: str) -> None:
        if text != self._text:
            self._text = text
            print_error(f"{self._label}: {text} ({done:,}{f' of {total:,}' if total is not None else ''})")


@contextmanager
def _bar(label: str) -> Iterator[OnProgress]:
    from rich.console import Console  # noqa: PLC0415 - 0.1 s that only a terminal needs
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415

    what = TextColumn("{task.fields[what]}", markup=False)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, what, console=Console(stderr=True)) as bar:
        task = bar.add_task(label, total=None, what="")

        def on_progress(done: int, total: int | None, text: str) -> None:
            bar.update(task, completed=done, total=total, what=plain(text))

        yield on_progress
