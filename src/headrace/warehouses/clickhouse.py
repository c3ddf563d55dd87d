"""ClickHouse: a server of the team's own, reached over HTTP."""
# ruff: noqa: PLC0415 - the driver is heavy: it is imported when a warehouse opens, not when the catalogue is listed

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, cast

import msgspec

from headrace.warehouses.base import Finding, WarehouseKind, WarehouseSettings

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

    from headrace.warehouses.base import Warehouse

_GRANTS = "CREATE DATABASE, CREATE TABLE, CREATE VIEW, DROP TABLE, DROP VIEW, DROP DATABASE, ALTER TABLE, ALTER VIEW, SELECT, INSERT"


def _described(text: str, *, secret: bool = False) -> msgspec.Meta:
    return msgspec.Meta(description=text, extra={"secret": True} if secret else None)


class ClickHouseSettings(WarehouseSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    host: Annotated[str, _described("The server's name or address.")] = "localhost"
    port: Annotated[int, msgspec.Meta(description="Of its HTTP interface: 8123, with TLS 8443.", ge=1, le=65_535)] = (
        8123
    )
    secure: Annotated[bool, _described("TLS; certificates are checked.")] = False
    user: Annotated[str, _described("The user that loads.")] = "headrace"
    password: Annotated[str, _described("That user's password.", secret=True)] = ""
    query_user: Annotated[
        str,
        _described("The user that asks the queries of people; empty: the one that loads, read-only for each query."),
    ] = ""
    query_password: Annotated[str, _described("That user's password.", secret=True)] = ""
    lease_seconds: Annotated[
        float, msgspec.Meta(description="How long another loader waits after this one was last heard of.", ge=5)
    ] = 30.0


class ClickHouseKind(WarehouseKind):
    title = "ClickHouse"
    summary = "A ClickHouse server; each table takes a load in one block, exactly once, the position moves last."
    docs_url = "https://clickhouse.com/docs/interfaces/http"
    guarantee = "per table"
    tried = (
        "ClickHouse 26.9 embedded (chdb), through the same client class; "
        "HTTP against a stand-in before that engine; not yet on a server of its own, a cluster or ClickHouse Cloud"
    )
    setup = (
        "CREATE USER headrace IDENTIFIED BY '...'",
        f"GRANT {_GRANTS} ON *.* TO headrace",
        "GRANT CREATE TEMPORARY TABLE ON *.* TO headrace",
        "CREATE USER headrace_query IDENTIFIED BY '...' SETTINGS readonly = 2",
        "GRANT SELECT ON headrace.* TO headrace_query, and on each source's schema",
    )
    Settings = ClickHouseSettings

    def open(self) -> Warehouse:
        from headrace.warehouses._clickhouse import ClickHouse

        settings = cast("ClickHouseSettings", self.settings)
        return ClickHouse(
            lambda: self._client(settings.user, settings.password),
            ask=self._ask(),
            lease_seconds=settings.lease_seconds,
        )

    def _ask(self) -> Callable[[], Client] | None:
        settings = cast("ClickHouseSettings", self.settings)
        if not settings.query_user:
            return None
        return lambda: self._client(settings.query_user, settings.query_password)

    def _client(self, user: str, password: str) -> Client:
        import clickhouse_connect

        settings = cast("ClickHouseSettings", self.settings)
        return clickhouse_connect.get_client(
            interface="https" if settings.secure else "http",
            host=settings.host,
            port=settings.port,
            username=user,
            password=password,
            autogenerate_session_id=False,  # a session takes one query at a time
            connect_timeout=10,
            send_receive_timeout=300,
        )

    def check(self) -> Sequence[Finding]:
        from headrace.warehouses import _clickhouse_check

        settings = cast("ClickHouseSettings", self.settings)
        return _clickhouse_check.findings(
            lambda: self._client(settings.user, settings.password),
            self._ask(),
            settings.host,
            settings.port,
            settings.user,
        )
