"""Finds connectors: the name of a file below `sources/`, `destinations/` or `warehouses/` (with `_` for `-`) is its slug; other packages
add theirs through the entry-point groups `headrace.sources` and so on, whose names are slugs. And what a connector's settings declare."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import entry_points
from typing import Any, NamedTuple, get_type_hints

import msgspec

from headrace.errors import ConfigError


class Setting(NamedTuple):
    """A setting that a connector declares, for forms and documentation. `default` is a JSON value; None also where `is_required`."""

    name: str
    default: Any
    description: str
    is_secret: bool
    is_required: bool


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
        found.append(Setting(field.name, default, description, is_secret, field.required))
    return found


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
