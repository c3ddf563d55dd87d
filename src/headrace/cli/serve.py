"""`headrace serve`: the server."""

from __future__ import annotations

from typing import Annotated

import typer

from headrace.cli.options import ConfigFile, Data
from headrace.cli.output import plain, print_line


def register(app: typer.Typer) -> None:
    app.command("serve")(serve)


def serve(
    *,
    data: Data = None,
    collector: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Where the tracking API listens. [default: 127.0.0.1:8000]")
    ] = None,
    console: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT", help="Where the console, /health and /metrics answer. [default: 127.0.0.1:8001]"
        ),
    ] = None,
    config: ConfigFile = None,
) -> None:
    """Collect events and load them into the warehouse until SIGTERM or Ctrl-C; drains before it ends."""
    from headrace import config as settings  # noqa: PLC0415 - --help needs no server
    from headrace.app import logs  # noqa: PLC0415 - as above
    from headrace.app.supervisor import Supervisor  # noqa: PLC0415 - as above

    chosen = settings.load(
        config, overrides={"data": data, "collector": {"listen": collector}, "console": {"listen": console}}
    )
    logs.set_up("serve")
    supervisor = Supervisor(chosen)
    print_line(
        f"headrace collects on {supervisor.collector_url} and keeps everything in {plain(chosen.folder.absolute())}"
    )
    print_line(f"console: {supervisor.console_url}; Ctrl-C stops after storing all that was accepted")
    if supervisor.setup_code:
        print_line(
            f"first start: open the console and choose a password; from another machine it asks for the setup code {supervisor.setup_code}"
        )
    supervisor.run()
