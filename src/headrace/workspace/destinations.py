"""Destinations in the workspace's database: over a connection, in the caller's transaction."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import sqlalchemy as sa

from headrace.destinations import base
from headrace.errors import ConfigError, NotFoundError
from headrace.workspace import database, names
from headrace.workspace.kept import KeptWithSecrets
from headrace.workspace.records import Destination
from headrace.workspace.sources import SOURCES


class KeptDestinations(KeptWithSecrets[Destination]):
    """And whose events go to them."""

    def made(self, row: sa.Row[Any]) -> Destination:
        return Destination(
            slug=row.slug,
            kind=row.kind,
            nickname=row.nickname,
            created_at=row.created_at,
            sources=tuple(row.sources),
            settings=row.settings,
            paused=row.paused,
            disabled=row.disabled,
            removed_at=row.removed_at,
        )

    def connect(self, connection: sa.Connection, slug: str, sources: Iterable[str]) -> Destination:
        """Those that are connected already stay so. Raises NotFoundError."""
        before = self.live(connection, slug).sources
        return self.update(connection, slug, sources=connectable(connection, [*before, *sources], known=before))

    def disconnect(self, connection: sa.Connection, slug: str, sources: Iterable[str]) -> Destination:
        """Raises NotFoundError for one that is not connected."""
        connected = list(self.live(connection, slug).sources)
        for source in dict.fromkeys(sources):
            if source not in connected:
                there = f"connected are {', '.join(connected)}" if connected else "no source is"
                raise NotFoundError(f"destination: the source {source[:100]!r} is not connected to {slug}; {there}")
            connected.remove(source)
        return self.update(connection, slug, sources=connected)


DESTINATIONS: Final = KeptDestinations("destination", database.destinations, lambda kind: base.kind(kind).Settings)
checked: Final = DESTINATIONS.checked
secrets_of: Final = DESTINATIONS.secrets_of


def connectable(connection: sa.Connection, sources: Iterable[str], known: Iterable[str] = ()) -> list[str]:
    """The slugs, each once. Raises NotFoundError for a source that is not there or was removed, unless it is one of `known`,
    and ConfigError for none."""
    wanted = list(dict.fromkeys(sources))
    if not wanted:
        raise ConfigError(
            "destination: say whose events go to it, with --source SLUG for each source; see: headrace source list"
        )
    for slug in wanted:
        if slug not in known:
            SOURCES.live(connection, slug)
    return wanted


def free_slug(connection: sa.Connection, kind: str, nickname: str, wanted: str | None) -> str:
    """The slug that a new warehouse or destination would get: they share theirs, since commands name either.

    Raises ConfigError for a wanted one that it cannot have."""
    tables = (database.warehouses, database.destinations)
    return names.slug(
        wanted, nickname, kind, {s for table in tables for s in connection.scalars(sa.select(table.c.slug))}
    )
