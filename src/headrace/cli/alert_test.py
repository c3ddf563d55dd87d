"""What came of a test notice, as it is printed. It is sent from the command line itself: no server is needed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from headrace.cli.output import plain, print_json, print_line

if TYPE_CHECKING:
    from headrace.console.alerts import NoticeTried


def answer(found: Sequence[NoticeTried], *, as_json: bool) -> None:
    """Raises typer.Exit where one failed."""
    if as_json:
        print_json([{"channel": one.channel, "ok": one.ok, "code": one.code, "text": one.text} for one in found])
    else:
        for one in found:
            print_line(f"{'ok' if one.ok else 'failed':<6}  {one.channel}  {plain(one.text)}".rstrip())
    if not all(one.ok for one in found):
        raise typer.Exit(1)
