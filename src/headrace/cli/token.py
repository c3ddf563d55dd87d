"""`headrace token ...`: what programs ask the API with. Works with and without a running server; what is changed holds at once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from headrace.cli import options
from headrace.cli.alert_place import ask
from headrace.cli.options import ConfigFile, Data, Json
from headrace.cli.output import plain, print_json, print_line, print_table

if TYPE_CHECKING:
    from headrace.workspace.sessions import Token

commands: Final = typer.Typer(no_args_is_help=True, help="Let programs ask the console's API.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="How the token is called.")]


def register(app: typer.Typer) -> None:
    app.add_typer(commands, name="token")


@commands.command()
def add(
    name: Name,
    *,
    role: Annotated[str, typer.Option("--role", metavar="ROLE", help="viewer, editor, admin or owner.")] = "viewer",
    days: Annotated[
        int | None, typer.Option("--days", min=1, max=3660, help="It ends after so many days. [default: never]")
    ] = None,
    data: Data = None,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """Make a token. It is shown now and never again."""
    ends = None if days is None else datetime.now(UTC) + timedelta(days=days)
    chosen = options.settings(data, config)
    with options.workspace(chosen) as workspace:
        token, clear = workspace.tokens().add(name, role, None, ends)
    if as_json:
        print_json({**_described(token), "token": clear})
        return
    print_line(f"{plain(token.name)} may do what a {token.role} may. Keep it now; it is not shown again:")
    print_line(clear)
    print_line(f'\nTry it: curl -H "Authorization: Bearer {clear}" {plain(options.console_url(chosen))}/api/v1/status')


@commands.command("list")
def list_tokens(*, data: Data = None, config: ConfigFile = None, as_json: Json = False) -> None:
    """List the tokens, what they may do, and when they were used."""
    with options.workspace(options.settings(data, config)) as workspace:
        tokens = workspace.tokens().all()
    if as_json:
        print_json([_described(token) for token in tokens])
        return
    print_table(
        ("NAME", "ROLE", "ENDS IN", "MADE BY", "LAST USED", "UNTIL"),
        (
            (
                token.name,
                token.role if token.acts_as == token.role else f"{token.role}, now {token.acts_as or 'nothing'}",
                f"…{token.last_four}",
                token.made_by or "command line",
                f"{token.used_at:%Y-%m-%d %H:%M} UTC" if token.used_at else "never",
                f"{token.expires_at:%Y-%m-%d %H:%M} UTC" if token.expires_at else "for ever",
            )
            for token in tokens
        ),
        "No tokens. Make one with: headrace token add NAME --role viewer",
    )


@commands.command()
def remove(
    name: Name,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    data: Data = None,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """End a token: it works no more from now on."""
    with options.workspace(options.settings(data, config)) as workspace:
        tokens = workspace.tokens()
        token = tokens.named(name)
        ask(token.name, yes=yes, as_json=as_json)
        tokens.remove(token.id)
    if as_json:
        print_json({"removed": token.name})
    else:
        print_line(f"{plain(token.name)} is removed.")


def _described(token: Token) -> Any:
    import msgspec  # noqa: PLC0415 - --help needs none of it

    return msgspec.to_builtins(token)
