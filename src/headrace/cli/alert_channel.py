"""`headrace alert channel ...`: where notices go. And the list of what can be watched and who can be told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

import typer

from headrace.cli import alert_shown, alert_test, assignments
from headrace.cli.alert_place import ask, opened
from headrace.cli.kind_shown import as_json as setting_as_json
from headrace.cli.kind_shown import print_declared
from headrace.cli.options import ConfigFile, Data, Json
from headrace.cli.output import print_json, print_line, print_table
from headrace.errors import NotFoundError

commands: Final = typer.Typer(no_args_is_help=True, help="Add, list and try the channels that notices go to.")

Slug = Annotated[str, typer.Argument(metavar="CHANNEL", help="The channel, as `headrace alert channel list` names it.")]


def register(app: typer.Typer) -> None:
    app.add_typer(commands, name="channel")


@commands.command()
def add(
    kind: Annotated[str, typer.Argument(metavar="slack|webhook|email", help="The kind of channel.")],
    *,
    name: Annotated[str, typer.Option("--name", metavar="NICKNAME", help="How people call this channel.")],
    given: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help=f"A setting of the kind; may be repeated. {assignments.FORMS}; a secret belongs in a file or a variable.",
        ),
    ] = None,
    data: Data = None,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """Add a channel. Nothing is sent to it before an alert names it, or you try it."""
    from headrace.alerts.channels import kind as named  # noqa: PLC0415 - --help needs none of it

    settings = assignments.settings(named(kind).Settings, given or [])
    with opened(data, config, create=True) as place:
        channel = place.alerts.add_channel(kind, name, settings)
        state = place.state
    if as_json:
        print_json(alert_shown.channel_described(channel, state))
        return
    alert_shown.print_channel(channel, state)
    print_line(f"\nTry it: headrace alert channel test {channel.slug}")


@commands.command("list")
def list_channels(*, data: Data = None, config: ConfigFile = None, as_json: Json = False) -> None:
    """List the channels, and which of them take nothing now."""
    with opened(data, config) as place:
        channels, state = place.alerts.snapshot().channels, place.state
    shown = [alert_shown.channel_described(channel, state) for channel in channels]
    if as_json:
        print_json(shown)
        return
    columns = ("slug", "nickname", "kind", "waiting", "lost", "error")
    print_table(
        ("CHANNEL", "NICKNAME", "KIND", "WAITING", "LOST", "ERROR"),
        ([one[name] or (0 if name in ("waiting", "lost") else "") for name in columns] for one in shown),
        "No channels. Add one: headrace alert channel add slack --name NICKNAME --set url=@FILE",
    )


@commands.command()
def show(slug: Slug, *, data: Data = None, config: ConfigFile = None, as_json: Json = False) -> None:
    """Show a channel: its settings, what waits for it, and why."""
    with opened(data, config) as place:
        channel, state = place.alerts.channel(slug), place.state
    if as_json:
        print_json(alert_shown.channel_described(channel, state))
    else:
        alert_shown.print_channel(channel, state)


@commands.command("set")
def set_settings(
    slug: Slug,
    given: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE...", help=f"Settings, see `headrace alert kinds`. {assignments.FORMS}."),
    ] = None,
    *,
    unset: Annotated[
        list[str] | None,
        typer.Option("--unset", metavar="KEY", help="Take a setting back to its default; may be repeated."),
    ] = None,
    data: Data = None,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """Change a channel's settings; those that are not named stay. What waits for it is then tried at once."""
    from headrace.alerts.channels import kind  # noqa: PLC0415 - --help needs none of it

    if not given and not unset:
        raise typer.BadParameter("give KEY=VALUE or --unset KEY")
    with opened(data, config) as place:
        changes = assignments.settings(kind(place.alerts.channel(slug).kind).Settings, given or [])
        channel = place.alerts.set_channel(slug, {**dict.fromkeys(unset or []), **changes})
        state = place.state
    if as_json:
        print_json(alert_shown.channel_described(channel, state))
    else:
        alert_shown.print_channel(channel, state)


@commands.command("test")
def check(slug: Slug, *, data: Data = None, config: ConfigFile = None, as_json: Json = False) -> None:
    """Send a test notice to it now; exit code 1 when it does not take it."""
    from headrace.app import alert_trials  # noqa: PLC0415 - --help needs none of it

    with opened(data, config) as place:
        channel = place.alerts.channel(slug)
        part = alert_trials.of_channel(channel.nickname, channel.slug)
        results = alert_trials.tried(place.chosen, place.alerts, [channel], part)
    alert_test.answer(results, as_json=as_json)


@commands.command()
def remove(
    slug: Slug,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    data: Data = None,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """Remove a channel that no alert tells; its secrets are forgotten."""
    ask(slug, yes=yes, as_json=as_json)
    with opened(data, config) as place:
        channel = place.alerts.remove_channel(slug)
    if as_json:
        print_json(alert_shown.channel_described(channel, None))
    else:
        print_line(f"Removed {channel.slug}.")


def print_kinds(name: str | None, *, as_json: bool) -> None:
    """Raises NotFoundError for a name that is neither a condition nor a kind of channel."""
    from headrace.alerts.base import AlertSettings  # noqa: PLC0415 - --help needs none of it
    from headrace.alerts.channels import CHANNELS  # noqa: PLC0415 - as above
    from headrace.alerts.conditions import CONDITIONS  # noqa: PLC0415 - as above
    from headrace.catalog import declared_settings  # noqa: PLC0415 - as above

    found: Mapping[str, Any] = {**CONDITIONS, **CHANNELS}
    if name is not None and name not in found:
        raise NotFoundError(f"alert: there is no {name[:60]!r}; there is {', '.join(found)}")
    chosen = [slug for slug in found if name in (None, slug)]
    if as_json:
        print_json(
            [
                {
                    "slug": slug,
                    "is": "condition" if slug in CONDITIONS else "channel",
                    "summary": found[slug].summary,
                    "settings": [setting_as_json(setting) for setting in declared_settings(found[slug].Settings)],
                }
                for slug in chosen
            ]
        )
    elif name is None:
        rows = [(slug, "condition" if slug in CONDITIONS else "channel", found[slug].summary) for slug in chosen]
        print_table(("NAME", "IS", "WHAT"), rows, "")
    else:
        print_line(found[name].summary)
        common = set(AlertSettings.__struct_fields__) if name in CONDITIONS else set()
        settings = declared_settings(found[name].Settings)
        print_declared("Its settings", [setting for setting in settings if setting.name not in common])
        if common:
            print_declared("Settings of every alert", [setting for setting in settings if setting.name in common])
