"""`headrace warehouse test` for PostgreSQL: network, login, version, writing, privilege, and a schema made and removed."""
# ruff: noqa: S608 -- identifiers go through `quoted`

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable, Sequence
from typing import Final
from urllib.parse import urlsplit

import pyarrow as pa

from headrace.errors import HeadraceError
from headrace.warehouses._dialect import Dialect
from headrace.warehouses._postgresql import Limits, PostgreSQLSession
from headrace.warehouses._postgresql_dialect import PostgreSQLDialect
from headrace.warehouses._session import HeldError
from headrace.warehouses.base import HOUSEKEEPING, Finding

LEAST_VERSION: Final = 150_000
PORT: Final = 5432
_FAILURES: Final[tuple[type[Exception], ...]] = (HeadraceError, HeldError, ValueError)


def findings(dsn: str, connect_seconds: int) -> list[Finding]:
    """Each step up to the first that fails. Raises nothing and leaves nothing behind."""
    reached = network(dsn, connect_seconds)
    if not reached.ok:
        return [reached]
    found = [reached]
    dialect = PostgreSQLDialect()
    try:
        session = PostgreSQLSession(dsn, dialect, Limits(connect_seconds, 60.0))
    except _FAILURES as error:
        user = urlsplit(dsn).username or "headrace"
        remedy = (
            f"as an administrator: ALTER ROLE {dialect.quoted(user)} LOGIN PASSWORD '...'; then set the warehouse's dsn"
        )
        return [*found, Finding("login", False, str(error), remedy)]
    found.append(Finding("login", True, "the role and its password are taken"))
    steps: Sequence[tuple[str, Callable[[PostgreSQLSession], Finding]]] = (
        ("version", _version),
        ("writable", _writable),
        ("privilege", _privilege),
        ("schema", _schema),
        ("write", _write),
    )
    try:
        for name, step in steps:
            try:
                found.append(step(session))
            except _FAILURES as error:
                found.append(Finding(name, False, str(error), "see the server's log"))
            if not found[-1].ok:
                break
    finally:
        session.close()
    return found


def network(dsn: str, connect_seconds: int) -> Finding:
    place = urlsplit(dsn)
    host = place.hostname or ""
    if not host or "," in place.netloc or host.startswith("%2f"):
        return Finding("network", True, "a socket or several hosts: left to the login")
    try:
        port = place.port or PORT
        socket.create_connection((host, port), connect_seconds).close()
    except (OSError, ValueError) as error:
        remedy = (
            "start the server, let listen_addresses include this network, and open the port in the firewalls between"
        )
        return Finding("network", False, f"{host} cannot be reached: {error}", remedy)
    return Finding("network", True, f"{host} answers at port {port}")


def _one(session: PostgreSQLSession, sql: str) -> Sequence[object]:
    return [column[0].as_py() for column in session.fetch(sql).columns]


def _version(session: PostgreSQLSession) -> Finding:
    number, shown = _one(
        session, "SELECT current_setting('server_version_num')::int, current_setting('server_version')"
    )
    if isinstance(number, int) and number >= LEAST_VERSION:
        return Finding("version", True, f"PostgreSQL {shown}")
    return Finding("version", False, f"PostgreSQL {shown} is too old", "upgrade the server to PostgreSQL 15 or later")


def _writable(session: PostgreSQLSession) -> Finding:
    standby, read_only = _one(session, "SELECT pg_is_in_recovery(), current_setting('transaction_read_only')")
    if standby:
        return Finding("writable", False, "the server is a standby", "let the warehouse's dsn name the primary")
    if read_only == "on":
        role, database = _quoted(session, "current_user"), _quoted(session, "current_database()")
        remedy = f"ALTER ROLE {role} IN DATABASE {database} SET default_transaction_read_only = off"
        return Finding("writable", False, "transactions are read-only for this role", remedy)
    return Finding("writable", True, "the server takes writes")


def _privilege(session: PostgreSQLSession) -> Finding:
    database, role = _quoted(session, "current_database()"), _quoted(session, "current_user")
    asked = "has_database_privilege(current_database(), '{}')"
    held = _one(session, f"SELECT {asked.format('CREATE')}, {asked.format('TEMPORARY')}")
    missing = [name for name, has in zip(("CREATE", "TEMPORARY"), held, strict=True) if not has]
    if missing:
        remedy = f"as the owner of the database: GRANT {', '.join(missing)} ON DATABASE {database} TO {role}"
        return Finding("privilege", False, f"the role {role} may not {' nor '.join(missing)} in {database}", remedy)
    return Finding("privilege", True, f"the role {role} may create schemas in {database}")


def _schema(session: PostgreSQLSession) -> Finding:
    role = _quoted(session, "current_user")
    others = session.fetch(
        "SELECT pg_get_userbyid(nspowner)::text FROM pg_namespace "
        f"WHERE nspname = '{HOUSEKEEPING}' AND NOT pg_has_role(nspowner, 'USAGE')"
    ).to_pylist()
    if others:
        remedy = f"as its owner or an administrator: ALTER SCHEMA {HOUSEKEEPING} OWNER TO {role}, and its tables too"
        return Finding("schema", False, f"the schema {HOUSEKEEPING} belongs to another role", remedy)
    return Finding("schema", True, f"the schema {HOUSEKEEPING} is free or belongs to {role}")


def _write(session: PostgreSQLSession) -> Finding:
    """The schema is committed, so that COMMIT is tried as well, and removed whatever happens."""
    schema = session.dialect.quoted(f"headrace_check_{secrets.token_hex(4)}")
    try:
        session.begin()
        session.run([f"CREATE SCHEMA {schema}", f"CREATE TABLE {schema}.written (id text)"])
        staged = session.stage(pa.table({"id": ["a", "b"]}))
        session.run([f"INSERT INTO {schema}.written (id) SELECT id FROM {staged}"])
        session.commit()
        session.begin()
        session.run([f"DROP SCHEMA {schema} CASCADE"])
        session.commit()
    except _FAILURES as error:
        session.rollback()
        if not session.is_broken:
            session.run([f"DROP SCHEMA IF EXISTS {schema} CASCADE"])
        return Finding("write", False, f"writing failed: {error}", "see the server's log")
    return Finding("write", True, "a schema and a table were made, written and removed")


def _quoted(session: PostgreSQLSession, expression: str) -> str:
    dialect: Dialect = session.dialect
    return dialect.quoted(str(_one(session, f"SELECT {expression}::text")[0]))
