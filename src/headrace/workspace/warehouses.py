"""Warehouses in the workspace's database: over a connection, in the caller's transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa

from headrace.errors import ConfigError, NotFoundError
from headrace.warehouses import base
from headrace.workspace import database
from headrace.workspace.kept import KeptWithSecrets
from headrace.workspace.records import Warehouse
from headrace.workspace.sources import SOURCES

FIRST: Final = "warehouse"
"""The slug of the embedded warehouse that every workspace begins with, and the one that is meant where several are there and none is named."""


class KeptWarehouses(KeptWithSecrets[Warehouse]):
    """And what of them is loaded, and whose type a person chose."""

    def made(self, row: sa.Row[Any]) -> Warehouse:
        return Warehouse(
            slug=row.slug,
            kind=row.kind,
            nickname=row.nickname,
            created_at=row.created_at,
            settings=row.settings,
            paused=row.paused,
            selection=row.selection,
            retyped=tuple(row.retyped),
            removed_at=row.removed_at,
        )

    def note_retyped(self, connection: sa.Connection, slug: str, column: str) -> Warehouse:
        """`column` is `schema.table.column`. Safe to call twice."""
        return self.update(connection, slug, retyped=sorted({*self.live(connection, slug).retyped, column}))

    def select(
        self, connection: sa.Connection, slug: str, source: str, selection: Mapping[str, Any] | None
    ) -> Warehouse:
        """What of the source this warehouse loads, None for everything. The caller has validated it. Raises NotFoundError."""
        warehouse = self.live(connection, slug)
        SOURCES.one(connection, source)
        others = {name: of_source for name, of_source in warehouse.selection.items() if name != source}
        chosen = others if selection is None else {**others, source: dict(selection)}
        return self.update(connection, slug, selection=chosen)


WAREHOUSES: Final = KeptWarehouses("warehouse", database.warehouses, lambda kind: base.kind(kind).Settings)
checked: Final = WAREHOUSES.checked
secrets_of: Final = WAREHOUSES.secrets_of


def chosen(warehouses: Sequence[Warehouse], slug: str | None) -> Warehouse:
    """The one that is meant, of those that are not removed: the named one; else the only one; else the one called `warehouse`.

    Raises NotFoundError (no such one, or none at all) and ConfigError (several, and none is named)."""
    by_slug = {warehouse.slug: warehouse for warehouse in warehouses if warehouse.removed_at is None}
    there = ", ".join(by_slug)
    if not by_slug:
        raise NotFoundError("warehouse: there is none; add one with: headrace warehouse add KIND --name NICKNAME")
    if slug is not None:
        if slug not in by_slug:
            raise NotFoundError(f"warehouse: there is no {slug[:100]!r}; there is {there}")
        return by_slug[slug]
    if len(by_slug) > 1 and FIRST not in by_slug:
        raise ConfigError(f"warehouse: there are several, say which one with --warehouse SLUG: {there}")
    return by_slug.get(FIRST) or next(iter(by_slug.values()))
