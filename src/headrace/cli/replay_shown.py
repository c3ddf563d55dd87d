"""How replays are shown: in a table, one by one, as a bar while they run, and what one would send."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from headrace.cli.output import plain, print_error, print_fields, print_line, print_table

if TYPE_CHECKING:
    from headrace.delivery.ordering import ReplayAnswer, ReplayShown

SHOWN_NAMES: Final = 10


def print_replays(slug: str, found: Sequence[ReplayShown]) -> None:
    print_table(
        ("NUMBER", "ORDERED", "STATE", "DONE", "DELIVERED", "FILTERED", "FAILED", "EVENTS"),
        (
            (
                one.number,
                f"{one.ordered_at:%Y-%m-%d %H:%M}Z",
                one.state,
                share(one),
                f"{one.delivered:,}",
                f"{one.filtered:,}",
                f"{one.failed:,}",
                chosen(one),
            )
            for one in found
        ),
        f"No replays yet. `headrace replay start {slug} --since 7d --dry-run` says what one would send.",
    )


def print_replay(one: ReplayShown) -> None:
    print_fields(
        {
            "number": one.number,
            "state": one.text,
            "events": chosen(one),
            "received": f"{one.since:%Y-%m-%d %H:%M:%S}Z to {one.until:%Y-%m-%d %H:%M:%S}Z",
            "done": f"{share(one)} ({one.passed:,} of about {one.total:,} entries of the log)",
            "delivered": f"{one.delivered:,}",
            "filtered": f"{one.filtered:,}",
            "failed": f"{one.failed:,}",
            "ordered": f"{one.ordered_at:%Y-%m-%d %H:%M:%S}Z",
            "changed": f"{one.changed_at:%Y-%m-%d %H:%M:%S}Z",
        }
    )
    for code, events in sorted(one.failures.items(), key=lambda entry: -entry[1]):
        _print_failure(code, events)


def _print_failure(code: str, events: int) -> None:
    from headrace.destinations.base import CODES  # noqa: PLC0415 - --help needs no catalogue

    about = CODES.get(code)
    print_line(f"\n{events:,} failed: {plain(code)}{f', {about.title}' if about else ''}")
    if about:
        print_line(f"  {about.description}")
        print_line("  What to do: mend it, then order a replay of the same period again.")
        print_line(f"  More: {about.link}")


def chosen(one: ReplayShown) -> str:
    parts = [
        *([] if one.outcome == "any" else [one.outcome]),
        *([f"of {', '.join(one.sources)}"] if one.sources else []),
        *([f"named {', '.join(one.events)}"] if one.events else []),
        *([f"of type {', '.join(one.types)}"] if one.types else []),
    ]
    return "; ".join(parts) or "all"


def share(one: ReplayShown) -> str:
    """In percent; all of it only where it is done."""
    if one.state == "done":
        return "100 %"
    return f"{min(99, 100 * one.passed // one.total) if one.total else 0} %"


def print_estimate(answer: ReplayAnswer) -> None:
    found = answer.estimate
    if found is None:
        return
    print_line(f"{found.sent:,} events would be sent.")
    for title, counts in (("By source", found.by_source), ("By name", found.by_name)):
        if counts:
            print_line(f"\n{title}:")
            _print_counts(counts)
    if found.stopped:
        print_line("\nNot sent, by code:")
        _print_counts(found.stopped)
    for note in answer.notes:
        print_error(f"note: {note}")


def _print_counts(counts: Mapping[str, int]) -> None:
    most = sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))
    shown = most[:SHOWN_NAMES]
    rest = sum(count for _, count in most[SHOWN_NAMES:])
    if rest:
        shown.append((f"{len(most) - SHOWN_NAMES} others", rest))
    width = max(len(f"{count:,}") for _, count in shown)
    for name, count in shown:
        print_line(f"  {count:>{width},}  {plain(name)}")


@contextmanager
def watching(label: str, *, quiet: bool) -> Iterator[Callable[[ReplayShown], None]]:
    """A bar on a terminal's stderr; elsewhere a line whenever it is told in other words."""
    if quiet:
        yield lambda _: None
    elif sys.stderr.isatty():
        with _bar(label) as tell:
            yield tell
    else:
        yield _Lines(label)


class _Lines:
    """For logs and pipes."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._text = ""

    def __call__(self, found: ReplayShown) -> None:
        if found.text != self._text:
            self._text = found.text
            print_error(f"{self._label}: {share(found)}, {found.text}")


@contextmanager
def _bar(label: str) -> Iterator[Callable[[ReplayShown], None]]:
    from rich.console import Console  # noqa: PLC0415 - 0.1 s that only a terminal needs
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[done]}", markup=False),
        TimeElapsedColumn(),
        TextColumn("{task.fields[text]}", markup=False),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(plain(label), total=None, done="", text="")

        def tell(found: ReplayShown) -> None:
            sent = f"{share(found)}, {found.delivered:,} delivered, {found.failed:,} failed"
            bar.update(task, completed=found.passed, total=found.total or None, done=sent, text=plain(found.text))

        yield tell
