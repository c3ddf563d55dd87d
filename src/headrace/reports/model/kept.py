"""The settings of the e-mail model in a workspace, which keeps them as a text of which it knows nothing."""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec

from headrace.errors import ConfigError
from headrace.reports.model.checking import STEP, check
from headrace.reports.model.settings import ModelSettings
from headrace.workspace.workspace import Workspace


class Kept(NamedTuple):
    """`revision` counts the changes of these settings, from 0: those of a workspace in which nothing was chosen."""

    settings: ModelSettings
    revision: int


DEFAULT: Final = ModelSettings()


def kept(workspace: Workspace) -> Kept:
    """Raises ConfigError."""
    found = workspace.email_model().kept()
    if found.text is None:
        return Kept(DEFAULT, found.revision)
    try:
        return Kept(msgspec.json.decode(found.text, type=ModelSettings), found.revision)
    except msgspec.ValidationError as error:
        raise ConfigError(
            f"{STEP}: what the workspace keeps is not understood ({error}); if a newer headrace wrote it, run that one"
        ) from None


def source_slugs(workspace: Workspace) -> list[str]:
    """Of all sources, removed ones too."""
    return [source.slug for source in workspace.sources(include_removed=True)]


def keep(workspace: Workspace, settings: ModelSettings, revision: int) -> Kept:
    """In the place of those of that revision; the same ones change nothing. Raises ConfigError."""
    check(settings, source_slugs(workspace))
    text = msgspec.json.encode(settings).decode()
    return Kept(settings, workspace.email_model().keep(text, revision).revision)
