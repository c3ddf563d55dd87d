"""Where secrets of the file come from: variables of the environment and files, for a command all, for the API only those meant for it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

from headrace.app.configuration.file import STEP, Missing, Reference
from headrace.errors import ConfigError

SECRETS: Final = "secrets"
"""The folder in the data folder whose files the API may refer to."""
_MOST_BYTES: Final = 1_000_000
_MEANT: Final = re.compile(r"(SOURCE|WAREHOUSE|DESTINATION|ALERT_CHANNEL)_[A-Z0-9_]+")

Resolve = Callable[[Reference], "str | Missing"]


def variable_of(room: str, slug: str, setting: str) -> str:
    """The variable that an exported secret is looked for in.

    >>> variable_of("destination", "order-desk", "secret")
    'DESTINATION_ORDER_DESK_SECRET'
    """
    return re.sub(r"[^A-Z0-9]+", "_", f"{room}_{slug}_{setting}".upper())


def of_command(base: Path) -> Resolve:
    """Of whoever runs a command: everything that he may read. Paths are taken from `base`."""

    def resolve(reference: Reference) -> str | Missing:
        (form, name), *_ = reference.items()
        return _variable(name) if form == "env" else _content(base / name)

    return resolve


def of_api(folder: Path) -> Resolve:
    """Of whoever may apply over the API, which is no leave to read the server's files and variables."""

    def resolve(reference: Reference) -> str | Missing:
        (form, name), *_ = reference.items()
        if form == "env":
            if not _MEANT.fullmatch(name):
                raise ConfigError(
                    f"{STEP}: over the API the variable {name[:100]!r} is not read; name it DESTINATION_..., WAREHOUSE_..., SOURCE_... "
                    "or ALERT_CHANNEL_..., or use `headrace apply` on the machine"
                )
            return _variable(name)
        place = (folder / SECRETS).resolve()
        file = (place / name).resolve()
        if not file.is_relative_to(place):
            raise ConfigError(
                f"{STEP}: over the API files are read from {place} only; put it there, or use `headrace apply` on the machine"
            )
        return _content(file)

    return resolve


def _variable(name: str) -> str | Missing:
    return os.environ.get(name, Missing(f"the variable {name[:100]} is not set"))


def _content(file: Path) -> str | Missing:
    """Without the line break that editors put at the end."""
    try:
        with file.open("rb") as stream:
            content = stream.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            raise ConfigError(f"{STEP}: {file} has more than {_MOST_BYTES:,} bytes; give the right file")
        return content.decode("utf-8-sig").rstrip("\r\n")
    except (FileNotFoundError, NotADirectoryError):
        return Missing(f"there is no file {file}")
    except (OSError, ValueError) as error:
        raise ConfigError(f"{STEP}: cannot read {file}: {error}") from None
