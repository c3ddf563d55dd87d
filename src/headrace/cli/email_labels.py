"""`headrace email labels ...`: categories of campaigns by patterns."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from headrace.cli import email_shown
from headrace.cli.email_place import change, opened
from headrace.cli.options import ConfigFile, Data, Json, OneOf
from headrace.cli.output import plain, print_error, print_json, print_line, print_table
from headrace.errors import NotFoundError

if TYPE_CHECKING:
    from headrace.reports.model.label_trial import LabelTrial
    from headrace.reports.model.settings import ModelSettings

commands: Final = typer.Typer(no_args_is_help=True, help="Categories of campaigns, by patterns of their names and ids.")

Set = Annotated[str, typer.Argument(metavar="SET", help="What the label is about, for example type or brand.")]
Pattern = Annotated[
    str, typer.Argument(metavar="PATTERN", help="As for files: `*` any characters, `?` one. Case is ignored.")
]
By = Annotated[str, typer.Option("--field", metavar="FIELD", help="campaign_name or campaign_id.")]


def register(app: typer.Typer) -> None:
    app.add_typer(commands, name="labels")


@commands.command("list")
def list_labels(*, data: Data = None, config: ConfigFile = None, as_json: Json = False) -> None:
    """List the rules in the order in which they are tried."""
    from headrace.reports.model.checking import plain_values  # noqa: PLC0415 - --help needs none of it

    with opened(data, config) as place:
        labels = plain_values(place.settings)["labels"]
    if as_json:
        print_json(labels)
        return
    print_table(
        ("SET", "LABEL", "FIELD", "PATTERN"),
        ((one["set"], one["label"], one["field"], one["pattern"]) for one in labels),
        "No labels. `headrace email labels add SET LABEL PATTERN` adds a rule, `headrace email apply FILE` takes many of a file.",
    )


@commands.command()
def add(
    set_: Set,
    label: Annotated[str, typer.Argument(metavar="LABEL", help="The category.")],
    pattern: Pattern,
    *,
    field: By = "campaign_name",
    first: Annotated[
        bool, typer.Option("--first", help="Try it before all others. [default: after all others]")
    ] = False,
    data: Data = None,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """Give the campaigns that the pattern fits a label. Of a set the first rule that fits counts."""
    given = {"set": set_, "label": label, "pattern": pattern, "field": field}
    change(data, config, lambda settings: _added(settings, given, first=first), as_json=as_json)


def _added(settings: ModelSettings, given: dict[str, Any], *, first: bool) -> ModelSettings:
    from msgspec.structs import replace  # noqa: PLC0415 - --help needs none of it

    from headrace.reports.model.checking import converted  # noqa: PLC0415 - as above

    added = converted({"labels": [given]}).labels
    return replace(settings, labels=[*added, *settings.labels] if first else [*settings.labels, *added])


@commands.command()
def remove(
    set_: Set,
    pattern: Pattern,
    *,
    field: By = "campaign_name",
    data: Data = None,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """Remove a rule."""
    change(data, config, lambda settings: _removed(settings, set_, pattern, field), as_json=as_json)


def _removed(settings: ModelSettings, set_: str, pattern: str, field: str) -> ModelSettings:
    from msgspec.structs import replace  # noqa: PLC0415 - --help needs none of it

    labels = [rule for rule in settings.labels if (rule.set, rule.pattern, rule.field) != (set_, pattern, field)]
    if len(labels) == len(settings.labels):
        raise NotFoundError(
            f"email labels: {set_[:100]!r} has no rule with {field[:100]} {pattern[:100]!r}; see: headrace email labels list"
        )
    return replace(settings, labels=labels)


@commands.command("test")
def check(
    *,
    file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Try the rules of this TOML file. [default: those in force]")
    ] = None,
    warehouse: OneOf = None,
    data: Data = None,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """Try the rules on the campaigns of a warehouse: which gets which label, which none, and which patterns fit nothing."""
    import msgspec  # noqa: PLC0415 - --help needs none of it

    from headrace.app import reach  # noqa: PLC0415 - as above
    from headrace.reports.model.label_trial import tried_labels  # noqa: PLC0415 - as above

    with opened(data, config) as place:
        rules = email_shown.settings_in(file).labels if file else place.settings.labels
    found = tried_labels(rules, lambda sql, slug: reach.query(place.chosen, sql, warehouse=slug), warehouse)
    if as_json:
        print_json(msgspec.to_builtins(found))
    else:
        _print(found)


def _print(found: LabelTrial) -> None:
    sets = list(found.unlabelled)
    print_table(
        ("CAMPAIGN", "NAME", *(name.upper() for name in sets)),
        (
            (one.campaign_id, one.campaign_name or "-", *(one.labels.get(name, "-") for name in sets))
            for one in found.campaigns
        ),
        "No campaigns yet: they are known once e-mail events were loaded.",
    )
    if not found.is_complete:
        print_error("note: there are more campaigns than a query may give (query_rows in [warehouse])")
    print_line()
    for name, without in found.unlabelled.items():
        print_line(f"{name}: {len(found.campaigns) - len(without)} of {len(found.campaigns)} campaigns have a label")
    for tried in found.rules:
        rule = f"{tried.rule.set}: {tried.rule.field} {plain(tried.rule.pattern)}"
        if not tried.fits:
            print_line(f"{rule} fits nothing")
        elif not tried.taken:
            print_line(f"{rule} fits {tried.fits}, but earlier rules have all of them")
