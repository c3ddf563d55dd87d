"""PostgreSQL on this machine, by a role that may do no more than make its own schemas."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from headrace.config import WarehouseConfig
from headrace.warehouses.base import Place, Warehouse
from headrace.warehouses.postgresql import PostgreSQLKind, PostgreSQLSettings
from postgresql_server import shared


def fresh(folder: Path) -> Callable[[], Warehouse]:
    server = shared()
    settings = PostgreSQLSettings(dsn=server.dsn(server.database()))
    return PostgreSQLKind(settings, Place("team", folder, WarehouseConfig())).open
