"""`headrace report`: figures of e-mail campaigns, by name or freely chosen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final, cast

import typer

from headrace.cli import options, report_funnel, report_known
from headrace.cli.options import ConfigFile, Data, Json, OneOf
from headrace.cli.output import print_error, print_line
from headrace.cli.report_words import WHERE, condition, listed
from headrace.errors import ConfigError

if TYPE_CHECKING:
    from headrace.config import Config
    from headrace.reports.measures import AttributionModel
    from headrace.reports.request import ReportRequest

Since = Annotated[
    str | None, typer.Option(metavar="WHEN", help="From when on: 30d, 8w, 12h, a date or a time. [default: all time]")
]
Until = Annotated[str | None, typer.Option(metavar="WHEN", help="Until when; a date is the last day. [default: now]")]
Zone = Annotated[str, typer.Option(metavar="ZONE", help="The time zone of days and periods, such as Europe/Berlin.")]
Dimensions = Annotated[
    list[str] | None,
    typer.Option(
        "--dimensions", "--by", metavar="NAMES", help="By what: names with commas between, see `report fields`."
    ),
]
Measures = Annotated[
    list[str] | None, typer.Option(metavar="NAMES", help="What: names with commas between, see `report measures`.")
]
Where = Annotated[list[str] | None, typer.Option(metavar="CONDITION", help=WHERE)]
Sort = Annotated[
    list[str] | None, typer.Option(metavar="NAMES", help="Columns to sort by; -revenue puts the greatest first.")
]
Limit = Annotated[int | None, typer.Option(metavar="ROWS", min=1, max=100_000, help="At the most so many rows.")]
Dataset = Annotated[
    str | None, typer.Option(metavar="NAME", help="What is counted, see `report fields`. [default: the report's own]")
]
FromSource = Annotated[str | None, typer.Option("--source", metavar="SLUG", help="Only this source's mails.")]
OfGoal = Annotated[str | None, typer.Option("--goal", metavar="NAME", help="Whose orders. [default: the first goal]")]
Model = Annotated[str, typer.Option(metavar="MODEL", help="Which touch an order is given to: last, first or any.")]
AsCsv = Annotated[bool, typer.Option("--csv", help="Print CSV; texts that a spreadsheet would run are quoted.")]
Chart = Annotated[bool, typer.Option("--chart", help="Draw the figures beside the table.")]
Sql = Annotated[bool, typer.Option("--sql", help="Print the SELECT instead of asking it.")]

_MODELS: Final = ("last", "first", "any")


def register(app: typer.Typer) -> None:
    from headrace.reports.presets import PRESETS  # noqa: PLC0415 - data alone

    group = typer.Typer(no_args_is_help=True, help="Figures of e-mail campaigns, by people and machines.")
    report_known.register(group)
    report_funnel.register(group)
    group.command("run", help="Any measures by any fields.", rich_help_panel="Freely chosen")(_command(None))
    for preset in PRESETS.values():
        group.command(preset.name, help=preset.sentence, rich_help_panel="Reports by name")(_command(preset.name))
    app.add_typer(group, name="report")


def _command(preset: str | None) -> Callable[..., None]:
    def run(
        *,
        since: Since = None,
        until: Until = None,
        zone: Zone = "UTC",
        where: Where = None,
        sort: Sort = None,
        limit: Limit = None,
        dimensions: Dimensions = None,
        measures: Measures = None,
        dataset: Dataset = None,
        source: FromSource = None,
        goal: OfGoal = None,
        model: Model = "last",
        as_json: Json = False,
        as_csv: AsCsv = False,
        chart: Chart = False,
        sql: Sql = False,
        warehouse: OneOf = None,
        data: Data = None,
        config: ConfigFile = None,
    ) -> None:
        from headrace.reports.request import ReportRequest  # noqa: PLC0415 - --help needs no rooms

        if model not in _MODELS:
            raise ConfigError(
                f"report: there is no model of attribution {model[:50]!r}; there are {', '.join(_MODELS)}"
            )
        request = ReportRequest(
            preset=preset,
            dataset=dataset,
            dimensions=listed(dimensions),
            measures=listed(measures),
            filters=[condition(text) for text in where or ()],
            since=since,
            until=until,
            zone=zone,
            sort=listed(sort),
            limit=limit,
            source=source,
            goal=goal,
            model=cast("AttributionModel", model),
            warehouse=warehouse,
        )
        _print(options.settings(data, config), request, as_json=as_json, as_csv=as_csv, chart=chart, only_sql=sql)

    return run


def _print(config: Config, request: ReportRequest, *, as_json: bool, as_csv: bool, chart: bool, only_sql: bool) -> None:
    from headrace.app import reach  # noqa: PLC0415 - --help needs no database
    from headrace.cli import report_chart, report_shown  # noqa: PLC0415 - as above
    from headrace.reports.presets import PRESETS  # noqa: PLC0415 - as above

    if as_json and as_csv:
        raise typer.BadParameter("say either --json or --csv")
    if only_sql:
        print_line(reach.report_sql(config, request))
        return
    answer = reach.report(config, request)
    if as_json:
        report_shown.print_rows_json(answer)
    elif as_csv:
        report_shown.print_csv(answer)
    else:
        preset = PRESETS.get(request.preset or "")
        measures = [column.name for column in answer.columns if column.kind == "measure"]
        drawn = preset.drawn if preset is not None and preset.drawn in measures else report_chart.first_drawn(measures)
        is_line = answer.columns[0].type == "day" or (preset is not None and preset.chart == "line")
        first = [name.removeprefix("-") for name in request.sort or ()]
        total = _total(config, request, answer)
        report_shown.print_report(answer, total, drawn if chart else None, first, is_line=is_line)
    if answer.truncated:
        print_error(
            f"only the first {len(answer.rows)} rows are shown; narrow the report, or raise query_rows in [warehouse]"
        )


def _total(config: Config, request: ReportRequest, answer: Any) -> Sequence[Any] | None:
    """The measures over all rows, which no sum of rates and of distinct people would give; None where a row is not one among others, or where orders of several
    goals would be added up."""
    import msgspec  # noqa: PLC0415 - as above

    from headrace.app import reach  # noqa: PLC0415 - as above
    from headrace.cli.report_shown import ORDERS  # noqa: PLC0415 - as above
    from headrace.reports.measures import MEASURES  # noqa: PLC0415 - as above

    measures = [column.name for column in answer.columns if column.kind == "measure"]
    has_orders = any(name.startswith(ORDERS) for name in measures)
    if len(answer.rows) < 2 or (has_orders and not answer.goal) or any(of.field in MEASURES for of in request.filters):
        return None
    whole = msgspec.structs.replace(
        request, dimensions=(), measures=measures, dataset=answer.dataset, sort=(), limit=None
    )
    rows = reach.report(config, whole).rows
    return rows[0] if rows else None
