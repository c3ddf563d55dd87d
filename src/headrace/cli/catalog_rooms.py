"""The rooms of the catalogue as they are told: a table of kinds, one kind in full, and both for programs."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from headrace.catalog import declared_settings
from headrace.cli import kind_shown
from headrace.cli.output import print_fields, print_line, print_table
from headrace.console import catalogue
from headrace.console.catalogue import KindShown, own_and_common
from headrace.destinations.base import DestinationKind
from headrace.event import EVENT_TYPES
from headrace.sources.base import SourceKind
from headrace.warehouses.base import WarehouseKind

_ANY: Final = "*"


class Room(NamedTuple):
    """`search` finds kinds by words, `kinds` are all of them, each by slug."""

    name: str
    kinds: Callable[[], Mapping[str, Any]]
    search: Callable[[str], Mapping[str, Any]]
    print_kinds: Callable[[Mapping[str, Any]], None]
    print_kind: Callable[[str, Any], None]
    shown: Callable[[str, Any], KindShown]

    def described(self, slug: str, kind: Any) -> dict[str, Any]:
        """For programs."""
        found: dict[str, Any] = msgspec.to_builtins(self.shown(slug, kind))
        return found


def rooms() -> Sequence[Room]:
    printing: Mapping[str, tuple[Callable[[Mapping[str, Any]], None], Callable[[str, Any], None]]] = {
        "source": (_print_sources, _print_source),
        "warehouse": (_print_warehouses, _print_warehouse),
        "destination": (_print_destinations, _print_destination),
    }
    return [Room(name, of.kinds, of.search, *printing[name], of.shown) for name, of in catalogue.rooms().items()]


# sources


def _print_sources(kinds: Mapping[str, type[SourceKind]]) -> None:
    print_table(
        ("SOURCE", "TITLE", "ALSO KNOWN AS", "MAINTAINER", "REGIONS", "SUMMARY"),
        (
            (slug, _title(k), ", ".join(k.also_known_as), k.maintainer, k.regions, k.summary)
            for slug, k in kinds.items()
        ),
        "",
    )


def _title(kind: type[SourceKind]) -> str:
    return f"{kind.title} (deprecated)" if kind.deprecated else kind.title


def _print_source(slug: str, kind: type[SourceKind]) -> None:
    fields: dict[str, object] = {
        "kind": slug,
        "title": _title(kind),
        "also known as": ", ".join(kind.also_known_as),
        "summary": kind.summary,
        "maintainer": kind.maintainer,
        "regions": kind.regions,
        "docs": kind.docs_url,
        "deprecated": kind.deprecated,
    }
    print_fields({name: value for name, value in fields.items() if value})
    kind_shown.print_declared("Settings", declared_settings(kind.Settings))


# warehouses


def _print_warehouses(kinds: Mapping[str, type[WarehouseKind]]) -> None:
    print_table(
        ("WAREHOUSE", "TITLE", "EXACTLY ONCE", "SUMMARY", "TRIED WITH"),
        ((slug, k.title, k.guarantee, k.summary, k.tried) for slug, k in kinds.items()),
        "",
    )


def _print_warehouse(slug: str, kind: type[WarehouseKind]) -> None:
    print_fields(
        {
            "kind": slug,
            "title": kind.title,
            "summary": kind.summary,
            "exactly once": kind.guarantee,
            "tried with": kind.tried,
            "docs": kind.docs_url,
        }
    )
    kind_shown.print_steps("Before it is added", kind.setup)
    kind_shown.print_declared("Settings", declared_settings(kind.Settings))


# destinations


def _print_destinations(kinds: Mapping[str, type[DestinationKind]]) -> None:
    print_table(
        ("DESTINATION", "TITLE", "TYPES OF EVENT", "IN A REQUEST", "SUMMARY", "TRIED WITH"),
        ((slug, k.title, _types(k), f"{k.batching.events:,}", k.summary, k.tried) for slug, k in kinds.items()),
        "",
    )


def _print_destination(slug: str, kind: type[DestinationKind]) -> None:
    events = kind.batching.events
    print_fields(
        {
            "kind": slug,
            "title": kind.title,
            "summary": kind.summary,
            "switched off by": f'"integrations": {{{json.dumps(kind.title)}: false}} in an event',
            "types of event": _types(kind),
            "in a request": "1 event" if events == 1 else f"up to {events:,} events",
            "repeats": kind.drops_repeats,
            "tried with": kind.tried,
            "docs": kind.docs_url,
        }
    )
    kind_shown.print_steps("Before it is added", kind.setup)
    _print_mapping(kind)
    own, common = own_and_common(kind)
    if own:
        kind_shown.print_declared("Settings of its own", own)
    kind_shown.print_declared("Settings that every destination has", common)


def _print_mapping(kind: type[DestinationKind]) -> None:
    if not kind.mapping:
        print_line("\nMapping: the whole event is sent in Segment's form, unless the setting `mapping` says otherwise.")
        return
    print_line("\nMapping (the setting `mapping` changes it, see docs/destinations.md)")
    print_table(("FIELD", "MADE OF", "FOR"), mapping_rows(kind.mapping), "")
    types_by_fields: dict[Sequence[str], list[str]] = {}
    for event_type, fields in kind.required.items():
        types_by_fields.setdefault(tuple(fields), []).append("any type" if event_type == _ANY else event_type)
    for names, types in types_by_fields.items():
        needed = ", ".join(name.replace("|", " or ") for name in names)
        print_line(f"Required ({', '.join(types)}): {needed}")


def mapping_rows(mapping: Mapping[str, Mapping[str, Any]]) -> Sequence[tuple[str, str, str]]:
    """Field, rule, and the types of event that have it alike.

    >>> mapping_rows({"track": {"id": "userId", "name": "event"}, "page": {"id": "userId", "name": {"constant": "Page"}}})
    [('id', 'userId', 'all of them'), ('name', 'event', 'track'), ('name', 'always "Page"', 'page')]
    """
    types_by_rule: dict[tuple[str, str], list[str]] = {}
    for event_type, rules in mapping.items():
        for field, rule in rules.items():
            types_by_rule.setdefault((field, _rule(rule)), []).append(_type(event_type))
    everywhere = "all of them" if len(mapping) > 1 else _type(next(iter(mapping), _ANY))
    return [
        (field, rule, everywhere if len(types) == len(mapping) else ", ".join(types))
        for (field, rule), types in types_by_rule.items()
    ]


def _types(kind: type[DestinationKind]) -> str:
    return "all" if kind.types >= EVENT_TYPES else ", ".join(sorted(kind.types))


def _type(event_type: str) -> str:
    return "every type without fields of its own" if event_type == _ANY else event_type


def _rule(rule: Any) -> str:
    """As a person would say it.

    >>> _rule("properties.email ?? userId"), _rule({"constant": 1}), _rule({"template": "Hi {userId}"})
    ('properties.email ?? userId', 'always 1', 'the text "Hi {userId}"')
    """
    if isinstance(rule, Mapping) and "constant" in rule:
        return f"always {json.dumps(rule['constant'], ensure_ascii=False)}"
    if isinstance(rule, Mapping) and "template" in rule:
        return f"the text {json.dumps(rule['template'], ensure_ascii=False)}"
    return rule if isinstance(rule, str) else json.dumps(rule, ensure_ascii=False)
