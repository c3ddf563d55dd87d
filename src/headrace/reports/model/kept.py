"""The settings of the e-mail model in a workspace, which keeps them as a text of which it knows nothing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

import msgspec

from headrace.errors import ConfigError
from headrace.reports.model.checking import STEP, check
from headrace.reports.model.settings import ModelSettings
from headrace.reports.place import MailSource
from headrace.sources import base
from headrace.sources._email import EmailSource
from headrace.workspace.records import Source
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


def mail_sources(sources: Iterable[Source]) -> tuple[MailSource, ...]:
    """A kind that is in no catalogue any more is taken for none of e-mail: then `email_sources` may name it."""
    kinds = base.kinds()
    return tuple(
        MailSource(source.slug, source.schema, is_email=issubclass(kinds.get(source.kind, object), EmailSource))
        for source in sources
    )


def keep(workspace: Workspace, settings: ModelSettings, revision: int, *, dry_run: bool = False) -> Kept:
    """In the place of those of that revision; the same ones change nothing. With `dry_run` they are only checked, and the revision of
    those that stay is told. Raises ConfigError."""
    check(settings, source_slugs(workspace))
    if dry_run:
        return Kept(settings, kept(workspace).revision)
    text = msgspec.json.encode(settings).decode()
    return Kept(settings, workspace.email_model().keep(text, revision).revision)
