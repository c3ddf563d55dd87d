"""Alerts and the channels that their notices go to, in the workspace's database. What is removed is gone: its slug may be taken again.

Conditions and kinds of channels belong to the room of alerts, above this one: whoever opens this gives their declared settings along.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

import msgspec
import sqlalchemy as sa

from headrace.errors import ConfigError, NotFoundError
from headrace.workspace import database, names
from headrace.workspace.database import Database
from headrace.workspace.kept import Kept, KeptWithSecrets
from headrace.workspace.secret_settings import without_secrets

Declared = Callable[[str], type[msgspec.Struct]]
"""The class of the settings of a condition or a kind of channel; raises NotFoundError for one that is not there."""


class Channel(msgspec.Struct, frozen=True):
    """Where notices go. `settings` are those that were given, secret ones masked; `WorkspaceAlerts.revealed_settings` alone tells them."""

    slug: str
    kind: str
    nickname: str
    created_at: datetime
    settings: dict[str, Any] = {}

    @property
    def removed_at(self) -> None:
        return None


class Alert(msgspec.Struct, frozen=True):
    """A condition that is watched, and the slugs of the channels that are told. `kind` is the condition's slug."""

    slug: str
    kind: str
    nickname: str
    created_at: datetime
    channels: tuple[str, ...] = ()
    settings: dict[str, Any] = {}
    paused: bool = False

    @property
    def removed_at(self) -> None:
        return None


class KeptChannels(KeptWithSecrets[Channel]):
    def made(self, row: sa.Row[Any]) -> Channel:
        return Channel(row.slug, row.kind, row.nickname, row.created_at, row.settings)

    def checked(self, kind: str, given: Mapping[str, Any]) -> dict[str, Any]:
        return _reworded(kind, lambda: super(KeptChannels, self).checked(kind, given), self.secrets_of(kind, given))


class KeptAlerts(Kept[Alert]):
    def made(self, row: sa.Row[Any]) -> Alert:
        return Alert(
            row.slug, row.kind, row.nickname, row.created_at, tuple(row.channels), row.settings, paused=row.paused
        )

    def checked(self, kind: str, given: Mapping[str, Any]) -> dict[str, Any]:
        return _reworded(kind, lambda: super(KeptAlerts, self).checked(kind, given), {})


def _reworded(kind: str, check: Callable[[], dict[str, Any]], secrets: Mapping[str, Any]) -> dict[str, Any]:
    """Conditions and channels stand in a list of their own."""
    try:
        return check()
    except NotFoundError:
        raise
    except ConfigError as error:
        text = str(error).replace(f"headrace catalog {kind}", f"headrace alert kinds {kind}")
        raise ConfigError(hidden(text, secrets)) from None


def hidden(text: str, secrets: Mapping[str, Any]) -> str:
    """The text without any secret of a channel, or a part of one, in it."""
    parts: dict[str, Any] = {}
    for name, value in secrets.items():
        parts[name] = value
        if name == "url" and isinstance(value, str):
            path = value.partition("://")[2].partition("/")[2]
            parts["path"], parts["token"] = path, _long(path.rpartition("/")[2])
        elif isinstance(value, Mapping):  # headers
            parts |= {f"{name} {key}": inner for key, inner in value.items()}
    return without_secrets(text, parts)


def _long(part: str) -> str:
    """A short one, for example `hook`, is a word of the texts too."""
    return part if len(part) >= 8 else ""


class Snapshot(NamedTuple):
    revision: int
    alerts: list[Alert]
    channels: list[Channel]


class WorkspaceAlerts:
    """Every change is one transaction and counts the workspace's revision up."""

    def __init__(
        self, opened: Database, secret: bytes, clock: Callable[[], datetime], conditions: Declared, kinds: Declared
    ) -> None:
        self._database = opened
        self._secret = secret
        self._clock = clock
        self._alerts: Final = KeptAlerts("alert", database.alerts, conditions)
        self._channels: Final = KeptChannels("alert channel", database.alert_channels, kinds)

    def revision(self) -> int:
        """The workspace's, which counts up with every change of anything in it."""
        with self._database.read() as connection:
            return database.revision_of(connection)

    def snapshot(self) -> Snapshot:
        """All of one moment, oldest first."""
        with self._database.read() as connection:
            return Snapshot(
                database.revision_of(connection), self._alerts.every(connection), self._channels.every(connection)
            )

    def channel(self, slug: str) -> Channel:
        """Raises NotFoundError."""
        with self._database.read() as connection:
            return self._channels.one(connection, slug)

    def revealed_settings(self, slug: str) -> dict[str, Any]:
        """A channel's settings with the secret ones in clear, for sending: not for any output.

        Raises NotFoundError, and ConfigError when the secrets do not open with this folder's secret."""
        with self._database.read() as connection:
            return self._channels.revealed(connection, self._secret, slug)

    def secrets_among(self, kind: str, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Of a channel's settings in clear the secret ones, to keep them out of texts (`hidden`)."""
        return self._channels.secrets_of(kind, settings)

    def channel_settings_after(self, slug: str, changes: Mapping[str, Any]) -> dict[str, Any]:
        """What `revealed_settings` would be after `set_channel`. Raises ConfigError and NotFoundError."""
        with self._database.read() as connection:
            return self._channels.after(connection, self._secret, slug, changes)

    def checked_channel(self, kind: str, given: Mapping[str, Any]) -> dict[str, Any]:
        """Settings as they would be kept, in clear. Raises ConfigError and NotFoundError."""
        return self._channels.checked(kind, given)

    def secret_names(self, kind: str, given: Mapping[str, Any]) -> set[str]:
        """Which of a channel's settings are secret."""
        return set(self._channels.secrets_of(kind, given))

    def add_channel(self, kind: str, nickname: str, given: Mapping[str, Any], slug: str | None = None) -> Channel:
        """Raises ConfigError and NotFoundError."""
        checked = self._channels.checked(kind, given)
        nickname = names.nickname(nickname)
        with self._database.write() as connection:
            slug = self._free(connection, database.alert_channels, nickname, kind, slug)
            return self._channels.insert(
                connection, self._secret, checked, slug=slug, kind=kind, nickname=nickname, created_at=self._clock()
            )

    def set_channel(self, slug: str, changes: Mapping[str, Any], nickname: str | None = None) -> Channel:
        """Settings that are not named stay, and so does a secret whose own mask is given; None takes one back to its default."""
        named = {} if nickname is None else {"nickname": names.nickname(nickname)}
        with self._database.write() as connection:
            channel = self._channels.set_settings(connection, self._secret, slug, changes)
            return self._channels.update(connection, slug, **named) if named else channel

    def rename_channel(self, slug: str, nickname: str) -> Channel:
        """The slug stays."""
        with self._database.write() as connection:
            return self._channels.update(connection, slug, nickname=names.nickname(nickname))

    def remove_channel(self, slug: str) -> Channel:
        """Raises NotFoundError, and ConfigError while an alert tells it."""
        with self._database.write() as connection:
            channel = self._channels.one(connection, slug)
            if users := [alert.slug for alert in self._alerts.every(connection) if slug in alert.channels]:
                raise ConfigError(
                    f"alert channel: {slug} is told by {', '.join(users)}; "
                    f"give them others first, for example: headrace alert set {users[0]} --to CHANNEL"
                )
            self._delete(connection, database.alert_channels, slug)
            return channel

    def alert(self, slug: str) -> Alert:
        """Raises NotFoundError."""
        with self._database.read() as connection:
            return self._alerts.one(connection, slug)

    def checked_alert(self, condition: str, given: Mapping[str, Any]) -> dict[str, Any]:
        """Settings as they would be kept. Raises ConfigError and NotFoundError."""
        return self._alerts.checked(condition, given)

    def add_alert(
        self,
        condition: str,
        nickname: str,
        given: Mapping[str, Any],
        channels: Iterable[str],
        slug: str | None = None,
    ) -> Alert:
        """Raises ConfigError and NotFoundError."""
        checked = self._alerts.checked(condition, given)
        nickname = names.nickname(nickname)
        with self._database.write() as connection:
            slug = self._free(connection, database.alerts, nickname, condition, slug)
            connection.execute(
                sa.insert(database.alerts).values(
                    slug=slug,
                    kind=condition,
                    nickname=nickname,
                    channels=self._tellable(connection, channels),
                    settings=checked,
                    paused=False,
                    created_at=self._clock(),
                )
            )
            return self._alerts.changed(connection, slug)

    def set_alert(
        self,
        slug: str,
        changes: Mapping[str, Any],
        channels: Iterable[str] | None = None,
        nickname: str | None = None,
    ) -> Alert:
        """Settings that are not named stay; None takes one back to its default. `channels` replaces all. Raises ConfigError."""
        with self._database.write() as connection:
            alert = self._alerts.one(connection, slug)
            told = alert.channels if channels is None else self._tellable(connection, channels)
            merged = self._alerts.merged(alert, alert.settings, changes)
            called = alert.nickname if nickname is None else names.nickname(nickname)
            return self._alerts.update(connection, slug, settings=merged, channels=list(told), nickname=called)

    def pause(self, slug: str) -> Alert:
        """Nothing is watched until it is resumed."""
        with self._database.write() as connection:
            return self._alerts.update(connection, slug, paused=True)

    def resume(self, slug: str) -> Alert:
        with self._database.write() as connection:
            return self._alerts.update(connection, slug, paused=False)

    def rename_alert(self, slug: str, nickname: str) -> Alert:
        """The slug stays."""
        with self._database.write() as connection:
            return self._alerts.update(connection, slug, nickname=names.nickname(nickname))

    def remove_alert(self, slug: str) -> Alert:
        """Raises NotFoundError."""
        with self._database.write() as connection:
            alert = self._alerts.one(connection, slug)
            self._delete(connection, database.alerts, slug)
            return alert

    def _tellable(self, connection: sa.Connection, channels: Iterable[str]) -> list[str]:
        wanted = list(dict.fromkeys(channels))
        if not wanted:
            raise ConfigError(
                "alert: say who is told, with --to CHANNEL for each channel; see: headrace alert channel list"
            )
        for slug in wanted:
            self._channels.one(connection, slug)
        return wanted

    def _free(self, connection: sa.Connection, table: sa.Table, nickname: str, kind: str, wanted: str | None) -> str:
        return names.slug(wanted, nickname, kind, set(connection.scalars(sa.select(table.c.slug))))

    def _delete(self, connection: sa.Connection, table: sa.Table, slug: str) -> None:
        connection.execute(sa.delete(table).where(table.c.slug == slug))
        database.count_change(connection)
