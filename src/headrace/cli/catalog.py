"""`headrace catalog`: which kinds of source, of warehouse and of destination there are."""

from __future__ import annotations

from typing import Annotated

import typer

from headrace.cli.options import Json
from headrace.cli.output import plain, print_json, print_line


def register(app: typer.Typer) -> None:
    app.command("catalog")(catalog)


def catalog(
    search: Annotated[str, typer.Argument(metavar="[SEARCH]", help="Words of a title, former name or summary.")] = "",
    *,
    as_json: Json = False,
) -> None:
    """List the platforms that can send events, the warehouses they are loaded into and the destinations they go on to; a kind's slug alone shows its settings too."""
    from headrace.cli.catalog_rooms import rooms  # noqa: PLC0415 - --help needs no catalogue

    if as_json:
        print_json([room.described(slug, kind) for room in rooms() for slug, kind in room.search(search).items()])
        return
    named = [(room, room.kinds()[search]) for room in rooms() if search in room.kinds()]
    if named:
        for number, (room, kind) in enumerate(named):
            if number:
                print_line()
            if len(named) > 1:
                print_line(f"As a {room.name}")
            room.print_kind(search, kind)
        return
    found = [(room, kinds) for room in rooms() if (kinds := room.search(search))]
    for number, (room, kinds) in enumerate(found):
        if number:
            print_line()
        room.print_kinds(kinds)
    if not found:
        print_line(f"Nothing in the catalogue matches {plain(search)!r}; `headrace catalog` lists all of it.")
