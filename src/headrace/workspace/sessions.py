"""Sessions of people and tokens of programs. Of both only digests are stored."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

import msgspec
import sqlalchemy as sa

from headrace.errors import ConfigError, NotFoundError
from headrace.workspace import names
from headrace.workspace.access_tables import people, sessions, tokens
from headrace.workspace.database import Database, count_change
from headrace.workspace.keys import digest_of, last_four, new_key
from headrace.workspace.roles import Role, checked_role, lower

TOKEN: Final = "hrt_"  # noqa: S105 - what tokens begin with
TOUCHED_EVERY: Final = timedelta(minutes=1)
"""`used_at` is as exact as this: not every question shall cost a write."""
_LONGEST: Final = 200


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """`digest` names it; `peer` and `agent` say from where it was begun."""

    digest: str
    person: int
    peer: str
    agent: str
    created_at: datetime
    used_at: datetime
    expires_at: datetime


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """`made_by` is a person's e-mail, empty for the command line. `acts_as` is what it may do now: its role, or less where its maker may less; None
    while it may nothing."""

    id: int
    name: str
    role: Role
    acts_as: Role | None
    last_four: str
    made_by: str
    person: int | None
    created_at: datetime
    expires_at: datetime | None
    used_at: datetime | None


class Known(NamedTuple):
    """The person of a live session, as it is now."""

    session: Session
    name: str
    email: str
    role: Role


class WorkspaceSessions:
    def __init__(self, opened: Database, secret: bytes, clock: Callable[[], datetime]) -> None:
        self._database = opened
        self._secret = secret
        self._clock = clock

    def begin(self, person: int, peer: str, agent: str, *, lasts: timedelta) -> str:
        """The secret of the new session, for the cookie. What is long over is cleared away."""
        clear, now = secrets.token_urlsafe(32), self._clock()
        with self._database.write() as connection:
            connection.execute(sa.delete(sessions).where(sessions.c.expires_at < now))
            connection.execute(
                sa.insert(sessions).values(
                    digest=digest_of(self._secret, clear),
                    person=person,
                    peer=peer[:_LONGEST],
                    agent=agent[:_LONGEST],
                    created_at=now,
                    used_at=now,
                    expires_at=now + lasts,
                )
            )
        return clear

    def known(self, clear: str, *, idle: timedelta) -> Known | None:
        """None for a session that is unknown, over, or unused for longer than `idle`, and for one of a disabled person."""
        digest, now = digest_of(self._secret, clear[:_LONGEST]), self._clock()
        select = (
            sa.select(sessions, people.c.name, people.c.email, people.c.role)
            .join(people, people.c.id == sessions.c.person)
            .where(sessions.c.digest == digest, people.c.disabled_at.is_(None))
        )
        with self._database.read() as connection:
            row = connection.execute(select).one_or_none()
        if row is None or row.expires_at <= now or row.used_at + idle <= now:
            return None
        return Known(_session(row), row.name, row.email, row.role)

    def touch(self, session: Session) -> None:
        """Note that it is used, at most once a minute."""
        now = self._clock()
        if now - session.used_at >= TOUCHED_EVERY:
            with self._database.write() as connection:
                connection.execute(sa.update(sessions).where(sessions.c.digest == session.digest).values(used_at=now))

    def end(self, digest: str) -> None:
        """Safe to call twice."""
        with self._database.write() as connection:
            connection.execute(sa.delete(sessions).where(sessions.c.digest == digest))

    def end_others(self, person: int, digest: str) -> None:
        with self._database.write() as connection:
            connection.execute(sa.delete(sessions).where(sessions.c.person == person, sessions.c.digest != digest))

    def of(self, person: int, *, idle: timedelta) -> list[Session]:
        """Those that live, the last used one first."""
        now = self._clock()
        where = (sessions.c.person == person, sessions.c.expires_at > now, sessions.c.used_at > now - idle)
        with self._database.read() as connection:
            rows = connection.execute(sa.select(sessions).where(*where).order_by(sessions.c.used_at.desc())).all()
        return [_session(row) for row in rows]


class WorkspaceTokens:
    """Every change is one transaction and counts the workspace's revision up."""

    def __init__(self, opened: Database, secret: bytes, clock: Callable[[], datetime]) -> None:
        self._database = opened
        self._secret = secret
        self._clock = clock

    def all(self) -> list[Token]:
        """Oldest first."""
        with self._database.read() as connection:
            return self._tokens(connection)

    def one(self, number: int) -> Token:
        """Raises NotFoundError."""
        with self._database.read() as connection:
            return self._one(connection, number)

    def named(self, name: str) -> Token:
        """Raises NotFoundError."""
        with self._database.read() as connection:
            found = self._tokens(connection, tokens.c.name == name)
        if not found:
            raise NotFoundError(f"token: there is no {name[:100]!r}; see: headrace token list")
        return found[0]

    def known(self, clear: str) -> Token | None:
        """None for a token that is unknown or over, or whose maker is disabled."""
        with self._database.read() as connection:
            found = self._tokens(connection, tokens.c.digest == digest_of(self._secret, clear[:_LONGEST]))
        return found[0] if found and found[0].acts_as is not None else None

    def touch(self, token: Token) -> None:
        """Note that it is used, at most once a minute."""
        now = self._clock()
        if token.used_at is None or now - token.used_at >= TOUCHED_EVERY:
            with self._database.write() as connection:
                connection.execute(sa.update(tokens).where(tokens.c.id == token.id).values(used_at=now))

    def add(self, name: str, role: str, person: int | None, expires_at: datetime | None = None) -> tuple[Token, str]:
        """The token, and its clear text, which is not stored and cannot be shown again. Raises ConfigError."""
        name, role, now = names.nickname(name), checked_role(role), self._clock()
        if expires_at is not None and expires_at <= now:
            raise ConfigError(
                f"token: it would end at {expires_at:%Y-%m-%d %H:%M} UTC, which is over; give a later time"
            )
        clear = TOKEN + new_key().partition("_")[2]
        with self._database.write() as connection:
            if self._tokens(connection, tokens.c.name == name):
                raise ConfigError(f"token: there is one with the name {name!r} already; take another name")
            values: dict[str, Any] = {"digest": digest_of(self._secret, clear), "last_four": last_four(clear)}
            values |= {"name": name, "role": role, "person": person, "created_at": now, "expires_at": expires_at}
            number = connection.execute(sa.insert(tokens).values(**values).returning(tokens.c.id)).scalar_one()
            count_change(connection)
            return self._one(connection, number), clear

    def remove(self, number: int) -> Token:
        """It works no more from now on. Raises NotFoundError."""
        with self._database.write() as connection:
            token = self._one(connection, number)
            connection.execute(sa.delete(tokens).where(tokens.c.id == number))
            count_change(connection)
            return token

    def _one(self, connection: sa.Connection, number: int) -> Token:
        found = self._tokens(connection, tokens.c.id == number)
        if not found:
            raise NotFoundError(f"token: there is none with the number {number}; see: headrace token list")
        return found[0]

    def _tokens(self, connection: sa.Connection, *where: sa.ColumnElement[bool]) -> list[Token]:
        maker = (people.c.email.label("made_by"), people.c.role.label("maker_role"), people.c.disabled_at)
        select = sa.select(tokens, *maker).outerjoin(people, people.c.id == tokens.c.person).where(*where)
        return [self._token(row) for row in connection.execute(select.order_by(tokens.c.id))]

    def _token(self, row: sa.Row[Any]) -> Token:
        is_over = row.disabled_at is not None or (row.expires_at is not None and row.expires_at <= self._clock())
        role: Role = row.role
        return Token(
            id=row.id,
            name=row.name,
            role=role,
            acts_as=None if is_over else role if row.person is None else lower(role, row.maker_role),
            last_four=row.last_four,
            made_by=row.made_by or "",
            person=row.person,
            created_at=row.created_at,
            expires_at=row.expires_at,
            used_at=row.used_at,
        )


def _session(row: sa.Row[Any]) -> Session:
    return Session(
        digest=row.digest,
        person=row.person,
        peer=row.peer,
        agent=row.agent,
        created_at=row.created_at,
        used_at=row.used_at,
        expires_at=row.expires_at,
    )
