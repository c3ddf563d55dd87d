"""Finds connectors: the name of a file below `sources/` (with `_` for `-`) is its slug; other packages add theirs
through the entry-point group `headrace.sources`, whose names are slugs."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache
from importlib.metadata import entry_points

from headrace.errors import ConfigError


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
