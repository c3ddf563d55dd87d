"""A real PostgreSQL server for tests: its own folder, loopback and a socket of its own, ended with the tests whatever happens."""

from __future__ import annotations

import atexit
import ctypes
import itertools
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

import adbc_driver_manager
import adbc_driver_postgresql.dbapi  # type: ignore[import-untyped]  # it ships no types
import psutil

from conftest import missing
from headrace.config import WarehouseConfig
from headrace.warehouses.base import Place
from headrace.warehouses.postgresql import PostgreSQLKind, PostgreSQLSettings

ADMIN: Final = "admin"
ADMIN_PASSWORD: Final = "admin secret %/@"
PASSWORD: Final = "loader-secret"
ROLE: Final = "headrace"
LEAST_VERSION: Final = 15
START_SECONDS: Final = 60.0
PR_SET_PDEATHSIG: Final = 1
_DATABASES: Final = itertools.count()


def binaries() -> Path:
    """The newest server's folder. Where there is none the test is skipped, under CI it fails."""
    found = sorted(
        (int(match.group(1)), path)
        for path in Path("/usr/lib/postgresql").glob("*/bin")
        if (match := re.fullmatch(r"(\d+)", path.parent.name)) and (path / "initdb").exists()
    )
    if not found or found[-1][0] < LEAST_VERSION:
        missing("PostgreSQL 15 or later is not installed; `apt-get install postgresql`")
    return found[-1][1]


def _unprivileged() -> tuple[int, int] | None:
    """The server refuses to run as root, so then it runs as the user that Debian's package made."""
    if os.geteuid():
        return None
    user = pwd.getpwnam("postgres")
    return user.pw_uid, user.pw_gid


def _dies_with_us() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGQUIT)


class PostgreSQLServer:
    """Started at once. `settings` go to postgresql.conf; fsync is on unless they say otherwise."""

    def __init__(self, settings: Sequence[str] = ()) -> None:
        self._binaries = binaries()
        self._user = _unprivileged()
        # Not below pytest's folders, which only root may enter.
        self.folder = Path(tempfile.mkdtemp(prefix="headrace-postgresql-"))
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        atexit.register(self.remove)
        password = self.folder / "password"
        password.write_text(ADMIN_PASSWORD + "\n")
        if self._user:
            for path in (self.folder, password):
                os.chown(path, *self._user)
        options = ("--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync", f"--pwfile={password}")
        self._run("initdb", "-D", str(self.folder / "data"), "-U", ADMIN, *options)
        configuration = self.folder / "data" / "postgresql.conf"
        lines = [
            "listen_addresses = '127.0.0.1'",
            f"port = {self.port}",
            f"unix_socket_directories = '{self.folder}'",
            "max_connections = 40",
            *settings,
        ]
        with configuration.open("a") as file:
            file.write("\n".join(lines) + "\n")
        self.start()
        self.sql(f"CREATE ROLE {ROLE} LOGIN PASSWORD '{PASSWORD}'")

    def _as_user(self) -> dict[str, Any]:
        return {"user": self._user[0], "group": self._user[1], "extra_groups": []} if self._user else {}

    def _run(self, command: str, *arguments: str) -> None:
        subprocess.run(
            [self._binaries / command, *arguments],
            check=True,
            capture_output=True,
            timeout=120,
            cwd="/",
            **self._as_user(),
        )

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._binaries / "postgres", "-D", str(self.folder / "data")],
                stdout=log,
                stderr=log,
                cwd="/",
                preexec_fn=_dies_with_us,  # noqa: PLW1509 -- no other thread of the tests forks here
                **self._as_user(),
            )
        until = time.monotonic() + START_SECONDS
        while True:
            try:
                self.sql("SELECT 1")
            except adbc_driver_manager.Error:
                if time.monotonic() > until or self._process.poll() is not None:
                    raise
                time.sleep(0.05)
            else:
                return

    def _tree(self) -> list[psutil.Process]:
        if self._process is None or self._process.poll() is not None:
            return []
        first = psutil.Process(self._process.pid)
        return [first, *first.children(recursive=True)]

    def _signal(self, number: int) -> None:
        for process in self._tree():
            try:
                process.send_signal(number)
            except psutil.NoSuchProcess:
                continue

    def stop(self) -> None:
        """Fast: sessions are ended, what was committed is there."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(60)

    def kill(self) -> None:
        """kill -9 of every process."""
        tree = self._tree()
        self._signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait(60)
        psutil.wait_procs(tree[1:], timeout=10)

    def pause(self) -> None:
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def remove(self) -> None:
        """Safe to call twice."""
        self.resume()
        self._signal(signal.SIGQUIT)
        if self._process is not None:
            self._process.wait(60)
        shutil.rmtree(self.folder, ignore_errors=True)

    def dsn(self, database: str = "postgres", role: str = ROLE, password: str = PASSWORD) -> str:
        from urllib.parse import quote

        return f"postgresql://{role}:{quote(password, safe='')}@127.0.0.1:{self.port}/{database}"

    def sql(self, *statements: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """As the administrator, each in a transaction of its own. Returns the rows of the last one."""
        rows: list[tuple[Any, ...]] = []
        dsn = self.dsn(database, ADMIN, ADMIN_PASSWORD) + "?connect_timeout=30"
        with adbc_driver_postgresql.dbapi.connect(dsn, autocommit=True) as connection:
            for statement in statements:
                with connection.cursor() as cursor:
                    cursor.adbc_statement.set_options(**{"adbc.postgresql.use_copy": "false"})
                    cursor.execute(statement)
                    found = cursor.fetch_arrow_table()
                    rows = list(zip(*(column.to_pylist() for column in found.columns), strict=True))
        return rows

    def database(self, *, role: str = ROLE) -> str:
        """A new one that the role may make its schemas in, and nothing else. Returns its name."""
        name = f"warehouse_{next(_DATABASES)}"
        self.sql(f"CREATE DATABASE {name} STRATEGY wal_log", f"GRANT CREATE ON DATABASE {name} TO {role}")
        return name


@cache
def shared() -> PostgreSQLServer:
    """One server for everything that does not stop it, ended with the tests. Nothing of it outlives a crash, so it waits for no disk."""
    return PostgreSQLServer(["fsync = off", "full_page_writes = off"])


def kind(dsn: str, **settings: Any) -> PostgreSQLKind:
    chosen = PostgreSQLSettings(dsn=dsn, connect_seconds=30, **settings)
    return PostgreSQLKind(chosen, Place("team", Path("/nowhere"), WarehouseConfig()))
