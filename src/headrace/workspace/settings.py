"""Settings of a source or a warehouse against what its kind declares."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from headrace.errors import ConfigError
from headrace.workspace.secret_settings import without_secrets


def known(kind: str, declared: type[msgspec.Struct], names: Iterable[str]) -> None:
    """Raises ConfigError for a name that the kind does not declare."""
    fields = declared.__struct_fields__
    for name in names:
        if name not in fields:
            raise ConfigError(f"settings: {kind} has no {name[:100]!r}; it has {', '.join(fields)}")


def checked(
    kind: str, declared: type[msgspec.Struct], settings: Mapping[str, Any], secret_names: Iterable[str] = ()
) -> dict[str, Any]:
    """The given settings as the kind's types, defaults not filled in; texts become the numbers and booleans that the kind wants.

    Raises ConfigError, in whose text no value of a secret setting stands."""
    known(kind, declared, settings)
    try:
        converted = msgspec.to_builtins(msgspec.convert(dict(settings), declared, strict=False))
    except msgspec.ValidationError as error:
        text = without_secrets(str(error), {name: settings[name] for name in secret_names if name in settings})
        raise ConfigError(f"settings: {kind}: {text}; `headrace catalog {kind}` lists what it takes") from None
    return {name: converted[name] for name in settings}
