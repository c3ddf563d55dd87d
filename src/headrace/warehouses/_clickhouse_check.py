"""What `headrace warehouse test` tells of a ClickHouse: steps up to the first that fails, and nothing left behind."""
# ruff: noqa: S106, S608 -- a token of a block is no secret; the only name in the statements is quoted and made here

from __future__ import annotations

import socket
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import pyarrow as pa

from headrace.errors import HeadraceError
from headrace.warehouses._clickhouse_session import Session
from headrace.warehouses._clickhouse_sql import quoted
from headrace.warehouses.base import Finding

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

_SECONDS: Final = 10.0


def findings(
    connect: Callable[[], Client], ask: Callable[[], Client] | None, host: str, port: int, user: str
) -> Sequence[Finding]:
    found: list[Finding] = []
    try:
        socket.create_connection((host, port), _SECONDS).close()
    except OSError as error:
        remedy = "set host and port to those of the server's HTTP interface, and let this machine through its firewall"
        return [Finding("network", False, f"{host}:{port} cannot be reached: {error}", remedy)]
    found.append(Finding("network", True, f"{host}:{port} answers"))
    return [*found, *logged_in(connect, ask, user, embedded=False)]


def logged_in(
    connect: Callable[[], Client], ask: Callable[[], Client] | None, user: str, *, embedded: bool
) -> Sequence[Finding]:
    """The steps after the network."""
    try:
        session = Session(connect, ask=ask, embedded=embedded)
    except (HeadraceError, ValueError) as error:
        return [Finding("login", False, str(error), f"ALTER USER {quoted(user)} IDENTIFIED BY '...'")]
    try:
        return [Finding("login", True, "the users may log in"), *_tried(session, user)]
    finally:
        session.close()


def _tried(session: Session, user: str) -> Sequence[Finding]:
    """A schema and a table of their own, written, exchanged, read and dropped."""
    schema = quoted(f"headrace_check_{uuid.uuid4().hex[:8]}")
    columns = "(id Nullable(String)) ENGINE = MergeTree ORDER BY id"
    settings = "SETTINGS allow_nullable_key = 1, non_replicated_deduplication_window = 10"
    steps = (
        ("privilege", "CREATE DATABASE, DROP DATABASE", f"CREATE DATABASE {schema}"),
        ("schema", "CREATE TABLE", f"CREATE TABLE {schema}.a {columns} {settings}"),
        ("schema", "CREATE TABLE", f"CREATE TABLE {schema}.b {columns} {settings}"),
        ("schema", "ALTER TABLE", f"ALTER TABLE {schema}.a ADD COLUMN n Nullable(Int64)"),
        ("schema", "CREATE TABLE, DROP TABLE, INSERT", f"EXCHANGE TABLES {schema}.a AND {schema}.b"),
        ("schema", "CREATE VIEW", f"CREATE VIEW {schema}.c AS SELECT * FROM {schema}.b"),
    )
    found: dict[str, Finding] = {}
    try:
        for step, grant, statement in steps:
            try:
                session.run(statement)
            except (HeadraceError, ValueError) as error:
                return [*found.values(), Finding(step, False, str(error), f"GRANT {grant} ON *.* TO {quoted(user)}")]
            found[step] = Finding(
                step, True, {"privilege": "a schema can be made", "schema": "tables can be made"}.get(step, "")
            )
        try:
            for _ in range(2):
                session.insert(f"{schema}.b (id)", ["c0"], pa.table({"id": ["x"]}), token="x", guard="1")
        except (HeadraceError, ValueError) as error:
            remedy = f"GRANT INSERT, CREATE TEMPORARY TABLE ON *.* TO {quoted(user)}"
            return [*found.values(), Finding("write", False, str(error), remedy)]
        stored = session.value(f"SELECT count() FROM {schema}.c")
        if stored != 1:
            text = f"a block that was sent twice was stored {stored} times: this server does not keep insert_deduplication_token"
            remedy = "load into a server of its own whose tables are MergeTree"
            return [*found.values(), Finding("write", False, text, remedy)]
        found["write"] = Finding("write", True, "rows can be written, and a block that is sent twice is stored once")
        return list(found.values())
    finally:
        with suppress(HeadraceError, ValueError):
            session.run(f"DROP DATABASE IF EXISTS {schema} SYNC")
