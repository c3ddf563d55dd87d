"""The text of an expression -> words, paths, literals and symbols, each with its column."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Final, Literal, NamedTuple

from headrace.errors import ConfigError
from headrace.filters.syntax import Path

CHARACTERS: Final = 10_000
KEYWORDS: Final = frozenset(
    ("and", "or", "not", "in", "contains", "starts", "ends", "with", "matches", "exists", "is", "null", "true", "false")
)
"""In small letters or capitals. After a dot they are names like any other."""

_DIGITS: Final = 40
_TEXT: Final = r'"(?:[^"\\]|\\.)*"' + r"|'(?:[^'\\]|\\.)*'"
_BLANK: Final = re.compile(r"\s+")
_WORD: Final = re.compile(r"[^\W\d][\w$]*|\$[\w$]*")
_BELOW: Final = re.compile(rf"\.([\w$-]+)|\[\s*({_TEXT})\s*\]", re.DOTALL)
_QUOTED: Final = re.compile(_TEXT, re.DOTALL)
_NUMBER: Final = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_SYMBOL: Final = re.compile(r"==|!=|<=|>=|[=<>()\[\],]")
_ESCAPE: Final = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
_ESCAPED: Final = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", '"': '"', "'": "'", "\\": "\\", "/": "/"}
_INSTEAD: Final = {
    "&": "and",
    "|": "or",
    "!": "not",
    "~": "matches",
    "%": "matches with *",
    "“": '"',
    "”": '"',
    "’": "'",
}

Kind = Literal["keyword", "path", "text", "number", "symbol", "end"]


class Token(NamedTuple):
    """`column` counts from 1. `value` is the word in small letters, the path, the literal's value, the symbol."""

    kind: Kind
    column: int
    source: str
    value: str | int | float | Path = ""


def refusal(column: int, problem: str, suggestion: str | None = None) -> ConfigError:
    did_you_mean = f"; did you mean {suggestion}?" if suggestion else ""
    return ConfigError(f"filter, column {column}: {problem}{did_you_mean}")


def close(word: str, known: Sequence[str]) -> str | None:
    """The known word that was probably meant, whatever its capitals and underscores."""
    by_bare = {name.lower().replace("_", ""): name for name in known}
    found = get_close_matches(word.lower().replace("_", ""), by_bare, n=1, cutoff=0.6)
    return by_bare[found[0]] if found else None


def tokens(text: str) -> Sequence[Token]:
    """The last one is of the kind `end`. Raises ConfigError."""
    if len(text) > CHARACTERS:
        raise ConfigError(f"filter: the expression has {len(text)} characters; the limit is {CHARACTERS}")
    found: list[Token] = []
    place = _after_blank(text, 0)
    while place < len(text):
        token = _next(text, place)
        found.append(token)
        place = _after_blank(text, place + len(token.source))
    return [*found, Token("end", len(text) + 1, "")]


def _after_blank(text: str, place: int) -> int:
    blank = _BLANK.match(text, place)
    return blank.end() if blank else place


def _next(text: str, place: int) -> Token:
    column = place + 1
    if word := _WORD.match(text, place):
        if word.group().lower() in KEYWORDS:
            return Token("keyword", column, word.group(), word.group().lower())
        return _path(text, place, word)
    if quoted := _QUOTED.match(text, place):
        return Token("text", column, quoted.group(), _unquoted(quoted.group(), column))
    if number := _NUMBER.match(text, place):
        return Token("number", column, number.group(), _number(number, column))
    if symbol := _SYMBOL.match(text, place):
        return Token("symbol", column, symbol.group(), symbol.group())
    if text[place] in "\"'":
        raise refusal(column, "expected a closing quote; the text that begins here has none")
    instead = _INSTEAD.get(text[place])
    raise refusal(column, f"the character {text[place]!r} has no meaning here", instead)


def _path(text: str, place: int, word: re.Match[str]) -> Token:
    names: list[str] = []
    end = word.end()
    while below := _BELOW.match(text, end):
        names.append(below[1] if below[1] is not None else _unquoted(below[2], below.start(2) + 1))
        end = below.end()
    return Token("path", place + 1, text[place:end], Path(word.group(), tuple(names)))


def _number(number: re.Match[str], column: int) -> int | float:
    digits = number.group()
    if number[1] is None and number[2] is None and len(digits) <= _DIGITS:
        return int(digits)
    value = float(digits) if len(digits) <= _DIGITS else float("inf")
    if value in (float("inf"), float("-inf")):
        raise refusal(column, f"expected a number of at most {_DIGITS} digits within double precision")
    return value


def _unquoted(quoted: str, column: int) -> str:
    text = quoted[1:-1]
    if "\\" not in text:
        return text
    for escape in _ESCAPE.finditer(text):
        if len(escape[1]) == 1 and escape[1] not in _ESCAPED:
            problem = f"expected one of n t r b f u0000 quote backslash after a backslash, found {escape[1]!r}"
            raise refusal(column + 1 + escape.start(), problem, r"\\ for a backslash itself")
    plain = _ESCAPE.sub(lambda escape: _ESCAPED.get(escape[1]) or chr(int(escape[1][1:], 16)), text)
    # Two escapes may be one character beyond 16 bits.
    return plain.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
