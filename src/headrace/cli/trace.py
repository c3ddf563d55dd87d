"""`headrace trace`: where is my event?"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from headrace.cli import options
from headrace.cli.options import ConfigFile, Data, Json
from headrace.cli.output import plain, print_error, print_json, print_line


def register(app: typer.Typer) -> None:
    app.command("trace")(trace)


def trace(
    message_id: Annotated[str, typer.Argument(metavar="MESSAGE_ID", help="The event's messageId.")],
    *,
    since: Annotated[
        str,
        typer.Option(
            "--since",
            metavar="TIME",
            help="How far the log is read where nothing else knows the id: 1h, 24h, 7d, or a date.",
        ),
    ] = "24h",
    data: Data = None,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """Show where an event is: how the collector answered, its rows in each warehouse, and what became of it at each destination.

    The exit code is 1 where nobody knows the event."""
    import msgspec  # noqa: PLC0415 - --help needs none of these

    from headrace.app import tracing  # noqa: PLC0415 - as above

    with tracing.opened(options.settings(data, config)) as tracer, _progress(quiet=as_json) as on_progress:
        found = tracer.trace(message_id, since, on_progress)
    if as_json:
        print_json(msgspec.to_builtins(found))
    else:
        for step in found.steps:
            print_line(plain(step))
        if found.looked_back_to is not None and found.is_found:
            print_line("(nothing else knew the id: the log was read backwards)")
        for note in found.notes:
            print_error(f"note: {note}")
    if not found.is_found:
        raise typer.Exit(1)


@contextmanager
def _progress(*, quiet: bool) -> Iterator[Callable[[int, int], object]]:
    """A bar on a terminal, shown once there is something to wait for."""
    if quiet or not sys.stderr.isatty():
        yield lambda *_: None
        return
    from rich.console import Console  # noqa: PLC0415 - 0.1 s that only a terminal needs
    from rich.progress import Progress  # noqa: PLC0415 - as above

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("Reading the log backwards", total=None, visible=False)
        yield lambda done, total: bar.update(task, completed=done, total=total, visible=True)
