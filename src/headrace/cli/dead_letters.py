"""`headrace dead-letters ...`: events that a destination did not take for good; look at them, and send them again."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Final

import typer

from headrace.cli import options
from headrace.cli.options import ConfigFile, Data, Json
from headrace.cli.output import print_json, print_line, print_table

if TYPE_CHECKING:
    from headrace.delivery.dead_letters import Wanted

commands: Final = typer.Typer(
    no_args_is_help=True, help="Look at the events that a destination did not take, and send them again."
)

Slug = Annotated[str, typer.Argument(metavar="SLUG", help="The destination, as `headrace destination list` names it.")]
Code = Annotated[str | None, typer.Option("--code", metavar="CODE", help="Only those that failed with this code.")]
Source = Annotated[str | None, typer.Option("--source", metavar="SLUG", help="Only of this source.")]
Name = Annotated[str | None, typer.Option("--event", metavar="NAME", help="Only events of this name.")]
Id = Annotated[str | None, typer.Option("--message-id", metavar="ID", help="Only the event with this messageId.")]
Text = Annotated[str | None, typer.Option("--text", metavar="TEXT", help="Only where the tool's answer has this text.")]
Since = Annotated[str | None, typer.Option("--since", metavar="TIME", help="Only received since: 1h, 7d, or a date.")]
Until = Annotated[str | None, typer.Option("--until", metavar="TIME", help="Only received before this moment.")]


def register(app: typer.Typer) -> None:
    app.add_typer(commands, name="dead-letters")


@commands.command("list")
def list_dead_letters(
    slug: Slug,
    *,
    code: Code = None,
    source: Source = None,
    event: Name = None,
    message_id: Id = None,
    text: Text = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, max=1_000, help="So many at the most.")] = 50,
    after: Annotated[
        str | None, typer.Option("--after", metavar="NEXT", help="Go on where the page before ended.")
    ] = None,
    data: Data = None,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """List dead letters, the newest first."""
    import msgspec  # noqa: PLC0415 - --help needs none of these

    from headrace.app import delivery_accounts  # noqa: PLC0415 - as above

    wanted = _wanted(code, source, event, message_id, text, since, until)
    with delivery_accounts.opened(options.settings(data, config)) as accounts:
        page = accounts.dead_letters(slug, wanted, limit=limit, after=after)
    if as_json:
        print_json(msgspec.to_builtins(page))
        return
    print_table(
        ("RECEIVED (UTC)", "SOURCE", "EVENT", "MESSAGE ID", "CODE", "ATTEMPTS", "BECAUSE"),
        (
            (f"{one.received_at:%Y-%m-%d %H:%M:%S}", one.source, one.event or one.type, one.message_id, one.code, one.attempts,
             one.detail or one.title)
            for one in page.dead_letters
        ),
        "No dead letters.",
    )  # fmt: skip
    if page.total > len(page.dead_letters):
        print_line(f"{page.total:,} in all" + (f"; go on with --after {page.next}" if page.next else ""))
    if page.total:
        print_line(f"Send them again: headrace dead-letters replay {slug}")


@commands.command()
def replay(
    slug: Slug,
    *,
    code: Code = None,
    source: Source = None,
    event: Name = None,
    message_id: Id = None,
    text: Text = None,
    since: Since = None,
    until: Until = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say how many.")] = False,
    data: Data = None,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """Send dead letters again, all of them or those that are named. They are due at once, with all attempts before them."""
    import msgspec  # noqa: PLC0415 - --help needs none of these

    from headrace.app import delivery_accounts, folder  # noqa: PLC0415 - as above

    wanted = _wanted(code, source, event, message_id, text, since, until)
    chosen = options.settings(data, config)
    with delivery_accounts.opened(chosen) as accounts, _progress(quiet=as_json) as on_progress:
        found = accounts.replay_dead_letters(slug, wanted, dry_run=dry_run, on_progress=on_progress)
    if as_json:
        print_json(msgspec.to_builtins(found))
        return
    codes = ", ".join(f"{n:,} {code}" for code, n in found.by_code.items())
    what = "would be sent again" if dry_run else "to be sent again"
    print_line(f"{found.events:,} dead letter{'' if found.events == 1 else 's'} {what}{': ' + codes if codes else ''}.")
    if found.events and not dry_run:
        print_line(f"Watch them: headrace delivery show {slug} --since 7d")
        if not folder.is_served(chosen.folder):
            print_line("No server runs: they are sent once it does.")


def _wanted(
    code: str | None,
    source: str | None,
    event: str | None,
    message_id: str | None,
    text: str | None,
    since: str | None,
    until: str | None,
) -> Wanted:
    from datetime import UTC, datetime  # noqa: PLC0415 - --help needs none of these

    from headrace.delivery import account  # noqa: PLC0415 - as above
    from headrace.delivery.dead_letters import Wanted  # noqa: PLC0415 - as above

    period = account.period(since or "1d", until, now=datetime.now(UTC)) if since or until else None
    return Wanted(
        code,
        source,
        event,
        message_id,
        text,
        period.since if period and since else None,
        period.until if period and until else None,
    )


@contextmanager
def _progress(*, quiet: bool) -> Iterator[Callable[[int, int], object] | None]:
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console  # noqa: PLC0415 - 0.1 s that only a terminal needs
    from rich.progress import Progress  # noqa: PLC0415 - as above

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("Ordering them", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
