"""`headrace catalog`: which kinds of source and of warehouse there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headrace.catalog import declared_settings
from headrace.cli.options import Json
from headrace.cli.output import plain, print_fields, print_json, print_line, print_table

if TYPE_CHECKING:
    from headrace.sources.base import SourceKind
    from headrace.warehouses.base import WarehouseKind


def register(app: typer.Typer) -> None:
    app.command("catalog")(catalog)


def catalog(
    search: Annotated[str, typer.Argument(metavar="[SEARCH]", help="Words of a title, former name or summary.")] = "",
    *,
    as_json: Json = False,
) -> None:
    """List the platforms that can send events, and the warehouses they can be loaded into; a kind's slug alone shows its settings too."""
    from headrace.sources import base as sources  # noqa: PLC0415 - --help needs no catalogue
    from headrace.warehouses import base as warehouses  # noqa: PLC0415 - as above

    if search in (source_kinds := sources.kinds()) and not as_json:
        _print_source(search, source_kinds[search])
    elif search in (warehouse_kinds := warehouses.kinds()) and not as_json:
        _print_warehouse(search, warehouse_kinds[search])
    elif as_json:
        found = [_source(slug, kind) for slug, kind in sources.search(search).items()]
        print_json(found + [_warehouse(slug, kind) for slug, kind in _matching(search).items()])
    else:
        _print_tables(search, sources.search(search), _matching(search))


def _print_tables(
    search: str, sources: Mapping[str, type[SourceKind]], warehouses: Mapping[str, type[WarehouseKind]]
) -> None:
    if sources or not warehouses:
        print_table(
            ("SOURCE", "TITLE", "ALSO KNOWN AS", "MAINTAINER", "REGIONS", "SUMMARY"),
            (
                (slug, _title(k), ", ".join(k.also_known_as), k.maintainer, k.regions, k.summary)
                for slug, k in sources.items()
            ),
            f"Nothing in the catalogue matches {plain(search)!r}; `headrace catalog` lists all of it.",
        )
    if warehouses:
        if sources:
            print_line()
        print_table(
            ("WAREHOUSE", "TITLE", "EXACTLY ONCE", "SUMMARY", "TRIED WITH"),
            ((slug, k.title, k.guarantee, k.summary, k.tried) for slug, k in warehouses.items()),
            "",
        )


def _matching(words: str) -> Mapping[str, type[WarehouseKind]]:
    """The kinds of warehouse in whose slug, title or summary every word occurs, case ignored."""
    from headrace.warehouses import base  # noqa: PLC0415 - --help needs no catalogue

    wanted = words.casefold().split()
    found = {}
    for slug, kind in base.kinds().items():
        text = f"{slug} {kind.title} {kind.summary}".casefold()
        if all(word in text for word in wanted):
            found[slug] = kind
    return found


def _title(kind: type[SourceKind]) -> str:
    return f"{kind.title} (deprecated)" if kind.deprecated else kind.title


def _source(slug: str, kind: type[SourceKind]) -> dict[str, Any]:
    return {
        "room": "source",
        "kind": slug,
        "title": kind.title,
        "also_known_as": list(kind.also_known_as),
        "summary": kind.summary,
        "maintainer": kind.maintainer,
        "regions": kind.regions,
        "deprecated": kind.deprecated,
        "docs_url": kind.docs_url,
        "setup": list(kind.setup),
        "settings": [
            {"name": s.name, "default": s.default, "description": s.description}
            for s in declared_settings(kind.Settings)
        ],
    }


def _warehouse(slug: str, kind: type[WarehouseKind]) -> dict[str, Any]:
    return {
        "room": "warehouse",
        "kind": slug,
        "title": kind.title,
        "summary": kind.summary,
        "guarantee": kind.guarantee,
        "tried": kind.tried,
        "docs_url": kind.docs_url,
        "setup": list(kind.setup),
        "settings": [
            {"name": s.name, "default": s.default, "description": s.description, "secret": s.is_secret}
            for s in declared_settings(kind.Settings)
        ],
    }


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
    _print_settings([(s.name, f"{s.description} [default: {s.default}]") for s in declared_settings(kind.Settings)])


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
    if kind.setup:
        print_line("\nBefore it is added:")
        for number, step in enumerate(kind.setup, 1):
            for line, text in enumerate(step.splitlines()):
                print_line(f"  {'   ' if line else f'{number}. '}{plain(text)}")
    _print_settings(
        [
            (s.name, f"{s.description} [{'secret' if s.is_secret else f'default: {s.default}'}]")
            for s in declared_settings(kind.Settings)
        ]
    )


def _print_settings(settings: Sequence[tuple[str, str]]) -> None:
    print_line("\nSettings (--set NAME=VALUE):")
    for name, text in settings:
        print_fields({name: text})
