"""What a kind of source, warehouse or destination says of itself: its settings, in force or to be set, and the steps before it works."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from headrace.cli.output import plain, print_fields, print_line

if TYPE_CHECKING:
    import msgspec

    from headrace.catalog import Setting


def in_force(declared: type[msgspec.Struct] | None, given: Mapping[str, Any]) -> dict[str, Any]:
    """Defaults included where the kind is installed (`declared`)."""
    from headrace import catalog  # noqa: PLC0415 - --help needs no catalogue

    return catalog.in_force(declared, given)


def as_text(value: Any) -> object:
    """For people; `-` for one that is empty."""
    if is_empty(value):
        return "-"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict | tuple | bool) else value


def is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, str | list | dict | tuple) and not value)


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
        default = "empty" if is_empty(setting.default) else as_text(setting.default)
        note = f"default: {default}" if is_plain else ", ".join(notes)
        print_fields({setting.name: f"{setting.description} [{note}]"})


def print_steps(title: str, steps: Iterable[str]) -> None:
    """Numbered; nothing where there are none. A step may have several lines."""
    for number, step in enumerate(steps, 1):
        if number == 1:
            print_line(f"\n{title}:")
        for line, text in enumerate(step.splitlines()):
            print_line(f"  {'   ' if line else f'{number}. '}{plain(text)}")
