"""`KEY=VALUE` on the command line as settings of a source, a warehouse or a destination, with ways to keep secrets out of the shell's history."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, get_type_hints

import typer

from headrace.cli.output import plain, print_error
from headrace.errors import ConfigError, NotFoundError

if TYPE_CHECKING:
    import msgspec

FORMS: Final = "KEY=VALUE, KEY=@FILE (its content), KEY=env:NAME (a variable's) or KEY=text:VALUE (as it stands)"
_FILE_BYTES: Final = 1_000_000


def settings(declared: type[msgspec.Struct], assignments: Sequence[str]) -> dict[str, Any]:
    """The settings that the assignments give, typed as `declared` has them where that is not plain text.

    A secret that stands on the command line itself is taken, with a note on stderr. Raises typer.BadParameter,
    NotFoundError and ConfigError, which name the setting and never its value."""
    from headrace.catalog import declared_settings  # noqa: PLC0415 - --help needs no catalogue

    secret_names = {setting.name for setting in declared_settings(declared) if setting.is_secret}
    found: dict[str, Any] = {}
    for assignment in assignments:
        name, separator, text = assignment.partition("=")
        if not separator or not name.isidentifier():
            raise typer.BadParameter(f"{plain(name[:40])!r}: give {FORMS}")
        if name in secret_names and text and not text.startswith(("@", "env:")):
            print_error(
                f"note: {name} stood on the command line, where the shell's history keeps it and others on this machine "
                f"can see it; better: {name}=@FILE or {name}=env:NAME"
            )
        found[name] = _typed(declared, name, _value(name, text))
    return found


def _value(name: str, text: str) -> str:
    if text.startswith("text:"):
        return text.removeprefix("text:")
    if text.startswith("@"):
        return _content(name, Path(text[1:]))
    if text.startswith("env:"):
        variable = text.removeprefix("env:")
        if variable not in os.environ:
            raise NotFoundError(f"settings: {name}: there is no variable {variable[:100]!r} in the environment")
        return os.environ[variable]
    return text


def _content(name: str, file: Path) -> str:
    """Without the line break that editors put at the end."""
    try:
        with file.open("rb") as stream:
            content = stream.read(_FILE_BYTES + 1)
        if len(content) > _FILE_BYTES:
            raise ConfigError(f"settings: {name}: {file} has more than {_FILE_BYTES:,} bytes; give the right file")
        return content.decode("utf-8-sig").rstrip("\r\n")
    except FileNotFoundError:
        raise NotFoundError(f"settings: {name}: there is no file {file}") from None
    except OSError as error:
        raise ConfigError(f"settings: {name}: cannot read {file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"settings: {name}: {file} is not UTF-8 text") from None


def _typed(settings: type[msgspec.Struct], name: str, text: str) -> Any:
    """The text itself where the setting takes one; else, for lists and objects, the JSON in it."""
    import msgspec  # noqa: PLC0415 - --help needs none of it

    declared = get_type_hints(settings, include_extras=True).get(name)
    if declared is not None and text.lstrip().startswith(("[", "{")):
        try:
            msgspec.convert(text, declared, strict=False)
        except msgspec.ValidationError as error:
            takes_json = str(error).startswith(("Expected `object", "Expected `array"))
            return _json(name, text) if takes_json else text
    return text


def _json(name: str, text: str) -> Any:
    """Raises ConfigError, which says where the text ends to be JSON and quotes nothing of it."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(
            f"settings: {name}: no JSON ({error.msg}, line {error.lineno}, column {error.colno}); quote it for the shell, "
            f"or put it in a file: {name}=@FILE"
        ) from None
    except (ValueError, RecursionError):
        raise ConfigError(
            f"settings: {name}: JSON that is nested too deeply or has a number that is too long"
        ) from None
