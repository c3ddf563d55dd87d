"""The audit trail: every change of the workspace writes its entry in the same transaction, whoever makes it and by whatever way.

What changed is found by looking at the rows before and after, so that no change has to tell, and none can forget it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from headrace.workspace.access_tables import audit
from headrace.workspace.actor import actor
from headrace.workspace.audit_entries import AUDITED, Row, RowChange, entries, shown_value
from headrace.workspace.database import Database

Key = tuple[Any, ...]
FAILED_LOGIN: Final = "failed to log in"
MOST_FAILED_LOGINS: Final = 5_000
"""Older ones go, so that strangers cannot fill the disk."""


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """`who` did `verb` to the `kind` called `subject`; `via` says by which way. `changes` is `{field: [before, after]}`."""

    id: int
    at: datetime
    who: str
    via: str
    verb: str
    kind: str
    subject: str
    changes: dict[str, Sequence[Any]] = {}


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """Which entries are wanted; None is any. `text` is looked for in who, verb, subject and changes. `before` is the number of an entry."""

    who: str | None = None
    kind: str | None = None
    verb: str | None = None
    subject: str | None = None
    text: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    before: int | None = None


class AuditChoices(msgspec.Struct, frozen=True):
    """What there is to choose from."""

    who: Sequence[str]
    kinds: Sequence[str]
    verbs: Sequence[str]


class WorkspaceAudit:
    def __init__(self, opened: Database, clock: Callable[[], datetime]) -> None:
        self._database = opened
        self._clock = clock

    def entries(self, choice: Choice, most: int) -> list[AuditEntry]:
        """Newest first."""
        select = sa.select(audit).where(*_where(choice)).order_by(audit.c.id.desc()).limit(most)
        with self._database.read() as connection:
            return [AuditEntry(**row._mapping) for row in connection.execute(select)]  # noqa: SLF001 - its documented name

    def known(self) -> AuditChoices:
        with self._database.read() as connection:
            found = [
                connection.scalars(sa.select(column).distinct().order_by(column)).all()
                for column in (audit.c.who, audit.c.kind, audit.c.verb)
            ]
        return AuditChoices(*found)

    def note(self, verb: str, kind: str, subject: str, details: Mapping[str, Any] | None = None) -> None:
        """What was done that changes nothing in the workspace. `details` are no secrets."""
        changes = {name: [None, shown_value(value)] for name, value in (details or {}).items()}
        with self._database.write() as connection:
            add(connection, self._clock(), verb, kind, subject, changes)
            if verb == FAILED_LOGIN:
                older = (
                    sa.select(audit.c.id)
                    .where(audit.c.verb == verb)
                    .order_by(audit.c.id.desc())
                    .offset(MOST_FAILED_LOGINS)
                )
                connection.execute(sa.delete(audit).where(audit.c.id.in_(older)))


def add(
    connection: sa.Connection, now: datetime, verb: str, kind: str, subject: str, changes: Mapping[str, Sequence[Any]]
) -> None:
    """Write one entry, of who does it now."""
    found = actor()
    found.entries += 1
    values = {"at": now, "who": found.name, "via": found.via, "verb": verb, "kind": kind, "subject": subject}
    connection.execute(sa.insert(audit).values(**values, changes=dict(changes)))


@contextmanager
def watched(connection: sa.Connection, clock: Callable[[], datetime]) -> Iterator[None]:
    """Write the entries of what is changed over the connection inside."""
    rows = _Rows(connection)
    sa.event.listen(connection, "before_execute", rows.look)
    try:
        yield
    finally:
        sa.event.remove(connection, "before_execute", rows.look)
    for entry in entries(rows.changes()):
        add(connection, clock(), *entry)


class _Rows:
    """Rows as they were before the first statement that may change them."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection
        self._before: dict[str, dict[Key, Row]] = {}
        self._keys: dict[str, set[Key]] = {}
        """Of tables that got new rows: all keys that were there."""

    def look(self, _connection: Any, statement: Any, *_: Any) -> None:
        """SQLAlchemy calls it before each statement."""
        if not isinstance(statement, sa.Insert | sa.Update | sa.Delete) or not isinstance(statement.table, sa.Table):
            return
        table = statement.table
        if table.name not in AUDITED:
            return
        if isinstance(statement, sa.Insert):
            if table.name not in self._keys:
                self._keys[table.name] = self._all_keys(table)
            return
        select = sa.select(table)
        if statement.whereclause is not None:
            select = select.where(statement.whereclause)
        before, keys = self._before.setdefault(table.name, {}), self._keys.get(table.name)
        for key, row in self._found(table, select).items():
            if keys is None or key in keys:
                before.setdefault(key, row)

    def changes(self) -> Iterator[RowChange]:
        """In the order in which AUDITED names the tables."""
        for name in AUDITED:
            table = audit.metadata.tables[name]
            before = self._before.get(name, {})
            for key, row in before.items():
                yield RowChange(name, row, self._now(table, key))
            if name in self._keys:
                for key in sorted(self._all_keys(table) - self._keys[name]):
                    yield RowChange(name, None, self._now(table, key))

    def _now(self, table: sa.Table, key: Key) -> Row | None:
        where = [column == value for column, value in zip(table.primary_key.columns, key, strict=True)]
        return next(iter(self._found(table, sa.select(table).where(*where)).values()), None)

    def _all_keys(self, table: sa.Table) -> set[Key]:
        return {tuple(row) for row in self._connection.execute(sa.select(*table.primary_key.columns))}

    def _found(self, table: sa.Table, select: sa.Select[Any]) -> dict[Key, Row]:
        names = [column.name for column in table.primary_key.columns]
        rows = self._connection.execute(select).mappings().all()
        return {tuple(row[name] for name in names): dict(row) for row in rows}


def _where(choice: Choice) -> Iterator[sa.ColumnElement[bool]]:
    for column, wanted in (
        (audit.c.who, choice.who),
        (audit.c.kind, choice.kind),
        (audit.c.verb, choice.verb),
        (audit.c.subject, choice.subject),
    ):
        if wanted is not None:
            yield column == wanted
    if choice.text:
        places = (audit.c.who, audit.c.verb, audit.c.kind, audit.c.subject, sa.cast(audit.c.changes, sa.Text))
        yield sa.or_(*(place.icontains(choice.text, autoescape=True) for place in places))
    if choice.since is not None:
        yield audit.c.at >= choice.since
    if choice.until is not None:
        yield audit.c.at < choice.until
    if choice.before is not None:
        yield audit.c.id < choice.before
