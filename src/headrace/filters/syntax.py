"""The tree of an expression, and its text again: `str(tree)` reads back as the same tree."""

from __future__ import annotations

import json
import re
from typing import Final

import msgspec

PLAIN_NAME: Final = re.compile(r"[\w$-]+")
"""What may stand after a dot; any other name needs brackets and quotes."""


class Path(msgspec.Struct, frozen=True):
    """A field of the event and, below it, the names of objects in objects."""

    root: str
    names: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.root + "".join(f".{n}" if PLAIN_NAME.fullmatch(n) else f"[{_quoted(n)}]" for n in self.names)


class Literal(msgspec.Struct, frozen=True):
    value: str | int | float | bool | None

    def __str__(self) -> str:
        return _quoted(self.value) if isinstance(self.value, str) else json.dumps(self.value)


class ListOf(msgspec.Struct, frozen=True):
    items: tuple[Literal | ListOf, ...]

    def __str__(self) -> str:
        return f"[{', '.join(map(str, self.items))}]"


class Call(msgspec.Struct, frozen=True):
    function: str
    argument: Operand

    def __str__(self) -> str:
        return f"{self.function}({self.argument})"


Operand = Path | Literal | ListOf | Call


class Comparison(msgspec.Struct, frozen=True):
    operator: str
    left: Operand
    right: Operand

    def __str__(self) -> str:
        return f"{self.left} {self.operator} {self.right}"


class Exists(msgspec.Struct, frozen=True):
    """`is not null`; negated it is `is null`."""

    operand: Operand

    def __str__(self) -> str:
        return f"{self.operand} exists"


class Not(msgspec.Struct, frozen=True):
    condition: Condition

    def __str__(self) -> str:
        match self.condition:
            case Exists(operand):
                return f"{operand} is null"
            case Comparison(operator, left, right) if operator[0].isalpha():
                return f"{left} not {operator} {right}"
            case _:
                return f"not {_bracketed(self.condition)}"


class All(msgspec.Struct, frozen=True):
    """`and` of two or more."""

    conditions: tuple[Condition, ...]

    def __str__(self) -> str:
        return " and ".join(map(_bracketed, self.conditions))


class Some(msgspec.Struct, frozen=True):
    """`or` of two or more."""

    conditions: tuple[Condition, ...]

    def __str__(self) -> str:
        return " or ".join(map(_bracketed, self.conditions))


Condition = Comparison | Exists | Not | All | Some


def _bracketed(condition: Condition) -> str:
    return f"({condition})" if isinstance(condition, All | Some) else str(condition)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
