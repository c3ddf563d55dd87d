"""`headrace email sources ...`: sources in which names that may mean anything mean e-mail."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import typer

from headrace.cli.email_place import change
from headrace.cli.options import ConfigFile, Data, Json
from headrace.errors import NotFoundError

if TYPE_CHECKING:
    from headrace.reports.model.settings import ModelSettings

commands: Final = typer.Typer(
    no_args_is_help=True,
    help="Sources in which names such as Link Clicked or Unsubscribed mean e-mail, beside those whose kind is e-mail.",
)

Slug = Annotated[str, typer.Argument(metavar="SLUG", help="The source, as `headrace source list` names it.")]


def register(app: typer.Typer) -> None:
    app.add_typer(commands, name="sources")


@commands.command()
def add(slug: Slug, *, data: Data = None, config: ConfigFile = None, as_json: Json = False) -> None:
    """Read a source as one of e-mail."""
    change(data, config, lambda settings: _with(settings, slug), as_json=as_json)


@commands.command()
def remove(slug: Slug, *, data: Data = None, config: ConfigFile = None, as_json: Json = False) -> None:
    """Read a source by its kind again."""
    change(data, config, lambda settings: _without(settings, slug), as_json=as_json)


def _with(settings: ModelSettings, slug: str) -> ModelSettings:
    from msgspec.structs import replace  # noqa: PLC0415 - --help needs none of it

    others = [one for one in settings.email_sources if one != slug]
    return replace(settings, email_sources=[*others, slug])


def _without(settings: ModelSettings, slug: str) -> ModelSettings:
    from msgspec.structs import replace  # noqa: PLC0415 - --help needs none of it

    if slug not in settings.email_sources:
        raise NotFoundError(f"email sources: {slug[:100]!r} was not added; see: headrace email show")
    return replace(settings, email_sources=[one for one in settings.email_sources if one != slug])
