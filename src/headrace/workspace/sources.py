"""Sources and their write keys in the workspace's database: functions over a connection, in the caller's transaction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from headrace.errors import NotFoundError
from headrace.sources import base
from headrace.workspace import database, settings
from headrace.workspace.records import Source, WriteKey


def every(connection: sa.Connection, slug: str | None = None) -> list[Source]:
    """All sources, removed ones too, oldest first; or the one of the slug."""
    sources, write_keys = database.sources, database.write_keys
    select = sa.select(sources).order_by(sources.c.created_at, sources.c.slug)
    select_keys = sa.select(write_keys).order_by(write_keys.c.id)
    if slug is not None:
        select, select_keys = select.where(sources.c.slug == slug), select_keys.where(write_keys.c.source == slug)
    keys: dict[str, list[WriteKey]] = {}
    for row in connection.execute(select_keys):
        keys.setdefault(row.source, []).append(WriteKey(row.digest, row.last_four, row.created_at))
    return [
        Source(
            slug=row.slug,
            kind=row.kind,
            nickname=row.nickname,
            schema=row.schema,
            enabled=row.enabled,
            created_at=row.created_at,
            keys=tuple(keys.get(row.slug, ())),
            settings=row.settings,
            removed_at=row.removed_at,
        )
        for row in connection.execute(select)
    ]


def one(connection: sa.Connection, slug: str) -> Source:
    """A removed one too. Raises NotFoundError."""
    found = every(connection, slug)
    if not found:
        raise NotFoundError(f"source: there is no {slug[:100]!r}; see: headrace source list")
    return found[0]


def live(connection: sa.Connection, slug: str) -> Source:
    """Raises NotFoundError for a removed one too."""
    source = one(connection, slug)
    if source.removed_at is not None:
        raise NotFoundError(f"source: {slug} was removed on {source.removed_at:%Y-%m-%d}; add a new one instead")
    return source


def taken(connection: sa.Connection) -> tuple[set[str], set[str]]:
    """Slugs and schemas that no new source may have."""
    rows = connection.execute(sa.select(database.sources.c.slug, database.sources.c.schema)).all()
    return {row.slug for row in rows}, {row.schema for row in rows}


def update(connection: sa.Connection, slug: str, **values: Any) -> Source:
    connection.execute(sa.update(database.sources).where(database.sources.c.slug == slug).values(**values))
    return changed(connection, slug)


def changed(connection: sa.Connection, slug: str) -> Source:
    """Count the change, and read the source again."""
    database.count_change(connection)
    return one(connection, slug)


def checked(kind: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The given settings as the kind's types. Raises ConfigError and NotFoundError."""
    return settings.checked(kind, base.kind(kind).Settings, given)


def merged(source: Source, changes: Mapping[str, Any]) -> dict[str, Any]:
    """The source's settings after the changes; None takes one back to its default. Raises ConfigError."""
    settings.known(source.kind, base.kind(source.kind).Settings, changes)
    after = {**source.settings, **changes}
    return checked(source.kind, {name: value for name, value in after.items() if value is not None})
