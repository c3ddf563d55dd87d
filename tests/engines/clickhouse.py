"""ClickHouse embedded (chdb): the real engine within this process, reached by the client class that servers are reached by."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import clickhouse_connect

from headrace.warehouses._clickhouse import ClickHouse

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

    from headrace.warehouses.base import Warehouse


def embedded(folder: Path) -> Callable[[], Client]:
    """Makes clients of the engine on this folder. A process has one engine at a time: it changes the folder when the last client of
    the one before is closed."""
    return lambda: clickhouse_connect.get_client(interface="chdb", path=str(folder))


def fresh(folder: Path) -> Callable[[], Warehouse]:
    return lambda: ClickHouse(embedded(folder / "clickhouse"), embedded=True)
