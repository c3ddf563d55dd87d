"""`headrace send`: a file of events to a tracking API."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from headrace.cli import options, sending
from headrace.cli.options import Json
from headrace.cli.sending import Url, WriteKey
from headrace.errors import ConfigError, NotFoundError


def register(app: typer.Typer) -> None:
    app.command("send")(send)


def send(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A Segment event as JSON on each line; - is stdin.")],
    *,
    write_key: WriteKey,
    url: Url = None,
    batch: Annotated[int, typer.Option(metavar="N", min=1, max=2_500, help="Events in a request at the most.")] = 100,
    as_json: Json = False,
) -> None:
    """Send events from a file; lines that are no JSON are reported, the rest goes on. Exit code 1 if anything was not accepted."""
    from headrace.simulator.sender import Sender  # noqa: PLC0415 - --help needs no HTTP client

    url = url or options.url(options.settings(None))
    with (
        _opened(file) as (stream, total),
        sending.progress("Sending", total, quiet=as_json) as advance,
    ):
        sender = Sender(url, write_key, batch_events=batch, progress=advance)
        with suppress(ConfigError, KeyboardInterrupt), sender:  # the totals say it too
            for number, line in enumerate(stream, 1):
                if not line.isspace():
                    sender.add(line, number)
    sending.report(sender.totals, as_json=as_json)


@contextmanager
def _opened(file: str) -> Iterator[tuple[BinaryIO, int | None]]:
    """The lines and, where it can be known, their number. Raises NotFoundError and ConfigError."""
    if file == "-":
        yield sys.stdin.buffer, None
        return
    path = Path(file)
    try:
        stream = path.open("rb")
    except FileNotFoundError:
        raise NotFoundError(f"send: there is no file {file}; give a path, or - for stdin") from None
    except OSError as error:
        raise ConfigError(f"send: cannot read {file}: {error.strerror}") from None
    with stream:
        total = None
        if path.is_file():
            total = sum(not line.isspace() for line in stream)
            stream.seek(0)
        yield stream, total
