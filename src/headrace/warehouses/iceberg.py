"""Iceberg: Parquet files on this machine's disk or in S3-compatible storage, read by DuckDB, Spark, Trino and others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, cast

import msgspec

from headrace.errors import ConfigError
from headrace.warehouses.base import Finding, WarehouseKind, WarehouseSettings

if TYPE_CHECKING:
    from headrace.warehouses.base import Warehouse

S3: Final = ("s3://", "s3a://")


class IcebergSettings(WarehouseSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    location: Annotated[
        str,
        msgspec.Meta(
            description="Where the tables' files are: s3://bucket/folder or a folder; empty: one in the data folder."
        ),
    ] = ""
    catalogue: Annotated[
        str,
        msgspec.Meta(
            description="The catalogue's database as an SQLAlchemy URL, for example postgresql+pg8000://user:password@host/lake; empty: a SQLite file in the data folder.",
            extra={"secret": True},
        ),
    ] = ""
    catalogue_name: Annotated[
        str,
        msgspec.Meta(description="The name under which the tables stand in the catalogue's database.", min_length=1),
    ] = "headrace"
    endpoint: Annotated[
        str, msgspec.Meta(description="The URL of S3-compatible storage; empty: Amazon S3 of the region.")
    ] = ""
    region: Annotated[str, msgspec.Meta(description="The bucket's region.")] = "us-east-1"
    access_key: Annotated[
        str,
        msgspec.Meta(description="The access key's id; empty: what the environment or the machine's role gives."),
    ] = ""
    secret_key: Annotated[str, msgspec.Meta(description="The access key's secret.", extra={"secret": True})] = ""
    interval_seconds: Annotated[
        float,
        msgspec.Meta(
            description="The least time from one load's beginning to the next's: each load makes new files of every table.",
            ge=1,
        ),
    ] = 60.0
    snapshot_hours: Annotated[
        float,
        msgspec.Meta(
            description="How long a table's earlier states can be read; a query that runs longer may miss files. Each kept state makes every load a little dearer.",
            ge=0.1,
        ),
    ] = 1.0
    lease_seconds: Annotated[
        float,
        msgspec.Meta(
            description="How long after a loader's last sign of life, and so after a crash, another may begin.", ge=1
        ),
    ] = 30.0


class IcebergKind(WarehouseKind):
    title = "Iceberg"
    summary = "A data lake of Parquet files on disk or S3-compatible storage, loaded once a minute, read by DuckDB, Spark and Trino."
    docs_url = "https://py.iceberg.apache.org/"
    guarantee = "per table"
    tried = "pyiceberg 0.12 on local disk and on moto's S3 server; read by pyiceberg and DuckDB 2.0. Not yet tried: Amazon S3, Spark, Trino, Athena"
    setup = (
        "For S3-compatible storage: a bucket, and an access key that may list, read, write and delete in the folder of `location`.",
        "For readers on other machines: a PostgreSQL database for the catalogue, and its URL in `catalogue`.",
    )
    Settings = IcebergSettings

    @property
    def _chosen(self) -> IcebergSettings:
        return cast("IcebergSettings", self.settings)

    @property
    def pace_seconds(self) -> float:
        """The least time from one load's beginning to the next's."""
        return self._chosen.interval_seconds

    @property
    def folder(self) -> Path:
        """What this warehouse has in the data folder."""
        return self.place.folder / f"lake-{self.place.slug}"

    @property
    def location(self) -> str:
        """Raises ConfigError."""
        chosen = self._chosen.location.rstrip("/")
        if chosen.startswith(S3):
            return chosen
        if "://" in chosen:
            raise ConfigError(
                f"lake: the location {chosen} is neither a folder nor s3://; set `location` to one of them"
            )
        path = str((self.folder / "tables" if not chosen else self.place.folder / chosen).absolute())
        if set(path) & set("#?"):
            raise ConfigError(f"lake: the folder {path} holds # or ?, which no URI can; set `location` to another one")
        return f"file://{path}"

    @property
    def catalogue_url(self) -> str:
        return self._chosen.catalogue or f"sqlite:///{(self.folder / 'catalogue.sqlite').absolute()}"

    @property
    def storage(self) -> dict[str, str]:
        """The properties that pyiceberg takes for the files."""
        chosen = self._chosen
        values = {
            "s3.endpoint": chosen.endpoint,
            "s3.region": chosen.region,
            "s3.access-key-id": chosen.access_key,
            "s3.secret-access-key": chosen.secret_key,
        }
        return {name: value for name, value in values.items() if value}

    def open(self) -> Warehouse:
        from headrace.warehouses._iceberg import Lake  # noqa: PLC0415 - heavy

        return Lake(self)

    def check(self) -> Sequence[Finding]:
        from headrace.warehouses._iceberg_check import check  # noqa: PLC0415 - heavy

        return check(self)
