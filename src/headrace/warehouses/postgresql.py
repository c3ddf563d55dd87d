"""PostgreSQL 15 and later, self-hosted or from any cloud."""
# ruff: noqa: PLC0415 -- the driver is heavy: it is imported when a connection opens

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, cast

import msgspec

from headrace.errors import ConfigError
from headrace.warehouses._dsn import checked
from headrace.warehouses.base import Finding, Warehouse, WarehouseKind, WarehouseSettings


class PostgreSQLSettings(WarehouseSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    dsn: Annotated[
        str,
        msgspec.Meta(
            description="Where the database is and who headrace is there: "
            "postgresql://ROLE:PASSWORD@HOST:5432/DATABASE?sslmode=require",
            extra={"secret": True, "needed": True},
        ),
    ] = ""
    connect_seconds: Annotated[
        int,
        msgspec.Meta(description="A connection that takes longer to open is given up, and tried again.", ge=2, le=600),
    ] = 10
    statement_seconds: Annotated[
        float,
        msgspec.Meta(description="A statement of the loader that takes longer is cancelled, and tried again.", gt=0),
    ] = 600.0


class PostgreSQLKind(WarehouseKind):
    title = "PostgreSQL"
    summary = "A database of your own, loaded within a second; any PostgreSQL from version 15, in a cloud or not."
    docs_url = "https://www.postgresql.org/docs/current/"
    guarantee = "transactional"
    tried = "PostgreSQL 15"
    setup = (
        "CREATE ROLE headrace LOGIN PASSWORD '...';",
        "GRANT CONNECT, CREATE, TEMPORARY ON DATABASE warehouse TO headrace;",
    )
    Settings = PostgreSQLSettings

    @property
    def dsn(self) -> str:
        """Raises ConfigError when it is none."""
        return checked(cast("PostgreSQLSettings", self.settings).dsn, self.place.slug, 5432)

    def open(self) -> Warehouse:
        from headrace.warehouses._postgresql import opened

        settings = cast("PostgreSQLSettings", self.settings)
        return opened(self.dsn, settings.connect_seconds, settings.statement_seconds)

    def check(self) -> Sequence[Finding]:
        from headrace.warehouses._postgresql_check import findings

        try:
            dsn = self.dsn
        except ConfigError as error:
            return [Finding("settings", False, str(error), "set the warehouse's dsn")]
        return findings(dsn, cast("PostgreSQLSettings", self.settings).connect_seconds)
