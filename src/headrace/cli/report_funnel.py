"""`headrace report funnel` and `holdout`: from a mail to an order, and what mails bring about."""

from __future__ import annotations

import re
import shutil
import sys
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from headrace.cli import options, report_chart
from headrace.cli.options import ConfigFile, Data, Json, OneOf
from headrace.cli.output import plain, print_json, print_line, print_table
from headrace.cli.report_words import WHERE_OF_MAILS, condition
from headrace.errors import ConfigError

if TYPE_CHECKING:
    from headrace.reports.answers import FunnelAnswer, HoldoutAnswer
    from headrace.reports.funnel import Step

Since = Annotated[
    str | None, typer.Option(metavar="WHEN", help="From when on: 30d, 8w, 12h, a date or a time. [default: all time]")
]
Until = Annotated[str | None, typer.Option(metavar="WHEN", help="Until when; a date is the last day. [default: now]")]
Zone = Annotated[str, typer.Option(metavar="ZONE", help="The time zone of the period, such as Europe/Berlin.")]
STEPS_HELP = (
    "A step; repeat it. The first is sent, delivered, opened, human_opened, clicked, human_clicked, bounced, unsubscribed or complained; the next "
    "ones are these, too, or goal:NAME, attributed:NAME, 'event:Product Viewed'. @3d behind it: within 3 days of the step before. "
    "[default: delivered, human_opened, human_clicked, attributed by a click]"
)


def register(group: typer.Typer) -> None:
    group.command("funnel", rich_help_panel="Freely chosen")(funnel)
    group.command("holdout", rich_help_panel="Freely chosen")(holdout)


def funnel(
    *,
    step: Annotated[list[str] | None, typer.Option(metavar="STEP", help=STEPS_HELP)] = None,
    by: Annotated[
        str | None, typer.Option("--by", metavar="FIELD", help="campaign_id, email_id, journey_id, domain or source.")
    ] = None,
    since: Since = None,
    until: Until = None,
    zone: Zone = "UTC",
    where: Annotated[list[str] | None, typer.Option(metavar="CONDITION", help=WHERE_OF_MAILS)] = None,
    limit: Annotated[int, typer.Option(metavar="PARTS", min=1, max=1000, help="Of --by at the most so many.")] = 50,
    as_json: Json = False,
    warehouse: OneOf = None,
    data: Data = None,
    config: ConfigFile = None,
) -> None:
    """How many mails reach each of some steps, from delivery to an order or any event, and how long it takes."""
    from headrace.app import reach  # noqa: PLC0415 - --help needs no database
    from headrace.reports.answers import FunnelOrder  # noqa: PLC0415 - as above
    from headrace.reports.refused import explained  # noqa: PLC0415 - as above

    order: dict[str, Any] = {
        "filters": [msgspec.to_builtins(condition(text)) for text in where or ()],
        "since": since,
        "until": until,
        "zone": zone,
        "breakdown": by,
        "limit": limit,
        "warehouse": warehouse,
    }
    if step:
        order["steps"] = [msgspec.to_builtins(_step(text)) for text in step]
    try:
        request = msgspec.convert(order, FunnelOrder)
    except msgspec.ValidationError as error:
        text = explained(error, order, FunnelOrder).replace("breakdown: ", "--by: ", 1)
        raise ConfigError(f"funnel: {text}; see: headrace report funnel --help") from None
    answer = reach.funnel(options.settings(data, config), request)
    if as_json:
        print_json(msgspec.to_builtins(answer))
    else:
        _print_funnel(answer)


def _step(text: str) -> Step:
    """`event:Order Refunded@3d`. Raises ConfigError."""
    from headrace.reports.funnel import Step  # noqa: PLC0415 - as above

    name, at, within = text.rpartition("@")
    if not at:
        return Step(text)
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([hd])", within)
    if found is None:
        raise ConfigError(
            f"funnel: the step {text[:100]!r} ends in @{within[:20]}; write how long it may take, as in @3d or @12h"
        )
    return Step(name, within_days=float(found[1]) / (24 if found[2] == "h" else 1))


def _print_funnel(answer: FunnelAnswer) -> None:
    from headrace.cli.report_shown import BAR_WIDTH, WIDE, duration, period, standing  # noqa: PLC0415 - as above

    is_wide = not sys.stdout.isatty() or shutil.get_terminal_size().columns >= WIDE
    widest = BAR_WIDTH if is_wide else BAR_WIDTH // 2

    blocks = report_chart.has_blocks()
    for number, part in enumerate(answer.parts):
        if answer.breakdown is not None:
            print_line(f"{'' if number == 0 else chr(10)}{answer.breakdown} {plain(part.part) or '(empty)'}")
        most = max((step.messages for step in part.steps), default=0)
        rows = [
            (
                step.name,
                f"{step.messages:,}",
                _share(step.of_first),
                _share(step.of_previous),
                "-" if step.median_seconds is None else duration(step.median_seconds),
                "-" if step.p90_seconds is None else duration(step.p90_seconds),
                report_chart.bar(step.messages, most, widest, blocks=blocks),
            )
            for step in part.steps
        ]
        print_table(("step", "mails", "of first", "of previous", "median", "90 %", ""), rows, "")
    if answer.parts_in_all > len(answer.parts):
        print_line(
            f"\n{len(answer.parts)} of {answer.parts_in_all:,} parts, those with the most mails; --limit shows more."
        )
    print_line(
        f"\nMails by when they were sent; each step is part of the one before. {period(answer.since, answer.until, answer.zone)} "
        "Test sends count nowhere. The median and 90 % are times from the step before."
    )
    if any(step.name == "ordered" for part in answer.parts for step in part.steps):
        print_line(
            "Ordered are mails with an order that is given to a click; reports of campaigns also count orders that are given to an open."
        )
    print_line(standing(answer))


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:,.2f} %"


def holdout(
    *,
    goal: Annotated[str | None, typer.Option(metavar="NAME", help="Which goal. [default: the first]")] = None,
    since: Since = None,
    until: Until = None,
    zone: Zone = "UTC",
    as_json: Json = False,
    warehouse: OneOf = None,
    data: Data = None,
    config: ConfigFile = None,
) -> None:
    """Compare people who get mails with a group that gets none (the trait `holdout` of identify events)."""
    from headrace.app import reach  # noqa: PLC0415 - --help needs no database
    from headrace.reports.answers import HoldoutOrder  # noqa: PLC0415 - as above

    order = HoldoutOrder(goal=goal, since=since, until=until, zone=zone, warehouse=warehouse)
    answer = reach.holdout(options.settings(data, config), order)
    if as_json:
        print_json(msgspec.to_builtins(answer))
    else:
        _print_holdout(answer)


def _print_holdout(answer: HoldoutAnswer) -> None:
    from headrace.cli.report_shown import period, standing  # noqa: PLC0415 - as above

    found = answer.result
    rows = [
        (
            name,
            f"{group.people:,}",
            f"{group.buyers:,}",
            _share(group.conversion),
            f"{group.orders:,}",
            f"{group.revenue:,.2f}",
            "-" if group.revenue_per_person is None else f"{group.revenue_per_person:,.2f}",
        )
        for name, group in (("holdout", found.holdout), ("mailed", found.mailed))
    ]
    print_table(("group", "people", "buyers", "conversion", "orders", "revenue", "a person"), rows, "")
    if found.lift is not None:
        interval = ""
        if found.lift_low is not None and found.lift_high is not None:
            interval = f", between {100 * found.lift_low:+.1f} % and {100 * found.lift_high:+.1f} % ({100 * found.confidence:.0f} % interval)"
        print_line(f"\nLift of the conversion by mails: {100 * found.lift:+.1f} %{interval}.")
    if found.reason is not None:
        print_line(f"\n{plain(found.reason)}.")
    print_line(f"\nOrders by when they happened. {period(answer.since, answer.until, answer.zone)}")
    print_line(standing(answer))
