"""Settings as they are in force, and how a kind's settings are told in the catalogue: the same for each room."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from headrace.cli.output import print_fields, print_line

if TYPE_CHECKING:
    import msgspec

    from headrace.catalog import Setting


def in_force(declared: type[msgspec.Struct] | None, given: Mapping[str, Any]) -> dict[str, Any]:
    """Defaults included where the kind is installed (`declared`)."""
    from headrace.catalog import declared_settings  # noqa: PLC0415 - --help needs no catalogue

    defaults = {setting.name: setting.default for setting in declared_settings(declared)} if declared else {}
    return {**defaults, **given}


def as_text(value: Any) -> object:
    """For people; `-` for one that is empty."""
    if value in ("", None, [], {}, ()):
        return "-"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict | tuple | bool) else value


def as_json(setting: Setting) -> dict[str, Any]:
    return {
        "name": setting.name,
        "default": setting.default,
        "description": setting.description,
        "secret": setting.is_secret,
        "required": setting.is_required,
    }


def print_declared(title: str, settings: Iterable[Setting]) -> None:
    """What can be set, with `--set` or by the command `set`."""
    print_line(f"\n{title} (--set NAME=VALUE):")
    for setting in settings:
        is_plain = not setting.is_required and not setting.is_secret
        notes = ["required"] * setting.is_required + ["secret"] * setting.is_secret
        note = f"default: {setting.default}" if is_plain else ", ".join(notes)
        print_fields({setting.name: f"{setting.description} [{note}]"})
