"""The scene of the kills with a real PostgreSQL as warehouse, and the oracle's judgement of what is in it.

What PostgreSQL holds is copied into a DuckDB file by ADBC alone, without headrace's code, so that the judge is the same."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Self

import adbc_driver_postgresql.dbapi  # type: ignore[import-untyped]  # it ships no types
import duckdb
import pyarrow as pa

from crash.scene import Scene
from crash.traffic import Mix
from crash.verdict import Verdict, judge
from postgresql_server import PostgreSQLServer

SLUG: Final = "team"
OPEN_SECONDS: Final = 30.0
PLAIN: Final = ("text", "boolean", "bigint", "integer", "double precision", "timestamp with time zone")


class PostgreSQLScene(Scene):
    """Beside DuckDB or instead of it (`only`)."""

    def __init__(
        self,
        folder: Path,
        seed: int = 1,
        *,
        postgresql: PostgreSQLServer,
        database: str | None = None,
        only: bool = True,
        settings: Mapping[str, str] | None = None,
        stand_ins: Sequence[str] = (),
        events_per_second: float = 250,
        mix: Mix | None = None,
    ) -> None:
        super().__init__(
            folder, seed, settings=settings, stand_ins=stand_ins, events_per_second=events_per_second, mix=mix
        )
        self.postgresql = postgresql
        self.database = database or postgresql.database()
        self.dsn = postgresql.dsn(self.database)
        self._only = only
        self.copy = folder / "copy.duckdb"

    def __enter__(self) -> Self:
        super().__enter__()
        try:
            setting = f"dsn=text:{self.dsn}"
            self.server.command("warehouse", "add", "postgresql", "--name", SLUG, "--set", setting, "--json")
            if self._only:
                self.server.command("warehouse", "remove", "warehouse", "--yes", "--json")
            self.wait_until_open()
        except BaseException:
            self.server.stop()
            raise
        return self

    def reach(self, port: int) -> None:
        """Have the database reached at this port from now on."""
        dsn = self.dsn.replace(f":{self.postgresql.port}/", f":{port}/")
        self.server.command("warehouse", "set", SLUG, f"dsn=text:{dsn}", "--json")
        self.wait_until_open()

    def wait_until_open(self) -> None:
        ends = time.monotonic() + OPEN_SECONDS
        while (found := warehouse_in(self.server.status(), SLUG))["warehouse"]["state"] != "loading":
            assert time.monotonic() < ends, f"{found}\n{self.server.tail()}"
            time.sleep(0.1)

    def settle(self, timeout_seconds: float = 120.0) -> dict[str, Any]:
        """Of every warehouse."""
        ends = time.monotonic() + timeout_seconds
        while True:
            status = self.server.status()
            done = all(
                not entry["totals"]["pending"] and all(p["position"] >= p["next"] for p in entry["partitions"])
                for entry in status["warehouses"]
            )
            if done or time.monotonic() > ends:
                return status
            time.sleep(0.1)

    def judged(self, status: Mapping[str, Any]) -> Verdict:
        """The server may run, but nothing may come in."""
        self.copy.unlink(missing_ok=True)
        copied(self.dsn, self.copy)
        return judge(self.copy, self.source.schema, self.ledger, warehouse_in(status, SLUG))

    def verdict(self, settle_seconds: float = 120.0) -> Verdict:
        self.ebb()
        status = self.settle(settle_seconds)
        code = self.server.stop()
        verdict = self.judged(status)
        if code:
            verdict = verdict._replace(other_faults=[*verdict.other_faults, f"the server's exit code is {code}"])
        return verdict


def warehouse_in(status: Mapping[str, Any], slug: str) -> dict[str, Any]:
    """This warehouse's entry of what `headrace status --json` says."""
    found: dict[str, Any] = next(
        entry for entry in status["warehouses"] if entry["warehouse"] and entry["warehouse"]["slug"] == slug
    )
    return found


def copied(dsn: str, file: Path) -> None:
    """Every table of the database, in a DuckDB file: what has no plain type as text."""
    with adbc_driver_postgresql.dbapi.connect(dsn) as connection, duckdb.connect(str(file)) as copy:
        columns_by_table: dict[tuple[str, str], list[str]] = {}
        listed = asked(
            connection,
            "SELECT table_schema::text, table_name::text, column_name::text, data_type::text FROM information_schema.columns "
            "WHERE table_schema !~ '^(pg_|information_schema)' ORDER BY 1, 2, ordinal_position",
        )
        for schema, table, column, type_ in zip(*(column.to_pylist() for column in listed.columns), strict=True):
            name = _quoted(column)
            shown = name if type_ in PLAIN else f"{name}::text AS {name}"
            columns_by_table.setdefault((schema, table), []).append(shown)
        for (schema, table), columns in columns_by_table.items():
            name = f"{_quoted(schema)}.{_quoted(table)}"
            rows = asked(connection, f"SELECT {', '.join(columns)} FROM {name}")
            copy.execute(f"CREATE SCHEMA IF NOT EXISTS {_quoted(schema)}")
            copy.register("rows", rows)
            copy.execute(f"CREATE TABLE {name} AS SELECT * FROM rows")
            copy.unregister("rows")


def asked(connection: Any, sql: str) -> pa.Table:
    with connection.cursor() as cursor:
        cursor.adbc_statement.set_options(**{"adbc.postgresql.use_copy": "false"})
        cursor.execute(sql)
        return cursor.fetch_arrow_table()


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
