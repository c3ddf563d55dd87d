"""Names of sources, warehouses and destinations: nickname (shown), slug (for ever); of sources also schema (in every warehouse). All functions are pure.

>>> slug_of("Selligent – Été 2026", "selligent"), schema_of("selligent-ete-2026")
('selligent-ete-2026', 'selligent_ete_2026')
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Container
from typing import Final

from headrace.errors import ConfigError

MAX_BYTES: Final = 63
"""PostgreSQL cuts longer identifiers in silence."""
MAX_NICKNAME: Final = 100
RESERVED: Final = frozenset(
    ("headrace", "email", "main", "public", "information_schema", "system", "temp", "default", "warehouse")
)
"""`warehouse` is how DuckDB calls the whole of warehouse.duckdb: `warehouse.tracks` would be ambiguous."""
RESERVED_PREFIX: Final = "pg_"
RULE: Final = (
    f"lower case letters, digits and _, no digit first, at most {MAX_BYTES} characters, "
    f"and none of {', '.join(sorted(RESERVED))} or {RESERVED_PREFIX}*"
)

_SCHEMA: Final = re.compile(r"[a-z_][a-z0-9_]*", re.ASCII)
_SLUG: Final = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*", re.ASCII)
_SEPARATORS: Final = re.compile(r"[^a-z0-9]+")


def nickname(text: str) -> str:
    """The text trimmed and composed (NFC), with plain spaces for every other kind of space.

    Raises ConfigError unless it has 1 to 100 printable characters."""
    spaced = "".join(" " if unicodedata.category(c) == "Zs" else c for c in text)
    trimmed = unicodedata.normalize("NFC", spaced.strip())
    if not 1 <= len(trimmed) <= MAX_NICKNAME or not trimmed.isprintable():
        raise ConfigError(
            f"nickname: {trimmed[:MAX_NICKNAME]!r} has {len(trimmed)} characters; "
            f"give 1 to {MAX_NICKNAME} printable ones, no line breaks or control characters"
        )
    return trimmed


def slug_of(nickname: str, kind: str) -> str:
    """The nickname in kebab case, ASCII; the kind's slug where nothing of it remains."""
    decomposed = unicodedata.normalize("NFKD", nickname)
    ascii_only = "".join(c if c.isascii() else "" if unicodedata.combining(c) else " " for c in decomposed)
    return _SEPARATORS.sub("-", ascii_only.lower()).strip("-")[:MAX_BYTES].rstrip("-") or kind


def slug(wanted: str | None, nickname: str, kind: str, taken: Container[str]) -> str:
    """The slug of something new: the wanted one, or one made from the nickname.

    Raises ConfigError for a wanted one that is no slug or that is taken; the text proposes another."""
    if wanted is None:
        return free(slug_of(nickname, kind), taken, "-")
    if _SLUG.fullmatch(wanted) is None or len(wanted) > MAX_BYTES:
        proposal = free(slug_of(wanted, kind), taken, "-")
        raise ConfigError(
            f"slug: {wanted[:100]!r} is not allowed; take lower case letters, digits and single - between them, "
            f"at most {MAX_BYTES} characters, for example {proposal!r}"
        )
    if wanted in taken:
        proposal = free(wanted, taken, "-")
        raise ConfigError(
            f"slug: {wanted!r} is taken, by something that was removed perhaps; take another, for example {proposal!r}"
        )
    return wanted


def schema_of(text: str) -> str:
    """A valid schema name near the text."""
    snake = slug_of(text, "source").replace("-", "_")
    return snake if is_schema(snake) else f"source_{snake}"[:MAX_BYTES].rstrip("_")


def is_schema(name: str) -> bool:
    """Whether the rule allows this schema name; it may still be taken."""
    return (
        _SCHEMA.fullmatch(name) is not None
        and len(name) <= MAX_BYTES
        and name not in RESERVED
        and not name.startswith(RESERVED_PREFIX)
    )


def free(name: str, taken: Container[str], separator: str) -> str:
    """The name, or the first of name-2, name-3, ... that is not taken."""
    candidate, number = name, 1
    while candidate in taken:
        number += 1
        suffix = f"{separator}{number}"
        candidate = name[: MAX_BYTES - len(suffix)].rstrip(separator) + suffix
    return candidate


def schema(wanted: str | None, nickname: str, kind: str, taken: Container[str]) -> str:
    """The schema of a new source: the wanted one, or one proposed from the nickname.

    Raises ConfigError for a wanted one that the rule refuses or that is taken; the text proposes another."""
    if wanted is None:
        return free(schema_of(slug_of(nickname, kind)), taken, "_")
    if not is_schema(wanted):
        proposal = free(schema_of(wanted), taken, "_")
        raise ConfigError(f"schema: {wanted[:100]!r} is not allowed; take {RULE}, for example {proposal!r}")
    if wanted in taken:
        proposal = free(wanted, taken, "_")
        raise ConfigError(
            f"schema: {wanted!r} belongs to another source, removed ones keep theirs; take another, for example {proposal!r}"
        )
    return wanted
