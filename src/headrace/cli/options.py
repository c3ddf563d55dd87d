"""Options that many commands share, and what they lead to. Rooms are imported when a command runs, so that --help is quick."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from headrace.config import Config
    from headrace.workspace.workspace import Workspace

Data = Annotated[
    str | None,
    typer.Option("--data", metavar="DIR", help="The data folder. [default: HEADRACE_DATA, else ./headrace-data]"),
]
ConfigFile = Annotated[Path | None, typer.Option("--config", metavar="FILE", help="A TOML file with settings.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
OneOf = Annotated[
    str | None,
    typer.Option(
        "--warehouse", metavar="SLUG", help="The warehouse. [default: the only one, or the one called warehouse]"
    ),
]


def settings(data: str | None, file: Path | None = None) -> Config:
    """Raises ConfigError."""
    from headrace import config  # noqa: PLC0415 - see the module's docstring

    return config.load(file, overrides={"data": data})


def workspace(chosen: Config, *, create: bool = False) -> Workspace:
    """The workspace of the data folder, to be closed by the caller. Raises NotFoundError where there is none, unless `create`."""
    from headrace.workspace.workspace import Workspace  # noqa: PLC0415 - 0.4 s of SQLAlchemy

    return Workspace.open(chosen.folder, create=create)


def console_url(chosen: Config) -> str:
    """Where people open the console: its public address if that is set, else where it listens."""
    from headrace import config  # noqa: PLC0415 - see the module's docstring

    if chosen.console.public_url:
        return chosen.console.public_url.rstrip("/")
    host, port = config.address(chosen.console.listen)
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - recognised here, not bound
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def url(chosen: Config) -> str:
    """The tracking API, without a path: its public address if that is set, else where the folder's server listens, or would."""
    from headrace.app import folder  # noqa: PLC0415 - see the module's docstring

    return folder.tracking_url(chosen)
