"""Patterns with `*` (any characters, also none) and `?` (one character); a backslash takes the next character as it is."""

from __future__ import annotations

import re
from collections.abc import Callable


def glob(pattern: str) -> Callable[[str], bool]:
    """Whether a whole text fits the pattern. The time is bounded by the product of both lengths, whatever they are:
    each piece between two stars is looked for once and never again further on."""
    first, *others = _pieces(pattern)
    if not others:
        return _fits(first)
    *middle, last = others
    begin = re.compile(first + "".join(f"(?>.*?{piece})" for piece in middle), re.DOTALL)
    end = _fits(last)
    last_length = sum(1 for _ in re.finditer(r"\\.|[^\\]", last, re.DOTALL))

    def fits(text: str) -> bool:
        found = begin.match(text)
        place = len(text) - last_length
        return found is not None and found.end() <= place and end(text[place:])

    return fits


def _fits(piece: str) -> Callable[[str], bool]:
    match = re.compile(piece, re.DOTALL).fullmatch
    return lambda text: match(text) is not None


def _pieces(pattern: str) -> list[str]:
    """What stands between the stars, as regular expressions of a fixed length."""
    pieces = [""]
    characters = iter(pattern)
    for character in characters:
        if character == "*":
            pieces.append("")
        elif character == "?":
            pieces[-1] += "."
        else:
            pieces[-1] += re.escape(next(characters, "\\") if character == "\\" else character)
    return pieces
