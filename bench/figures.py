"""What a part measured, against its limit, and the table of it all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from machine import QUIET_YARDSTICK


class Figure(NamedTuple):
    """`limit` None: shown for comparison only. `yardstick` is the CPU us of json.loads in the same run, for figures of CPU time
    that a slower machine makes larger; ratios, memory and waiting times have none."""

    what: str
    unit: str
    measured: float
    limit: float | None = None
    yardstick: float | None = None

    @property
    def ratio(self) -> str:
        return "" if self.limit is None else f"{self.measured / self.limit:.2f}"

    @property
    def scaled(self) -> str:
        """What it would be where json.loads takes as long as on the quiet machine."""
        return "" if self.yardstick is None else _number(self.measured * QUIET_YARDSTICK / self.yardstick)

    @property
    def verdict(self) -> str:
        if self.limit is None:
            return ""
        return "met" if self.measured <= self.limit else "NOT met"


HEADINGS = ("what", "limit", "measured", "unit", "of the limit", "scaled", "verdict")


def table(figures: Sequence[Figure]) -> str:
    """In Markdown, the columns aligned."""
    rows = [
        (
            figure.what,
            "" if figure.limit is None else f"{figure.limit:g}",
            _number(figure.measured),
            figure.unit,
            figure.ratio,
            figure.scaled,
            figure.verdict,
        )
        for figure in figures
    ]
    widths = [max(map(len, column)) for column in zip(HEADINGS, *rows, strict=True)]
    lines = [HEADINGS, tuple("-" * width for width in widths), *rows]
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    )


def _number(value: float) -> str:
    return f"{value:.2f}" if value < 100 else f"{value:.0f}"
