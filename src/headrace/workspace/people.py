"""People who may log in. There is always an owner who can, as soon as there is anybody at all."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from headrace.errors import ConfigError, NotFoundError
from headrace.workspace import names, passwords
from headrace.workspace.access_tables import people, sessions, tokens
from headrace.workspace.database import Database, count_change
from headrace.workspace.keys import digest_of, new_key
from headrace.workspace.roles import Role, checked_role

INVITED_FOR: Final = timedelta(days=7)
INVITATION: Final = "hri_"
_LONGEST_ADDRESS: Final = 254  # RFC 5321


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """`has_password` is false until the invitation is taken up, which works until `invited_until`. `used_at`: of the newest session that lives."""

    id: int
    email: str
    name: str
    role: Role
    created_at: datetime
    has_password: bool
    invited_until: datetime | None = None
    disabled_at: datetime | None = None
    used_at: datetime | None = None


class WorkspacePeople:
    """Every change is one transaction and counts the workspace's revision up."""

    def __init__(self, opened: Database, secret: bytes, clock: Callable[[], datetime]) -> None:
        self._database = opened
        self._secret = secret
        self._clock = clock

    @contextmanager
    def together(self) -> Iterator[None]:
        """What this thread changes inside holds as a whole, or not at all after an error."""
        with self._database.write():
            yield

    def all(self) -> list[Person]:
        """Oldest first."""
        with self._database.read() as connection:
            return _people(connection)

    def nobody(self) -> bool:
        """Whether the first start is still to be done."""
        with self._database.read() as connection:
            return _nobody(connection)

    def one(self, number: int) -> Person:
        """Raises NotFoundError."""
        with self._database.read() as connection:
            return _one(connection, number)

    def of_email(self, email: str) -> Person:
        """Raises NotFoundError."""
        with self._database.read() as connection:
            found = _people(connection, people.c.email == _folded(email))
        if not found:
            raise NotFoundError(f"people: there is no {email[:100]!r}; see: headrace people list")
        return found[0]

    def password_of(self, email: str) -> tuple[Person | None, str | None]:
        """The person, None for who is unknown, and the hash of the password, None where there is none to try."""
        with self._database.read() as connection:
            found = _people(connection, people.c.email == _folded(email))
            if not found:
                return None, None
            kept = connection.scalar(sa.select(people.c.password).where(people.c.id == found[0].id))
        return found[0], kept

    def add_first(self, email: str, name: str, password: str) -> Person:
        """The owner of a workspace in which nobody is yet. Raises ConfigError when somebody is."""
        values = {**_named(email, name), "password": _hashed(password, email, name)}
        with self._database.write() as connection:
            if not _nobody(connection):
                raise ConfigError("setup: there are people in this workspace already; log in, or ask one of its admins")
            return self._insert(connection, role="owner", **values)

    def add(self, email: str, name: str, role: str, password: str | None = None) -> tuple[Person, str]:
        """The person, and without a password the code of the invitation, which is not stored and cannot be shown again.

        Raises ConfigError."""
        values: dict[str, Any] = {**_named(email, name), "role": checked_role(role)}
        if password is not None:
            values["password"] = _hashed(password, email, name)
        with self._database.write() as connection:
            if _people(connection, people.c.email == values["email"]):
                raise ConfigError(f"people: {values['email']} is there already; see: headrace people list")
            if _nobody(connection) and role != "owner":
                raise ConfigError(f"people: nobody can log in yet, so the first one is an owner, not {role}; say owner")
            person = self._insert(connection, **values)
            return (person, "") if password is not None else self._invite(connection, person.id)

    def invite(self, number: int) -> tuple[Person, str]:
        """A code that chooses a new password, once; the old password works until then, an older code no more."""
        with self._database.write() as connection:
            return self._invite(connection, number)

    def invited(self, code: str) -> Person:
        """Whose invitation it is. Raises NotFoundError for a code that is unknown, taken up or too old."""
        with self._database.read() as connection:
            return self._invited(connection, code)

    def take_up(self, code: str, password: str) -> Person:
        """Choose the password of an invitation. Raises NotFoundError and ConfigError."""
        person = self.invited(code)
        kept = _hashed(password, person.email, person.name)
        with self._database.write() as connection:
            return self._set_password(connection, self._invited(connection, code).id, kept, None)

    def set_password(self, number: int, password: str, *, but: str | None = None) -> Person:
        """All sessions of the person end, save the one with the digest `but`. Raises ConfigError."""
        person = self.one(number)
        kept = _hashed(password, person.email, person.name)
        with self._database.write() as connection:
            return self._set_password(connection, number, kept, but)

    def rename(self, number: int, name: str) -> Person:
        return self._update(number, name=names.nickname(name))

    def set_role(self, number: int, role: str) -> Person:
        """It holds at once. Raises ConfigError for the last owner."""
        with self._database.write() as connection:
            if checked_role(role) != "owner":
                _keep_an_owner(connection, number, "demoted")
            return _changed(connection, number, role=role)

    def disable(self, number: int) -> Person:
        """Its sessions end, its tokens rest. Raises ConfigError for the last owner."""
        with self._database.write() as connection:
            _keep_an_owner(connection, number, "disabled")
            _end_sessions(connection, number)
            return _changed(connection, number, disabled_at=self._clock())

    def enable(self, number: int) -> Person:
        return self._update(number, disabled_at=None)

    def remove(self, number: int) -> Person:
        """With all its sessions and tokens. Raises ConfigError for the last owner."""
        with self._database.write() as connection:
            person = _one(connection, number)
            _keep_an_owner(connection, number, "removed")
            _end_sessions(connection, number)
            connection.execute(sa.delete(tokens).where(tokens.c.person == number))
            connection.execute(sa.delete(people).where(people.c.id == number))
            count_change(connection)
            return person

    def _update(self, number: int, **values: Any) -> Person:
        with self._database.write() as connection:
            return _changed(connection, number, **values)

    def _insert(self, connection: sa.Connection, **values: Any) -> Person:
        number = connection.execute(
            sa.insert(people).values(created_at=self._clock(), **values).returning(people.c.id)
        ).scalar_one()
        count_change(connection)
        return _one(connection, number)

    def _invite(self, connection: sa.Connection, number: int) -> tuple[Person, str]:
        code = INVITATION + new_key().partition("_")[2]
        values = {"invitation": digest_of(self._secret, code), "invited_until": self._clock() + INVITED_FOR}
        return _changed(connection, number, **values), code

    def _invited(self, connection: sa.Connection, code: str) -> Person:
        found = _people(connection, people.c.invitation == digest_of(self._secret, code[:100]))
        if (
            not found
            or found[0].disabled_at
            or found[0].invited_until is None
            or found[0].invited_until < self._clock()
        ):
            raise NotFoundError("invitation: it is unknown, used or too old; ask an admin for a new one")
        return found[0]

    def _set_password(self, connection: sa.Connection, number: int, kept: str, but: str | None) -> Person:
        _end_sessions(connection, number, but)
        return _changed(connection, number, password=kept, invitation=None, invited_until=None)


def _people(connection: sa.Connection, *where: sa.ColumnElement[bool]) -> list[Person]:
    used = (
        sa.select(sa.func.max(sessions.c.used_at)).where(sessions.c.person == people.c.id).scalar_subquery()
    )  # its type is that of the column
    select = sa.select(people, used.label("used_at")).where(*where).order_by(people.c.id)
    return [
        Person(
            id=row.id,
            email=row.email,
            name=row.name,
            role=row.role,
            created_at=row.created_at,
            has_password=row.password is not None,
            invited_until=row.invited_until,
            disabled_at=row.disabled_at,
            used_at=row.used_at,
        )
        for row in connection.execute(select)
    ]


def _one(connection: sa.Connection, number: int) -> Person:
    found = _people(connection, people.c.id == number)
    if not found:
        raise NotFoundError(f"people: there is nobody with the number {number}; see: headrace people list")
    return found[0]


def _nobody(connection: sa.Connection) -> bool:
    return connection.scalar(sa.select(people.c.id).limit(1)) is None


def _changed(connection: sa.Connection, number: int, **values: Any) -> Person:
    _one(connection, number)
    connection.execute(sa.update(people).where(people.c.id == number).values(**values))
    count_change(connection)
    return _one(connection, number)


def _end_sessions(connection: sa.Connection, number: int, but: str | None = None) -> None:
    connection.execute(sa.delete(sessions).where(sessions.c.person == number, sessions.c.digest != (but or "")))


def _keep_an_owner(connection: sa.Connection, number: int, what: str) -> None:
    person = _one(connection, number)
    others = _people(
        connection,
        people.c.role == "owner",
        people.c.disabled_at.is_(None),
        people.c.password.is_not(None),
        people.c.id != number,
    )
    if person.role == "owner" and not others:
        raise ConfigError(
            f"people: {person.email} is the last owner and cannot be {what}; make somebody else an owner first"
        )


def _hashed(password: str, email: str, name: str) -> str:
    return passwords.hashed(passwords.checked(password, email, name))


def _folded(email: str) -> str:
    return unicodedata.normalize("NFC", email.strip()).lower()


def _named(email: str, name: str) -> dict[str, str]:
    """Raises ConfigError."""
    folded = _folded(email)
    before, separator, behind = folded.partition("@")
    is_whole = bool(before and separator and behind) and "@" not in behind and not any(c.isspace() for c in folded)
    if not is_whole or len(folded) > _LONGEST_ADDRESS or not folded.isprintable():
        raise ConfigError(f"e-mail: {email[:100]!r} is no address; give one like ada@example.com")
    return {"email": folded, "name": names.nickname(name)}
