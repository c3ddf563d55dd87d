"""Iceberg on local disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from headrace.config import WarehouseConfig
from headrace.warehouses.base import Place, Warehouse
from headrace.warehouses.iceberg import IcebergKind, IcebergSettings


def fresh(folder: Path) -> Callable[[], Warehouse]:
    place = Place("lake", folder, WarehouseConfig(memory_bytes=128_000_000))
    return IcebergKind(IcebergSettings(), place).open
