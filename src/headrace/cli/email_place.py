"""What every command about the e-mail model's settings begins and ends with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from headrace.cli import options
from headrace.cli.output import plain, print_json, print_line

if TYPE_CHECKING:
    from headrace.config import Config
    from headrace.reports.model.settings import ModelSettings
    from headrace.workspace.workspace import Workspace


class Opened(NamedTuple):
    chosen: Config
    workspace: Workspace
    settings: ModelSettings
    revision: int


@contextmanager
def opened(data: str | None, config: Path | None) -> Iterator[Opened]:
    from headrace.reports.model.kept import kept  # noqa: PLC0415 - --help needs none of it

    chosen = options.settings(data, config)
    with options.workspace(chosen) as workspace:
        yield Opened(chosen, workspace, *kept(workspace))


def change(
    data: str | None,
    config: Path | None,
    wanted: Callable[[ModelSettings], ModelSettings],
    *,
    as_json: bool,
    dry_run: bool = False,
) -> None:
    """Keep what `wanted` makes of the settings, and tell what is different. A running server looks for changes by itself."""
    from headrace.reports.model.kept import keep  # noqa: PLC0415 - --help needs none of it

    with opened(data, config) as place:
        before, after = place.settings, wanted(place.settings)
        revision = keep(place.workspace, after, place.revision, dry_run=dry_run).revision
    told = _difference(before, after)
    if as_json:
        print_json({"revision": revision, **told, "dry_run": dry_run})
        return
    for line in told["differences"] or ["Nothing is different."]:
        print_line(plain(line))
    for sentence in told["made_anew"].values():
        print_line(f"\n{'It would mean' if dry_run else 'From this follows'}: {sentence}.")


def _difference(before: ModelSettings, after: ModelSettings) -> dict[str, Any]:
    from headrace.reports.model.differences import PARTS, differences, made_anew  # noqa: PLC0415 - as above

    return {
        "differences": differences(before, after),
        "made_anew": {part: PARTS[part] for part in made_anew(before, after)},
    }
