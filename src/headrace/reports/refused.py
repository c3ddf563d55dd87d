"""What a value that does not fit its type is told: which setting, what is possible, and what was found."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Mapping
from typing import Any, Final, cast

import msgspec
from msgspec import inspect

_PLACE: Final = re.compile(r" - at `\$(.*)`$", re.DOTALL)
_STEP: Final = re.compile(r"\.([A-Za-z0-9_]+)|\[(\d+)\]")
_FIELD: Final = re.compile(r"Object (contains unknown|missing required) field `([^`]*)`")
_NAME: Final = "take small letters, digits and _, no _ first, at most 63 characters"
_SHORT: Final = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 100


def explained(error: msgspec.ValidationError, given: object, type_: type) -> str:
    """`given` is what was to become a `type_`. Of an error that is not understood its own text."""
    text = str(error)
    place = _PLACE.search(text)
    try:
        names, found, wanted = _walked(place[1] if place else "", given, type_)
        said = _said(text, wanted, found)
    except (LookupError, TypeError, ValueError, StopIteration):  # ValueError: a number of thousands of digits
        return text
    return text if said is None else ": ".join([*names, said])


def _walked(path: str, given: Any, type_: type) -> tuple[list[str], Any, inspect.Type]:
    """The names of the place, the value there and what it should be."""
    names: list[str] = []
    found, wanted, at = given, inspect.type_info(type_), 0
    while at < len(path):
        step = _STEP.match(path, at)
        if step is None:
            raise LookupError(path)
        at = step.end()
        wanted = _inner(wanted)
        if step[1] is not None:
            field = next(f for f in cast("inspect.StructType", wanted).fields if f.encode_name == step[1])
            names.append(step[1])
            found, wanted = found[step[1]], field.type
        elif isinstance(wanted, inspect.StructType):
            field = wanted.fields[int(step[2])]
            names.append(field.name)
            found, wanted = found[int(step[2])], field.type
        else:
            found, wanted = found[int(step[2])], cast("inspect.CollectionType", wanted).item_type
            name = found.get("name") if isinstance(found, Mapping) and path[at:] != ".name" else None
            names.append(name[:100] if isinstance(name, str) and name else f"number {int(step[2]) + 1}")
    return names, found, _inner(wanted)


def _inner(wanted: inspect.Type) -> inspect.Type:
    """What may be left out has a type beside null."""
    while isinstance(wanted, inspect.Metadata):
        wanted = wanted.type
    if isinstance(wanted, inspect.UnionType):
        return _inner(next(of for of in wanted.types if not isinstance(of, inspect.NoneType)))
    return wanted


def _said(text: str, wanted: inspect.Type, found: Any) -> str | None:
    field = _FIELD.match(text)
    if field is not None and isinstance(wanted, inspect.StructType):
        there = ", ".join(of.encode_name for of in wanted.fields)
        return (
            f"there is no setting {field[2][:100]!r}; there are {there}"
            if field[1] == "contains unknown"
            else f"{field[2]} is missing; give {', '.join(of.encode_name for of in wanted.fields if of.required)}"
        )
    possible = _possible(wanted)
    return None if possible is None else f"{possible}; found {_SHORT.repr(found)}"


def _possible(wanted: inspect.Type) -> str | None:
    match wanted:
        case inspect.LiteralType():
            return f"take one of {', '.join(str(value) for value in wanted.values)}"
        case inspect.FloatType() | inspect.IntType():
            kind = "number" if isinstance(wanted, inspect.FloatType) else "whole number"
            bounds = (("above", wanted.gt), ("at least", wanted.ge), ("below", wanted.lt), ("at most", wanted.le))
            limits = ", ".join(f"{word} {bound:g}" for word, bound in bounds if bound is not None)
            return f"give a {kind} {limits}".rstrip()
        case inspect.StrType():
            if wanted.pattern is not None:
                return _NAME
            return (
                "give a text"
                if wanted.max_length is None
                else f"give {wanted.min_length or 0} to {wanted.max_length} characters"
            )
        case inspect.BoolType():
            return "say true or false"
        case inspect.StructType():
            names = ", ".join(of.encode_name for of in wanted.fields)
            return f"give [{names}]" if wanted.array_like else f"give an object of {names}"
        case inspect.CollectionType():
            return "give a list"
    return None
