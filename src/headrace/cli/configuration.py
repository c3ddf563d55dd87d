"""`headrace export` and `headrace apply`: the whole workspace as a file. Works with and without a running server."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import typer

from headrace.cli import options
from headrace.cli.options import ConfigFile, Data, Json
from headrace.cli.output import plain, print_error, print_json, print_line
from headrace.errors import ConfigError, HeadraceError, NotFoundError

_STDIN: Final = Path("-")


def register(app: typer.Typer) -> None:
    app.command("export")(export)
    app.command("apply")(apply_file)


def export(
    file: Annotated[Path | None, typer.Argument(metavar="[FILE]", help="Where to write it. [default: stdout]")] = None,
    *,
    data: Data = None,
    config: ConfigFile = None,
) -> None:
    """Write the workspace as a YAML file: sources, warehouses, destinations, alerts, e-mail model, saved things, people. Secrets become references."""
    from headrace.app.configuration import file as files  # noqa: PLC0415 - --help needs none of it
    from headrace.app.configuration.applying import Configuration  # noqa: PLC0415 - as above
    from headrace.app.configuration.references import of_command  # noqa: PLC0415 - as above

    chosen = options.settings(data, config)
    with options.workspace(chosen) as workspace:
        text = files.written(Configuration(workspace, chosen, of_command(Path())).exported())
    if file is None or file == _STDIN:
        sys.stdout.flush()
        sys.stdout.buffer.write(text.encode())  # YAML is UTF-8, whatever the terminal is
        return
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"export: cannot write {file}: {error.strerror}") from None
    print_error(f"written: {file}")


def apply_file(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="As `headrace export` writes it; - reads it from stdin.")
    ],
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would change, and change nothing.")] = False,
    prune: Annotated[bool, typer.Option("--prune", help="Remove what the file's sections do not name.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before something is removed.")] = False,
    data: Data = None,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """Make the workspace as a file says, and tell what is different. What is as it says stays untouched."""
    from headrace.app import reach  # noqa: PLC0415 - --help needs none of it
    from headrace.app.configuration import file as files  # noqa: PLC0415 - as above
    from headrace.app.configuration.applying import Configuration  # noqa: PLC0415 - as above
    from headrace.app.configuration.references import of_command  # noqa: PLC0415 - as above

    chosen = options.settings(data, config)
    wanted = files.read(_content(file))
    base = Path() if file == _STDIN else file.absolute().parent
    with options.workspace(chosen, create=not dry_run) as workspace:
        configuration = Configuration(workspace, chosen, of_command(base))
        plan = configuration.plan(wanted, prune=prune)
        if dry_run:
            _print(plan, as_json=as_json)
            return
        _ask([change.title for change in plan.changes if change.action == "remove"], yes=yes, as_json=as_json)
        applied = configuration.apply(wanted, prune=prune)
    if as_json:
        print_json(msgspec.to_builtins(applied))
    else:
        _print_lines(applied.plan.told())
        for note in applied.notes:
            print_line(plain(note))
    with suppress(HeadraceError):  # the server looks by itself too
        reach.notice(chosen)
    if applied.error:
        done = ", ".join(applied.done) or "nothing"
        raise ConfigError(
            f"apply: it ended early, at {applied.error}; done before: {done}; apply it again when that is mended"
        )


def _content(file: Path) -> bytes:
    if file == _STDIN:
        return sys.stdin.buffer.read()
    try:
        return file.read_bytes()
    except FileNotFoundError:
        raise NotFoundError(f"apply: there is no file {file}") from None
    except OSError as error:
        raise ConfigError(f"apply: cannot read {file}: {error.strerror}") from None


def _print(plan: Any, *, as_json: bool) -> None:
    if as_json:
        print_json(msgspec.to_builtins(plan))
    else:
        _print_lines(plan.told())


def _ask(removed: list[str], *, yes: bool, as_json: bool) -> None:
    if not removed or yes:
        return
    if as_json or not sys.stdin.isatty():
        raise typer.BadParameter(f"this removes {', '.join(removed)}; say --yes", param_hint="--yes")
    typer.confirm(f"Remove {plain(', '.join(removed))}?", abort=True, err=True)


def _print_lines(text: str) -> None:
    for line in text.split("\n"):
        print_line(plain(line))
