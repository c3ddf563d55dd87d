"""`headrace catalog`: which kinds of source there are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from headrace.cli.options import Json
from headrace.cli.output import plain, print_fields, print_json, print_line, print_table

if TYPE_CHECKING:
    from headrace.sources.base import SourceKind


def register(app: typer.Typer) -> None:
    app.command("catalog")(catalog)


def catalog(
    search: Annotated[str, typer.Argument(metavar="[SEARCH]", help="Words of a title, former name or summary.")] = "",
    *,
    as_json: Json = False,
) -> None:
    """List the platforms that can send events; a kind's slug alone shows its settings too."""
    from headrace.sources import base  # noqa: PLC0415 - --help needs no catalogue

    if search in (kinds := base.kinds()) and not as_json:
        _print_kind(search, kinds[search])
        return
    found = base.search(search)
    if as_json:
        print_json([_entry(slug, kind) for slug, kind in found.items()])
        return
    print_table(
        ("KIND", "TITLE", "ALSO KNOWN AS", "MAINTAINER", "REGIONS", "SUMMARY"),
        (
            (slug, _title(k), ", ".join(k.also_known_as), k.maintainer, k.regions, k.summary)
            for slug, k in found.items()
        ),
        f"Nothing in the catalogue matches {plain(search)!r}; `headrace catalog` lists all of it.",
    )


def _title(kind: type[SourceKind]) -> str:
    return f"{kind.title} (deprecated)" if kind.deprecated else kind.title


def _entry(slug: str, kind: type[SourceKind]) -> dict[str, Any]:
    from headrace.sources import base  # noqa: PLC0415 - as above

    return {
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
            {"name": s.name, "default": s.default, "description": s.description} for s in base.declared_settings(kind)
        ],
    }


def _print_kind(slug: str, kind: type[SourceKind]) -> None:
    from headrace.sources import base  # noqa: PLC0415 - as above

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
    print_line("\nSettings (--set NAME=VALUE):")
    for setting in base.declared_settings(kind):
        print_fields({setting.name: f"{setting.description} [default: {setting.default}]"})
