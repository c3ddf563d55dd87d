"""`headrace replay ...`: events are sent to a destination again, out of log and archive. Works with and without a running server; the server sends."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from headrace.cli import options, replay_shown
from headrace.cli.options import ConfigFile, Data, Json
from headrace.cli.output import plain, print_error, print_json, print_line
from headrace.cli.sending import progress

if TYPE_CHECKING:
    from headrace.app.replay_orders import ReplayOrders
    from headrace.delivery.ordering import ReplayAnswer, ReplayOrder, ReplayShown

commands: Final = typer.Typer(no_args_is_help=True, help="Send events again that are in the log or the archive.")

WATCH_SECONDS: Final = 0.5

Slug = Annotated[str, typer.Argument(metavar="SLUG", help="The destination, as `headrace destination list` names it.")]
Number = Annotated[int, typer.Argument(metavar="NUMBER", help="The replay, as `headrace replay list` numbers it.")]
Watch = Annotated[bool, typer.Option("--watch", help="Stay and show how far it is, until it ends.")]


def register(app: typer.Typer) -> None:
    app.add_typer(commands, name="replay")


@commands.command()
def start(
    slug: Slug,
    *,
    since: Annotated[
        str, typer.Option(metavar="WHEN", help="Received from then on: 10m, 24h, 7d ago, or a time in ISO 8601 (UTC).")
    ],
    until: Annotated[str, typer.Option(metavar="WHEN", help="Received before then. [default: now]")] = "",
    sources: Annotated[
        list[str] | None,
        typer.Option("--source", metavar="SLUG", help="Only of this source; may be repeated. [default: all connected]"),
    ] = None,
    events: Annotated[
        list[str] | None, typer.Option("--event", metavar="NAME", help="Only events of this name; may be repeated.")
    ] = None,
    types: Annotated[
        list[str] | None,
        typer.Option("--type", metavar="TYPE", help="Only this type: track, identify, ...; may be repeated."),
    ] = None,
    outcome: Annotated[
        str,
        typer.Option(
            metavar="OUTCOME",
            help="What became of them: any, delivered, filtered, failed, or never (the destination has not had them).",
        ),
    ] = "any",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say how many events would be sent.")] = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="Do not count and ask first; nobody is asked where the input is no terminal.")
    ] = False,
    watch: Watch = False,
    data: Data = None,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """Send again what was received in a period, through the destination's filter and mapping of now. It runs beside what arrives."""
    # A program is not asked: receivers drop what they have by its id.
    yes = (yes or as_json or not sys.stdin.isatty()) and not dry_run
    order = _order(since, until, sources, events, types, outcome)
    with _orders(data, config) as orders:
        if not yes:
            answer = _counted(orders, slug, order, quiet=as_json)
            _print_answer(answer, as_json=as_json)
            if dry_run:
                return
            if not (answer.estimate and answer.estimate.sent):
                raise typer.Exit(1)
            typer.confirm(f"Send these {answer.estimate.sent:,} events to {plain(slug)}?", abort=True, err=True)
        answer = orders.order(slug, order)
        if as_json and not watch:
            print_json(_described(answer))
        if not as_json and answer.replay is not None:
            print_line(f"Replay {answer.replay.number} of {plain(slug)}: {plain(answer.replay.text)}")
            for note in answer.notes if yes else ():
                print_error(f"note: {note}")
            if not watch:
                print_line(f"How far it is: headrace replay show {plain(slug)} {answer.replay.number} --watch")
        if watch and answer.replay is not None:
            _watched(orders, slug, answer.replay.number, as_json=as_json)


@commands.command("list")
def list_replays(slug: Slug, *, data: Data = None, config: ConfigFile = None, as_json: Json = False) -> None:
    """List a destination's replays, newest first."""
    with _orders(data, config) as orders:
        found = orders.every(slug)
    if as_json:
        print_json([_described(one) for one in found])
    else:
        replay_shown.print_replays(slug, found)


@commands.command()
def show(
    slug: Slug,
    number: Number,
    *,
    watch: Watch = False,
    data: Data = None,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """Show a replay: how far it is, and what came of the events."""
    with _orders(data, config) as orders:
        if watch:
            _watched(orders, slug, number, as_json=as_json)
        else:
            _print(orders.one(slug, number), as_json=as_json)


@commands.command()
def pause(slug: Slug, number: Number, *, data: Data = None, config: ConfigFile = None, as_json: Json = False) -> None:
    """Let a replay wait; events that arrive are delivered all the same."""
    with _orders(data, config) as orders:
        _print(orders.pause(slug, number), as_json=as_json)


@commands.command()
def resume(slug: Slug, number: Number, *, data: Data = None, config: ConfigFile = None, as_json: Json = False) -> None:
    """Let a paused replay go on where it was."""
    with _orders(data, config) as orders:
        _print(orders.resume(slug, number), as_json=as_json)


@commands.command()
def cancel(slug: Slug, number: Number, *, data: Data = None, config: ConfigFile = None, as_json: Json = False) -> None:
    """End a replay. What it has sent stays sent."""
    with _orders(data, config) as orders:
        _print(orders.cancel(slug, number), as_json=as_json)


@contextmanager
def _orders(data: str | None, config: ConfigFile) -> Iterator[ReplayOrders]:
    """Works beside a running server: the log is only read, and the destination's books may be written by several."""
    from headrace.app import folder, reach  # noqa: PLC0415 - --help needs none of it
    from headrace.app.replay_orders import ReplayOrders  # noqa: PLC0415 - as above

    chosen = options.settings(data, config)
    with reach.Opened(chosen) as opened:
        yield ReplayOrders(chosen, opened.workspace, opened.new_readers, lambda: folder.is_served(chosen.folder))


def _order(
    since: str, until: str, sources: list[str] | None, events: list[str] | None, types: list[str] | None, outcome: str
) -> ReplayOrder:
    import msgspec  # noqa: PLC0415 - --help needs none of it

    from headrace.delivery.ordering import ReplayOrder  # noqa: PLC0415 - as above
    from headrace.delivery.replays import OUTCOMES  # noqa: PLC0415 - as above

    if outcome not in OUTCOMES:
        raise typer.BadParameter(f"{plain(outcome[:40])!r} is none; take {', '.join(OUTCOMES)}", param_hint="--outcome")
    given = {"since": since, "until": until, "sources": sources, "events": events, "types": types, "outcome": outcome}
    return msgspec.convert({name: value for name, value in given.items() if value is not None}, ReplayOrder)


def _counted(orders: ReplayOrders, slug: str, order: ReplayOrder, *, quiet: bool) -> ReplayAnswer:
    """What it would send, with a bar on a terminal."""
    import msgspec  # noqa: PLC0415 - --help needs none of it

    with _entries("count", quiet=quiet) as on_passed:
        return orders.order(slug, msgspec.structs.replace(order, dry_run=True), on_passed)


@contextmanager
def _entries(label: str, *, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """A bar whose length is known with the first entries."""
    opened: list[Any] = []
    advance: list[Callable[[int], None]] = []

    def on_passed(passed: int, total: int) -> None:
        if not opened:
            opened.append(progress(label, total, quiet=quiet))
            advance.append(opened[0].__enter__())
        advance[0](passed)

    try:
        yield on_passed
    finally:
        if opened:
            opened[0].__exit__(None, None, None)


def _watched(orders: ReplayOrders, slug: str, number: int, *, as_json: bool) -> None:
    """Until it has ended. The exit code is 1 for one that did not come to its end."""
    from headrace.delivery.replays import ENDED  # noqa: PLC0415 - --help needs none of it

    with replay_shown.watching(f"replay {number} of {slug}", quiet=as_json) as tell:
        while (found := orders.one(slug, number)).state not in (*ENDED, "paused"):
            tell(found)
            time.sleep(WATCH_SECONDS)
        tell(found)
    _print(found, as_json=as_json)
    if found.state != "done":
        raise typer.Exit(1)


def _described(found: ReplayAnswer | ReplayShown) -> Any:
    """For programs."""
    import msgspec  # noqa: PLC0415 - --help needs none of it

    return json.loads(msgspec.json.encode(found))


def _print_answer(answer: ReplayAnswer, *, as_json: bool) -> None:
    if as_json:
        print_json(_described(answer))
    else:
        replay_shown.print_estimate(answer)


def _print(found: ReplayShown, *, as_json: bool) -> None:
    if as_json:
        print_json(_described(found))
    else:
        replay_shown.print_replay(found)
