"""Names of tables and columns: Segment's snake case, on ASCII, never empty, never longer than an identifier may be."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from functools import lru_cache
from typing import Final

IDENTIFIER_BYTES: Final = 63
"""PostgreSQL cuts longer names without a word, and two of them become one."""

STANDARD_TABLES: Final = frozenset(
    ("tracks", "identifies", "users", "groups", "accounts", "pages", "screens", "aliases")
)
EXTRA: Final = "_extra"
"""The JSON column for what does not get a column; no property can have this name, since names lose a leading underscore."""

Path = tuple[str, ...]
"""Where a value was: the root (`properties`, `context` or `envelope`), then the names of the objects and the value, as sent."""

PROPERTIES: Final = "properties"
CONTEXT: Final = "context"
ENVELOPE: Final = "envelope"
_ROOTS: Final = frozenset((PROPERTIES, CONTEXT, ENVELOPE))

_REMEMBERED: Final = 65_536

_KEPT: Final = re.compile(r"(?:[a-z0-9]+(?:_[a-z0-9]+)*)?")
_SAME_WORD: Final = re.compile(r"[A-Z0-9]+[a-z0-9]*")
_WORD: Final = re.compile(r"[A-Z0-9]+[a-z0-9]*|[a-z]+[a-z0-9]*")
_LOWER: Final = re.compile(r"[a-z]")


@lru_cache(_REMEMBERED)
def snake_case(name: str) -> str:
    """`Email Marked as Spam` -> `email_marked_as_spam`; empty when nothing of the name is a letter or digit of ASCII."""
    text = _unaccented(name)
    kept = _KEPT.match(text)
    prefix = kept.group() if kept else ""
    rest = text[len(prefix) :]
    if not rest:
        return prefix
    if not _LOWER.search(prefix.rpartition("_")[2]):
        # The prefix ends in digits or is empty: capitals that follow belong to the same word (`5TEst`, `edf_6N`).
        word = _SAME_WORD.match(rest) if "A" <= rest[0] <= "Z" else None
        if word:
            prefix += word.group().lower()
            rest = rest[word.end() :]
    words = [word.lower() for word in _WORD.findall(rest)]
    return "_".join((prefix, *words) if prefix else words)


def _unaccented(name: str) -> str:
    if name.isascii():
        return name.replace("\0", "")
    return "".join(
        c for c in unicodedata.normalize("NFKD", name) if c != "\0" and not unicodedata.category(c).startswith("M")
    )


def _hash8(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]


def limited(name: str, original: str) -> str:
    """`name` if it fits an identifier; otherwise cut, with a hash of `original` at the end. `name` is ASCII."""
    return name if len(name) <= IDENTIFIER_BYTES else f"{name[: IDENTIFIER_BYTES - 9]}_{_hash8(original)}"


@lru_cache(_REMEMBERED)
def event_slug(event: str) -> str:
    """The value of the column `event`."""
    return limited(snake_case(event) or f"event_{_hash8(event)}", event)


def event_table(slug: str) -> str:
    return f"_{slug}" if slug in STANDARD_TABLES else slug


@lru_cache(_REMEMBERED)
def column_base(path: Path) -> str:
    """The column that a path asks for: its names in snake case, joined by `_`, those of the context after `context_`.

    It may be taken (then it gets `_2`) or a standard column's (then it gets a leading `_`)."""
    names = path if path[0] == CONTEXT else path[1:]
    return limited("_".join(snake_case(name) or f"property_{_hash8(name)}" for name in names), original(path))


def numbered(base: str, number: int) -> str:
    """`base` with `_2` and so on, within the limit."""
    suffix = f"_{number}"
    return base[: IDENTIFIER_BYTES - len(suffix)] + suffix


_ESCAPES: Final = {"\\": "\\\\", ".": "\\.", "\0": "\\0"}
_ESCAPED: Final = re.compile(r"[\\.\0]")
_PART: Final = re.compile(r"((?:[^\\.]|\\.)*)(\.|$)", re.DOTALL)


def original(path: Path) -> str:
    r"""A path as headrace.columns keeps it: names joined by `.`, in them `\.` for a dot, `\\` for a backslash, `\0` for NUL.

    Properties stand without their root, unless their first name is a root's: `plan`, `context.ip`, `properties.context.ip`."""
    names = path[1:] if path[0] == PROPERTIES and path[1] not in _ROOTS else path
    return ".".join(_ESCAPED.sub(lambda found: _ESCAPES[found.group()], name) for name in names)


def path_of(text: str) -> Path:
    """The path that `original` wrote."""
    names = []
    place = 0
    while True:
        part = _PART.match(text, place)
        if part is None:  # a lone backslash at the end, which `original` never writes
            names.append(text[place:])
            break
        names.append(re.sub(r"\\(.)", lambda found: "\0" if found[1] == "0" else found[1], part[1], flags=re.DOTALL))
        place = part.end()
        if not part[2]:
            break
    return tuple(names) if names[0] in _ROOTS and len(names) > 1 else (PROPERTIES, *names)
