"""Sources and their write keys in the workspace's database: over a connection, in the caller's transaction."""

from __future__ import annotations

from typing import Any, Final

import msgspec
import sqlalchemy as sa

from headrace.sources import base
from headrace.workspace import database
from headrace.workspace.kept import Kept
from headrace.workspace.records import Source, WriteKey


class KeptSources(Kept[Source]):
    """And their keys, which a table of their own has."""

    def made(self, row: sa.Row[Any]) -> Source:
        return Source(
            slug=row.slug,
            kind=row.kind,
            nickname=row.nickname,
            schema=row.schema,
            enabled=row.enabled,
            created_at=row.created_at,
            settings=row.settings,
            removed_at=row.removed_at,
        )

    def every(self, connection: sa.Connection, slug: str | None = None) -> list[Source]:
        write_keys = database.write_keys
        select = sa.select(write_keys).order_by(write_keys.c.id)
        if slug is not None:
            select = select.where(write_keys.c.source == slug)
        keys: dict[str, list[WriteKey]] = {}
        for row in connection.execute(select):
            keys.setdefault(row.source, []).append(WriteKey(row.digest, row.last_four, row.created_at))
        return [
            msgspec.structs.replace(source, keys=tuple(keys.get(source.slug, ())))
            for source in super().every(connection, slug)
        ]

    def taken(self, connection: sa.Connection) -> tuple[set[str], set[str]]:
        """Slugs and schemas that no new source may have."""
        rows = connection.execute(sa.select(self.table.c.slug, self.table.c.schema)).all()
        return {row.slug for row in rows}, {row.schema for row in rows}


SOURCES: Final = KeptSources("source", database.sources, lambda kind: base.kind(kind).Settings)
