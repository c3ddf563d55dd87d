"""An expression's text -> its tree, by recursive descent; everything that can be wrong with it is found here.

condition   = conjunction { "or" conjunction }
conjunction = negation { "and" negation }
negation    = "not" negation | "(" condition ")" | comparison
comparison  = operand ( sign operand | [ "not" ] word operand | "exists" | "is" [ "not" ] "null" )
sign        = "=" | "==" | "!=" | "<" | "<=" | ">" | ">="
word        = "in" | "contains" | "starts" "with" | "ends" "with" | "matches"
operand     = path | literal | list | ( "lower" | "length" ) "(" operand ")"
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from headrace.errors import ConfigError
from headrace.filters import checks
from headrace.filters.syntax import All, Call, Comparison, Condition, Exists, ListOf, Literal, Not, Operand, Path, Some
from headrace.filters.tokens import Token, close, refusal, tokens

DEPTH: Final = 32
COMPARISONS: Final = 500

SIGNS: Final = ("=", "==", "!=", "<", "<=", ">", ">=")
WORDS: Final = ("in", "contains", "starts with", "ends with", "matches")
FUNCTIONS: Final = ("lower", "length")

_CONSTANTS: Final = {"null": None, "true": True, "false": False}
_MISSPELT: Final = {"equals": "=", "like": "matches", "equal": "=", "has": "contains", "startswith": "starts with",
                    "endswith": "ends with", "begins": "starts with", "includes": "contains"}  # fmt: skip


def parse(text: str) -> Condition:
    """Raises ConfigError that names the column and what was expected there."""
    return _Parser(text).all()


def parse_operand(text: str) -> Operand:
    """A path, a literal or a function of one, alone. Raises ConfigError as `parse` does."""
    return _Parser(text).operand()


class _Parser:
    def __init__(self, text: str) -> None:
        self._tokens = tokens(text)
        self._place = 0
        self._depth = 0
        self._comparisons = 0

    def all(self) -> Condition:
        if self._is_at_end():
            raise ConfigError('filter: the expression is empty; write a condition such as event = "Email Opened"')
        condition = self._condition()
        if not self._is_at_end():
            raise self._unexpected("`and`, `or` or the end", ("and", "or"))
        return condition

    def operand(self) -> Operand:
        operand = self._operand()
        if not self._is_at_end():
            raise self._unexpected("the end")
        return operand

    @property
    def _next(self) -> Token:
        return self._tokens[self._place]

    def _is_at_end(self) -> bool:
        return self._next.kind == "end"

    def _take(self) -> Token:
        token = self._next
        self._place += 1
        return token

    def _takes(self, *values: str) -> str | None:
        """The keyword or symbol, if it is one of these."""
        token = self._next
        if token.kind not in ("keyword", "symbol") or token.value not in values:
            return None
        self._place += 1
        return str(token.value)

    def _expect(self, value: str) -> None:
        if self._takes(value) is None:
            raise self._unexpected(f"`{value}`")

    def _unexpected(self, expected: str, known: tuple[str, ...] = ()) -> ConfigError:
        token = self._next
        found = f"`{token.source[:40]}`" if token.source else "the end"
        suggestion = close(token.source, known) if token.kind in ("path", "keyword") else None
        return refusal(token.column, f"expected {expected}, found {found}", f"`{suggestion}`" if suggestion else None)

    @contextmanager
    def _deeper(self) -> Iterator[None]:
        self._depth += 1
        if self._depth > DEPTH:
            raise refusal(self._next.column, f"expected no more than {DEPTH} levels of brackets, lists and `not`")
        yield
        self._depth -= 1

    def _condition(self) -> Condition:
        return self._joined("or", self._conjunction, Some)

    def _conjunction(self) -> Condition:
        return self._joined("and", self._negation, All)

    def _joined(
        self, keyword: str, part: Callable[[], Condition], join: Callable[[tuple[Condition, ...]], Condition]
    ) -> Condition:
        parts = [part()]
        while self._takes(keyword):
            parts.append(part())
        return parts[0] if len(parts) == 1 else join(tuple(parts))

    def _negation(self) -> Condition:
        if self._takes("not"):
            with self._deeper():
                return Not(self._negation())
        if self._takes("("):
            with self._deeper():
                condition = self._condition()
            self._expect(")")
            return condition
        return self._comparison()

    def _comparison(self) -> Condition:
        column = self._next.column
        self._comparisons += 1
        if self._comparisons > COMPARISONS:
            raise refusal(column, f"expected no more than {COMPARISONS} comparisons in one expression")
        left = self._operand()
        if self._takes("exists"):
            return Exists(left)
        if self._takes("is"):
            negated = self._takes("not")
            self._expect("null")
            return Exists(left) if negated else Not(Exists(left))
        negated = self._takes("not")
        operator = self._word() or (None if negated else self._takes(*SIGNS))
        if operator is None:
            raise self._no_comparison(left, WORDS if negated else (*SIGNS, *WORDS))
        operator = "=" if operator == "==" else operator
        right_column = self._next.column
        right = self._operand()
        checks.check(operator, left, right, column, right_column)
        comparison = Comparison(operator, left, right)
        return Not(comparison) if negated else comparison

    def _word(self) -> str | None:
        word = self._takes("in", "contains", "matches", "starts", "ends")
        if word in ("starts", "ends"):
            self._expect("with")
            return f"{word} with"
        return word

    def _no_comparison(self, left: Operand, known: tuple[str, ...]) -> ConfigError:
        token = self._next
        meant = _MISSPELT.get(token.source.lower()) or close(token.source, (*known, "exists"))
        if token.kind == "path" and meant is not None:
            return refusal(
                token.column, f"expected a comparison after {left}, found `{token.source[:40]}`", f"`{meant}`"
            )
        expected = f"a comparison after {str(left)[:60]}: {' '.join(known)}"
        return self._unexpected(expected if len(known) == len(WORDS) else f"{expected} exists, is null")

    def _operand(self) -> Operand:
        token = self._next
        if token.kind in ("text", "number") and not isinstance(token.value, Path):
            self._take()
            return Literal(token.value)
        if token.kind == "keyword" and token.value in _CONSTANTS:
            return Literal(_CONSTANTS[str(self._take().value)])
        if token.kind == "symbol" and token.value == "[":
            return self._list()
        if not isinstance(token.value, Path):
            raise self._unexpected("a field, a text in quotes, a number, true, false, null or a list in [ ]")
        self._take()
        if self._next.value == "(" and self._next.kind == "symbol":
            return self._call(token)
        return checks.path(token.value, token.column)

    def _list(self) -> ListOf:
        items: list[Literal | ListOf] = []
        self._expect("[")
        with self._deeper():
            while self._takes("]") is None:
                if items:
                    self._expect(",")
                column = self._next.column
                item = self._operand()
                if not isinstance(item, Literal | ListOf):
                    raise refusal(
                        column, f"expected only texts, numbers, true, false and null in a list, found `{item}`"
                    )
                items.append(item)
        return ListOf(tuple(items))

    def _call(self, name: Token) -> Call:
        function = name.source.lower()
        if function not in FUNCTIONS:
            meant = close(name.source, FUNCTIONS)
            raise refusal(
                name.column, f"expected one of the functions {', '.join(FUNCTIONS)}", f"`{meant}`" if meant else None
            )
        self._expect("(")
        with self._deeper():
            column = self._next.column
            argument = self._operand()
        self._expect(")")
        checks.argument(function, argument, column)
        return Call(function, argument)
