"""`headrace demo`: a server of its own with a month of realistic campaigns in it, and what the warehouse says of them."""

from __future__ import annotations

import shlex
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple

import typer

from headrace.app.folder import is_served
from headrace.cli import demo_figures, options, sending
from headrace.cli.demo_server import DemoServer
from headrace.cli.options import Json
from headrace.cli.output import plain, print_error, print_json, print_line, print_table
from headrace.errors import ConfigError, HeadraceError

if TYPE_CHECKING:
    from headrace.app.demo_note import AddedSource
    from headrace.cli.demo_figures import Figure
    from headrace.config import Config
    from headrace.reports.answers import ReportAnswer
    from headrace.simulator.truth import Truth
    from headrace.warehouses.base import TableName

HISTORY_TABLES: Final = ("tracks", "identifies", "pages", "aliases")
"""Where each simulated event has one row."""
LOAD_SECONDS: Final = 300.0
POLL_SECONDS: Final = 0.1


class Sent:
    """What went out for a source: all its events, and those that are not a repetition."""

    def __init__(self) -> None:
        self.events = 0
        self.ids: set[str] = set()


class Balance(NamedTuple):
    """What went out for a source beside what its tables hold."""

    source: str
    schema: str
    sent: int
    distinct: int
    repeated: int
    rows: int
    ids: int
    duplicates: int

    @property
    def agrees(self) -> bool:
        """Every event is there, none twice, and each repetition was found."""
        return self.distinct == self.rows == self.ids and self.repeated == self.duplicates


def register(app: typer.Typer) -> None:
    app.command("demo")(demo)


def demo(
    *,
    data: Annotated[
        str | None,
        typer.Option("--data", metavar="DIR", help="The data folder. [default: a temporary one, removed at the end]"),
    ] = None,
    recipients: Annotated[int, typer.Option(metavar="N", min=1, help="People on the simulated list.")] = 3_000,
    leave: Annotated[bool, typer.Option("--exit", help="Stop when the report is printed.")] = False,
    as_json: Json = False,
) -> None:
    """Start a server, send it a simulated month of e-mail campaigns and orders, and show what the warehouse made of it.

    Serves on until Ctrl-C unless --exit is given. Exit code 1 when the tables do not hold exactly what was sent."""
    with _folder(data) as folder, _terminable() as was_told, ExitStack() as stack:
        chosen = options.settings(str(folder))
        if is_served(folder):
            raise ConfigError(f"demo: a server works on {folder}; stop it, or give --data another folder")
        mail, shop = _sources(chosen)
        server = stack.enter_context(DemoServer(folder))
        _say(
            f"headrace collects on {server.url} and keeps everything in {plain(folder)}{'' if data else ' until it ends (--data DIR keeps it)'}",
            quiet=as_json,
        )
        seconds, sent, truth = _send(server.url, (mail, shop), recipients, quiet=as_json)
        loading = time.monotonic()
        found_again = _loaded(chosen, quiet=as_json)
        seconds["loading"] = round(time.monotonic() - loading, 1)
        there = _columns_by_table(chosen, (mail, shop))
        balances = [_balance(chosen, source, sent[source.slug], there, found_again) for source in (mail, shop)]
        answer = demo_figures.report(chosen)
        seconds["modelling"] = round(time.monotonic() - loading - seconds["loading"], 1)
        found = demo_figures.figures(chosen, answer, truth, mail.schema, shop.schema)
        agree = all(balance.agrees for balance in balances)
        with suppress(KeyboardInterrupt):  # from here on it is the way to end a demo
            if as_json:
                print_json(_described(folder, server, (mail, shop), balances, seconds, answer, found))
            else:
                _print(balances, seconds, answer, found)
            if not leave and not was_told():
                _say(_next_steps(folder, server, mail, shop), quiet=as_json)
                sys.stdout.flush()
                server.wait()
    if not agree:
        raise typer.Exit(1)


@contextmanager
def _folder(data: str | None) -> Iterator[Path]:
    if data is not None:
        yield Path(data).absolute()
        return
    with tempfile.TemporaryDirectory(prefix="headrace-demo-") as folder:
        yield Path(folder)


@contextmanager
def _terminable() -> Iterator[Callable[[], bool]]:
    """SIGTERM ends the demo as Ctrl-C does: the server is stopped and a temporary folder removed. Yields whether it was told to end: an exception
    that is raised while a module is imported, or garbage is collected, may be lost."""
    told = threading.Event()

    def interrupt(number: int, frame: FrameType | None) -> None:
        del number, frame
        told.set()
        raise KeyboardInterrupt

    numbers = [number for number in (signal.SIGTERM, signal.SIGINT) if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield told.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _sources(chosen: Config) -> tuple[AddedSource, AddedSource]:
    """New ones each time, so that a second demo in the same folder is counted apart."""
    from headrace.app import demo_note  # noqa: PLC0415 - --help needs none of these

    with options.workspace(chosen, create=True) as workspace:
        return demo_note.add_sources(workspace, chosen.folder, "done")


def _send(
    url: str, sources: Sequence[AddedSource], recipients: int, *, quiet: bool
) -> tuple[dict[str, float], dict[str, Sent], Truth]:
    """How long it took, what went out by source, and what the simulation knows of it. Raises typer.Exit when not everything was accepted."""
    from headrace.simulator import orders, simulation  # noqa: PLC0415 - --help needs none of these
    from headrace.simulator.month import DEMO_CAMPAIGNS, DEMO_SEED, send_month  # noqa: PLC0415 - as above
    from headrace.simulator.realism import FULL  # noqa: PLC0415 - as above
    from headrace.simulator.truth import Truth  # noqa: PLC0415 - as above

    truth = Truth()
    mail, shop = sources
    sent = {mail.slug: Sent(), shop.slug: Sent()}

    def noted(events: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        for event in events:
            of_source = sent[(shop if orders.is_of_shop(event) else mail).slug]
            of_source.events += 1
            of_source.ids.add(event["messageId"])
            yield event

    began = time.monotonic()
    events = simulation.simulate(recipients, DEMO_CAMPAIGNS, DEMO_SEED, datetime.now(UTC), FULL, truth)
    expected = simulation.expected_events(recipients, DEMO_CAMPAIGNS, FULL)
    with sending.progress("Sending", expected, quiet=quiet) as advance:
        totals = send_month(url, mail.write_key, shop.write_key, noted(events), advance)
    if not totals.complete:
        sending.report(totals, as_json=quiet, place="event")
    return {"sending": round(time.monotonic() - began, 1)}, sent, truth


def _loaded(chosen: Config, *, quiet: bool) -> dict[str, int]:
    """Wait until all is loaded; the duplicates that were found, by source. Raises HeadraceError when it takes too long."""
    from headrace.app import reach  # noqa: PLC0415 - --help needs no database

    deadline = time.monotonic() + LOAD_SECONDS
    status = reach.status_of(chosen)
    accepted = status.totals["accepted"]
    with sending.progress("Loading", accepted, quiet=quiet) as advance:
        done = 0
        while True:
            pending = status.totals["pending"]
            advance(accepted - pending - done)
            done = accepted - pending
            if not pending:
                return {entry.source: entry.duplicates for entry in status.sources}
            if time.monotonic() > deadline:
                raise HeadraceError(f"demo: {pending:,} events are not loaded after {LOAD_SECONDS:.0f} s")
            time.sleep(POLL_SECONDS)
            status = reach.status_of(chosen)


def _balance(
    chosen: Config,
    source: AddedSource,
    sent: Sent,
    there: Mapping[TableName, Collection[str]],
    found_again: Mapping[str, int],
) -> Balance:
    rows, ids = 0, 0
    tables = [table for table in HISTORY_TABLES if (source.schema, table) in there]
    every = [f'SELECT id FROM "{source.schema}"."{table}"' for table in tables]  # noqa: S608 -- a schema's name is plain ASCII
    if every:
        sql = f"SELECT count(*) AS found, count(DISTINCT id) AS ids FROM ({' UNION ALL '.join(every)})"  # noqa: S608 -- as above
        (answer,) = _rows(chosen, sql)
        rows, ids = answer["found"], answer["ids"]
    repeated = sent.events - len(sent.ids)
    return Balance(
        source.nickname, source.schema, sent.events, len(sent.ids), repeated, rows, ids, found_again[source.slug]
    )


def _columns_by_table(chosen: Config, sources: Sequence[AddedSource]) -> dict[TableName, list[str]]:
    from headrace.warehouses.base import TableName  # noqa: PLC0415 - --help needs no database

    schemas = ", ".join(f"'{source.schema}'" for source in sources)
    found: dict[TableName, list[str]] = {}
    for row in _rows(
        chosen,
        "SELECT table_schema, table_name, column_name FROM information_schema.columns "  # noqa: S608 -- a schema's name is plain ASCII
        f"WHERE table_schema IN ({schemas})",
    ):
        found.setdefault(TableName(row["table_schema"], row["table_name"]), []).append(row["column_name"])
    return found


def _rows(chosen: Config, sql: str) -> list[dict[str, Any]]:
    from headrace.app import reach  # noqa: PLC0415 - --help needs no database

    result = reach.query(chosen, sql)
    return [dict(zip(result.columns, row, strict=True)) for row in result.rows]


def _described(
    folder: Path,
    server: DemoServer,
    sources: Sequence[AddedSource],
    balances: Sequence[Balance],
    seconds: dict[str, float],
    answer: ReportAnswer,
    found: Sequence[Figure],
) -> dict[str, Any]:
    return {
        "data": str(folder),
        "url": server.url,
        "console": server.console_url,
        "sources": [
            source._asdict() | balance._asdict() | {"agrees": balance.agrees}
            for source, balance in zip(sources, balances, strict=True)
        ],
        "campaigns": demo_figures.campaigns(answer),
        "figures": [one._asdict() for one in found],
        "agree": all(balance.agrees for balance in balances),
        "seconds": seconds,
    }


def _print(
    balances: Sequence[Balance], seconds: dict[str, float], answer: ReportAnswer, found: Sequence[Figure]
) -> None:
    print_line(
        f"\nSent in {seconds['sending']} s, in the warehouse {seconds['loading']} s after the last answer, in the e-mail model "
        f"{seconds['modelling']} s later.\n"
    )
    demo_figures.print_figures(answer, list(found))
    print_line()
    print_table(
        ("SOURCE", "SENT", "DISTINCT", "SENT AGAIN", "ROWS IN TABLES", "DUPLICATES FOUND", ""),
        ([b.source, *(f"{n:,}" for n in _numbers(b)), "agree" if b.agrees else "DIFFER"] for b in balances),
        "",
    )
    if all(balance.agrees for balance in balances):
        print_line("\nEvery event that was sent is in the tables exactly once.")
    else:
        print_error(
            "\nThe tables do not hold exactly what was sent, see DIFFER above. What could not be loaded is in headrace.rejected, "
            "each with its reason. Please report it."
        )


def _numbers(balance: Balance) -> tuple[int, ...]:
    return balance.sent, balance.distinct, balance.repeated, balance.rows, balance.duplicates


def _next_steps(folder: Path, server: DemoServer, mail: AddedSource, shop: AddedSource) -> str:
    place, url = shlex.quote(str(folder)), server.url
    event = '{"event": "Email Opened", "anonymousId": "me@example.com", "properties": {"campaign_id": "1", "campaign_name": "Mine"}}'
    count = f"SELECT event_text, count(*) FROM {mail.schema}.tracks GROUP BY ALL"  # noqa: S608 -- shown, not run
    return f"""
See it in the console:    {server.console_url}
                          (its first page has you choose a password; that makes you the owner of this demo)

Go on with:

  tracking API            {url}
  write key of {mail.nickname}  {mail.write_key}
  write key of {shop.nickname:<9}  {shop.write_key}

  curl -u {mail.write_key}: {url}/v1/track -d '{event}'
  headrace report campaigns --chart --data {place}
  headrace report funnel --data {place}
  headrace query "{count}" --data {place}
  headrace status --data {place}
  headrace simulate --write-key {mail.write_key} --shop-write-key {shop.write_key} --url {url} --seed 2

Serving until Ctrl-C."""


def _say(text: str, *, quiet: bool) -> None:
    if not quiet:
        print_line(text)
