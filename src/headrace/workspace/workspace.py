"""The workspace: sources and their write keys. Several processes may hold the same one open: command line, collectors, worker."""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import msgspec
import sqlalchemy as sa

from headrace.errors import ConfigError, NotFoundError
from headrace.sources import base
from headrace.workspace import database, names
from headrace.workspace.keys import digest_of, last_four, new_key
from headrace.workspace.records import Source, WriteKey

DATABASE_FILE: Final = "workspace.db"
SECRET_FILE: Final = "secret.key"  # noqa: S105 - the name of a file
_SECRET_BYTES: Final = 32
_LIVE_KEYS: Final = 2


class Workspace:
    """Every change is one transaction and counts `revision` up by one, so that other processes notice it by one cheap read."""

    def __init__(
        self, url: str, secret_file: Path, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        """Creates and upgrades what is missing. Raises ConfigError."""
        self._clock = clock
        self._database = database.Database(url, secret_file.with_name("workspace.lock"))
        try:
            self.secret: Final = self._secret(secret_file)
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

    def revision(self) -> int:
        """Counts up with every change. Cheap enough to be asked twice a second by each process."""
        with self._database.read() as connection:
            return _revision(connection)

    def snapshot(self) -> tuple[int, list[Source]]:
        """The revision and every source of that moment, removed ones too."""
        with self._database.read() as connection:
            return _revision(connection), _sources(connection)

    def sources(self, *, include_removed: bool = False) -> list[Source]:
        """Oldest first."""
        return [source for source in self.snapshot()[1] if include_removed or source.removed_at is None]

    def source(self, slug: str) -> Source:
        """A removed one too. Raises NotFoundError."""
        with self._database.read() as connection:
            return _source(connection, slug)

    def add_source(
        self, kind: str, nickname: str, schema: str | None = None, settings: Mapping[str, Any] | None = None
    ) -> tuple[Source, str]:
        """The new source and its write key, which is not stored and cannot be shown again.

        `settings` may hold texts where the kind wants numbers or booleans. Raises ConfigError and NotFoundError."""
        checked = _settings(kind, settings or {})
        nickname = names.nickname(nickname)
        now = self._clock()
        with self._database.write() as connection:
            slugs, schemas = _taken(connection)
            slug = names.free(names.slug_of(nickname, kind), slugs, "-")
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
            return _changed(connection, slug), key

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
            source = _live_source(connection, slug)
            _declared(source.kind, changes)
            merged = {**source.settings, **changes}
            kept = {name: value for name, value in merged.items() if value is not None}
            return _update(connection, slug, settings=_settings(source.kind, kept))

    def rotate_key(self, slug: str) -> str:
        """A second write key, shown only now; the first works until it is retired. Raises ConfigError when two live already."""
        with self._database.write() as connection:
            source = _live_source(connection, slug)
            if len(source.keys) >= _LIVE_KEYS:
                oldest = source.keys[0].last_four
                raise ConfigError(
                    f"write key: {slug} has two live keys already; when nothing uses the older one any more, "
                    f"run: headrace source retire-key {slug} {oldest}"
                )
            key = self._add_key(connection, slug, source.keys, self._clock())
            _changed(connection, slug)
            return key

    def retire_key(self, slug: str, last_four: str) -> Source:
        """End a key. Raises NotFoundError when none ends so, ConfigError for a source's only key."""
        with self._database.write() as connection:
            source = _live_source(connection, slug)
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
            return _changed(connection, slug)

    def remove(self, slug: str) -> Source:
        """Its keys die now. Its events, slug and schema stay. A second call raises NotFoundError."""
        with self._database.write() as connection:
            _live_source(connection, slug)
            connection.execute(sa.delete(database.write_keys).where(database.write_keys.c.source == slug))
            return _update(connection, slug, removed_at=self._clock(), enabled=False)

    def _update(self, slug: str, **values: Any) -> Source:
        with self._database.write() as connection:
            _live_source(connection, slug)
            return _update(connection, slug, **values)

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

    def _secret(self, file: Path) -> bytes:
        try:
            if not file.exists():
                with self._database.write() as connection:  # its lock makes this the only process that creates the file
                    if not file.exists():
                        _create_secret(file, needed=bool(_sources(connection)))
            secret = file.read_bytes()
        except OSError as error:
            raise ConfigError(f"workspace: cannot read {file}: {error.strerror}; check its rights") from error
        if len(secret) != _SECRET_BYTES:
            raise ConfigError(
                f"workspace: {file} must have {_SECRET_BYTES} bytes, it has {len(secret)}; restore it from a backup"
            )
        return secret


def _create_secret(file: Path, *, needed: bool) -> None:
    if needed:
        raise ConfigError(
            f"workspace: {file} is missing, and without it no write key is known; restore it from a backup. "
            f"If there is none, run: head -c {_SECRET_BYTES} /dev/urandom > {file}, then rotate every source's key"
        )
    descriptor, temporary = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)  # mode 0600
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(secrets.token_bytes(_SECRET_BYTES))
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).replace(file)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _declared(kind: str, setting_names: Iterable[str]) -> type[base.SourceSettings]:
    declared = base.kind(kind).Settings
    known = declared.__struct_fields__
    for name in setting_names:
        if name not in known:
            raise ConfigError(f"settings: {kind} has no {name!r}; it has {', '.join(known)}")
    return declared


def _settings(kind: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The given settings as the kind's types, defaults not filled in."""
    declared = _declared(kind, settings)
    try:
        converted = msgspec.to_builtins(msgspec.convert(dict(settings), declared, strict=False))
    except msgspec.ValidationError as error:
        raise ConfigError(f"settings: {kind}: {error}; `headrace catalog {kind}` lists what it takes") from None
    return {name: converted[name] for name in settings}


def _revision(connection: sa.Connection) -> int:
    return int(connection.execute(sa.select(database.revision.c.value)).scalar_one())


def _taken(connection: sa.Connection) -> tuple[set[str], set[str]]:
    rows = connection.execute(sa.select(database.sources.c.slug, database.sources.c.schema)).all()
    return {row.slug for row in rows}, {row.schema for row in rows}


def _sources(connection: sa.Connection, slug: str | None = None) -> list[Source]:
    sources, write_keys = database.sources, database.write_keys
    select = sa.select(sources).order_by(sources.c.created_at, sources.c.slug)
    select_keys = sa.select(write_keys).order_by(write_keys.c.id)
    if slug is not None:
        select, select_keys = select.where(sources.c.slug == slug), select_keys.where(write_keys.c.source == slug)
    keys: dict[str, list[WriteKey]] = {}
    for row in connection.execute(select_keys):
        keys.setdefault(row.source, []).append(WriteKey(row.digest, row.last_four, row.created_at))
    return [
        Source(
            slug=row.slug,
            kind=row.kind,
            nickname=row.nickname,
            schema=row.schema,
            enabled=row.enabled,
            created_at=row.created_at,
            keys=tuple(keys.get(row.slug, ())),
            settings=row.settings,
            removed_at=row.removed_at,
        )
        for row in connection.execute(select)
    ]


def _source(connection: sa.Connection, slug: str) -> Source:
    found = _sources(connection, slug)
    if not found:
        raise NotFoundError(f"source: there is no {slug[:100]!r}; see: headrace source list")
    return found[0]


def _live_source(connection: sa.Connection, slug: str) -> Source:
    source = _source(connection, slug)
    if source.removed_at is not None:
        raise NotFoundError(f"source: {slug} was removed on {source.removed_at:%Y-%m-%d}; add a new one instead")
    return source


def _update(connection: sa.Connection, slug: str, **values: Any) -> Source:
    connection.execute(sa.update(database.sources).where(database.sources.c.slug == slug).values(**values))
    return _changed(connection, slug)


def _changed(connection: sa.Connection, slug: str) -> Source:
    table = database.revision
    connection.execute(sa.update(table).values(value=table.c.value + 1))
    return _source(connection, slug)
