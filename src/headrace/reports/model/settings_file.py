"""The settings of the e-mail model as a file that people keep: TOML."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any, Final

from headrace.errors import ConfigError
from headrace.reports.model.checking import STEP, converted, plain_values
from headrace.reports.model.settings import RULES, Goal, ModelSettings

MOST_BYTES: Final = 5_000_000

_GOAL: Final = plain_values(ModelSettings(goals=[Goal(name="a", event="a")]))["goals"][0]
_RULE: Final = {"kind": "both", "enabled": True}
_LABEL: Final = {"field": "campaign_name"}


def read(text: str | bytes) -> ModelSettings:
    """What the file does not name has its default. Nothing is said about whether it makes sense. Raises ConfigError."""
    if len(text) > MOST_BYTES:
        raise ConfigError(f"{STEP}: the file has more than {MOST_BYTES:,} bytes")
    try:
        return converted(tomllib.loads(text.decode() if isinstance(text, bytes) else text))
    except UnicodeDecodeError as error:
        raise ConfigError(f"{STEP}: the file is no TOML in UTF-8: {error}") from None
    except (ValueError, RecursionError) as error:  # also a number of too many digits
        raise ConfigError(f"{STEP}: the file is no TOML: {error}") from None


def written(settings: ModelSettings) -> str:
    """`read` gives the same settings back. Defaults within a rule, a goal or a label are left out."""
    values = plain_values(settings)
    parts = [
        "# Settings of the e-mail model: `headrace email apply FILE` takes them, docs/email-settings.md explains them.\n\n",
        "# Slugs of sources in which names such as Link Clicked mean e-mail, beside those whose kind is e-mail.\n",
        f"email_sources = {_value(values['email_sources'])}\n\n",
        f"# Built-in rules: {', '.join(rule.name for rule in RULES)}.\n",
        f"disabled_rules = {_value(values['disabled_rules'])}\n\n",
        "# Of a set the first rule that fits counts.\n",
        _lines("labels", values["labels"]),
        *(_table("rules", rule, _RULE) for rule in values["rules"]),
        "\n# The first goal is the one of email.campaigns.",
        *(_table("goals", goal, _GOAL) for goal in values["goals"]),
    ]
    return "".join(parts)


def _lines(name: str, entries: Sequence[Mapping[str, Any]]) -> str:
    """A line for each, as there may be thousands."""
    if not entries:
        return f"{name} = []\n"
    inline = (
        ", ".join(f"{key} = {_value(value)}" for key, value in entry.items() if _LABEL.get(key) != value)
        for entry in entries
    )
    return f"{name} = [\n" + "".join(f"  {{ {line} }},\n" for line in inline) + "]\n"


def _table(name: str, entry: Mapping[str, Any], defaults: Mapping[str, Any]) -> str:
    told = {
        key: value
        for key, value in entry.items()
        if value is not None and (key in ("name", "event") or defaults.get(key) != value)
    }
    return f"\n[[{name}]]\n" + "".join(f"{key} = {_value(value)}\n" for key, value in told.items())


def _value(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, str):
        return "".join(c if c.isprintable() else _escape(c) for c in json.dumps(value, ensure_ascii=False))
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else repr(value)


def _escape(character: str) -> str:
    """What cannot be seen, such as marks of another direction of writing."""
    code = ord(character)
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
