"""`headrace report list`, `measures` and `fields`: what may be asked for."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer

from headrace.cli import options
from headrace.cli.options import ConfigFile, Data, Json
from headrace.cli.output import plain, print_json, print_line, print_table
from headrace.errors import NotFoundError


def register(group: typer.Typer) -> None:
    group.command("list", rich_help_panel="What may be asked for")(list_reports)
    group.command("measures", rich_help_panel="What may be asked for")(measures)
    group.command("fields", rich_help_panel="What may be asked for")(fields)


def list_reports(*, as_json: Json = False) -> None:
    """The reports that have names."""
    from headrace.reports.answers import presets_shown  # noqa: PLC0415 - --help needs no rooms

    shown = presets_shown()
    if as_json:
        print_json(msgspec.to_builtins(shown))
        return
    rows = [(of.name, of.sentence) for of in shown]
    rows += [
        ("funnel", "Steps from a mail to an order."),
        ("holdout", "What mails bring about: a group that gets none."),
    ]
    print_table(("report", "what it says"), rows, "")


def measures(*, as_json: Json = False) -> None:
    """All figures, what they say and what they are made of."""
    from headrace.reports.answers import measures_shown  # noqa: PLC0415 - as above

    shown = measures_shown()
    if as_json:
        print_json(msgspec.to_builtins(shown))
        return
    rows = [(of.name, of.unit, of.sentence, of.definition or "") for of in shown]
    print_table(("measure", "unit", "what it says", "made of"), rows, "")


def fields(
    *,
    dataset: Annotated[str | None, typer.Option(metavar="NAME", help="Only what this dataset knows.")] = None,
    data: Data = None,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """What figures can be told apart by, and filtered by, in each dataset. Of a data folder its sets of labels are told, too."""
    from headrace.app import reach  # noqa: PLC0415 - as above
    from headrace.reports.answers import fields_shown  # noqa: PLC0415 - as above
    from headrace.reports.datasets import DATASETS  # noqa: PLC0415 - as above
    from headrace.reports.request import unknown  # noqa: PLC0415 - as above

    if dataset is not None and dataset not in DATASETS:
        raise unknown("report", "dataset", dataset, DATASETS)
    try:
        shown = reach.report_fields(options.settings(data, config))
    except NotFoundError:
        if data is not None:
            raise
        shown = fields_shown(())
    datasets = [of for of in shown.datasets if dataset in (None, of.name)]
    if as_json:
        print_json(msgspec.to_builtins(datasets))
        return
    for number, of in enumerate(datasets):
        print_line(f"{'' if number == 0 else chr(10)}{of.name}: {of.sentence}")
        rows = [
            (field.name, field.type, plain(field.sentence), "filters only" if field.only_filters else "")
            for field in of.fields
        ]
        print_table(("field", "type", "what it says", ""), rows, "")
