"""A report for people: a table with readable figures, a chart, and what is counted."""

from __future__ import annotations

import csv
import sys
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

from headrace.cli import report_chart
from headrace.cli.output import plain, print_json, print_line

if TYPE_CHECKING:
    from rich.console import Console

    from headrace.reports.answers import FunnelAnswer, HoldoutAnswer, ReportAnswer
    from headrace.reports.planning import Column

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
_UNLIMITED: Final = 100_000
_LEVELS: Final = ("fine", "watch", "alarm")
_LONGEST_TEXT: Final = 40
_LONGEST_IN_FEW: Final = 20
"""Of a narrow terminal."""
BAR_WIDTH: Final = 24
WIDE: Final = 100
"""Columns of a terminal that have room for such bars."""
ORDERS: Final = ("orders", "revenue", "conversion", "average_order", "time_to_convert")
"""How measures of orders begin."""
FLAGGING: Final = "Rules for machines have changed: figures of some mails are still by the former ones."
_WITH_MACHINES: Final = ("messages", "activity", "links", "engagement_curve", "recipients")
_BRIEF: Final = (
    "sent",
    "delivered",
    "human_open_rate",
    "click_rate",
    "orders",
    "revenue",
    "open_rate",
    "unsubscribe_rate",
    "spam_rate",
    "bounce_rate",
)
"""What a narrow terminal shows first."""
_TOLD_BY: Final = {"campaign_id": "campaign_name", "link_url": "link"}
"""Dimensions that a narrow terminal shows last, where the other one is there."""


def print_rows_json(answer: ReportAnswer) -> None:
    names = [column.name for column in answer.columns]
    print_json([dict(zip(names, row, strict=True)) for row in answer.rows])


def print_csv(answer: ReportAnswer) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow([column.name for column in answer.columns])
    writer.writerows([_cell(value) for value in row] for row in answer.rows)


def _cell(value: Any) -> Any:
    """As `headrace query --csv` writes it: no spreadsheet runs a text."""
    if isinstance(value, str):
        return f"'{value}" if value.startswith(_FORMULA) else value
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else value


def print_report(
    answer: ReportAnswer, total: Sequence[Any] | None, drawn: str | None, first: Sequence[str], *, is_line: bool
) -> None:
    """`total`: the measures over all. `drawn`: the measure of the chart, None for none. `first`: columns that are shown before others where
    not all have room."""
    if not answer.rows:
        print_line("No rows: nothing was counted in this period under these conditions.")
    else:
        if drawn is not None and is_line:
            _print_lines(answer, drawn)
        _print_table(answer, total, None if is_line else drawn, first)
    print_line()
    for text in notes(answer):
        print_line(plain(text))


def notes(answer: ReportAnswer) -> list[str]:
    """What is counted, over which period, and how far the model was."""
    names = {column.name for column in answer.columns}
    texts = [f"{answer.sentence} {_period(answer)}"]
    if answer.dataset in _WITH_MACHINES and any("open" in name or "click" in name for name in names):
        texts.append(
            "Opens and clicks by machines are flagged, never deleted: human_ figures and click_rate leave them out."
        )
    if answer.dataset == "activity" and any(column.unit == "share" for column in answer.columns):
        texts.append("Rates divide what came on a day, also of older mails, by what was delivered on that day.")
    if any(name.startswith(ORDERS) for name in names):
        followed = {"orders", "revenue", "conversion_rate", "revenue_per_recipient", "average_order_value"} & names
        by = f", given by {answer.model} touch" if followed else ""
        told = "told apart by goal" if "goal" in names else "those of the goals that the conditions choose"
        texts.append(f"Orders are {f'those of the goal {answer.goal}' if answer.goal else told}{by}.")
    texts.append(f"Test sends count nowhere. {standing(answer)}")
    return texts


def standing(answer: ReportAnswer | FunnelAnswer | HoldoutAnswer) -> str:
    if answer.as_of is None:
        return "The model is empty: it is being made, or no e-mail event was loaded; ask again in a moment."
    text = f"The figures know what was loaded up to {moment(answer.as_of, answer.zone)}."
    behind = answer.loads_behind
    if behind:
        text += f" {behind:,} {'load' if behind == 1 else 'loads'} came later and will follow in a moment."
    if answer.is_flagging:
        text += f" {FLAGGING}"
    return text


def _period(answer: ReportAnswer) -> str:
    return period(answer.since, answer.until, answer.zone)


def period(since: datetime | None, until: datetime | None, zone: str) -> str:
    if since is None and until is None:
        return f"All time; time zone {zone}."
    parts = [f"from {moment(since, zone)}"] if since is not None else []
    parts += [f"to before {moment(until, zone)}"] if until is not None else ["until now"]
    text = " ".join(parts)
    return f"{text[0].upper()}{text[1:]}, time zone {zone}."


def moment(when: datetime, zone: str) -> str:
    return when.astimezone(ZoneInfo(zone)).strftime("%Y-%m-%d %H:%M")


def shown(value: Any, column: Column, zone: str) -> str:
    """A cell."""
    if value is None:
        return "-"
    match column.unit or column.type:
        case "count":
            return f"{value:,}"
        case "share":
            return f"{100 * value:,.2f} %"
        case "money":
            return f"{float(value):,.2f}"
        case "seconds":
            return duration(float(value))
        case "number":
            return f"{value:,.2f}" if isinstance(value, float) else str(value)
        case "level":
            return _LEVELS[min(int(value), 2)]
        case "time":
            local = datetime.fromisoformat(value).astimezone(ZoneInfo(zone))
            return local.strftime("%Y-%m-%d %H:%M %z")
        case "truth":
            return "yes" if value else "no"
    return plain(value) or "(empty)"


def duration(seconds: float) -> str:
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size or (unit == "min" and seconds >= size):
            return f"{seconds / size:,.1f} {unit}"
    return f"{seconds:,.0f} s"


def _print_lines(answer: ReportAnswer, drawn: str) -> None:
    """The measure over time, where the first column is a day or a number that counts up."""
    place = [column.name for column in answer.columns].index(drawn)
    column, blocks = answer.columns[place], report_chart.has_blocks()
    firsts = [row[0] for row in answer.rows]
    if len(set(firsts)) != len(firsts):
        return
    values = dict(zip(firsts, (row[place] for row in answer.rows), strict=True))
    known = [value for value in values.values() if value is not None]
    if answer.columns[0].type == "day":
        series = report_chart.by_day(
            {str(day): value for day, value in values.items() if day}, _step(answer.columns[0].name)
        )
    else:
        series = list(values.values())
    if known:
        least, greatest = (shown(value, column, answer.zone) for value in (min(known), max(known)))
        print_line(f"{drawn}  {report_chart.line(series, blocks=blocks)}  {least} to {greatest}\n")


def _step(name: str) -> int:
    return 7 if name.endswith("week") else 1


def _print_table(answer: ReportAnswer, total: Sequence[Any] | None, drawn: str | None, first: Sequence[str]) -> None:
    from rich.table import Table  # noqa: PLC0415 - 0.1 s that only tables need
    from rich.text import Text  # noqa: PLC0415 - as above

    console = _console()
    cells = [
        [shown(value, column, answer.zone) for value, column in zip(row, answer.columns, strict=True)]
        for row in answer.rows
    ]
    if total is not None:
        measures = [column for column in answer.columns if column.kind == "measure"]
        sums = [shown(value, column, answer.zone) for value, column in zip(total, measures, strict=True)]
        cells.append([*[""] * (len(answer.columns) - len(measures)), *sums])
    widest = BAR_WIDTH if console.width >= WIDE else BAR_WIDTH // 2
    bars = _bars(answer, drawn, widest) if drawn is not None else None
    over_bars = "" if drawn is None else _heading(drawn, ["x" * widest])
    wide = max([widest, *map(len, over_bars.splitlines())])
    room = console.width - (wide + 2 if bars else 0)
    places = _fitting(answer.columns, cells, room, [*first, *([drawn] if drawn else [])])
    if total is not None and answer.columns[places[0]].kind == "dimension":
        cells[-1][places[0]] = "all"
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for place in places:
        column = answer.columns[place]
        is_text = column.type in ("text", "day", "time", "truth")
        table.add_column(
            Text(_heading(column.name, [row[place] for row in cells])),
            justify="left" if is_text else "right",
            overflow="fold",
            no_wrap=not is_text,
            vertical="bottom",
        )
    if bars is not None:
        table.add_column(Text(over_bars), no_wrap=True, vertical="bottom")
    for number, row in enumerate(cells):
        drawing = [] if bars is None else [Text(bars[number] if number < len(bars) else "")]
        style = "bold" if number == len(answer.rows) else None
        table.add_row(*(Text(row[place]) for place in places), *drawing, style=style)
    console.print(table)
    left_out = [column.name for place, column in enumerate(answer.columns) if place not in places]
    if left_out:
        print_line(
            f"\nToo wide for this terminal, left out: {', '.join(left_out)}. All of it: --json, --csv, or choose with --measures."
        )


def _bars(answer: ReportAnswer, drawn: str, widest: int) -> list[str]:
    place = [column.name for column in answer.columns].index(drawn)
    values = [None if row[place] is None else float(row[place]) for row in answer.rows]
    greatest = max([value for value in values if value is not None], default=0.0)
    blocks = report_chart.has_blocks()
    return [report_chart.bar(value, greatest, widest, blocks=blocks) for value in values]


def _heading(name: str, cells: Sequence[str]) -> str:
    """The name; on a terminal in lines that are hardly wider than the column's cells, broken after _."""
    if not sys.stdout.isatty():
        return name
    words = [f"{word}_" for word in name.split("_")]
    words[-1] = words[-1].removesuffix("_")
    width = max([*(len(cell) for cell in cells), *(len(word) for word in words)])
    lines = [""]
    for word in words:
        if lines[-1] and len(lines[-1]) + len(word) > width:
            lines.append("")
        lines[-1] += word
    return "\n".join(lines)


def _fitting(columns: Sequence[Column], cells: Sequence[Sequence[str]], width: int, first: Sequence[str]) -> list[int]:
    """The places of the columns that fit beside each other: dimensions, then `first`, then what is read most, then what others tell, too."""
    longest = _LONGEST_TEXT if width >= WIDE else _LONGEST_IN_FEW
    widths = [_width(column, [row[place] for row in cells], longest) for place, column in enumerate(columns)]
    names = [column.name for column in columns]
    told = {name for name, by in _TOLD_BY.items() if by in names and all(row[names.index(by)] != "-" for row in cells)}

    def rank(place: int) -> tuple[int, int]:
        column = columns[place]
        if column.kind == "dimension" and column.name not in told:
            return 0, place
        if column.name in first:
            return 1, first.index(column.name)
        if column.name in _BRIEF:
            return 2, _BRIEF.index(column.name)
        return (4 if column.name in told else 3), place

    taken, left = [], width
    for place in sorted(range(len(columns)), key=rank):
        left -= widths[place]
        if left < 0 and rank(place)[0] > 0:
            break
        taken.append(place)
    return sorted(taken)


def _width(column: Column, cells: Sequence[str], longest: int) -> int:
    """With the space behind it; long texts may be folded."""
    heading = max(len(line) for line in _heading(column.name, cells).splitlines())
    return max(heading, min(max(map(len, cells), default=0), longest)) + 2


def _console() -> Console:
    from rich.console import Console  # noqa: PLC0415 - as above

    return Console(file=sys.stdout, width=None if sys.stdout.isatty() else _UNLIMITED, highlight=False)
