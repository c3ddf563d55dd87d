"""How an account is shown to people: a headline in plain words, the chain, the errors, and a line of the trend."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from headrace.cli.output import plain, print_line, print_table

if TYPE_CHECKING:
    from headrace.delivery.account import Account, ErrorFigures, Point

_BARS: Final = "▁▂▃▄▅▆▇█"
_ASCII_BARS: Final = "_.-:=+*#"
_LINE: Final = 60
_CHAIN: Final = ("rejected", "accepted", "filtered", "delivered", "retrying", "failed", "waiting")


def print_account(found: Account) -> None:
    for line in headline(found):
        print_line(plain(line))
    print_line("")
    print_table([name.upper() for name in _CHAIN], [[f"{getattr(found, name):,}" for name in _CHAIN]], "")
    print_line("accepted = filtered + delivered + retrying + failed + waiting; rejected at the door is no part of it")
    if found.errors:
        print_line("")
        _print_errors(found.errors)
    print_line("")
    for line in trend(found):
        print_line(line)
    for note in found.notes:
        print_line(plain(f"note: {note}"))
    if found.what == "destination" and found.failed:
        print_line(f"Requests and answers: headrace delivery samples {found.slug}")
        print_line(f"Send again what failed: headrace dead-letters replay {found.slug}")


def headline(found: Account) -> Iterator[str]:
    """Sentences: the counts, how quick, and what is wrong and what to do about it."""
    parts = [f"{found.delivered:,} delivered"]
    if found.failed:
        parts.append(f"{found.failed:,} failed")
    if found.retrying:
        parts.append(f"{found.retrying:,} {_are(found.retrying)} being retried")
    if found.waiting:
        parts.append(f"{found.waiting:,} {'waits' if found.waiting == 1 else 'wait'} for a first attempt")
    if found.filtered:
        parts.append(f"{found.filtered:,} left out")
    if not found.accepted:
        parts = ["no events"]
    yield f"{found.nickname}: {', '.join(parts)}."
    yield f"Received from {found.since:%Y-%m-%d %H:%M} to {found.until:%Y-%m-%d %H:%M} UTC{_quickness(found)}."
    yield from _trouble(found)


def _quickness(found: Account) -> str:
    rate = f"; {share(found.delivery_rate)} of what was to be delivered is" if found.delivery_rate is not None else ""
    if found.p95_seconds is None:
        return rate
    return f"{rate}, half of it within {duration(found.p50_seconds)}, 95 % within {duration(found.p95_seconds)}"


def _trouble(found: Account) -> Iterator[str]:
    from headrace.delivery.account import in_words  # noqa: PLC0415 - --help needs none of it

    since = f" since {found.error_since:%Y-%m-%d %H:%M} UTC" if found.error_since else ""
    match found.state:
        case "paused" | "disabled":
            why = f" ({found.error})" if found.error else ""
            yield f"It is {found.state}{since}{why}: events wait in the log until: headrace {found.what} resume {found.slug}"
        case "removed":
            yield "It is removed: nothing is sent to it any more."
        case "stopped":
            yield "No server runs, so nothing is delivered now; start it: headrace serve"
        case _ if found.error and found.what == "destination":
            remedy = in_words(found.error.partition(":")[0])["remedy"]
            yield f"Nothing gets through{since}: {found.error}{'; what to do: ' + remedy if remedy else ''}"
        case _ if found.error:
            yield f"Loading stands still: {found.error}"
    if found.waiting and found.waiting_since:
        yield f"The oldest event that waits was received at {found.waiting_since:%Y-%m-%d %H:%M} UTC."


def _print_errors(errors: Sequence[ErrorFigures]) -> None:
    print_table(
        ("CODE", "OUTCOME", "EVENTS", "LAST RECEIVED", "WHAT"),
        (
            (error.code, error.outcome, f"{error.events:,}", f"{error.last_seen:%Y-%m-%d %H:%M}" if error.last_seen else "-", error.title)
            for error in errors
        ),
        "",
    )  # fmt: skip
    for error in {error.code: error for error in reversed(errors) if error.outcome != "filtered"}.values():
        said = f" It said: {error.detail}." if error.detail else ""
        print_line(plain(f"{error.code}: {error.description}{said} What to do: {error.remedy} ({error.link})"))


def trend(found: Account) -> Iterator[str]:
    """A line of bars for what was delivered, and one for what was not, of the same height."""
    points = found.trend
    delivered = _folded([point.delivered for point in points])
    others = _folded([_not_delivered(point) for point in points])
    most = max([*delivered, *others], default=0)
    if not most:
        return
    minutes = found.trend_minutes * -(-len(points) // max(1, len(delivered)))
    step = f"{minutes} min" if minutes < 60 else f"{minutes // 60} h"
    yield f"delivered      {_bars(delivered, most)}"
    if any(others):
        yield f"not delivered  {_bars(others, most)}"
    yield f"each {step}, the highest {most:,}"


def _not_delivered(point: Point) -> int:
    return point.waiting + point.retrying + point.failed


def _folded(counts: Sequence[int]) -> list[int]:
    """As few as fit the line, each the sum of its neighbours."""
    width = -(-len(counts) // _LINE) or 1
    return [sum(counts[at : at + width]) for at in range(0, len(counts), width)]


def _bars(counts: Sequence[int], most: int) -> str:
    try:
        _BARS.encode(sys.stdout.encoding or "ascii")
        bars = _BARS
    except (UnicodeEncodeError, LookupError):
        bars = _ASCII_BARS
    return "".join(" " if not count else bars[(count * len(bars) - 1) // most] for count in counts)


def share(rate: float | None) -> str:
    """Never 100 % of what is not complete."""
    if rate is None:
        return "-"
    return "100 %" if rate >= 1 else f"{min(rate * 100, 99.99):.2f} %"


def duration(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:,.0f} min" if seconds < 7_200 else f"{seconds / 3_600:,.1f} h"


def _are(count: int) -> str:
    return "is" if count == 1 else "are"
