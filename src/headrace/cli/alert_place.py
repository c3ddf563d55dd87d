"""What every command about alerts and their channels begins with."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import typer

from headrace.cli import options
from headrace.cli.output import plain

if TYPE_CHECKING:
    from headrace.alerts.kept import State
    from headrace.config import Config
    from headrace.workspace.alerts import WorkspaceAlerts
    from headrace.workspace.workspace import Workspace


class Opened(NamedTuple):
    chosen: Config
    workspace: Workspace
    alerts: WorkspaceAlerts
    state: State | None
    """What the server wrote down at its last look; None where none has looked."""


@contextmanager
def opened(data: str | None, config: Path | None, *, create: bool = False) -> Iterator[Opened]:
    from headrace.alerts import kept  # noqa: PLC0415 - --help needs none of it
    from headrace.alerts.alerts import kept_in  # noqa: PLC0415 - as above

    chosen = options.settings(data, config)
    with options.workspace(chosen, create=create) as workspace:
        yield Opened(chosen, workspace, kept_in(workspace), kept.read(chosen.folder))


def ask(slug: str, *, yes: bool, as_json: bool) -> None:
    if yes:
        return
    if as_json or not sys.stdin.isatty():
        raise typer.BadParameter("removing cannot be undone; say --yes", param_hint="--yes")
    typer.confirm(f"Remove {plain(slug)}?", abort=True, err=True)
