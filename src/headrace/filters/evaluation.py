"""An expression's tree -> closures over one event."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from datetime import datetime
from operator import attrgetter, ge, gt, le, lt
from typing import Any, Final, cast

import msgspec

from headrace.errors import RejectedEventError
from headrace.event import Event
from headrace.filters import checks
from headrace.filters.globs import glob
from headrace.filters.parser import parse
from headrace.filters.syntax import All, Call, Comparison, Condition, Exists, ListOf, Literal, Not, Operand, Path, Some

Trees = dict[str, Any]
"""What of an event was parsed already, by attribute."""
_Value = Callable[[Event, Trees], Any]
_Test = Callable[[Event, Trees], bool]

_decode: Final = msgspec.json.Decoder().decode
_WITH_TRAITS: Final = ("identify", "group")
_ORDERS: Final = {"<": lt, "<=": le, ">": gt, ">=": ge}
_NUMBERS: Final = (int, float)
_WHOLE_DIGITS: Final = 400
"""Beyond this an integer is infinite, as a fraction of that size is; Python refuses to read thousands of digits."""


class Filter:
    """A condition over one event. `str(filter)` is the expression in its canonical form."""

    __slots__ = ("_test", "condition", "text")

    def __init__(self, text: str) -> None:
        """Raises ConfigError."""
        self.text = text
        self.condition = parse(text)
        self._test = _tested(self.condition)

    def __str__(self) -> str:
        return str(self.condition)

    def matches(self, event: Event) -> bool:
        """Properties, context and integrations are parsed when the condition asks for them, and once.

        Raises RejectedEventError when they are no JSON objects: then nothing can be said, and the event must not be dropped."""
        return self._test(event, {})


def compile_filter(text: str) -> Filter:
    """Raises ConfigError that names the column and what was expected there."""
    return Filter(text)


def _tested(condition: Condition) -> _Test:
    match condition:
        case All(conditions):
            return _all([_tested(each) for each in conditions])
        case Some(conditions):
            return _some([_tested(each) for each in conditions])
        case Not(negated):
            test = _tested(negated)
            return lambda event, trees: not test(event, trees)
        case Exists(operand):
            value = valued(operand)
            return lambda event, trees: value(event, trees) is not None
        case Comparison():
            return _compared(condition)


def _all(tests: list[_Test]) -> _Test:
    if len(tests) == 2:
        first, second = tests
        return lambda event, trees: first(event, trees) and second(event, trees)

    def test(event: Event, trees: Trees) -> bool:
        for each in tests:  # noqa: SIM110  # all() over a generator costs twice as much
            if not each(event, trees):
                return False
        return True

    return test


def _some(tests: list[_Test]) -> _Test:
    def test(event: Event, trees: Trees) -> bool:
        for each in tests:  # noqa: SIM110  # as above
            if each(event, trees):
                return True
        return False

    return test


def _compared(comparison: Comparison) -> _Test:
    left, right = comparison.left, comparison.right
    if checks.is_time(left) or checks.is_time(right):
        left, right = _timed(left), _timed(right)
    value = valued(left)
    if isinstance(right, Literal):
        test = _against_literal(comparison.operator, value, right.value)
        if test is not None:
            return test
    elif isinstance(right, ListOf) and comparison.operator == "in":
        return _in_literals(value, _plain(right))
    other, compare = valued(right), _COMPARISONS[comparison.operator]
    return lambda event, trees: compare(value(event, trees), other(event, trees))


def _against_literal(operator: str, value: _Value, literal: Any) -> _Test | None:
    """The common cases, with less to do than `_COMPARISONS`."""
    # A text equals nothing but a text, and null nothing but null: neither needs a look at types.
    if operator == "=" and (literal is None or type(literal) is str):
        return lambda event, trees: value(event, trees) == literal
    if operator == "!=" and (literal is None or type(literal) is str):
        return lambda event, trees: value(event, trees) != literal
    if operator == "matches":
        fits = glob(literal)
        return lambda event, trees: type(text := value(event, trees)) is str and fits(text)
    return None


def _in_literals(value: _Value, literals: list[Any]) -> _Test:
    if all(type(literal) is str for literal in literals):
        texts = frozenset(literals)
        return lambda event, trees: type(text := value(event, trees)) is str and text in texts
    return lambda event, trees: _is_in(value(event, trees), literals)


def _timed(operand: Operand) -> Operand:
    """A literal text beside a time is a time too."""
    if isinstance(operand, Literal):
        return cast("Operand", _Moment(checks.time(str(operand.value))))
    return operand


class _Moment(msgspec.Struct, frozen=True):
    value: datetime | None


def valued(operand: Operand) -> _Value:
    if isinstance(operand, Call):
        argument = valued(operand.argument)
        function = _FUNCTIONS[operand.function]
        return lambda event, trees: function(argument(event, trees))
    if isinstance(operand, Path):
        return _at(operand)
    constant = _plain(operand)
    return lambda _event, _trees: constant


def _plain(operand: Any) -> Any:
    return [_plain(item) for item in operand.items] if isinstance(operand, ListOf) else operand.value


def _at(path: Path) -> _Value:
    field = path.root
    if field not in checks.ATTRIBUTE_BY_OBJECT_FIELD:
        value = attrgetter({**checks.ATTRIBUTE_BY_TEXT_FIELD, **checks.ATTRIBUTE_BY_TIME_FIELD}[field])
        return lambda event, _trees: value(event)
    names, attribute = path.names, checks.ATTRIBUTE_BY_OBJECT_FIELD[field]
    raw = attrgetter(attribute)

    def below(event: Event, trees: Trees) -> Any:
        tree = trees.get(attribute)
        if tree is None:
            tree = trees[attribute] = _parsed(raw(event))
        for name in names:
            if type(tree) is not dict:
                return None
            tree = tree.get(name)
        return tree

    if attribute != "properties":
        return below
    are_traits = field == "traits"
    return lambda event, trees: below(event, trees) if (event.type in _WITH_TRAITS) is are_traits else None


def _parsed(raw: msgspec.Raw) -> dict[str, Any]:
    text = bytes(raw)
    if len(text) <= 2:  # what some clients send for no properties is an empty array
        return {}
    try:
        tree = _decode(text)
    except msgspec.ValidationError:  # a number beyond double, or of thousands of digits
        tree = json.loads(text, parse_int=_whole)
    except (msgspec.DecodeError, RecursionError) as error:
        raise RejectedEventError(
            "properties_not_object", f"properties, traits and context must be JSON: {error}"
        ) from None
    if type(tree) is not dict:
        raise RejectedEventError("properties_not_object", "properties, traits and context must be JSON objects")
    return tree


def _whole(digits: str) -> int | float:
    if len(digits) <= _WHOLE_DIGITS:
        return int(digits)
    return -math.inf if digits[0] == "-" else math.inf


def _equals(left: Any, right: Any) -> bool:
    """Equal and of one type, where all numbers are of one."""
    kind = type(left)
    if kind is not type(right):
        return kind in _NUMBERS and type(right) in _NUMBERS and left == right
    if kind is list:
        return len(left) == len(right) and all(map(_equals, left, right))
    if kind is dict:
        return left.keys() == right.keys() and all(_equals(value, right[name]) for name, value in left.items())
    return bool(left == right)


def _ordered(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def is_so(left: Any, right: Any) -> bool:
        kind, other = type(left), type(right)
        if kind in _NUMBERS:
            return other in _NUMBERS and compare(left, right)
        return kind is other and kind in (str, datetime) and compare(left, right)

    return is_so


def _is_in(item: Any, items: Any) -> bool:
    return type(items) is list and any(_equals(item, each) for each in items)


def _contains(whole: Any, part: Any) -> bool:
    if type(whole) is str:
        return type(part) is str and part in whole
    return _is_in(part, whole)


def _both_texts(test: Callable[[str, str], bool]) -> Callable[[Any, Any], bool]:
    return lambda left, right: type(left) is str and type(right) is str and test(left, right)


_COMPARISONS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "=": _equals,
    "!=": lambda left, right: not _equals(left, right),
    **{sign: _ordered(compare) for sign, compare in _ORDERS.items()},
    "in": _is_in,
    "contains": _contains,
    "starts with": _both_texts(str.startswith),
    "ends with": _both_texts(str.endswith),
}


def _length(value: Any) -> int | None:
    return len(value) if type(value) in (str, list, dict) else None


_FUNCTIONS: Final[dict[str, Callable[[Any], Any]]] = {
    "lower": lambda value: value.lower() if type(value) is str else None,
    "length": _length,
}
