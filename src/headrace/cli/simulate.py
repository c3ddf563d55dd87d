"""`headrace simulate`: a month of realistic campaigns, sent as Selligent and a shop would."""

from __future__ import annotations

import os
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headrace.cli import options, sending
from headrace.cli.options import Json
from headrace.cli.output import print_error
from headrace.cli.sending import Url, WriteKey
from headrace.errors import ConfigError

if TYPE_CHECKING:
    from headrace.simulator.realism import Realism
    from headrace.simulator.simulation import Simulation
    from headrace.simulator.truth import Truth

MOST_COPIES = 100.0


def register(app: typer.Typer) -> None:
    app.command("simulate")(simulate)


def _share(help_text: str, most: float = 1.0) -> Any:
    return typer.Option(metavar="SHARE", min=0.0, max=most, help=help_text, rich_help_panel="Realism")


def simulate(
    *,
    write_key: WriteKey,
    url: Url = None,
    recipients: Annotated[int, typer.Option(metavar="N", min=1, help="People on the list.")] = 3_000,
    campaigns: Annotated[
        int, typer.Option(metavar="N", min=1, help="Weekly campaigns, the last in the week before the end.")
    ] = 4,
    seed: Annotated[int, typer.Option(metavar="N", help="Another one gives other people who do other things.")] = 1,
    end: Annotated[
        str | None,
        typer.Option(
            "--end", metavar="TIME", help="When the weeks end, ISO 8601; the same gives the same events. [default: now]"
        ),
    ] = None,
    rate: Annotated[
        float | None, typer.Option(metavar="EVENTS", min=0.1, help="Events a second. [default: as fast as it goes]")
    ] = None,
    shop_write_key: Annotated[
        str | None,
        typer.Option(
            "--shop-write-key", metavar="KEY", help="The source of the orders and the website. [default: the same]"
        ),
    ] = None,
    truth: Annotated[
        Path | None,
        typer.Option(
            "--truth",
            metavar="FILE",
            help="Write what came about as JSON (docs/simulator.md), once everything is accepted.",
        ),
    ] = None,
    full: Annotated[
        bool,
        typer.Option(
            "--full", help="As awkward as life: all of the following at usual shares.", rich_help_panel="Realism"
        ),
    ] = False,
    duplicates: Annotated[
        float | None, _share("How often an event is sent again on average; 3.0 is 300 %. [0.015]", MOST_COPIES)
    ] = None,
    late: Annotated[float | None, _share("Events sent days after they happened. [0; full 0.01]")] = None,
    holdout: Annotated[
        float | None, _share("People who get no mail; identify events have holdout: true. [0; full 0.1]")
    ] = None,
    known_later: Annotated[
        float | None, _share("People without a user id who get one on the website. [0; full 0.4]")
    ] = None,
    mixed_case: Annotated[
        float | None, _share("People whose address is spelled in several ways. [0; full 0.2]")
    ] = None,
    unflagged: Annotated[float | None, _share("Machine opens without machine_open: true. [0; full 0.2]")] = None,
    orders_of_readers: Annotated[
        float | None, _share("People who open, do not click, and order. [0; full 0.002]")
    ] = None,
    refunds: Annotated[float | None, _share("Orders that are refunded. [0; full 0.05]")] = None,
    test_sends: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=0,
            max=10_000,
            help="Addresses that get each campaign first, with test_send: true. [0; full 10]",
            rich_help_panel="Realism",
        ),
    ] = None,
    odd_scanners: Annotated[
        bool | None,
        typer.Option(
            help="Of four scanners one is slow and one calls itself a browser. [no; full yes]",
            rich_help_panel="Realism",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Send the events of simulated campaigns, journeys and orders up to now; some come twice, as in life."""
    from headrace.simulator import simulation  # noqa: PLC0415 - --help needs none of these
    from headrace.simulator.month import merged, send_each  # noqa: PLC0415 - as above
    from headrace.simulator.pace import Pace  # noqa: PLC0415 - as above
    from headrace.simulator.sender import Sender  # noqa: PLC0415 - as above
    from headrace.simulator.truth import Truth  # noqa: PLC0415 - as above

    chosen = {
        "duplicates": duplicates,
        "late": late,
        "holdout": holdout,
        "known_later": known_later,
        "mixed_case": mixed_case,
        "unflagged": unflagged,
        "orders_of_readers": orders_of_readers,
        "refunds": refunds,
        "test_sends": test_sends,
        "odd_scanners": odd_scanners,
    }
    realism = _realism(chosen, full=full)
    url = url or options.url(options.settings(None))
    pace = Pace(rate) if rate else None
    known = None if truth is None else Truth()
    _check_writable(truth)
    events = simulation.simulate(recipients, campaigns, seed, _end(end), realism, known)
    expected = simulation.expected_events(recipients, campaigns, realism)
    with sending.progress("Simulating", expected, quiet=as_json) as advance:
        keys = [write_key] if shop_write_key is None else [write_key, shop_write_key]
        senders = [Sender(url, key, pace=pace, progress=advance) for key in keys]
        with suppress(ConfigError, KeyboardInterrupt), ExitStack() as stack:  # the totals say it too
            mail, *shop = [stack.enter_context(sender) for sender in senders]
            send_each(events, mail, *shop)
    totals = merged(sender.totals for sender in senders)
    if truth is not None and known is not None:
        if totals.complete:
            _write(truth, events, known)
        else:
            print_error(f"simulate: {truth} is not written, since not everything that it would tell of was accepted")
    sending.report(totals, as_json=as_json, more={"repeated": events.repeated}, place="event")


def _realism(chosen: dict[str, float | bool | None], *, full: bool) -> Realism:
    import msgspec  # noqa: PLC0415 - --help needs none of these

    from headrace.simulator.realism import FULL, PLAIN  # noqa: PLC0415 - as above

    given = {name: value for name, value in chosen.items() if value is not None}
    return msgspec.structs.replace(FULL if full else PLAIN, **given)


def _end(text: str | None) -> datetime:
    if text is None:
        return datetime.now(UTC)
    try:
        end = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"simulate: --end {text!r} is no ISO 8601 time, for example 2026-11-01T12:00:00Z") from None
    return end if end.tzinfo else end.replace(tzinfo=UTC)


def _check_writable(file: Path | None) -> None:
    """Before an hour's work rather than after it. Raises ConfigError."""
    if file is None:
        return
    folder = file.absolute().parent
    if file.is_dir() or not folder.is_dir() or not os.access(file if file.exists() else folder, os.W_OK):
        raise ConfigError(f"simulate: --truth {file} cannot be written; give a file in a folder that is there")


def _write(file: Path, events: Simulation, truth: Truth) -> None:
    """All of it or nothing. Raises ConfigError."""
    import msgspec  # noqa: PLC0415 - --help needs none of these

    from headrace.simulator.truth_file import described  # noqa: PLC0415 - as above

    text = msgspec.json.format(msgspec.json.encode(described(events, truth)), indent=2) + b"\n"
    partial = file.with_name(f".{file.name}.partial")
    try:
        partial.write_bytes(text)
        partial.replace(file)
    except OSError as error:
        raise ConfigError(f"simulate: cannot write {file}: {error.strerror}") from None
