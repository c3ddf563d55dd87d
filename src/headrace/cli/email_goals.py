"""`headrace email goals ...`: the events that count as a success."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from headrace.cli.email_place import change, opened
from headrace.cli.options import ConfigFile, Data, Json
from headrace.cli.output import print_json, print_line, print_table
from headrace.errors import ConfigError, NotFoundError

if TYPE_CHECKING:
    from headrace.reports.model.settings import ModelSettings

commands: Final = typer.Typer(no_args_is_help=True, help="The events that count as a success of an e-mail.")

Name = Annotated[str, typer.Argument(metavar="GOAL", help="The goal, as `headrace email goals list` names it.")]


def register(app: typer.Typer) -> None:
    app.add_typer(commands, name="goals")


@commands.command("list")
def list_goals(*, data: Data = None, config: ConfigFile = None, as_json: Json = False) -> None:
    """List the goals; the first is the one of email.campaigns."""
    from headrace.reports.model.checking import plain_values  # noqa: PLC0415 - --help needs none of it

    with opened(data, config) as place:
        goals = plain_values(place.settings)["goals"]
    if as_json:
        print_json(goals)
        return
    print_table(
        ("GOAL", "EVENT", "SOURCE", "VALUE", "KEY", "CLICK DAYS", "OPEN DAYS"),
        (
            (
                goal["name"],
                goal["event"],
                goal["source"] or "any",
                ", ".join(goal["value"]) or "none",
                ", ".join(goal["key"]) or "messageId",
                f"{goal['click_days']:g}",
                f"{goal['open_days']:g}",
            )
            for goal in goals
        ),
        "",
    )
    print_line("\nThe first is the one of email.campaigns.")


@commands.command()
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Small letters, digits and _.")],
    *,
    event: Annotated[str, typer.Option(metavar="NAME", help="The event as it is sent, for example 'Signed Up'.")],
    source: Annotated[str | None, typer.Option(metavar="SLUG", help="Only of this source. [default: of any]")] = None,
    value: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PROPERTY",
            help="Its value; may be repeated: the first that an event has. [default: total, revenue, value]",
        ),
    ] = None,
    key: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PROPERTY",
            help="What makes two of it one and the same; may be repeated. [default: order_id, checkout_id]",
        ),
    ] = None,
    click_days: Annotated[
        float | None, typer.Option(metavar="DAYS", help="How long after a click it counts. [default: 5]")
    ] = None,
    open_days: Annotated[
        float | None, typer.Option(metavar="DAYS", help="How long after an open it counts. [default: 1]")
    ] = None,
    first: Annotated[bool, typer.Option("--first", help="Make it the one of email.campaigns.")] = False,
    data: Data = None,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """Add a goal: any event of any source."""
    given: dict[str, Any] = {"name": name, "event": event, "source": source, "value": value or None, "key": key or None}
    given |= {"click_days": click_days, "open_days": open_days}
    told = {setting: chosen for setting, chosen in given.items() if chosen is not None}
    change(data, config, lambda settings: _added(settings, told, first=first), as_json=as_json)


def _added(settings: ModelSettings, given: dict[str, Any], *, first: bool) -> ModelSettings:
    from msgspec.structs import replace  # noqa: PLC0415 - --help needs none of it

    from headrace.reports.model.checking import converted  # noqa: PLC0415 - as above

    if given["name"] in {goal.name for goal in settings.goals}:
        raise ConfigError(
            f"email goals: there is {given['name']} already; change it in a file: headrace email export, then headrace email apply"
        )
    added = converted({"goals": [given]}).goals
    return replace(settings, goals=[*added, *settings.goals] if first else [*settings.goals, *added])


@commands.command("first")
def make_first(name: Name, *, data: Data = None, config: ConfigFile = None, as_json: Json = False) -> None:
    """Make a goal the one of email.campaigns."""
    change(data, config, lambda settings: _first(settings, name), as_json=as_json)


def _first(settings: ModelSettings, name: str) -> ModelSettings:
    from msgspec.structs import replace  # noqa: PLC0415 - --help needs none of it

    _is_there(settings, name)
    return replace(settings, goals=sorted(settings.goals, key=lambda goal: goal.name != name))


@commands.command()
def remove(name: Name, *, data: Data = None, config: ConfigFile = None, as_json: Json = False) -> None:
    """Remove a goal; one must stay."""
    change(data, config, lambda settings: _removed(settings, name), as_json=as_json)


def _removed(settings: ModelSettings, name: str) -> ModelSettings:
    from msgspec.structs import replace  # noqa: PLC0415 - --help needs none of it

    _is_there(settings, name)
    return replace(settings, goals=[goal for goal in settings.goals if goal.name != name])


def _is_there(settings: ModelSettings, name: str) -> None:
    if name not in {goal.name for goal in settings.goals}:
        raise NotFoundError(f"email goals: there is no {name[:100]!r}; see: headrace email goals list")
