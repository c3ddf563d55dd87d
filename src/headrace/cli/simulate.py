"""`headrace simulate`: a month of realistic campaigns, sent as Selligent and a shop would."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headrace.cli import options, sending
from headrace.cli.options import Json
from headrace.cli.sending import Url, WriteKey
from headrace.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from headrace.simulator.sender import Sender


def register(app: typer.Typer) -> None:
    app.command("simulate")(simulate)


def simulate(
    *,
    write_key: WriteKey,
    url: Url = None,
    recipients: Annotated[int, typer.Option(metavar="N", min=1, help="People on the list.")] = 3_000,
    campaigns: Annotated[
        int, typer.Option(metavar="N", min=1, help="Weekly campaigns, the last in the week before now.")
    ] = 4,
    seed: Annotated[int, typer.Option(metavar="N", help="Another one gives other people who do other things.")] = 1,
    rate: Annotated[
        float | None, typer.Option(metavar="EVENTS", min=0.1, help="Events a second. [default: as fast as it goes]")
    ] = None,
    shop_write_key: Annotated[
        str | None,
        typer.Option("--shop-write-key", metavar="KEY", help="The source of the orders. [default: the same]"),
    ] = None,
    as_json: Json = False,
) -> None:
    """Send the events of simulated campaigns, journeys and orders up to now; some come twice, as in life."""
    from headrace.simulator import simulation  # noqa: PLC0415 - --help needs none of these
    from headrace.simulator.pace import Pace  # noqa: PLC0415 - as above
    from headrace.simulator.sender import Sender  # noqa: PLC0415 - as above

    url = url or options.url(options.settings(None))
    pace = Pace(rate) if rate else None
    events = simulation.simulate(recipients, campaigns, seed, datetime.now(UTC))
    expected = simulation.expected_events(recipients, campaigns)
    with sending.progress("Simulating", expected, quiet=as_json) as advance:
        keys = [write_key] if shop_write_key is None else [write_key, shop_write_key]
        senders = [Sender(url, key, pace=pace, progress=advance) for key in keys]
        with suppress(ConfigError, KeyboardInterrupt), ExitStack() as stack:  # the totals say it too
            mail, *shop = [stack.enter_context(sender) for sender in senders]
            send_each(events, mail, *shop)
    totals = sending.merged([sender.totals for sender in senders])
    sending.report(totals, as_json=as_json, more={"repeated": events.repeated}, place="event")


def send_each(events: Iterable[dict[str, Any]], mail: Sender, shop: Sender | None = None) -> None:
    """Orders go to the shop's sender if there is one, all else to Selligent's."""
    import msgspec  # noqa: PLC0415 - --help needs none of these

    from headrace.simulator.orders import is_order  # noqa: PLC0415 - as above

    for event in events:
        sender = shop if shop is not None and is_order(event) else mail
        sender.add(msgspec.json.encode(event))
