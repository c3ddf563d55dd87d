"""The sections of the file over a workspace: what is there, and how one thing of each is checked, added, changed and removed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Protocol

import msgspec

from headrace.alerts.alerts import kept_in
from headrace.app import destination_checks
from headrace.app.configuration.file import (
    STEP,
    AlertEntry,
    ChannelEntry,
    DestinationEntry,
    PersonEntry,
    SavedEntry,
    SourceEntry,
    WarehouseEntry,
)
from headrace.config import Config
from headrace.console.saved_bodies import body
from headrace.errors import ConfigError
from headrace.loader.selection import parse_all
from headrace.workspace.destinations import DESTINATIONS
from headrace.workspace.saved import SavedKind
from headrace.workspace.sources import SOURCES
from headrace.workspace.warehouses import WAREHOUSES
from headrace.workspace.workspace import Workspace

Settings = dict[str, Any]


class Section(Protocol):
    """`word` is what one thing is called. `fixed` are the fields that nobody can change. Entries have their secrets in clear."""

    @property
    def word(self) -> str: ...

    @property
    def fixed(self) -> Collection[str]: ...

    def there(self) -> dict[str, Any]:
        """Entries by slug."""
        ...

    def checked(self, slug: str, entry: Any) -> Any:
        """The entry as it would be kept. Raises ConfigError for what cannot be."""
        ...

    def secret_settings(self, entry: Any) -> Collection[str]:
        """The names of those settings that are secret."""
        ...

    def add(self, slug: str, entry: Any) -> str:
        """A note, for example the write key, or ''."""
        ...

    def change(self, slug: str, before: Any, after: Any) -> None: ...

    def remove(self, slug: str) -> None: ...


def _changes(before: Settings, after: Settings) -> Settings:
    """What turns the one into the other; None takes a setting back to its default."""
    return {name: after.get(name) for name in (*before, *after) if before.get(name) != after.get(name)}


class Sources:
    word = "source"
    fixed = ("kind", "schema")

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def there(self) -> dict[str, Any]:
        return {
            source.slug: SourceEntry(
                kind=source.kind,
                nickname=source.nickname,
                schema=source.schema,
                enabled=source.enabled,
                settings=source.settings,
            )
            for source in self._workspace.sources()
        }

    def checked(self, slug: str, entry: SourceEntry) -> SourceEntry:
        del slug
        return msgspec.structs.replace(entry, settings=SOURCES.checked(entry.kind, entry.settings))

    def secret_settings(self, entry: SourceEntry) -> Collection[str]:
        return SOURCES.secrets_of(entry.kind, entry.settings)

    def add(self, slug: str, entry: SourceEntry) -> str:
        source, key = self._workspace.add_source(entry.kind, entry.nickname, entry.schema, entry.settings, slug)
        if not entry.enabled:
            self._workspace.disable(source.slug)
        return f"the write key of {source.slug}, shown only now: {key}"

    def change(self, slug: str, before: SourceEntry, after: SourceEntry) -> None:
        if before.nickname != after.nickname:
            self._workspace.rename(slug, after.nickname)
        if before.settings != after.settings:
            self._workspace.set_settings(slug, _changes(before.settings, after.settings))
        if before.enabled != after.enabled:
            (self._workspace.enable if after.enabled else self._workspace.disable)(slug)

    def remove(self, slug: str) -> None:
        self._workspace.remove(slug)


class Warehouses:
    word = "warehouse"
    fixed = ("kind",)

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def there(self) -> dict[str, Any]:
        return {
            one.slug: WarehouseEntry(
                kind=one.kind,
                nickname=one.nickname,
                paused=one.paused,
                settings=self._workspace.revealed_settings(one.slug),
                selection=one.selection,
            )
            for one in self._workspace.warehouses()
        }

    def checked(self, slug: str, entry: WarehouseEntry) -> WarehouseEntry:
        del slug
        parse_all(entry.selection)
        return msgspec.structs.replace(entry, settings=WAREHOUSES.checked(entry.kind, entry.settings))

    def secret_settings(self, entry: WarehouseEntry) -> Collection[str]:
        return WAREHOUSES.secrets_of(entry.kind, entry.settings)

    def add(self, slug: str, entry: WarehouseEntry) -> str:
        self._workspace.add_warehouse(entry.kind, entry.nickname, entry.settings, slug)
        if entry.paused:
            self._workspace.pause_warehouse(slug)
        for source, selection in entry.selection.items():
            self._workspace.select(slug, source, selection)
        return f"warehouse {slug} was not tried; `headrace warehouse test {slug}` does it"

    def change(self, slug: str, before: WarehouseEntry, after: WarehouseEntry) -> None:
        if before.nickname != after.nickname:
            self._workspace.rename_warehouse(slug, after.nickname)
        if before.settings != after.settings:
            self._workspace.set_warehouse_settings(slug, _changes(before.settings, after.settings))
        for source in {*before.selection, *after.selection}:
            if before.selection.get(source) != after.selection.get(source):
                self._workspace.select(slug, source, after.selection.get(source))
        if before.paused != after.paused:
            (self._workspace.pause_warehouse if after.paused else self._workspace.resume_warehouse)(slug)

    def remove(self, slug: str) -> None:
        self._workspace.remove_warehouse(slug)


class Destinations:
    word = "destination"
    fixed = ("kind",)

    def __init__(self, workspace: Workspace, config: Config) -> None:
        self._workspace = workspace
        self._config = config

    def there(self) -> dict[str, Any]:
        return {
            one.slug: DestinationEntry(
                kind=one.kind,
                nickname=one.nickname,
                sources=list(one.sources),
                paused=one.paused,
                settings=self._workspace.revealed_destination_settings(one.slug),
            )
            for one in self._workspace.destinations()
        }

    def checked(self, slug: str, entry: DestinationEntry) -> DestinationEntry:
        place = destination_checks.place_of(self._config, slug)
        destination_checks.check_settings(entry.kind, entry.settings, place)
        settings = DESTINATIONS.checked(entry.kind, entry.settings)
        return msgspec.structs.replace(entry, settings=settings, sources=list(dict.fromkeys(entry.sources)))

    def secret_settings(self, entry: DestinationEntry) -> Collection[str]:
        return DESTINATIONS.secrets_of(entry.kind, entry.settings)

    def add(self, slug: str, entry: DestinationEntry) -> str:
        self._workspace.add_destination(entry.kind, entry.nickname, entry.sources, entry.settings, slug)
        if entry.paused:
            self._workspace.pause_destination(slug)
        return ""

    def change(self, slug: str, before: DestinationEntry, after: DestinationEntry) -> None:
        if before.nickname != after.nickname:
            self._workspace.rename_destination(slug, after.nickname)
        if before.settings != after.settings:
            self._workspace.set_destination_settings(slug, _changes(before.settings, after.settings))
        if new := [source for source in after.sources if source not in before.sources]:
            self._workspace.connect_destination(slug, new)
        if gone := [source for source in before.sources if source not in after.sources]:
            self._workspace.disconnect_destination(slug, gone)
        if before.paused != after.paused:
            (self._workspace.pause_destination if after.paused else self._workspace.resume_destination)(slug)

    def remove(self, slug: str) -> None:
        self._workspace.remove_destination(slug)


class Channels:
    word = "alert channel"
    fixed = ("kind",)

    def __init__(self, workspace: Workspace) -> None:
        self._alerts = kept_in(workspace)

    def there(self) -> dict[str, Any]:
        return {
            one.slug: ChannelEntry(
                kind=one.kind, nickname=one.nickname, settings=self._alerts.revealed_settings(one.slug)
            )
            for one in self._alerts.snapshot().channels
        }

    def checked(self, slug: str, entry: ChannelEntry) -> ChannelEntry:
        del slug
        return msgspec.structs.replace(entry, settings=self._alerts.checked_channel(entry.kind, entry.settings))

    def secret_settings(self, entry: ChannelEntry) -> Collection[str]:
        return self._alerts.secret_names(entry.kind, entry.settings)

    def add(self, slug: str, entry: ChannelEntry) -> str:
        self._alerts.add_channel(entry.kind, entry.nickname, entry.settings, slug)
        return ""

    def change(self, slug: str, before: ChannelEntry, after: ChannelEntry) -> None:
        if before.nickname != after.nickname:
            self._alerts.rename_channel(slug, after.nickname)
        if before.settings != after.settings:
            self._alerts.set_channel(slug, _changes(before.settings, after.settings))

    def remove(self, slug: str) -> None:
        self._alerts.remove_channel(slug)


class Alerts:
    word = "alert"
    fixed = ("kind",)

    def __init__(self, workspace: Workspace) -> None:
        self._alerts = kept_in(workspace)

    def there(self) -> dict[str, Any]:
        return {
            one.slug: AlertEntry(
                kind=one.kind,
                nickname=one.nickname,
                channels=list(one.channels),
                paused=one.paused,
                settings=one.settings,
            )
            for one in self._alerts.snapshot().alerts
        }

    def checked(self, slug: str, entry: AlertEntry) -> AlertEntry:
        if not entry.channels:
            raise ConfigError(f"{STEP}: alert {slug} tells nobody; give it channels")
        return msgspec.structs.replace(entry, settings=self._alerts.checked_alert(entry.kind, entry.settings))

    def secret_settings(self, entry: AlertEntry) -> Collection[str]:
        del entry
        return ()

    def add(self, slug: str, entry: AlertEntry) -> str:
        self._alerts.add_alert(entry.kind, entry.nickname, entry.settings, entry.channels, slug)
        if entry.paused:
            self._alerts.pause(slug)
        return ""

    def change(self, slug: str, before: AlertEntry, after: AlertEntry) -> None:
        if before.nickname != after.nickname:
            self._alerts.rename_alert(slug, after.nickname)
        if (before.settings, before.channels) != (after.settings, after.channels):
            self._alerts.set_alert(slug, _changes(before.settings, after.settings), after.channels)
        if before.paused != after.paused:
            (self._alerts.pause if after.paused else self._alerts.resume)(slug)

    def remove(self, slug: str) -> None:
        self._alerts.remove_alert(slug)


class SavedThings:
    fixed = ()

    def __init__(self, workspace: Workspace, kind: SavedKind, author: Callable[[], str]) -> None:
        self.word = f"saved {kind}" if kind != "dashboard" else kind
        self._kind: SavedKind = kind
        self._saved = workspace.saved()
        self._author = author

    def there(self) -> dict[str, Any]:
        return {
            one.slug: SavedEntry(title=one.title, description=one.description, body=one.body)
            for one in self._saved.every(self._kind)
        }

    def checked(self, slug: str, entry: SavedEntry) -> SavedEntry:
        del slug
        return msgspec.structs.replace(entry, body=body(self._kind, entry.body, lambda _: ()))

    def secret_settings(self, entry: SavedEntry) -> Collection[str]:
        del entry
        return ()

    def add(self, slug: str, entry: SavedEntry) -> str:
        self._saved.add(self._kind, entry.title, entry.description, entry.body, self._author(), slug)
        return ""

    def change(self, slug: str, before: SavedEntry, after: SavedEntry) -> None:
        del before
        revision = self._saved.one(self._kind, slug).revision
        self._saved.put(self._kind, slug, revision, after.title, after.description, after.body)

    def remove(self, slug: str) -> None:
        self._saved.remove(self._kind, slug)


class People:
    """By e-mail address."""

    word = "person"
    fixed = ()

    def __init__(self, workspace: Workspace) -> None:
        self._people = workspace.people()

    def there(self) -> dict[str, Any]:
        return {
            one.email: PersonEntry(name=one.name, role=one.role, disabled=one.disabled_at is not None)
            for one in self._people.all()
        }

    def checked(self, slug: str, entry: PersonEntry) -> PersonEntry:
        del slug
        return entry

    def secret_settings(self, entry: PersonEntry) -> Collection[str]:
        del entry
        return ()

    def add(self, slug: str, entry: PersonEntry) -> str:
        person, code = self._people.add(slug, entry.name, entry.role)
        if entry.disabled:
            self._people.disable(person.id)
        return f"the invitation of {slug}, shown only now: {code}"

    def change(self, slug: str, before: PersonEntry, after: PersonEntry) -> None:
        number = self._people.of_email(slug).id
        if before.name != after.name:
            self._people.rename(number, after.name)
        if before.role != after.role:
            self._people.set_role(number, after.role)
        if before.disabled != after.disabled:
            (self._people.disable if after.disabled else self._people.enable)(number)

    def remove(self, slug: str) -> None:
        self._people.remove(self._people.of_email(slug).id)


def sections(workspace: Workspace, config: Config, author: Callable[[], str]) -> Mapping[str, Section]:
    """By their names in the file, in the order in which things are added: each after what it names."""
    found: dict[str, Section] = {
        "sources": Sources(workspace),
        "warehouses": Warehouses(workspace),
        "destinations": Destinations(workspace, config),
        "alert_channels": Channels(workspace),
        "alerts": Alerts(workspace),
        "queries": SavedThings(workspace, "query", author),
        "reports": SavedThings(workspace, "report", author),
        "dashboards": SavedThings(workspace, "dashboard", author),
        "people": People(workspace),
    }
    return found
