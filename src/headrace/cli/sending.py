"""What the commands that send events share: the progress they show and the totals they print."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headrace.cli.output import plain, print_error, print_fields, print_json, print_line, print_table

if TYPE_CHECKING:
    from headrace.simulator.sender import Problem, Totals

WriteKey = Annotated[
    str, typer.Option("--write-key", metavar="KEY", help="The write key of the source that the events are sent as.")
]
Url = Annotated[
    str | None, typer.Option("--url", metavar="URL", help="The tracking API. [default: this machine's server]")
]


@contextmanager
def progress(label: str, total: int | None, *, quiet: bool = False) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal's stderr, nothing elsewhere; what it gives is called with how many more events are done."""
    if quiet or not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console  # noqa: PLC0415 - 0.1 s that only a terminal needs
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415

    rate = TextColumn("{task.fields[rate]}")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), rate, TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(label, total=total, rate="")

        def advance(events: int) -> None:
            bar.advance(task, events)
            state = bar.tasks[0]
            if state.elapsed:
                bar.update(task, rate=f"{state.completed / state.elapsed:,.0f}/s")

        yield advance
        bar.update(task, total=bar.tasks[0].completed)


def report(totals: Totals, *, as_json: bool, more: dict[str, Any] | None = None, place: str = "line") -> None:
    """Print what became of the events. Raises typer.Exit with code 1 unless all are accepted. `place` names a problem's position."""
    if as_json:
        print_json(described(totals) | (more or {}))
    else:
        _print(totals, more or {}, place)
    if totals.stopped is not None:
        print_error(f"error: {totals.stopped}")
    if not totals.complete:
        raise typer.Exit(1)


def described(totals: Totals) -> dict[str, Any]:
    return {
        **_counts(totals),
        "events": dict(totals.by_name.most_common()),
        "problems": [
            {"line": p.line, "message_id": p.message_id, "code": p.code, "message": p.text} for p in totals.problems
        ],
        "stopped": totals.stopped,
    }


def _counts(totals: Totals) -> dict[str, int]:
    return {
        "read": totals.read,
        "sent": totals.sent,
        "accepted": totals.accepted,
        "rejected": totals.rejected,
        "unreadable": totals.unreadable,
        "failed": totals.failed,
        "retried": totals.retried,
    }


def _print(totals: Totals, more: dict[str, Any], place: str) -> None:
    print_table(("EVENT", "SENT"), ((name, f"{n:,}") for name, n in totals.by_name.most_common()), "No event was sent.")
    print_line()
    print_fields({name: f"{count:,}" for name, count in _counts(totals).items()} | more)
    for problem in totals.problems:
        print_error(_line_of(problem, place))
    unlisted = totals.unreadable + totals.rejected - len(totals.problems)
    if unlisted > 0:
        print_error(f"... and {unlisted:,} more")


def _line_of(problem: Problem, place: str) -> str:
    where = f"{place} {problem.line}" if problem.line is not None else "an event"
    which = f" ({plain(problem.message_id)})" if problem.message_id else ""
    return f"{where}{which}: {problem.code}: {problem.text}"
