"""Amazon Redshift, through PostgreSQL's protocol."""
# ruff: noqa: PLC0415 -- the driver is heavy: it is imported when a connection opens

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, cast

import msgspec

from headrace.errors import ConfigError, HeadraceError
from headrace.warehouses._dsn import checked
from headrace.warehouses.base import Finding, Warehouse, WarehouseKind, WarehouseSettings


class RedshiftSettings(WarehouseSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    dsn: Annotated[
        str,
        msgspec.Meta(
            description="The cluster or workgroup and who headrace is there: "
            "postgresql://ROLE:PASSWORD@HOST:5439/DATABASE?sslmode=require",
            extra={"secret": True, "needed": True},
        ),
    ] = ""
    connect_seconds: Annotated[
        int,
        msgspec.Meta(description="A connection that takes longer to open is given up, and tried again.", ge=2, le=600),
    ] = 30
    statement_seconds: Annotated[
        float,
        msgspec.Meta(description="A statement of the loader that takes longer is cancelled, and tried again.", gt=0),
    ] = 1800.0
    interval_seconds: Annotated[
        float,
        msgspec.Meta(description="How long to wait from one load to the next while little is waiting.", ge=0),
    ] = 60.0


class RedshiftKind(WarehouseKind):
    title = "Amazon Redshift"
    summary = "A cluster or a serverless workgroup, loaded by INSERT over PostgreSQL's protocol."
    docs_url = "https://docs.aws.amazon.com/redshift/latest/dg/"
    guarantee = "transactional"
    tried = "not yet tried on a live Redshift: its SQL is generated and compared"
    setup = (
        "CREATE USER headrace PASSWORD '...';",
        "GRANT CREATE, TEMPORARY ON DATABASE warehouse TO headrace;",
    )
    Settings = RedshiftSettings

    @property
    def pace_seconds(self) -> float:
        return cast("RedshiftSettings", self.settings).interval_seconds

    @property
    def dsn(self) -> str:
        """Raises ConfigError when it is none."""
        return checked(cast("RedshiftSettings", self.settings).dsn, self.place.slug, 5439)

    def open(self) -> Warehouse:
        from headrace.warehouses._redshift import opened

        settings = cast("RedshiftSettings", self.settings)
        return opened(self.dsn, settings.connect_seconds, settings.statement_seconds)

    def check(self) -> Sequence[Finding]:
        """Opening logs in and makes the housekeeping tables where they are missing, so it stands for all steps but the first."""
        from headrace.warehouses._postgresql_check import network

        try:
            dsn = self.dsn
        except ConfigError as error:
            return [Finding("settings", False, str(error), "set the warehouse's dsn")]
        reached = network(dsn, cast("RedshiftSettings", self.settings).connect_seconds)
        if not reached.ok:
            return [reached]
        try:
            self.open().close()
        except (HeadraceError, ValueError) as error:
            remedy = "GRANT CREATE, TEMPORARY ON DATABASE ... TO the role, if it is a privilege that is missing"
            return [reached, Finding("write", False, str(error), remedy)]
        return [reached, Finding("write", True, "the tables of the schema headrace are there")]
