r"""Paths: where in an event a value was, as one text, and the column it asks for.

A path joins the names of the objects and of the value by `.`; in a name, `\.` is a dot, `\\` a backslash, `\0` NUL. Properties stand
alone (`plan`, `cart.total`), what is in the context begins with `context`, spare fields of the envelope with `envelope`;
a property whose first name is one of these, or `properties`, begins with `properties`. So no two values share a path.
headrace.columns keeps it as `original`.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from headrace.loader.standard import STANDARD_COLUMNS
from headrace.names import REMEMBERED, limited, property_name

Path = str

PROPERTIES: Final = "properties"
CONTEXT: Final = "context"
ENVELOPE: Final = "envelope"
_ROOTS: Final = frozenset((PROPERTIES, CONTEXT, ENVELOPE))

_ESCAPES: Final = {"\\": "\\\\", ".": "\\.", "\0": "\\0"}
_ESCAPED: Final = re.compile(r"[\\.\0]")
_NAME: Final = re.compile(r"((?:[^\\.]|\\.)*)(\.|$)", re.DOTALL)
_ESCAPE: Final = re.compile(r"\\(.)", re.DOTALL)


def joined(place: Path, name: str) -> Path:
    """The path of `name` in the object at `place`, which is a root at the top."""
    escaped = _ESCAPED.sub(lambda found: _ESCAPES[found.group()], name) if _ESCAPED.search(name) else name
    return escaped if place == PROPERTIES and name not in _ROOTS else f"{place}.{escaped}"


@lru_cache(REMEMBERED)
def names_of(path: Path) -> tuple[str, ...]:
    """The root, then the names as sent."""
    names = path.split(".") if "\\" not in path else _unescaped(path)
    return tuple(names) if len(names) > 1 and names[0] in _ROOTS else (PROPERTIES, *names)


def _unescaped(path: Path) -> list[str]:
    names = []
    place = 0
    while True:
        found = _NAME.match(path, place)
        if found is None:  # a lone backslash at the end, which `joined` never writes
            names.append(path[place:])
            break
        names.append(_ESCAPE.sub(lambda escape: "\0" if escape[1] == "0" else escape[1], found[1]))
        place = found.end()
        if not found[2]:
            break
    return names


def is_context(path: Path) -> bool:
    return path.startswith("context.")


@lru_cache(REMEMBERED)
def column_base(path: Path) -> str:
    """The column that a path asks for: its names in snake case, joined by `_`, those of the context after `context_`.

    It may be taken (then it gets `_2`) or a standard column's (then it gets a leading `_`)."""
    names = names_of(path)
    return limited("_".join(map(property_name, names if names[0] == CONTEXT else names[1:])), path)


class Paths:
    """The paths met so far, so that a name of an object costs one look-up; forgotten when they become many."""

    def __init__(self, limit: int = 200_000) -> None:
        self._limit = limit
        self._count = 0
        self.by_name_by_place: dict[Path, dict[str, Path]] = {}
        self.like_standard: set[Path] = set()
        """Those whose column is a standard one of some table."""

    def add(self, place: Path, name: str) -> Path:
        path = joined(place, name)
        self.by_name_by_place.setdefault(place, {})[name] = path
        self._count += 1
        if column_base(path) in STANDARD_COLUMNS:
            self.like_standard.add(path)
        return path

    def trim(self) -> None:
        """Between two events."""
        if self._count > self._limit:
            self.by_name_by_place.clear()
            self.like_standard.clear()
            self._count = 0
