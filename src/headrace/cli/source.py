"""`headrace source ...`: sources, their write keys and settings. Works with and without a running server."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from headrace.cli import assignments, kind_shown, options
from headrace.cli.options import ConfigFile, Data, Json
from headrace.cli.output import plain, print_error, print_fields, print_json, print_line, print_table

if TYPE_CHECKING:
    from headrace.workspace.records import Source
    from headrace.workspace.workspace import Workspace

commands: Final = typer.Typer(no_args_is_help=True, help="Add, list and change sources and their write keys.")

Slug = Annotated[str, typer.Argument(metavar="SLUG", help="The source, as `headrace source list` names it.")]
_EXAMPLE: Final = '{"type": "track", "event": "Test Event", "anonymousId": "test@example.com"}'


def register(app: typer.Typer) -> None:
    app.add_typer(commands, name="source")


@commands.command()
def add(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="The platform, as `headrace catalog` names it.")],
    *,
    name: Annotated[str, typer.Option("--name", metavar="NICKNAME", help="How people call this source.")],
    schema: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Its schema in the warehouse, for good. [default: from the nickname]"),
    ] = None,
    given: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help=f"A setting of the kind; may be repeated. {assignments.FORMS}."
        ),
    ] = None,
    data: Data = None,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """Add a source and show its write key, once."""
    from headrace.sources import base  # noqa: PLC0415 - --help needs no catalogue

    chosen = options.settings(data, config)
    url, settings = options.url(chosen), assignments.settings(base.kind(kind).Settings, given or [])
    with options.workspace(chosen, create=True) as workspace:
        source, key = workspace.add_source(kind, name, schema, settings)
    if as_json:
        print_json({**_described(source), "write_key": key, "url": url})
        return
    print_line(f"Added the source {plain(source.nickname)} to {plain(chosen.folder.absolute())}.\n")
    print_fields(
        {"slug": source.slug, "kind": source.kind, "schema": source.schema, "write key": f"{key}   (shown only now)"}
    )
    _print_next_steps(source.kind, url, key)


@commands.command("list")
def list_sources(
    *,
    include_removed: Annotated[bool, typer.Option("--all", help="Removed ones too.")] = False,
    data: Data = None,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """List the sources."""
    with _workspace(data, config) as workspace:
        sources = workspace.sources(include_removed=include_removed)
    if as_json:
        print_json([_described(source) for source in sources])
        return
    print_table(
        ("SLUG", "NICKNAME", "KIND", "SCHEMA", "STATE", "KEYS", "ADDED"),
        (
            (s.slug, s.nickname, s.kind, s.schema, _state(s), _keys(s), f"{s.created_at:%Y-%m-%d %H:%M}Z")
            for s in sources
        ),
        "No sources yet. `headrace catalog` lists the platforms; `headrace source add KIND --name NICKNAME` adds one.",
    )


@commands.command()
def show(slug: Slug, *, data: Data = None, config: ConfigFile = None, as_json: Json = False) -> None:
    """Show a source, its settings and how to send to it."""
    chosen = options.settings(data, config)
    with options.workspace(chosen) as workspace:
        source = workspace.source(slug)
    if as_json:
        print_json({**_described(source), "url": options.url(chosen)})
        return
    _print_source(source)
    if source.removed_at is None:
        _print_next_steps(source.kind, options.url(chosen), "WRITE_KEY")


@commands.command()
def disable(slug: Slug, *, data: Data = None, config: ConfigFile = None, as_json: Json = False) -> None:
    """Refuse a source's events until it is enabled again."""
    _change(data, config, lambda workspace: workspace.disable(slug), as_json=as_json)


@commands.command()
def enable(slug: Slug, *, data: Data = None, config: ConfigFile = None, as_json: Json = False) -> None:
    """Accept a disabled source's events again."""
    _change(data, config, lambda workspace: workspace.enable(slug), as_json=as_json)


@commands.command()
def rename(
    slug: Slug,
    nickname: Annotated[str, typer.Argument(metavar="NICKNAME", help="The new nickname.")],
    *,
    data: Data = None,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """Give a source another nickname; slug and schema stay."""
    _change(data, config, lambda workspace: workspace.rename(slug, nickname), as_json=as_json)


@commands.command("rotate-key")
def rotate_key(slug: Slug, *, data: Data = None, config: ConfigFile = None, as_json: Json = False) -> None:
    """Make a second write key, shown once; the first works until `retire-key`."""
    with _workspace(data, config) as workspace:
        key = workspace.rotate_key(slug)
        source = workspace.source(slug)
    if as_json:
        print_json({**_described(source), "write_key": key})
        return
    print_fields({"write key": f"{key}   (shown only now)"})
    old = source.keys[0].last_four
    print_line(f"\nBoth keys work. When nothing uses the old one any more: headrace source retire-key {slug} {old}")


@commands.command("retire-key")
def retire_key(
    slug: Slug,
    last_four: Annotated[str, typer.Argument(metavar="LAST_FOUR", help="The last four characters of the key to end.")],
    *,
    data: Data = None,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """End one of two write keys."""
    _change(data, config, lambda workspace: workspace.retire_key(slug, last_four), as_json=as_json)


@commands.command("set")
def set_settings(
    slug: Slug,
    given: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE...", help=f"Settings, see `headrace catalog KIND`. {assignments.FORMS}."),
    ] = None,
    *,
    unset: Annotated[
        list[str] | None,
        typer.Option("--unset", metavar="KEY", help="Take a setting back to its default; may be repeated."),
    ] = None,
    data: Data = None,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """Change a source's settings; those that are not named stay."""
    from headrace.sources import base  # noqa: PLC0415 - --help needs no catalogue

    if not given and not unset:
        raise typer.BadParameter("give KEY=VALUE or --unset KEY")

    def change(workspace: Workspace) -> Source:
        changes: dict[str, Any] = dict.fromkeys(unset or [])
        changes |= assignments.settings(base.kind(workspace.source(slug).kind).Settings, given or [])
        return workspace.set_settings(slug, changes)

    _change(data, config, change, as_json=as_json)


@commands.command()
def remove(
    slug: Slug,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    data: Data = None,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """Remove a source: its write keys end for good. Its events stay; slug and schema stay taken."""
    if not yes:
        if as_json or not sys.stdin.isatty():
            raise typer.BadParameter("removing ends the write keys for good; say --yes", param_hint="--yes")
        typer.confirm(f"Remove {plain(slug)}? Its write keys end for good; its events stay.", abort=True, err=True)
    _change(data, config, lambda workspace: workspace.remove(slug), as_json=as_json)


@contextmanager
def _workspace(data: str | None, config: Path | None) -> Iterator[Workspace]:
    with options.workspace(options.settings(data, config)) as workspace:
        yield workspace


def _change(data: str | None, config: Path | None, change: Callable[[Workspace], Source], *, as_json: bool) -> None:
    with _workspace(data, config) as workspace:
        source = change(workspace)
    if as_json:
        print_json(_described(source))
    else:
        _print_source(source)


def _described(source: Source) -> dict[str, Any]:
    import msgspec  # noqa: PLC0415 - --help needs none of it

    from headrace.console.source_shown import shown  # noqa: PLC0415 - as above

    found: dict[str, Any] = msgspec.to_builtins(shown(source))
    return found


def _state(source: Source) -> str:
    from headrace.console.source_shown import state  # noqa: PLC0415 - --help needs none of it

    return state(source)


def _keys(source: Source) -> str:
    return ", ".join(f"...{key.last_four}" for key in source.keys)


def _print_source(source: Source) -> None:
    print_fields(
        {
            "slug": source.slug,
            "nickname": source.nickname,
            "kind": source.kind,
            "schema": source.schema,
            "state": _state(source),
            "write keys": _keys(source) or "none",
            "added": f"{source.created_at:%Y-%m-%d %H:%M:%S}Z",
            **_described(source)["settings"],
        }
    )


def _print_next_steps(kind_slug: str, url: str, key: str) -> None:
    from headrace.sources import base  # noqa: PLC0415 - --help needs no catalogue

    kind = base.kinds().get(kind_slug)
    if kind is None:
        print_error(f"note: the kind {kind_slug!r} is not installed here; its events are refused until it is")
        return
    if kind.deprecated:
        print_error(f"note: {kind.title} is deprecated; the current one is {kind.deprecated}")
    if (handover := base.handover_text(kind, url, key)) is not None:
        print_line(f"\nSend to the people who run the platform:\n  {handover}")
        if "://127." in url or "://[::1]" in url:
            print_line(f"  ({url} is this machine only: set public_url in [collector] to what the platform can reach)")
    kind_shown.print_steps("Next", kind.setup)
    print_line(f"\nThe tracking API: {url}/v1/track (one event), {url}/v1/batch (many)")
    print_line(f"Try it:\n  curl -u {key}: {url}/v1/track -d '{_EXAMPLE}'")
