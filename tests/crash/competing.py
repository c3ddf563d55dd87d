"""A second loader beside a server's worker: `python competing.py DATA SLUG [STAND_IN]` prints `load N`, and `fenced` when another was there first.

The same log folder, warehouse and consumer. Fenced it reads the position again and goes on, until it is killed."""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from headrace.app.folder import LOG
from headrace.config import LoaderConfig, LogConfig, WarehouseConfig
from headrace.errors import PositionError, RetryableError
from headrace.loader.loader import Loader
from headrace.log.sqlite import SqliteLog
from headrace.warehouses.base import Place, Warehouse, configured
from headrace.workspace.records import Source
from headrace.workspace.workspace import Workspace

POLL_SECONDS: Final = 0.05
CONFIG: Final = LoaderConfig(interval_seconds=0.2)


def main(data: str, slug: str, *stand_ins: str) -> None:
    folder = Path(data)
    workspace = Workspace.open(folder)
    for stand_in in stand_ins:
        importlib.import_module(f"stand_ins.{stand_in}").stand_in("worker")
    log = SqliteLog(folder / LOG, LogConfig())
    kind = next(record.kind for record in workspace.warehouse_snapshot()[1] if record.slug == slug)
    place = Place(slug, folder, WarehouseConfig())
    warehouse = _opened(configured(kind, workspace.revealed_settings(slug), place).open)
    while True:
        readers = [log.reader(partition) for partition in log.partitions()]
        loader = Loader(slug, readers, warehouse, lambda: _sources(workspace), CONFIG)
        try:
            _load(loader)
        except PositionError as error:
            print("fenced", error, flush=True)
        for reader in readers:
            reader.close()


def _opened(open_: Callable[[], Warehouse]) -> Warehouse:
    while True:
        try:
            return open_()
        except RetryableError as error:
            print("waits", error, flush=True)
            time.sleep(POLL_SECONDS)


def _load(loader: Loader) -> None:
    while True:
        try:
            outcome = loader.step()
        except RetryableError as error:
            print("waits", error, flush=True)
            outcome = None
        if outcome is not None:
            print("load", outcome.entries, flush=True)
        time.sleep(POLL_SECONDS)


def _sources(workspace: Workspace) -> Mapping[str, Source]:
    return {source.slug: source for source in workspace.snapshot()[1]}


if __name__ == "__main__":
    main(*sys.argv[1:])
