"""The command line. A module of commands has `register(app)` and stands in COMMANDS; it imports rooms inside its commands."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from functools import cache
from typing import Annotated, Any, Final, TextIO

import typer

from headrace import __version__
from headrace.cli import (
    alert,
    audit,
    catalog,
    configuration,
    dead_letters,
    delivery,
    demo,
    destination,
    email,
    people,
    query,
    replay,
    report,
    send,
    serve,
    simulate,
    source,
    status,
    token,
    trace,
    warehouse,
)
from headrace.cli.output import print_error, print_line
from headrace.errors import HeadraceError
from headrace.workspace.actor import acting, command_line

COMMANDS: Final = (
    serve,
    source,
    warehouse,
    destination,
    alert,
    email,
    configuration,
    catalog,
    send,
    simulate,
    query,
    report,
    status,
    delivery,
    trace,
    dead_letters,
    replay,
    demo,
    people,
    token,
    audit,
)

_INTERRUPTED: Final = 130  # what shells give a process that SIGINT ended
_BROKEN_PIPE: Final = 141  # the same for SIGPIPE


def _version(wanted: bool) -> None:  # noqa: FBT001 - typer's signature of a callback
    if wanted:
        print_line(f"headrace {__version__}")
        raise typer.Exit


def _root(
    *,
    _version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """E-mail events, and every other Segment-style event, into your own warehouse."""


def application() -> typer.Typer:
    """All commands."""
    commands = typer.Typer(
        name="headrace",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        callback=_root,
        rich_markup_mode="markdown",  # as rich's own markup, [default: ...] in a help text would vanish
    )
    for module in COMMANDS:
        module.register(commands)
    return commands


app: Final = application()


@cache
def _built(commands: typer.Typer | Callable[..., Any]) -> Callable[..., Any]:
    """What a Typer makes of its functions at each call, made once: a tenth of a second for all commands."""
    return typer.main.get_command(commands) if isinstance(commands, typer.Typer) else commands


def run(commands: typer.Typer | Callable[..., Any], arguments: Sequence[str] | None = None) -> int:
    """Run the command that the arguments (None: sys.argv) name. The exit code is 1 for an error that headrace explains,
    2 for wrong usage."""
    code, stdout = 0, sys.stdout
    try:
        with acting(command_line()):
            _built(commands)(arguments, prog_name="headrace")
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except HeadraceError as error:
        print_error(f"error: {error}")
        code = 1
    except KeyboardInterrupt:
        code = _INTERRUPTED
    except BrokenPipeError:
        code = _BROKEN_PIPE
    if sys.stdout is not stdout or not _flushed(stdout):  # typer has put a wrapper there when the pipe broke
        os.dup2(
            os.open(os.devnull, os.O_WRONLY), stdout.fileno()
        )  # so that the interpreter does not complain at its end
        code = _BROKEN_PIPE
    return code


def _flushed(stdout: TextIO) -> bool:
    try:
        stdout.flush()
    except BrokenPipeError:
        return False
    return True


def _only(commands: typer.Typer, name: str) -> typer.Typer:
    """Only the command that is wanted, as making all of them takes a quarter of a second. All where none has this name."""
    found = [one for one in commands.registered_commands if one.name == name]
    groups = [one for one in commands.registered_groups if one.name == name]
    if found or groups:
        commands.registered_commands, commands.registered_groups = found, groups
    return commands


def main() -> None:
    sys.exit(run(_only(app, sys.argv[1] if len(sys.argv) > 1 else "")))
