"""Warehouses in the workspace's database: functions over a connection, in the caller's transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from headrace.catalog import declared_settings
from headrace.errors import ConfigError, NotFoundError
from headrace.warehouses import base
from headrace.workspace import database, names, secret_settings, settings, sources
from headrace.workspace.records import Warehouse

FIRST: Final = "warehouse"
"""The slug of the embedded warehouse that every workspace begins with, and the one that is meant where several are there and none is named."""


def every(connection: sa.Connection, slug: str | None = None) -> list[Warehouse]:
    """All warehouses, removed ones too, oldest first; or the one of the slug."""
    table = database.warehouses
    select = sa.select(table).order_by(table.c.created_at, table.c.slug)
    if slug is not None:
        select = select.where(table.c.slug == slug)
    return [
        Warehouse(
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
        for row in connection.execute(select)
    ]


def one(connection: sa.Connection, slug: str) -> Warehouse:
    """A removed one too. Raises NotFoundError."""
    found = every(connection, slug)
    if not found:
        raise NotFoundError(f"warehouse: there is no {slug[:100]!r}; see: headrace warehouse list")
    return found[0]


def live(connection: sa.Connection, slug: str) -> Warehouse:
    """Raises NotFoundError for a removed one too."""
    warehouse = one(connection, slug)
    if warehouse.removed_at is not None:
        raise NotFoundError(f"warehouse: {slug} was removed on {warehouse.removed_at:%Y-%m-%d}; add a new one instead")
    return warehouse


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


def free_slug(connection: sa.Connection, kind: str, nickname: str, wanted: str | None) -> str:
    """The slug that a new warehouse would get. Raises ConfigError for a wanted one that it cannot have."""
    taken = set(connection.scalars(sa.select(database.warehouses.c.slug)))
    return names.slug(wanted, nickname, kind, taken)


class Stored(NamedTuple):
    """Settings as two columns hold them."""

    shown: dict[str, Any]
    sealed: str | None


def stored(secret: bytes, kind: str, slug: str, given: Mapping[str, Any]) -> Stored:
    """Settings that `checked` returned, secret ones taken apart."""
    secret_ones = secrets_of(kind, given)
    shown = {
        name: secret_settings.masked(name, value) if name in secret_ones else value for name, value in given.items()
    }
    return Stored(shown, secret_settings.sealed(secret, slug, secret_ones) if secret_ones else None)


def secrets_of(kind: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the settings that the kind declares secret."""
    secret_names = {setting.name for setting in declared_settings(base.kind(kind).Settings) if setting.is_secret}
    return {name: value for name, value in given.items() if name in secret_names}


def checked(kind: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The given settings as the kind's types. Raises ConfigError and NotFoundError."""
    return settings.checked(kind, base.kind(kind).Settings, given, secrets_of(kind, given))


def insert(
    connection: sa.Connection,
    secret: bytes,
    kind: str,
    nickname: str,
    slug: str,
    given: Mapping[str, Any],
    now: datetime,
) -> Warehouse:
    """`slug` is from `free_slug`, `given` from `checked`."""
    shown, sealed = stored(secret, kind, slug, given)
    connection.execute(
        sa.insert(database.warehouses).values(
            slug=slug,
            kind=kind,
            nickname=nickname,
            settings=shown,
            sealed=sealed,
            paused=False,
            selection={},
            retyped=[],
            created_at=now,
        )
    )
    return changed(connection, slug)


def revealed(connection: sa.Connection, secret: bytes, slug: str) -> dict[str, Any]:
    """The settings with secret ones in clear. Raises NotFoundError, and ConfigError when the secret is another one."""
    warehouse = live(connection, slug)
    table = database.warehouses
    sealed = connection.scalar(sa.select(table.c.sealed).where(table.c.slug == slug))
    return {**warehouse.settings, **(secret_settings.opened(secret, slug, sealed) if sealed else {})}


def set_settings(connection: sa.Connection, secret: bytes, slug: str, changes: Mapping[str, Any]) -> Warehouse:
    """Settings that are not named stay, and so does a secret for which its own mask is given, as a form that was filled with what is
    shown sends it back. None takes one back to its default. Raises ConfigError."""
    warehouse = live(connection, slug)
    kind, shown = warehouse.kind, warehouse.settings
    settings.known(kind, base.kind(kind).Settings, changes)
    unchanged = {n for n, value in secrets_of(kind, changes).items() if n in shown and value and value == shown[n]}
    changes = {name: value for name, value in changes.items() if name not in unchanged}
    is_replaced = secrets_of(kind, shown).keys() <= changes.keys()  # then a lost secret.key is no obstacle
    before = shown if is_replaced else revealed(connection, secret, slug)
    after = {name: value for name, value in {**before, **changes}.items() if value is not None}
    now_shown, sealed = stored(secret, kind, slug, checked(kind, after))
    return update(connection, slug, settings=now_shown, sealed=sealed)


def note_retyped(connection: sa.Connection, slug: str, column: str) -> Warehouse:
    """`column` is `schema.table.column`. Safe to call twice."""
    return update(connection, slug, retyped=sorted({*live(connection, slug).retyped, column}))


def select(connection: sa.Connection, slug: str, source: str, selection: Mapping[str, Any] | None) -> Warehouse:
    """What of the source this warehouse loads, None for everything. The caller has validated it. Raises NotFoundError."""
    warehouse = live(connection, slug)
    sources.one(connection, source)
    others = {name: of_source for name, of_source in warehouse.selection.items() if name != source}
    return update(connection, slug, selection=others if selection is None else {**others, source: dict(selection)})


def remove(connection: sa.Connection, slug: str, now: datetime) -> Warehouse:
    """Its secrets are forgotten; what it holds stays where it is."""
    live(connection, slug)
    return update(connection, slug, removed_at=now, sealed=None)


def update(connection: sa.Connection, slug: str, **values: Any) -> Warehouse:
    live(connection, slug)
    connection.execute(sa.update(database.warehouses).where(database.warehouses.c.slug == slug).values(**values))
    return changed(connection, slug)


def changed(connection: sa.Connection, slug: str) -> Warehouse:
    """Count the change, and read the warehouse again."""
    database.count_change(connection)
    return one(connection, slug)


def has_secrets(connection: sa.Connection) -> bool:
    return (
        connection.scalar(sa.select(sa.literal(1)).where(database.warehouses.c.sealed.is_not(None)).limit(1))
        is not None
    )
