"""What people save: queries, reports and dashboards, each with a title and a body. What stands in a body belongs to rooms above this one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final, Literal, get_args

import msgspec
import sqlalchemy as sa

from headrace.errors import ConfigError, NotFoundError
from headrace.workspace import database, names
from headrace.workspace.database import Database

SavedKind = Literal["query", "report", "dashboard"]
SAVED_KINDS: Final[tuple[SavedKind, ...]] = get_args(SavedKind)
RESERVED: Final = frozenset(("new",))
"""Slugs of none: the console's pages for what is not saved yet have such addresses, as /reports/new."""
MOST_DESCRIPTION: Final = 2_000
MOST_SAVED: Final = 10_000
"""Of a kind: what a person can look through, and far from what a program that runs wild would add."""


class Saved(msgspec.Struct, frozen=True):
    """`slug` never changes and tells it apart from others of its kind. `body` is JSON. `revision` counts its changes, from 1."""

    kind: SavedKind
    slug: str
    title: str
    description: str
    body: dict[str, Any]
    author: str
    created_at: datetime
    changed_at: datetime
    revision: int


class WorkspaceSaved:
    """Every change is one transaction and counts the workspace's revision up."""

    def __init__(self, opened: Database, clock: Callable[[], datetime]) -> None:
        self._database = opened
        self._clock = clock

    def every(self, kind: SavedKind) -> list[Saved]:
        """By title."""
        table = database.saved
        with self._database.read() as connection:
            rows = connection.execute(sa.select(table).where(table.c.kind == kind)).all()
        return sorted(map(_made, rows), key=lambda saved: (saved.title.casefold(), saved.slug))

    def one(self, kind: SavedKind, slug: str) -> Saved:
        """Raises NotFoundError."""
        with self._database.read() as connection:
            return _one(connection, kind, slug)

    def add(
        self,
        kind: SavedKind,
        title: str,
        description: str,
        body: Mapping[str, Any],
        author: str,
        slug: str | None = None,
    ) -> Saved:
        """Under the given slug, or a free one that is made of the title. Raises ConfigError."""
        title, description = names.nickname(title), _description(description)
        table = database.saved
        with self._database.write() as connection:
            taken = set(connection.scalars(sa.select(table.c.slug).where(table.c.kind == kind)))
            if len(taken) >= MOST_SAVED:
                raise ConfigError(f"saved {kind}: there are {len(taken)} already; remove some that nobody needs")
            slug = names.slug(slug, title, kind, taken | RESERVED)
            now = self._clock()
            saved = Saved(kind, slug, title, description, dict(body), author, now, now, 1)
            connection.execute(sa.insert(table).values(**msgspec.structs.asdict(saved)))
            database.count_change(connection)
            return saved

    def put(
        self, kind: SavedKind, slug: str, revision: int, title: str, description: str, body: Mapping[str, Any]
    ) -> Saved:
        """In the place of that revision; the author stays. The same again changes nothing.

        Raises NotFoundError, and ConfigError when somebody else has changed it since."""
        title, description = names.nickname(title), _description(description)
        with self._database.write() as connection:
            before = _one(connection, kind, slug)
            if before.revision != revision:
                raise ConfigError(
                    f"saved {kind}: {slug} is at revision {before.revision}, and this was made from {revision}; "
                    "somebody has changed it since: open it again, or save yours under another name"
                )
            if (before.title, before.description, before.body) == (title, description, body):
                return before
            connection.execute(
                sa.update(database.saved)
                .where(_is(kind, slug))
                .values(
                    title=title,
                    description=description,
                    body=dict(body),
                    changed_at=self._clock(),
                    revision=revision + 1,
                )
            )
            database.count_change(connection)
            return _one(connection, kind, slug)

    def remove(self, kind: SavedKind, slug: str) -> Saved:
        """It is gone, and its slug free. Raises NotFoundError."""
        with self._database.write() as connection:
            saved = _one(connection, kind, slug)
            connection.execute(sa.delete(database.saved).where(_is(kind, slug)))
            database.count_change(connection)
            return saved


def _description(text: str) -> str:
    text = text.strip()
    if len(text) > MOST_DESCRIPTION:
        raise ConfigError(f"description: it has {len(text)} characters; {MOST_DESCRIPTION} are allowed")
    return text


def _is(kind: SavedKind, slug: str) -> sa.ColumnElement[bool]:
    return sa.and_(database.saved.c.kind == kind, database.saved.c.slug == slug)


def _one(connection: sa.Connection, kind: SavedKind, slug: str) -> Saved:
    row = connection.execute(sa.select(database.saved).where(_is(kind, slug))).one_or_none()
    if row is None:
        raise NotFoundError(f"saved {kind}: there is no {slug[:100]!r}; somebody may have removed it, see the list")
    return _made(row)


def _made(row: sa.Row[Any]) -> Saved:
    return Saved(
        row.kind,
        row.slug,
        row.title,
        row.description,
        row.body,
        row.author,
        row.created_at,
        row.changed_at,
        row.revision,
    )
