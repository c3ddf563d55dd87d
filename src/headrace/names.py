"""Names of tables and columns: Segment's snake case, on ASCII, never empty, never longer than an identifier may be."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from functools import lru_cache
from typing import Final

STANDARD_TABLES: Final = frozenset(
    ("tracks", "identifies", "users", "groups", "accounts", "pages", "screens", "aliases")
)
"""Tables of Segment's schema that no event's name may take."""
IDENTIFIER_BYTES: Final = 63
"""PostgreSQL cuts longer names without a word, and two of them become one."""
REMEMBERED: Final = 65_536

_KEPT: Final = re.compile(r"(?:[a-z0-9]+(?:_[a-z0-9]+)*)?")
_SAME_WORD: Final = re.compile(r"[A-Z0-9]+[a-z0-9]*")
_WORD: Final = re.compile(r"[A-Z0-9]+[a-z0-9]*|[a-z]+[a-z0-9]*")
_LOWER: Final = re.compile(r"[a-z]")


@lru_cache(REMEMBERED)
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
    decomposed = unicodedata.normalize("NFKD", name)
    return "".join(c for c in decomposed if c != "\0" and not unicodedata.category(c).startswith("M"))


def hash8(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]


def limited(name: str, original: str) -> str:
    """`name` if it fits an identifier; otherwise cut, with a hash of `original` at the end. `name` is ASCII."""
    return name if len(name) <= IDENTIFIER_BYTES else f"{name[: IDENTIFIER_BYTES - 9]}_{hash8(original)}"


def numbered(base: str, number: int) -> str:
    """`base` with `_2` and so on, within the limit."""
    suffix = f"_{number}"
    return base[: IDENTIFIER_BYTES - len(suffix)] + suffix


@lru_cache(REMEMBERED)
def event_slug(event: str) -> str:
    """The value of the column `event`."""
    return limited(snake_case(event) or f"event_{hash8(event)}", event)


def event_table(slug: str) -> str:
    return f"_{slug}" if slug in STANDARD_TABLES else slug


def property_name(name: str) -> str:
    """One name of a path as its part of the column's."""
    return snake_case(name) or f"property_{hash8(name)}"
