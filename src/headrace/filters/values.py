"""A value of an event, in the words of the filters: for mappings.

>>> compile_value('properties.email ?? context.traits.email ?? "none"').alternatives
('properties.email', 'context.traits.email', '"none"')
"""

from __future__ import annotations

import re
from typing import Any, Final

from headrace.errors import ConfigError
from headrace.event import Event
from headrace.filters.evaluation import Trees, valued
from headrace.filters.parser import parse_operand

_PIECE: Final = re.compile(r"""((?:[^"'?]|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|\?(?!\?))*)(\?\?)?""", re.DOTALL)


class Value:
    """The first of the alternatives that is there and not null."""

    __slots__ = ("_values", "alternatives")

    def __init__(self, text: str) -> None:
        """Raises ConfigError."""
        operands = [parse_operand(piece) for piece in _pieces(text)]
        self.alternatives = tuple(map(str, operands))
        self._values = tuple(map(valued, operands))

    def of(self, event: Event, trees: Trees) -> Any:
        """A JSON value, or a datetime for the event's own times; None where nothing is there. `trees` is one dict for all values of
        one event. Raises RejectedEventError when the event's objects cannot be read."""
        for value in self._values:
            found = value(event, trees)
            if found is not None:
                return found
        return None


def compile_value(text: str) -> Value:
    """Raises ConfigError that names the column and what was expected there."""
    return Value(text)


def _pieces(text: str) -> list[str]:
    pieces, place = [], 0
    while True:
        piece = _PIECE.match(text, place)
        if piece is None or not piece[1].strip():
            raise ConfigError(f"mapping: {text[:100]!r}: expected a field or a text in quotes on both sides of ??")
        pieces.append(piece[1])
        place = piece.end()
        if piece[2] is None:
            if place < len(text):
                raise ConfigError(
                    f"mapping: {text[:100]!r}: a text that begins in column {place + 1} has no closing quote"
                )
            return pieces
