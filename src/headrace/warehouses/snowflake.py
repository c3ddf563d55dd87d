"""Snowflake: the team's own account, loaded through its stage."""

from __future__ import annotations

import importlib
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any, Final, cast

import msgspec

from headrace.errors import ConfigError, HeadraceError
from headrace.warehouses.base import Finding, WarehouseKind, WarehouseSettings

if TYPE_CHECKING:
    from headrace.warehouses._snowflake import SnowflakeSession
    from headrace.warehouses.base import Warehouse

DRIVER: Final = "pip install 'headrace[snowflake]'"
CONNECT_SECONDS: Final = 20


def _says(text: str, **more: Any) -> msgspec.Meta:
    return msgspec.Meta(description=text, **more)


class SnowflakeSettings(WarehouseSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    account: Annotated[str, _says("The account's identifier, for example myorg-myaccount.", extra={"needed": True})] = (
        ""
    )
    user: Annotated[str, _says("The user that loads; best a service user of its own.", extra={"needed": True})] = ""
    private_key: Annotated[
        str, _says("The user's private key, PEM; its public half is the user's RSA_PUBLIC_KEY.", extra={"secret": True})
    ] = ""
    private_key_passphrase: Annotated[
        str, _says("The passphrase of an encrypted private key.", extra={"secret": True})
    ] = ""
    token: Annotated[str, _says("A programmatic access token, in place of the key.", extra={"secret": True})] = ""
    password: Annotated[
        str, _says("A password, in place of the key, where the account still allows it.", extra={"secret": True})
    ] = ""
    database: Annotated[str, _says("The database; it must exist.")] = "HEADRACE"
    warehouse: Annotated[str, _says("The virtual warehouse that computes; XSMALL is enough for loading.")] = "HEADRACE"
    role: Annotated[str, _says("The role; empty: the user's default one.")] = "HEADRACE"
    interval_seconds: Annotated[
        float,
        _says(
            "How long to wait from one load to the next while little is waiting. Each load keeps the virtual warehouse running.",
            ge=0,
        ),
    ] = 60.0


class SnowflakeKind(WarehouseKind):
    title = "Snowflake"
    summary = "A database in your Snowflake account; names in upper case, so that SQL needs no quotes."
    docs_url = "https://docs.snowflake.com/en/sql-reference-commands"
    guarantee = "transactional"
    tried = (
        "not yet tried on a live account: against fakesnow, which runs Snowflake's SQL on DuckDB and knows neither its locks nor that "
        "DDL ends a transaction"
    )
    setup = (
        "CREATE ROLE headrace;",
        "CREATE WAREHOUSE headrace WAREHOUSE_SIZE = XSMALL AUTO_SUSPEND = 60 AUTO_RESUME = TRUE INITIALLY_SUSPENDED = TRUE;",
        "CREATE DATABASE headrace;",
        "GRANT USAGE, OPERATE ON WAREHOUSE headrace TO ROLE headrace;",
        "GRANT USAGE, CREATE SCHEMA ON DATABASE headrace TO ROLE headrace;",
        "CREATE USER headrace TYPE = SERVICE DEFAULT_ROLE = headrace DEFAULT_WAREHOUSE = headrace RSA_PUBLIC_KEY = '...';",
        "GRANT ROLE headrace TO USER headrace;",
    )
    Settings = SnowflakeSettings

    @property
    def pace_seconds(self) -> float:
        return cast("SnowflakeSettings", self.settings).interval_seconds

    def open(self) -> Warehouse:
        from headrace.warehouses._deferred import DeferredWarehouse  # noqa: PLC0415 - heavy
        from headrace.warehouses._snowflake_dialect import SnowflakeDialect  # noqa: PLC0415 - heavy

        self._check_settings()
        connect = self._connector()
        return DeferredWarehouse(SnowflakeDialect(), lambda: self._session(connect))

    def _session(self, connect: Callable[[], Any]) -> SnowflakeSession:
        from headrace.warehouses._snowflake import SnowflakeSession  # noqa: PLC0415 - heavy
        from headrace.warehouses._snowflake_dialect import SnowflakeDialect  # noqa: PLC0415 - heavy

        return SnowflakeSession(SnowflakeDialect(), connect)

    def _check_settings(self) -> None:
        settings = cast("SnowflakeSettings", self.settings)
        missing = [name for name in ("account", "user", "database", "warehouse") if not getattr(settings, name)]
        if missing:
            raise ConfigError(f"warehouse {self.place.slug}: Snowflake needs the settings {', '.join(missing)}")
        if not (settings.private_key or settings.token or settings.password):
            raise ConfigError(f"warehouse {self.place.slug}: Snowflake needs private_key, token or password")

    def _connector(self) -> Callable[[], Any]:
        """Raises ConfigError where the driver is not installed or the key is none."""
        try:
            connector = importlib.import_module("snowflake.connector")
        except ImportError as error:
            raise ConfigError(f"warehouse {self.place.slug}: Snowflake's driver is not installed: {DRIVER}") from error
        arguments = self.arguments()
        return lambda: connector.connect(**arguments)

    def arguments(self) -> dict[str, Any]:
        """For the connector. The session's zone is UTC; nothing is reported to Snowflake beyond the statements themselves."""
        from headrace.warehouses._snowflake import LOCK_SECONDS  # noqa: PLC0415 - heavy

        settings = cast("SnowflakeSettings", self.settings)
        arguments: dict[str, Any] = {
            "account": settings.account,
            "user": settings.user,
            "database": settings.database,
            "warehouse": settings.warehouse,
            "schema": "HEADRACE",
            "application": "headrace",
            "login_timeout": CONNECT_SECONDS,
            "autocommit": True,
            "session_parameters": {
                "TIMEZONE": "UTC",
                "LOCK_TIMEOUT": LOCK_SECONDS,
                "ABORT_DETACHED_QUERY": True,
                "CLIENT_TELEMETRY_ENABLED": False,
                "QUERY_TAG": "headrace",
            },
        }
        if settings.role:
            arguments["role"] = settings.role
        if settings.private_key:
            arguments["private_key"] = self._key(settings)
            arguments["authenticator"] = "SNOWFLAKE_JWT"
        elif settings.token:
            arguments["token"] = settings.token
            arguments["authenticator"] = "PROGRAMMATIC_ACCESS_TOKEN"
        else:
            arguments["password"] = settings.password
        return arguments

    def _key(self, settings: SnowflakeSettings) -> bytes:
        from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - heavy

        try:
            key = serialization.load_pem_private_key(
                settings.private_key.encode(), settings.private_key_passphrase.encode() or None
            )
        except (ValueError, TypeError) as error:
            raise ConfigError(
                f"warehouse {self.place.slug}: private_key is no PEM key, or its passphrase is wrong"
            ) from error
        return key.private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    def check(self) -> Sequence[Finding]:
        found: list[Finding] = []
        for finding in self._findings():
            found.append(finding)
            if not finding.ok:
                break
        return found

    def _findings(self) -> Iterator[Finding]:
        settings = cast("SnowflakeSettings", self.settings)
        try:
            self._check_settings()
            connect = self._connector()
        except ConfigError as error:
            yield Finding("settings", False, str(error), DRIVER if "not installed" in str(error) else str(error))
            return
        host = f"{settings.account}.snowflakecomputing.com"
        yield _reached(host)
        try:
            session = self._session(connect)
        except HeadraceError as error:
            remedy = f"ALTER USER {settings.user} SET RSA_PUBLIC_KEY = '...'; GRANT ROLE {settings.role} TO USER {settings.user};"
            yield Finding("login", False, str(error), remedy)
            return
        try:
            yield Finding("login", True, f"{settings.user} is let in")
            yield from checked(session, settings)
        finally:
            session.close()


def _reached(host: str) -> Finding:
    try:
        socket.create_connection((host, 443), timeout=5).close()
    except OSError as error:
        return Finding(
            "network", False, f"{host}:443 cannot be reached: {error}", "check `account`, DNS and the firewall"
        )
    return Finding("network", True, f"{host}:443 answers")


def checked(session: SnowflakeSession, settings: SnowflakeSettings) -> Iterator[Finding]:
    """The steps after the login: warehouse, database, schema, write. The schema that is made is removed again."""
    role = settings.role or "..."
    steps = (
        (
            "warehouse",
            ["SELECT count(*) FROM information_schema.schemata"],
            (
                f"GRANT USAGE, OPERATE ON WAREHOUSE {settings.warehouse} TO ROLE {role}; "
                f"GRANT USAGE ON DATABASE {settings.database} TO ROLE {role};"
            ),
        ),
        (
            "schema",
            ['CREATE SCHEMA IF NOT EXISTS "HEADRACE_CHECK"'],
            f"GRANT CREATE SCHEMA ON DATABASE {settings.database} TO ROLE {role};",
        ),
        (
            "write",
            [
                'CREATE TABLE IF NOT EXISTS "HEADRACE_CHECK"."WRITTEN" ("NUMBER" NUMBER(38, 0))',
                'INSERT INTO "HEADRACE_CHECK"."WRITTEN" SELECT 1',
            ],
            f"GRANT OWNERSHIP ON SCHEMA {settings.database}.HEADRACE_CHECK TO ROLE {role};",
        ),
    )
    try:
        for step, statements, remedy in steps:
            try:
                for statement in statements:
                    session.try_out(statement)
            except (HeadraceError, ValueError) as error:
                yield Finding(step, False, str(error), remedy)
                return
            yield Finding(step, True, f"{statements[-1].split('(')[0].strip()} works")
    finally:
        with suppress(HeadraceError, ValueError):
            session.try_out('DROP SCHEMA IF EXISTS "HEADRACE_CHECK"')
