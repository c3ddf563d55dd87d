"""What commands print: JSON in one line for programs, tables and texts for people. Foreign text cannot steer the terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from rich.console import Console

_UNLIMITED: Final = 100_000
"""Columns of a pipe or file, where nothing is wrapped."""


def plain(text: object) -> str:
    """The text on one line, with control and other unprintable characters (also bidirectional ones) written as escapes."""
    written = str(text)
    if written.isprintable():
        return written
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in written)


def print_json(value: Any) -> None:
    """One line, ASCII only: safe in any encoding and on any terminal."""
    print_line(json.dumps(value, default=str))


def print_line(text: str = "") -> None:
    """A line as it is: not for foreign text, unless it went through `plain`."""
    sys.stdout.write(f"{text}\n")


def print_error(text: str) -> None:
    """Lines on stderr."""
    for line in text.splitlines() or [""]:
        sys.stderr.write(f"{plain(line)}\n")


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], empty: str) -> None:
    """Cells are foreign text. `empty` is printed when there are no rows: what would be there and how to get it."""
    from rich.table import Table  # noqa: PLC0415 - 0.1 s that only tables need
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(Text(column), overflow="fold")
    numeric = [True] * len(columns)
    for row in rows:
        cells = [plain(cell) for cell in row]
        numeric = [is_so_far and _is_number(cell) for is_so_far, cell in zip(numeric, cells, strict=True)]
        table.add_row(*map(Text, cells))
    for shown, is_numeric in zip(table.columns, numeric, strict=True):
        shown.justify = "right" if is_numeric else "left"
    if table.row_count:
        _console().print(table)
    else:
        print_line(empty)


def _is_number(cell: str) -> bool:
    return cell in ("", "-") or cell.replace(",", "").replace(".", "", 1).removeprefix("-").isdecimal()


def print_fields(fields: Mapping[str, object]) -> None:
    """Names and values below each other, indented by two; values are foreign text and are never wrapped."""
    width = max(map(len, fields), default=0)
    for name, value in fields.items():
        print_line(f"  {name:<{width}}  {plain(value)}".rstrip())


def _console() -> Console:
    from rich.console import Console  # noqa: PLC0415 - as above

    return Console(file=sys.stdout, width=None if sys.stdout.isatty() else _UNLIMITED, highlight=False)
