"""`headrace people ...`: who may log in to the console. Works with and without a running server; what is changed holds at once."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from headrace.cli import options
from headrace.cli.alert_place import ask
from headrace.cli.options import ConfigFile, Data, Json
from headrace.cli.output import plain, print_json, print_line, print_table

if TYPE_CHECKING:
    from headrace.config import Config
    from headrace.workspace.people import Person, WorkspacePeople

commands: Final = typer.Typer(no_args_is_help=True, help="Say who may log in to the console, and what they may do.")

Email = Annotated[str, typer.Argument(metavar="E-MAIL", help="The person, as `headrace people list` names them.")]
RoleName = Annotated[str, typer.Option("--role", metavar="ROLE", help="viewer, editor, admin or owner.")]
PasswordFile = Annotated[
    Path | None,
    typer.Option(
        "--password-file", metavar="FILE", help="The first line of a file is the password, - is the standard input."
    ),
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


def register(app: typer.Typer) -> None:
    app.add_typer(commands, name="people")


@commands.command("list")
def list_people(*, data: Data = None, config: ConfigFile = None, as_json: Json = False) -> None:
    """List who may log in."""
    with options.workspace(options.settings(data, config)) as workspace:
        people = workspace.people().all()
    if as_json:
        print_json([_described(person) for person in people])
        return
    print_table(
        ("E-MAIL", "NAME", "ROLE", "STATE", "LAST SEEN"),
        ((p.email, p.name, p.role, _state(p), f"{p.used_at:%Y-%m-%d %H:%M} UTC" if p.used_at else "") for p in people),
        "Nobody. Open the console and choose a password, or: headrace people add ADDRESS --name NAME --role owner",
    )


@commands.command()
def add(
    email: Annotated[str, typer.Argument(metavar="E-MAIL", help="How the person logs in; nothing is sent to it.")],
    *,
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="How the person is called.")],
    role: RoleName = "viewer",
    password_file: PasswordFile = None,
    data: Data = None,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """Add a person. Without a password file a link is shown, with which the person chooses a password."""
    chosen = options.settings(data, config)
    password = _password(password_file) if password_file is not None else None
    with options.workspace(chosen, create=True) as workspace:
        person, code = workspace.people().add(email, name, role, password)
    _answer(chosen, person, code, as_json=as_json)


@commands.command()
def role(
    email: Email,
    name: Annotated[str, typer.Argument(metavar="ROLE", help="viewer, editor, admin or owner.")],
    *,
    data: Data = None,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """Give a person another role."""
    _change(data, config, email, lambda people, person: people.set_role(person.id, name), as_json=as_json)


@commands.command()
def password(
    email: Email,
    *,
    password_file: PasswordFile = None,
    invite: Annotated[
        bool, typer.Option("--invite", help="Show a link instead, with which the person chooses the password.")
    ] = False,
    data: Data = None,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """Set a person's password, for who has forgotten it. All sessions of the person end."""
    chosen = options.settings(data, config)
    with options.workspace(chosen) as workspace:
        people = workspace.people()
        person = people.of_email(email)
        if invite:
            person, code = people.invite(person.id)
        else:
            person, code = people.set_password(person.id, _password(password_file)), ""
    _answer(chosen, person, code, as_json=as_json)


@commands.command()
def disable(email: Email, *, data: Data = None, config: ConfigFile = None, as_json: Json = False) -> None:
    """Let a person log in no more, until enabled: sessions end, tokens rest."""
    _change(data, config, email, lambda people, person: people.disable(person.id), as_json=as_json)


@commands.command()
def enable(email: Email, *, data: Data = None, config: ConfigFile = None, as_json: Json = False) -> None:
    """Let a disabled person log in again."""
    _change(data, config, email, lambda people, person: people.enable(person.id), as_json=as_json)


@commands.command()
def remove(
    email: Email, *, yes: Yes = False, data: Data = None, config: ConfigFile = None, as_json: Json = False
) -> None:
    """Remove a person, with all sessions and tokens. What was done stays in the audit trail."""
    with options.workspace(options.settings(data, config)) as workspace:
        people = workspace.people()
        person = people.of_email(email)
        ask(person.email, yes=yes, as_json=as_json)
        people.remove(person.id)
    if as_json:
        print_json({"removed": person.email})
    else:
        print_line(f"{plain(person.email)} is removed.")


@commands.command("setup-code")
def setup_code(*, data: Data = None, config: ConfigFile = None, as_json: Json = False) -> None:
    """Show the code that the first start asks for from another machine."""
    with options.workspace(options.settings(data, config), create=True) as workspace:
        code, is_needed = workspace.setup_code(), workspace.people().nobody()
    if as_json:
        print_json({"code": code, "needed": is_needed})
    else:
        print_line(code if is_needed else "It is needed no more: somebody can log in; see: headrace people list")


def _change(
    data: str | None,
    config: Path | None,
    email: str,
    change: Callable[[WorkspacePeople, Person], Person],
    *,
    as_json: bool,
) -> None:
    chosen = options.settings(data, config)
    with options.workspace(chosen) as workspace:
        people = workspace.people()
        person = change(people, people.of_email(email))
    _answer(chosen, person, "", as_json=as_json)


def _answer(chosen: Config, person: Person, code: str, *, as_json: bool) -> None:
    link = f"{options.console_url(chosen)}/invitation#{code}" if code else ""
    if as_json:
        print_json({**_described(person), **({"invitation": code, "link": link} if code else {})})
        return
    print_line(f"{plain(person.name)} ({plain(person.email)}) is {person.role}; {_state(person)}.")
    if code:
        print_line(f"Give this link to nobody else; it works once, for seven days: {plain(link)}")


def _state(person: Person) -> str:
    if person.disabled_at is not None:
        return f"disabled since {person.disabled_at:%Y-%m-%d}"
    if person.has_password:
        return "can log in"
    return f"invited until {person.invited_until:%Y-%m-%d}" if person.invited_until else "cannot log in yet"


def _described(person: Person) -> Any:
    import msgspec  # noqa: PLC0415 - --help needs none of it

    return msgspec.to_builtins(person)


def _password(file: Path | None) -> str:
    if file is not None:
        text = sys.stdin.readline() if str(file) == "-" else file.read_text(encoding="utf-8")
        return text.partition("\n")[0].rstrip("\r")
    if not sys.stdin.isatty():
        raise typer.BadParameter("there is nobody to ask for the password", param_hint="--password-file")
    return str(typer.prompt("New password", hide_input=True, confirmation_prompt=True, err=True))
