"""Records that have a slug and settings, as a table keeps them: found, changed, removed, and their secret settings sealed.

Everything is done over a connection, in the caller's transaction."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import msgspec
import sqlalchemy as sa

from headrace.catalog import declared_settings
from headrace.errors import ConfigError, NotFoundError
from headrace.workspace import database, secret_settings, settings
from headrace.workspace.secret_settings import Owner


class Record(Protocol):
    """What sources, warehouses and destinations have in common."""

    @property
    def slug(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def settings(self) -> dict[str, Any]: ...
    @property
    def removed_at(self) -> datetime | None: ...


R = TypeVar("R", bound=Record)


class Kept(Generic[R]):
    """The records of one table. A removed one is kept, so that no other ever gets its slug."""

    def __init__(self, room: str, table: sa.Table, declared: Callable[[str], type[msgspec.Struct]]) -> None:
        """`declared` gives the class of a kind's settings, and raises NotFoundError for a kind that is not in the catalogue."""
        self.room = room
        self.table = table
        self.declared = declared

    def made(self, row: sa.Row[Any]) -> R:
        """The record of a row."""
        raise NotImplementedError

    def every(self, connection: sa.Connection, slug: str | None = None) -> list[R]:
        """All of them, removed ones too, oldest first; or the one of the slug."""
        columns = self.table.c
        select = sa.select(self.table).order_by(columns.created_at, columns.slug)
        if slug is not None:
            select = select.where(columns.slug == slug)
        return [self.made(row) for row in connection.execute(select)]

    def one(self, connection: sa.Connection, slug: str) -> R:
        """A removed one too. Raises NotFoundError."""
        found = self.every(connection, slug)
        if not found:
            raise NotFoundError(f"{self.room}: there is no {slug[:100]!r}; see: headrace {self.room} list")
        return found[0]

    def live(self, connection: sa.Connection, slug: str) -> R:
        """Raises NotFoundError for a removed one too."""
        record = self.one(connection, slug)
        if record.removed_at is not None:
            raise NotFoundError(
                f"{self.room}: {slug} was removed on {record.removed_at:%Y-%m-%d}; add a new one instead"
            )
        return record

    def update(self, connection: sa.Connection, slug: str, **values: Any) -> R:
        """Raises NotFoundError for a removed one too."""
        self.live(connection, slug)
        connection.execute(sa.update(self.table).where(self.table.c.slug == slug).values(**values))
        return self.changed(connection, slug)

    def changed(self, connection: sa.Connection, slug: str) -> R:
        """Count the change, and read the record again."""
        database.count_change(connection)
        return self.one(connection, slug)

    def secrets_of(self, kind: str, given: Mapping[str, Any]) -> dict[str, Any]:
        """Those of the settings that the kind declares secret, and addresses with a password or a key in them."""
        secret_names = {setting.name for setting in declared_settings(self.declared(kind)) if setting.is_secret}
        is_secret = secret_settings.is_secret
        return {name: value for name, value in given.items() if name in secret_names or is_secret(value)}

    def checked(self, kind: str, given: Mapping[str, Any]) -> dict[str, Any]:
        """The given settings as the kind's types. Raises ConfigError and NotFoundError."""
        return settings.checked(kind, self.declared(kind), given, self.secrets_of(kind, given))

    def merged(self, record: R, before: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
        """The settings after the changes; None takes one back to its default. Raises ConfigError."""
        settings.known(record.kind, self.declared(record.kind), changes)
        after = {**before, **changes}
        return self.checked(record.kind, {name: value for name, value in after.items() if value is not None})


class Stored(NamedTuple):
    """Settings as two columns hold them: secret ones masked in `settings`, and encrypted in `sealed`, None where there are none."""

    settings: dict[str, Any]
    sealed: str | None


class KeptWithSecrets(Kept[R]):
    """The records of a table with the columns of `Stored`."""

    def insert(self, connection: sa.Connection, secret: bytes, given: Mapping[str, Any], **values: Any) -> R:
        """`given` is from `checked`; the other columns' values need `kind` and `slug`."""
        stored = self.stored(secret, values["kind"], values["slug"], given)
        connection.execute(sa.insert(self.table).values(**values, **stored._asdict()))
        return self.changed(connection, values["slug"])

    def stored(self, secret: bytes, kind: str, slug: str, given: Mapping[str, Any]) -> Stored:
        """Settings that `checked` returned, secret ones taken apart."""
        secret_ones = self.secrets_of(kind, given)
        owner = Owner(self.room, slug)
        shown = {n: self._masked(n, value) if n in secret_ones else value for n, value in given.items()}
        return Stored(shown, secret_settings.sealed(secret, owner, secret_ones) if secret_ones else None)

    def _masked(self, name: str, value: Any) -> Any:
        return secret_settings.masked(name, value, with_path=self.room == "warehouse")

    def revealed(self, connection: sa.Connection, secret: bytes, slug: str) -> dict[str, Any]:
        """The settings with secret ones in clear. Raises NotFoundError, and ConfigError when the secret is another one."""
        record = self.live(connection, slug)
        sealed = connection.scalar(sa.select(self.table.c.sealed).where(self.table.c.slug == slug))
        owner = Owner(self.room, slug)
        return {**record.settings, **(secret_settings.opened(secret, owner, sealed) if sealed else {})}

    def after(self, connection: sa.Connection, secret: bytes, slug: str, changes: Mapping[str, Any]) -> dict[str, Any]:
        """The settings in clear that the changes would lead to. Settings that are not named stay, and so does a secret for which its
        own mask is given, as a form that was filled with what is shown sends it back. None takes one back to its default.

        Raises ConfigError and NotFoundError."""
        record = self.live(connection, slug)
        settings.known(record.kind, self.declared(record.kind), changes)
        shown = record.settings
        masks = self.secrets_of(record.kind, changes).items()
        unchanged = {name for name, value in masks if name in shown and value and value == shown[name]}
        changes = {name: value for name, value in changes.items() if name not in unchanged}
        is_replaced = self.secrets_of(record.kind, shown).keys() <= changes.keys()
        before = (
            shown if is_replaced else self.revealed(connection, secret, slug)
        )  # a lost secret.key is an obstacle only here
        return self.merged(record, before, changes)

    def set_settings(self, connection: sa.Connection, secret: bytes, slug: str, changes: Mapping[str, Any]) -> R:
        """`changes` as for `after`. Raises ConfigError and NotFoundError."""
        kind = self.live(connection, slug).kind
        after = self.after(connection, secret, slug, changes)
        stored = self.stored(secret, kind, slug, after)
        if self._keeps_secrets(connection, secret, slug, self.secrets_of(kind, after)):
            return self.update(connection, slug, settings=stored.settings)
        return self.update(connection, slug, **stored._asdict())

    def _keeps_secrets(self, connection: sa.Connection, secret: bytes, slug: str, secrets: Mapping[str, Any]) -> bool:
        """Whether they are those that are sealed: sealed again they would look changed, also to the audit trail."""
        sealed = connection.scalar(sa.select(self.table.c.sealed).where(self.table.c.slug == slug))
        if not sealed or not secrets:
            return not sealed and not secrets
        try:
            return secret_settings.opened(secret, Owner(self.room, slug), sealed) == secrets
        except ConfigError:  # a lost secret.key is no obstacle to new ones
            return False

    def remove(self, connection: sa.Connection, slug: str, now: datetime) -> R:
        """Its secrets are forgotten. Raises NotFoundError, for one that is removed already too."""
        return self.update(connection, slug, removed_at=now, sealed=None)

    def has_secrets(self, connection: sa.Connection) -> bool:
        some = sa.select(sa.literal(1)).where(self.table.c.sealed.is_not(None)).limit(1)
        return connection.scalar(some) is not None
