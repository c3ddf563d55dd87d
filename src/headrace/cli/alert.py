"""`headrace alert ...`: conditions that are watched, and who is told. Works with and without a running server; the server looks and tells."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from headrace.cli import alert_channel, alert_shown, alert_test, assignments
from headrace.cli.alert_place import ask, opened
from headrace.cli.options import ConfigFile, Data, Json
from headrace.cli.output import print_json, print_line, print_table

if TYPE_CHECKING:
    from headrace.alerts.kept import State
    from headrace.workspace.alerts import Alert, WorkspaceAlerts

commands: Final = typer.Typer(
    no_args_is_help=True, help="Be told when deliveries fail, sources fall silent or a warehouse is late."
)

Slug = Annotated[str, typer.Argument(metavar="ALERT", help="The alert, as `headrace alert list` names it.")]
To = Annotated[
    list[str] | None,
    typer.Option(
        "--to", metavar="CHANNEL", help="A channel, as `headrace alert channel list` names it; may be repeated."
    ),
]


def register(app: typer.Typer) -> None:
    app.add_typer(commands, name="alert")


@commands.command()
def add(
    condition: Annotated[
        str, typer.Argument(metavar="CONDITION", help="What is watched, as `headrace alert kinds` names it.")
    ],
    *,
    name: Annotated[str, typer.Option("--name", metavar="NICKNAME", help="How people call this alert.")],
    to: To = None,
    given: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="A setting of the condition; may be repeated; see `headrace alert kinds`.",
        ),
    ] = None,
    data: Data = None,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """Add an alert: the server looks every half minute, and tells its channels when the condition holds and when it is over."""
    from headrace.alerts.conditions import condition as named  # noqa: PLC0415 - --help needs none of it
    from headrace.app.alert_orders import subject_is_there  # noqa: PLC0415 - as above

    settings = assignments.settings(named(condition).Settings, given or [])
    with opened(data, config, create=True) as place:
        subject_is_there(place.workspace, settings)
        alert = place.alerts.add_alert(condition, name, settings, to or [])
        state = place.state
    _answer(alert, state, as_json=as_json)
    if not as_json:
        print_line(f"\nTry its channels: headrace alert test {alert.slug}")


@commands.command("list")
def list_alerts(*, data: Data = None, config: ConfigFile = None, as_json: Json = False) -> None:
    """List the alerts, and which of them hold now."""
    from headrace.alerts.shown import state_of  # noqa: PLC0415 - --help needs none of it

    with opened(data, config) as place:
        alerts, state = place.alerts.snapshot().alerts, place.state
    if as_json:
        print_json([alert_shown.alert_described(alert, state) for alert in alerts])
        return
    print_table(
        ("ALERT", "NICKNAME", "CONDITION", "STATE", "SUBJECTS", "CHANNELS"),
        (
            (
                alert.slug,
                alert.nickname,
                alert.kind,
                state_of(alert, state),
                ", ".join(state.lasting.get(alert.slug, {})) if state else "",
                ", ".join(alert.channels),
            )
            for alert in alerts
        ),
        "No alerts. `headrace alert kinds` lists what can be watched; first add a channel: "
        "headrace alert channel add slack --name NICKNAME --set url=@FILE",
    )


@commands.command()
def show(slug: Slug, *, data: Data = None, config: ConfigFile = None, as_json: Json = False) -> None:
    """Show an alert: its settings, what holds now and since when."""
    with opened(data, config) as place:
        _answer(place.alerts.alert(slug), place.state, as_json=as_json)


@commands.command("set")
def set_settings(
    slug: Slug,
    given: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE...", help="Settings, see `headrace alert kinds`.")
    ] = None,
    *,
    unset: Annotated[
        list[str] | None,
        typer.Option("--unset", metavar="KEY", help="Take a setting back to its default; may be repeated."),
    ] = None,
    to: To = None,
    data: Data = None,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """Change an alert's settings; those that are not named stay. With --to, its channels are those."""
    from headrace.alerts.conditions import condition  # noqa: PLC0415 - --help needs none of it
    from headrace.app.alert_orders import subject_is_there  # noqa: PLC0415 - as above

    if not given and not unset and not to:
        raise typer.BadParameter("give KEY=VALUE, --unset KEY or --to CHANNEL")
    with opened(data, config) as place:
        changes = assignments.settings(condition(place.alerts.alert(slug).kind).Settings, given or [])
        subject_is_there(place.workspace, changes)
        alert = place.alerts.set_alert(slug, {**dict.fromkeys(unset or []), **changes}, to or None)
        _answer(alert, place.state, as_json=as_json)


@commands.command("test")
def check(slug: Slug, *, data: Data = None, config: ConfigFile = None, as_json: Json = False) -> None:
    """Send a test notice to each of its channels now; exit code 1 when one does not take it."""
    from headrace.app import alert_trials  # noqa: PLC0415 - --help needs none of it

    with opened(data, config) as place:
        alert = place.alerts.alert(slug)
        told = [place.alerts.channel(channel) for channel in alert.channels]
        results = alert_trials.tried(place.chosen, place.alerts, told, alert_trials.of_alert(alert))
    alert_test.answer(results, as_json=as_json)


@commands.command()
def pause(slug: Slug, *, data: Data = None, config: ConfigFile = None, as_json: Json = False) -> None:
    """Watch nothing until it is resumed; what was told of it is forgotten."""
    _change(data, config, lambda alerts: alerts.pause(slug), as_json=as_json)


@commands.command()
def resume(slug: Slug, *, data: Data = None, config: ConfigFile = None, as_json: Json = False) -> None:
    """Watch again."""
    _change(data, config, lambda alerts: alerts.resume(slug), as_json=as_json)


@commands.command()
def remove(
    slug: Slug,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    data: Data = None,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """Remove an alert."""
    ask(slug, yes=yes, as_json=as_json)
    _change(data, config, lambda alerts: alerts.remove_alert(slug), as_json=as_json)


@commands.command()
def kinds(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="One condition or kind of channel.")] = None,
    *,
    as_json: Json = False,
) -> None:
    """List what can be watched and who can be told; with a name, its settings."""
    alert_channel.print_kinds(name, as_json=as_json)


def _change(
    data: str | None, config: Path | None, change: Callable[[WorkspaceAlerts], Alert], *, as_json: bool
) -> None:
    with opened(data, config) as place:
        _answer(change(place.alerts), place.state, as_json=as_json)


def _answer(alert: Alert, state: State | None, *, as_json: bool) -> None:
    if as_json:
        print_json(alert_shown.alert_described(alert, state))
    else:
        alert_shown.print_alert(alert, state)


alert_channel.register(commands)
