"""DuckDB, the embedded warehouse: a file in the data folder, owned by the worker."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, cast

import msgspec

from headrace.errors import HeadraceError
from headrace.warehouses.base import Finding, WarehouseKind, WarehouseSettings

if TYPE_CHECKING:
    from headrace.warehouses.base import Warehouse

FIRST: Final = "warehouse"
"""The slug of the warehouse that every workspace begins with."""


class DuckDBSettings(WarehouseSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    path: Annotated[
        str, msgspec.Meta(description="The file; empty: one in the data folder. A relative path begins there.")
    ] = ""
    snapshot_seconds: Annotated[
        float,
        msgspec.Meta(description="How often the snapshot for other programs is made anew; 0: only by command.", ge=0),
    ] = 0.0
    snapshot_path: Annotated[
        str, msgspec.Meta(description="The snapshot's file; empty: beside the warehouse's, ending in .snapshot.duckdb.")
    ] = ""


class DuckDBKind(WarehouseKind):
    title = "DuckDB"
    summary = "A file on this machine, loaded within a second, asked by `headrace query`; nothing else to install."
    docs_url = "https://duckdb.org/docs/"
    guarantee = "transactional"
    tried = "DuckDB 2.0"
    Settings = DuckDBSettings

    @property
    def file(self) -> Path:
        """Where the database is."""
        settings = cast("DuckDBSettings", self.settings)
        # The stem is the database's name within DuckDB, and must not be one that a schema can have.
        name = "warehouse.duckdb" if self.place.slug == FIRST else f"warehouse-{self.place.slug}.duckdb"
        return self.place.folder / (settings.path or name)

    @property
    def snapshot_file(self) -> Path:
        settings = cast("DuckDBSettings", self.settings)
        return self.place.folder / (settings.snapshot_path or self.file.with_suffix(".snapshot.duckdb"))

    @property
    def snapshot_seconds(self) -> float:
        return cast("DuckDBSettings", self.settings).snapshot_seconds

    def open(self) -> Warehouse:
        from headrace.warehouses._duckdb import DuckDB  # noqa: PLC0415 - heavy

        return DuckDB(self.file, self.place.limits)

    def check(self) -> Sequence[Finding]:
        if not self.file.parent.is_dir():
            return [Finding("folder", False, f"there is no folder {self.file.parent}", f"mkdir -p {self.file.parent}")]
        found = [Finding("folder", True, f"{self.file.parent} is there")]
        try:
            self.open().close()
        except HeadraceError as error:
            remedy = "stop the other program, or while this is headrace's own server, ask through it"
            return [*found, Finding("open", False, str(error), remedy)]
        return [*found, Finding("open", True, f"{self.file} can be opened and written")]
