"""What people write after --where, --sort and the like, as parts of a request."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, get_args

from headrace.errors import ConfigError

if TYPE_CHECKING:
    from headrace.reports.conditions import Condition, Operator

_SIGNS: Final = {
    "!=": "is_not",
    "<=": "at_most",
    ">=": "at_least",
    "=": "is",
    "<": "less",
    ">": "more",
    "is known": "known",
    "is unknown": "unknown",
    "is not": "is_not",
}
WHERE: Final = (
    "A field, what it is compared by and a value, in one text: 'campaign_name contains spring', 'domain in gmail.com,gmx.de', "
    "'open_rate > 20%', 'device unknown'. Repeat it: all must hold."
)
WHERE_OF_MAILS: Final = (
    "A field of mails, what it is compared by and a value, in one text: 'campaign_id in 12,15', 'domain is gmail.com', "
    "'device unknown'. Repeat it: all must hold."
)


def listed(texts: Sequence[str] | None) -> list[str] | None:
    """Names out of repeated options, each of which may hold several with commas between."""
    if texts is None:
        return None
    return [name.strip() for text in texts for name in text.split(",") if name.strip()]


def condition(text: str) -> Condition:
    """Raises ConfigError that says how it is written."""
    from headrace.reports.conditions import Condition, Operator  # noqa: PLC0415 - --help needs no rooms

    words = {operator.replace("_", " "): operator for operator in get_args(Operator)} | {
        operator: operator for operator in get_args(Operator)
    }
    by_text = {**words, **_SIGNS}
    signs = "|".join(re.escape(sign) for sign in sorted(by_text, key=len, reverse=True) if not sign[0].isalpha())
    spoken = "|".join(re.escape(word) for word in sorted(by_text, key=len, reverse=True) if word[0].isalpha())
    found = re.fullmatch(rf"\s*([^\s=<>!]+)(?:\s*({signs})\s*|\s+({spoken})(?:\s+|$))(.*)", text, re.DOTALL)
    if found is None:
        raise ConfigError(
            f"report: --where {text[:100]!r} is not understood; write a field, one of {', '.join(words)}, =, !=, <, <=, >, >=, and a value"
        )
    name, value = found[1], found[4].strip()
    operator: Operator = by_text[found[2] or found[3]]
    if operator in ("known", "unknown"):
        if value:
            raise ConfigError(f"report: --where {text[:100]!r}: {operator} takes no value; leave {value[:50]!r} out")
        return Condition(name, operator)
    if operator in ("in", "not_in", "contains_any"):
        parts = next(csv.reader([value], skipinitialspace=True), [])
        return Condition(name, operator, [_typed(name, part.strip(), text) for part in parts])
    return Condition(name, operator, _typed(name, _unquoted(value), text))


def _unquoted(value: str) -> str:
    is_quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "\"'"
    return value[1:-1] if is_quoted else value


def _typed(name: str, value: str, text: str) -> Any:
    """A value as its field wants it; of a field that is none, the text: the report says so."""
    from headrace.reports.dimensions import DIMENSIONS  # noqa: PLC0415 - as above
    from headrace.reports.measures import MEASURES  # noqa: PLC0415 - as above

    type_ = "number" if name in MEASURES else DIMENSIONS[name].type if name in DIMENSIONS else "text"
    if type_ == "number":
        return _number(value, text)
    if type_ == "truth":
        if value.lower() not in ("true", "false", "yes", "no"):
            raise ConfigError(f"report: --where {text[:100]!r}: {value[:50]!r} is neither true nor false")
        return value.lower() in ("true", "yes")
    return value


def _number(value: str, text: str) -> float | int:
    share = value.removesuffix("%").strip()
    try:
        if share != value:
            return float(share) / 100
        return int(value) if re.fullmatch(r"-?\d{1,15}", value) else float(value)
    except ValueError:
        raise ConfigError(
            f"report: --where {text[:100]!r}: {value[:50]!r} is no number; write 100, 0.2 or 20%"
        ) from None
