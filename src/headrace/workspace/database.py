"""The workspace's database: tables, connections, transactions and the upgrade at open."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine.interfaces import DBAPIConnection, Dialect

from headrace.errors import ConfigError, HeadraceError, RetryableError

HEAD: Final = "0007"
"""The newest migration: what an up-to-date database says, so that opening one needs no Alembic (0.4 s of imports)."""

MIGRATIONS: Final = Path(__file__).parent / "migrations"
_BUSY_SECONDS: Final = 10.0
_PASSING: Final = ("locked", "busy", "full", "disk i/o")
metadata: Final = sa.MetaData()


class Utc(sa.TypeDecorator[datetime]):
    """A moment in UTC with its zone: SQLite keeps none, so it is taken off on the way in and put back on the way out."""

    impl = sa.DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002 - SQLAlchemy's signature
        return None if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002 - SQLAlchemy's signature
        return None if value is None else value.replace(tzinfo=UTC)


sources: Final = sa.Table(
    "sources",
    metadata,
    sa.Column("slug", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("nickname", sa.Text, nullable=False),
    sa.Column("schema", sa.Text, nullable=False, unique=True),
    sa.Column("enabled", sa.Boolean, nullable=False),
    sa.Column("settings", sa.JSON, nullable=False),
    sa.Column("created_at", Utc, nullable=False),
    sa.Column("removed_at", Utc),
)
write_keys: Final = sa.Table(
    "write_keys",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("source", sa.Text, sa.ForeignKey("sources.slug"), nullable=False, index=True),
    sa.Column("digest", sa.Text, nullable=False, unique=True),
    sa.Column("last_four", sa.Text, nullable=False),
    sa.Column("created_at", Utc, nullable=False),
)
warehouses: Final = sa.Table(
    "warehouses",
    metadata,
    sa.Column("slug", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("nickname", sa.Text, nullable=False),
    sa.Column("settings", sa.JSON, nullable=False),
    sa.Column("sealed", sa.Text),
    sa.Column("paused", sa.Boolean, nullable=False),
    sa.Column("selection", sa.JSON, nullable=False),
    sa.Column("retyped", sa.JSON, nullable=False),
    sa.Column("created_at", Utc, nullable=False),
    sa.Column("removed_at", Utc),
)
"""`settings` holds secret ones masked, for showing; `sealed` holds them encrypted, None where there are none."""
destinations: Final = sa.Table(
    "destinations",
    metadata,
    sa.Column("slug", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("nickname", sa.Text, nullable=False),
    sa.Column("sources", sa.JSON, nullable=False),
    sa.Column("settings", sa.JSON, nullable=False),
    sa.Column("sealed", sa.Text),
    sa.Column("paused", sa.Boolean, nullable=False),
    sa.Column("disabled", sa.Text),
    sa.Column("created_at", Utc, nullable=False),
    sa.Column("removed_at", Utc),
)
"""`settings` and `sealed` as those of warehouses."""
alert_channels: Final = sa.Table(
    "alert_channels",
    metadata,
    sa.Column("slug", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("nickname", sa.Text, nullable=False),
    sa.Column("settings", sa.JSON, nullable=False),
    sa.Column("sealed", sa.Text),
    sa.Column("created_at", Utc, nullable=False),
)
"""`settings` and `sealed` as those of warehouses."""
alerts: Final = sa.Table(
    "alerts",
    metadata,
    sa.Column("slug", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("nickname", sa.Text, nullable=False),
    sa.Column("channels", sa.JSON, nullable=False),
    sa.Column("settings", sa.JSON, nullable=False),
    sa.Column("paused", sa.Boolean, nullable=False),
    sa.Column("created_at", Utc, nullable=False),
)
"""`kind` is the slug of the condition."""
email_model: Final = sa.Table(
    "email_model", metadata, sa.Column("settings", sa.Text), sa.Column("revision", sa.Integer, nullable=False)
)
"""One row. `settings` is JSON; `revision` counts its changes."""
saved: Final = sa.Table(
    "saved",
    metadata,
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("slug", sa.Text, primary_key=True),
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("body", sa.JSON, nullable=False),
    sa.Column("author", sa.Text, nullable=False),
    sa.Column("created_at", Utc, nullable=False),
    sa.Column("changed_at", Utc, nullable=False),
    sa.Column("revision", sa.Integer, nullable=False),
)
"""Queries, reports and dashboards. `revision` counts a row's own changes, from 1."""
revision: Final = sa.Table("revision", metadata, sa.Column("value", sa.Integer, nullable=False))
"""One row, counted up by every change."""


def revision_of(connection: sa.Connection) -> int:
    return int(connection.execute(sa.select(revision.c.value)).scalar_one())


def count_change(connection: sa.Connection) -> None:
    """Every write transaction that changed something calls this once, so that other processes notice."""
    connection.execute(sa.update(revision).values(value=revision.c.value + 1))


Watched = Callable[[sa.Connection], AbstractContextManager[Any]]


class Database:
    """An open, upgraded database. Threads may share it; processes open their own, after a fork and never before."""

    def __init__(self, url: str, lock_file: Path, watched: Watched | None = None) -> None:
        """`watched` looks on at every write transaction. Raises ConfigError when the database cannot be opened or was written by a newer headrace."""
        self._url = sa.make_url(url)
        self._watched: Watched = watched or nullcontext
        if self._url.get_backend_name() != "sqlite" or not self._url.database:
            raise ConfigError(f"workspace: {self._url} is no SQLite file; give sqlite:///PATH")
        self._path = Path(self._url.database)
        self._engine = sa.create_engine(
            self._url, connect_args={"timeout": _BUSY_SECONDS}, hide_parameters=True
        )  # secrets are among them, and errors are logged
        sa.event.listen(self._engine, "connect", _configure)
        sa.event.listen(self._engine, "begin", _begin)
        self._writing = self._engine.execution_options(immediate=True)
        self._of_thread = threading.local()
        try:
            self._prepare(lock_file)
        except BaseException:
            self._engine.dispose()
            raise

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """One read transaction: everything in it sees the same moment. Never waits for a writer; within a write of the same thread it is a part
        of that.

        Raises RetryableError or ConfigError."""
        writing = getattr(self._of_thread, "writing", None)
        if writing is not None:
            yield writing
            return
        with self._translated("read"), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """One write transaction, alone among all processes from its first moment; rolled back by any error. Writes of the same thread within it
        are parts of it: they hold when it does, and one that fails leaves the others alone where its error is caught.

        Raises RetryableError (others write for too long, disk full) or ConfigError; nothing is stored then."""
        writing = getattr(self._of_thread, "writing", None)
        if writing is not None:
            with self._translated("write"), writing.begin_nested():
                yield writing
            return
        with self._translated("write"), self._writing.begin() as connection, self._watched(connection):
            self._of_thread.writing = connection
            try:
                yield connection
            finally:
                self._of_thread.writing = None

    def close(self) -> None:
        self._engine.dispose()

    def _prepare(self, lock_file: Path) -> None:
        with _locked(lock_file, fcntl.LOCK_SH):
            if self._path.exists() and self._version() == HEAD:
                return
        with _locked(lock_file, fcntl.LOCK_EX):
            self._create()
            with self._translated("upgrade"), self._writing.begin() as connection:
                version = _version(connection)
                if version is None:
                    make(connection)
                elif version != HEAD:
                    _upgrade(connection, self._path)

    def _version(self) -> str | None:
        with self.read() as connection:
            return _version(connection)

    def _create(self) -> None:
        if not self._path.exists():  # a second descriptor on an open SQLite file would drop its locks when closed
            os.close(os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        try:
            connection = self._engine.raw_connection()  # outside of a transaction, where alone the mode can be changed
            try:
                # WAL lets a collector read while somebody else waits for a slow disk. The mode stays with the file.
                connection.cursor().execute("PRAGMA journal_mode=WAL")
            finally:
                connection.close()
        except sqlite3.Error as error:
            raise self._translation("create", error) from error

    @contextmanager
    def _translated(self, step: str) -> Iterator[None]:
        try:
            yield
        except HeadraceError:
            raise
        except sa.exc.DatabaseError as error:
            raise self._translation(step, error.orig) from error

    def _translation(self, step: str, error: BaseException | None) -> HeadraceError:
        reason = str(error)
        if any(word in reason.lower() for word in _PASSING):
            return RetryableError(f"workspace: cannot {step} {self._path} now: {reason}")
        return ConfigError(
            f"workspace: cannot {step} {self._path}: {reason}; check the file's rights, or restore it from a backup"
        )


def _configure(connection: DBAPIConnection, _: object) -> None:
    # autocommit of the driver, so that BEGIN, and with it transactional DDL, is ours
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in ("foreign_keys=ON", "secure_delete=ON", "synchronous=FULL"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin(connection: sa.Connection) -> None:
    immediate = connection.get_execution_options().get("immediate", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


def _version(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    version: Any = connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
    return None if version is None else str(version)


def make(connection: sa.Connection) -> None:
    """A new workspace, the same as the migrations make, without Alembic (0.4 s of imports); a test compares the two."""
    from headrace.workspace import access_tables  # noqa: F401, PLC0415 - its tables are of the metadata, too

    metadata.create_all(connection)
    connection.execute(sa.insert(revision).values(value=0))
    connection.execute(sa.insert(email_model).values(settings=None, revision=0))
    connection.execute(
        sa.insert(warehouses).values(
            slug="warehouse",
            kind="duckdb",
            nickname="Warehouse",
            settings={},
            paused=False,
            selection={},
            retyped=[],
            created_at=datetime.now(UTC),
        )
    )
    version = sa.Table("alembic_version", sa.MetaData(), sa.Column("version_num", sa.String(32), primary_key=True))
    version.create(connection)
    connection.execute(sa.insert(version).values(version_num=HEAD))


def _upgrade(connection: sa.Connection, path: Path) -> None:
    """Run the missing migrations in the caller's transaction: all of them or none."""
    from alembic import command, config, util  # noqa: PLC0415 - 0.4 s, needed once in a database's life

    settings = config.Config()
    settings.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    settings.attributes["connection"] = connection
    try:
        command.upgrade(settings, "head")
    except util.CommandError as error:
        raise ConfigError(
            f"workspace: {path} cannot be upgraded ({error}); if a newer headrace wrote it, run that one"
        ) from error


@contextmanager
def _locked(file: Path, mode: int) -> Iterator[None]:
    """Several processes may open the same folder for the first time at once: one creates and upgrades."""
    try:
        descriptor = os.open(file, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigError(
            f"workspace: cannot open {file}: {error.strerror}; check the folder and its rights"
        ) from error
    try:
        fcntl.flock(descriptor, mode)
        yield
    finally:
        os.close(descriptor)
