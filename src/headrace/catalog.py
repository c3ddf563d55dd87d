"""Finds connectors: the name of a file below `sources/`, `destinations/` or `warehouses/` (with `_` for `-`) is its slug; other packages
add theirs through the entry-point groups `headrace.sources` and so on, whose names are slugs. And what a connector's settings declare."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import entry_points
from types import UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

import msgspec

from headrace.errors import ConfigError

SettingType = Literal["text", "integer", "number", "boolean", "choice", "list", "mapping", "date", "json"]
"""list: of texts. mapping: texts by text. json: anything else, an object mostly."""


class Form(NamedTuple):
    """What a form needs to know of a setting's type. `choices` are those of a choice; bounds are of numbers, `is_above` when the least itself is too little."""

    type: SettingType
    choices: Sequence[Any] = ()
    minimum: float | None = None
    maximum: float | None = None
    is_above: bool = False


class Setting(NamedTuple):
    """A setting that a connector declares, for forms and documentation. `default` is a JSON value; `is_required`: without it nothing works
    (`extra={"needed": True}` in a field's Meta says so of one that has a default all the same)."""

    name: str
    default: Any
    description: str
    is_secret: bool
    is_required: bool
    form: Form


def described(text: str, *, secret: bool = False) -> msgspec.Meta:
    """For the type of a setting.

    >>> Annotated[str, described("The account's API key.", secret=True)]  # doctest: +SKIP
    """
    return msgspec.Meta(description=text, extra={"secret": True} if secret else None)


@cache
def declared_settings(settings: type[msgspec.Struct]) -> Sequence[Setting]:
    """In the order of the classes; a description is empty where the author gave none."""
    hints = get_type_hints(settings, include_extras=True)
    found = []
    for field in msgspec.structs.fields(settings):
        metas = [meta for meta in getattr(hints[field.name], "__metadata__", ()) if isinstance(meta, msgspec.Meta)]
        default = None if field.required else msgspec.to_builtins(_default(field))
        description = next((meta.description for meta in metas if meta.description), "")
        is_secret = any((meta.extra or {}).get("secret") for meta in metas)
        is_required = field.required or any((meta.extra or {}).get("needed") for meta in metas)
        form = form_of(hints[field.name])
        found.append(Setting(field.name, default, description, is_secret, is_required, form))
    return found


def in_force(declared: type[msgspec.Struct] | None, given: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with their defaults, as far as the kind is installed (`declared`)."""
    defaults = {setting.name: setting.default for setting in declared_settings(declared)} if declared else {}
    return {**defaults, **given}


def form_of(hint: Any) -> Form:
    """A type as a form asks for it.

    >>> form_of(Literal["raw", "sha256"]).choices
    ('raw', 'sha256')
    """
    bare = hint.__origin__ if get_origin(hint) is Annotated else hint
    others = [each for each in get_args(bare) if each is not type(None)]
    if get_origin(bare) is Literal:
        return Form("choice", get_args(bare))
    if get_origin(bare) in (Union, UnionType):
        return form_of(others[0]) if len(others) == 1 else Form("json")
    found = msgspec.inspect.type_info(hint)
    match found.type if isinstance(found, msgspec.inspect.Metadata) else found:
        case msgspec.inspect.IntType() as number:
            return _number("integer", number)
        case msgspec.inspect.FloatType() as number:
            return _number("number", number)
        case msgspec.inspect.CollectionType(item_type=msgspec.inspect.StrType()):
            return Form("list")
        case msgspec.inspect.DictType(value_type=msgspec.inspect.StrType()):
            return Form("mapping")
        case simple:
            return Form(_SIMPLE.get(type(simple), "json"))


def _number(name: SettingType, number: msgspec.inspect.IntType | msgspec.inspect.FloatType) -> Form:
    least = number.gt if number.ge is None else number.ge
    return Form(name, (), least, number.le if number.lt is None else number.lt, number.gt is not None)


_SIMPLE: Mapping[type, SettingType] = {
    msgspec.inspect.StrType: "text",
    msgspec.inspect.BoolType: "boolean",
    msgspec.inspect.DateType: "date",
}


def _default(field: msgspec.structs.FieldInfo) -> Any:
    return field.default_factory() if field.default is msgspec.NODEFAULT else field.default


@cache
def connectors(package: str, base: type) -> Mapping[str, type]:
    """The classes of one kind by slug: from each module of `package` the one subclass of `base` that it defines itself.

    `package` is a full name, for example `headrace.sources`. Raises ConfigError for a module with no class or two."""
    found: dict[str, type] = {}
    for module_info in pkgutil.iter_modules(importlib.import_module(package).__path__):
        if module_info.name == "base" or module_info.name.startswith("_"):
            continue
        module = importlib.import_module(f"{package}.{module_info.name}")
        classes = [
            value
            for value in vars(module).values()
            if isinstance(value, type) and issubclass(value, base) and value.__module__ == module.__name__
        ]
        if len(classes) != 1:
            raise ConfigError(
                f"catalogue: {module.__name__} must define one {base.__name__}, it defines {len(classes)}"
            )
        found[module_info.name.replace("_", "-")] = classes[0]
    for entry in entry_points(group=package):
        found[entry.name] = entry.load()
    return dict(sorted(found.items()))
