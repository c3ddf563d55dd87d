"""The workspace: sources, their write keys, warehouses and destinations. Several processes may hold the same one open: command line, collectors, worker."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import sqlalchemy as sa

from headrace.errors import ConfigError, NotFoundError
from headrace.workspace import database, names
from headrace.workspace.alerts import Declared, WorkspaceAlerts
from headrace.workspace.audit import WorkspaceAudit, watched
from headrace.workspace.destinations import DESTINATIONS, connectable, free_slug
from headrace.workspace.email_model import WorkspaceEmailModel
from headrace.workspace.keys import digest_of, last_four, new_key, setup_code
from headrace.workspace.people import WorkspacePeople
from headrace.workspace.records import Destination, Source, Warehouse, WriteKey
from headrace.workspace.saved import WorkspaceSaved
from headrace.workspace.secret_file import secret_of
from headrace.workspace.sessions import WorkspaceSessions, WorkspaceTokens
from headrace.workspace.sources import SOURCES
from headrace.workspace.warehouses import WAREHOUSES, chosen

DATABASE_FILE: Final = "workspace.db"
SECRET_FILE: Final = "secret.key"  # noqa: S105 - the name of a file
_LIVE_KEYS: Final = 2


class Workspace:
    """Every change is one transaction and counts `revision` up by one, so that other processes notice it by one cheap read."""

    def __init__(
        self, url: str, secret_file: Path, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        """Creates and upgrades what is missing. Raises ConfigError."""
        self._clock = clock
        self._database = database.Database(
            url, secret_file.with_name("workspace.lock"), lambda connection: watched(connection, self._clock)
        )
        try:
            self.secret: Final = secret_of(secret_file, self._database)
        except BaseException:
            self._database.close()
            raise

    @classmethod
    def open(cls, folder: Path, *, create: bool = True) -> Self:
        """The workspace of a data folder. Without `create`, raises NotFoundError where there is none yet."""
        path = folder.absolute() / DATABASE_FILE
        if create:
            try:
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            except OSError as error:
                raise ConfigError(f"workspace: cannot create the folder {folder}: {error.strerror}") from error
        elif not path.exists():
            raise NotFoundError(
                f"workspace: there is none in {folder}; give --data another folder, or add a source, which creates it"
            )
        return cls(str(sa.URL.create("sqlite", database=str(path))), path.with_name(SECRET_FILE))

    def close(self) -> None:
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def alerts(self, conditions: Declared, kinds: Declared) -> WorkspaceAlerts:
        """Alerts and their channels; given are the settings that conditions and kinds of channels declare."""
        return WorkspaceAlerts(self._database, self.secret, self._clock, conditions, kinds)

    def email_model(self) -> WorkspaceEmailModel:
        """What is chosen about the e-mail model; `reports.model.kept` knows what it says."""
        return WorkspaceEmailModel(self._database)

    def saved(self) -> WorkspaceSaved:
        """Queries, reports and dashboards that people saved; the console knows what stands in them."""
        return WorkspaceSaved(self._database, self._clock)

    def people(self) -> WorkspacePeople:
        """Who may log in."""
        return WorkspacePeople(self._database, self.secret, self._clock)

    def sessions(self) -> WorkspaceSessions:
        return WorkspaceSessions(self._database, self.secret, self._clock)

    def tokens(self) -> WorkspaceTokens:
        """What programs ask the API with."""
        return WorkspaceTokens(self._database, self.secret, self._clock)

    def audit(self) -> WorkspaceAudit:
        """Who changed what, and when."""
        return WorkspaceAudit(self._database, self._clock)

    def setup_code(self) -> str:
        """What a stranger does not know: it makes the first owner from another machine. Nobody else can be made by it."""
        return setup_code(self.secret)

    @contextmanager
    def together(self) -> Iterator[None]:
        """What this thread changes inside holds as a whole, or not at all after an error."""
        with self._database.write():
            yield

    def revision(self) -> int:
        """Counts up with every change. Cheap enough to be asked twice a second by each process."""
        with self._database.read() as connection:
            return database.revision_of(connection)

    def snapshot(self) -> tuple[int, list[Source]]:
        """The revision and every source of that moment, removed ones too."""
        with self._database.read() as connection:
            return database.revision_of(connection), SOURCES.every(connection)

    def sources(self, *, include_removed: bool = False) -> list[Source]:
        """Oldest first."""
        return [source for source in self.snapshot()[1] if include_removed or source.removed_at is None]

    def source(self, slug: str) -> Source:
        """A removed one too. Raises NotFoundError."""
        with self._database.read() as connection:
            return SOURCES.one(connection, slug)

    def add_source(
        self,
        kind: str,
        nickname: str,
        schema: str | None = None,
        settings: Mapping[str, Any] | None = None,
        slug: str | None = None,
    ) -> tuple[Source, str]:
        """The new source and its write key, which is not stored and cannot be shown again.

        `settings` may hold texts where the kind wants numbers or booleans. Raises ConfigError and NotFoundError."""
        checked = SOURCES.checked(kind, settings or {})
        nickname = names.nickname(nickname)
        now = self._clock()
        with self._database.write() as connection:
            slugs, schemas = SOURCES.taken(connection)
            slug = names.slug(slug, nickname, kind, slugs)
            connection.execute(
                sa.insert(database.sources).values(
                    slug=slug,
                    kind=kind,
                    nickname=nickname,
                    schema=names.schema(schema, nickname, kind, schemas),
                    enabled=True,
                    settings=checked,
                    created_at=now,
                )
            )
            key = self._add_key(connection, slug, (), now)
            return SOURCES.changed(connection, slug), key

    def free_source_names(self, kind: str, nickname: str, schema: str | None = None) -> tuple[str, str]:
        """The slug and the schema that `add_source` would give now. Raises ConfigError."""
        nickname = names.nickname(nickname)
        with self._database.read() as connection:
            slugs, schemas = SOURCES.taken(connection)
        return names.free(names.slug_of(nickname, kind), slugs, "-"), names.schema(schema, nickname, kind, schemas)

    def enable(self, slug: str) -> Source:
        return self._update(slug, enabled=True)

    def disable(self, slug: str) -> Source:
        """Its keys stay known, so that the collector can say what is wrong."""
        return self._update(slug, enabled=False)

    def rename(self, slug: str, nickname: str) -> Source:
        """Slug and schema stay."""
        return self._update(slug, nickname=names.nickname(nickname))

    def set_settings(self, slug: str, changes: Mapping[str, Any]) -> Source:
        """Settings that are not named stay; None takes one back to its default. Raises ConfigError."""
        with self._database.write() as connection:
            source = SOURCES.live(connection, slug)
            return SOURCES.update(connection, slug, settings=SOURCES.merged(source, source.settings, changes))

    def rotate_key(self, slug: str) -> str:
        """A second write key, shown only now; the first works until it is retired. Raises ConfigError when two live already."""
        with self._database.write() as connection:
            source = SOURCES.live(connection, slug)
            if len(source.keys) >= _LIVE_KEYS:
                oldest = source.keys[0].last_four
                raise ConfigError(
                    f"write key: {slug} has two live keys already; when nothing uses the older one any more, "
                    f"run: headrace source retire-key {slug} {oldest}"
                )
            key = self._add_key(connection, slug, source.keys, self._clock())
            SOURCES.changed(connection, slug)
            return key

    def retire_key(self, slug: str, last_four: str) -> Source:
        """End a key. Raises NotFoundError when none ends so, ConfigError for a source's only key."""
        with self._database.write() as connection:
            source = SOURCES.live(connection, slug)
            ends = [key.last_four for key in source.keys]
            if last_four not in ends:
                raise NotFoundError(
                    f"write key: {slug} has none that ends in {last_four!r}; its keys end in {', '.join(ends)}"
                )
            if len(ends) == 1:
                raise ConfigError(
                    f"write key: {last_four!r} is the only one of {slug}; rotate first, or disable or remove the source"
                )
            table = database.write_keys
            connection.execute(sa.delete(table).where(table.c.source == slug, table.c.last_four == last_four))
            return SOURCES.changed(connection, slug)

    def remove(self, slug: str) -> Source:
        """Its keys die now. Its events, slug and schema stay. A second call raises NotFoundError."""
        with self._database.write() as connection:
            SOURCES.live(connection, slug)
            connection.execute(sa.delete(database.write_keys).where(database.write_keys.c.source == slug))
            return SOURCES.update(connection, slug, removed_at=self._clock(), enabled=False)

    def warehouse_snapshot(self) -> tuple[int, list[Warehouse]]:
        """The revision and every warehouse of that moment, removed ones too."""
        with self._database.read() as connection:
            return database.revision_of(connection), WAREHOUSES.every(connection)

    def warehouses(self, *, include_removed: bool = False) -> list[Warehouse]:
        """Oldest first. There may be none: then events wait in the log."""
        return [w for w in self.warehouse_snapshot()[1] if include_removed or w.removed_at is None]

    def warehouse(self, slug: str) -> Warehouse:
        """A removed one too. Raises NotFoundError."""
        with self._database.read() as connection:
            return WAREHOUSES.one(connection, slug)

    def chosen_warehouse(self, slug: str | None) -> Warehouse:
        """The one that is meant: the named one, else the only one, else `warehouse`. Raises ConfigError that lists what there is."""
        return chosen(self.warehouses(), slug)

    def revealed_settings(self, slug: str) -> dict[str, Any]:
        """A warehouse's settings with the secret ones in clear, for opening and checking it: not for any output.

        Raises NotFoundError for a removed one too, and ConfigError when the secrets do not open with this folder's secret."""
        with self._database.read() as connection:
            return WAREHOUSES.revealed(connection, self.secret, slug)

    def warehouse_settings_after(self, slug: str, changes: Mapping[str, Any]) -> dict[str, Any]:
        """What `revealed_settings` would be after `set_warehouse_settings`, to be checked before. Raises ConfigError."""
        with self._database.read() as connection:
            return WAREHOUSES.after(connection, self.secret, slug, changes)

    def free_warehouse_slug(self, kind: str, nickname: str, slug: str | None = None) -> str:
        """The slug that `add_warehouse` would give now. Raises ConfigError."""
        with self._database.read() as connection:
            return free_slug(connection, kind, names.nickname(nickname), slug)

    def add_warehouse(
        self, kind: str, nickname: str, settings: Mapping[str, Any] | None = None, slug: str | None = None
    ) -> Warehouse:
        """`settings` may hold texts where the kind wants numbers or booleans. Raises ConfigError and NotFoundError."""
        checked = WAREHOUSES.checked(kind, settings or {})
        nickname = names.nickname(nickname)
        with self._database.write() as connection:
            slug = free_slug(connection, kind, nickname, slug)
            return WAREHOUSES.insert(
                connection,
                self.secret,
                checked,
                slug=slug,
                kind=kind,
                nickname=nickname,
                paused=False,
                selection={},
                retyped=[],
                created_at=self._clock(),
            )

    def set_warehouse_settings(self, slug: str, changes: Mapping[str, Any]) -> Warehouse:
        """Settings that are not named stay, and so does a secret whose own mask is given; None takes one back to its default. Raises ConfigError."""
        with self._database.write() as connection:
            return WAREHOUSES.set_settings(connection, self.secret, slug, changes)

    def pause_warehouse(self, slug: str) -> Warehouse:
        """Nothing is loaded until it is resumed; events wait in the log."""
        with self._database.write() as connection:
            return WAREHOUSES.update(connection, slug, paused=True)

    def resume_warehouse(self, slug: str) -> Warehouse:
        with self._database.write() as connection:
            return WAREHOUSES.update(connection, slug, paused=False)

    def rename_warehouse(self, slug: str, nickname: str) -> Warehouse:
        """The slug stays."""
        with self._database.write() as connection:
            return WAREHOUSES.update(connection, slug, nickname=names.nickname(nickname))

    def note_retyped(self, slug: str, column: str) -> Warehouse:
        """Keep that a person chose the type of `schema.table.column`."""
        with self._database.write() as connection:
            return WAREHOUSES.note_retyped(connection, slug, column)

    def select(self, slug: str, source: str, selection: Mapping[str, Any] | None) -> Warehouse:
        """Keep what of a source this warehouse loads, None for everything. It is the caller who validates the selection."""
        with self._database.write() as connection:
            return WAREHOUSES.select(connection, slug, source, selection)

    def remove_warehouse(self, slug: str) -> Warehouse:
        """Its data stays where it is and its slug stays taken; its secrets are forgotten. A second call raises NotFoundError."""
        with self._database.write() as connection:
            return WAREHOUSES.remove(connection, slug, self._clock())

    def destination_snapshot(self) -> tuple[int, list[Destination]]:
        """The revision and every destination of that moment, removed ones too."""
        with self._database.read() as connection:
            return database.revision_of(connection), DESTINATIONS.every(connection)

    def destinations(self, *, include_removed: bool = False) -> list[Destination]:
        """Oldest first."""
        return [d for d in self.destination_snapshot()[1] if include_removed or d.removed_at is None]

    def destination(self, slug: str) -> Destination:
        """A removed one too. Raises NotFoundError."""
        with self._database.read() as connection:
            return DESTINATIONS.one(connection, slug)

    def revealed_destination_settings(self, slug: str) -> dict[str, Any]:
        """A destination's settings with the secret ones in clear, for sending and checking: not for any output.

        Raises NotFoundError for a removed one too, and ConfigError when the secrets do not open with this folder's secret."""
        with self._database.read() as connection:
            return DESTINATIONS.revealed(connection, self.secret, slug)

    def destination_settings_after(self, slug: str, changes: Mapping[str, Any]) -> dict[str, Any]:
        """What `revealed_destination_settings` would be after `set_destination_settings`, to be checked before. Raises ConfigError."""
        with self._database.read() as connection:
            return DESTINATIONS.after(connection, self.secret, slug, changes)

    def free_destination_slug(self, kind: str, nickname: str, slug: str | None = None) -> str:
        """The slug that `add_destination` would give now. Raises ConfigError."""
        with self._database.read() as connection:
            return free_slug(connection, kind, names.nickname(nickname), slug)

    def add_destination(
        self,
        kind: str,
        nickname: str,
        sources: Iterable[str],
        settings: Mapping[str, Any] | None = None,
        slug: str | None = None,
    ) -> Destination:
        """`settings` may hold texts where the kind wants numbers or booleans. It is the caller who has the kind itself look at them.

        Raises ConfigError and NotFoundError."""
        checked = DESTINATIONS.checked(kind, settings or {})
        nickname = names.nickname(nickname)
        with self._database.write() as connection:
            return DESTINATIONS.insert(
                connection,
                self.secret,
                checked,
                slug=free_slug(connection, kind, nickname, slug),
                kind=kind,
                nickname=nickname,
                sources=connectable(connection, sources),
                paused=False,
                created_at=self._clock(),
            )

    def set_destination_settings(self, slug: str, changes: Mapping[str, Any]) -> Destination:
        """Settings that are not named stay, and so does a secret whose own mask is given; None takes one back to its default. Raises ConfigError."""
        with self._database.write() as connection:
            return DESTINATIONS.set_settings(connection, self.secret, slug, changes)

    def connect_destination(self, slug: str, sources: Iterable[str]) -> Destination:
        """These sources' events go to it too."""
        with self._database.write() as connection:
            return DESTINATIONS.connect(connection, slug, sources)

    def disconnect_destination(self, slug: str, sources: Iterable[str]) -> Destination:
        """These sources' events go to it no more; it may be left with none."""
        with self._database.write() as connection:
            return DESTINATIONS.disconnect(connection, slug, sources)

    def pause_destination(self, slug: str) -> Destination:
        """Nothing is sent until it is resumed; events wait in the log."""
        with self._database.write() as connection:
            return DESTINATIONS.update(connection, slug, paused=True)

    def resume_destination(self, slug: str) -> Destination:
        """Also one that headrace itself switched off."""
        with self._database.write() as connection:
            return DESTINATIONS.update(connection, slug, paused=False, disabled=None)

    def disable_destination(self, slug: str, reason: str) -> Destination:
        """Headrace itself switches it off; its events wait in the log as when it is paused. `reason` is shown to people."""
        with self._database.write() as connection:
            return DESTINATIONS.update(connection, slug, disabled=reason)

    def rename_destination(self, slug: str, nickname: str) -> Destination:
        """The slug stays."""
        with self._database.write() as connection:
            return DESTINATIONS.update(connection, slug, nickname=names.nickname(nickname))

    def remove_destination(self, slug: str) -> Destination:
        """Its slug stays taken; its secrets are forgotten. A second call raises NotFoundError."""
        with self._database.write() as connection:
            return DESTINATIONS.remove(connection, slug, self._clock())

    def _update(self, slug: str, **values: Any) -> Source:
        with self._database.write() as connection:
            return SOURCES.update(connection, slug, **values)

    def _add_key(self, connection: sa.Connection, slug: str, others: tuple[WriteKey, ...], now: datetime) -> str:
        key = new_key()
        while last_four(key) in {other.last_four for other in others}:  # retire_key tells keys apart by these
            key = new_key()
        connection.execute(
            sa.insert(database.write_keys).values(
                source=slug, digest=digest_of(self.secret, key), last_four=last_four(key), created_at=now
            )
        )
        return key
