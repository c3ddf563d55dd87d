"""`headrace email ...`: what the e-mail model reads and counts, and by which rules. Works with and without a running server."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from headrace.cli import email_goals, email_labels, email_rules, email_shown, email_sources, options, warehouse_jobs
from headrace.cli.email_place import change, opened
from headrace.cli.options import ConfigFile, Data, Json, OneOf
from headrace.cli.output import print_json

commands: Final = typer.Typer(
    no_args_is_help=True, help="What the e-mail model reads, which rules flag machines, goals, and labels of campaigns."
)


def register(app: typer.Typer) -> None:
    app.add_typer(commands, name="email")


@commands.command()
def show(*, data: Data = None, config: ConfigFile = None, as_json: Json = False) -> None:
    """Show what is read and why, the rules, goals and labels, and where the model of each warehouse stands."""
    with opened(data, config) as place:
        shown = email_shown.described(place)
    if as_json:
        print_json(shown)
    else:
        email_shown.print_described(shown)


@commands.command()
def export(*, data: Data = None, config: ConfigFile = None) -> None:
    """Print all settings as a TOML file, for `headrace email apply`."""
    from headrace.reports.model import settings_file  # noqa: PLC0415 - --help needs none of it

    with opened(data, config) as place:
        text = settings_file.written(place.settings)
    sys.stdout.flush()
    sys.stdout.buffer.write(text.encode())  # TOML is UTF-8, whatever the terminal is


@commands.command("apply")
def apply_file(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="A TOML file as `headrace email export` prints; - reads it from stdin."),
    ],
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would change, and change nothing.")] = False,
    data: Data = None,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """Take all settings from a file, in the place of those that there are, and tell what is different."""
    settings = email_shown.settings_in(file)
    change(data, config, lambda _: settings, as_json=as_json, dry_run=dry_run)


@commands.command()
def rebuild(*, warehouse: OneOf = None, data: Data = None, config: ConfigFile = None, as_json: Json = False) -> None:
    """Make all tables of the schema email anew from the tables of events. Nobody needs this after a change of settings: it does so itself."""
    warehouse_jobs.run(options.settings(data, config), warehouse, "email_rebuild", {}, as_json=as_json)


for part in (email_rules, email_goals, email_labels, email_sources):
    part.register(commands)
