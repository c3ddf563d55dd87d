"""Asking a warehouse from Python: `headrace.connect()`. Through the worker while a server runs, directly when none does."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from headrace import config as settings
from headrace.app import reach

if TYPE_CHECKING:
    import pyarrow as pa

    from headrace.console.status import Status


class Connection:
    """One warehouse of one data folder. Nothing stays open between two questions; safe to use from several threads."""

    def __init__(self, config: settings.Config, warehouse: str | None) -> None:
        self._config = config
        self._warehouse = warehouse

    def query(self, sql: str) -> pa.Table:
        """The rows of one SELECT as a pyarrow.Table: `.to_pandas()` and `polars.from_arrow()` are one call away.

        Raises QueryError for anything but a SELECT, for wrong SQL, for one that takes too long, and for more rows than
        `query_rows` in [warehouse] allows; another HeadraceError when the warehouse cannot be asked."""
        return reach.arrow(self._config, sql, warehouse=self._warehouse)

    def status(self) -> Status:
        """The books of all sources and warehouses, as `headrace status --json` has them."""
        return reach.status_of(self._config)

    def close(self) -> None:
        """For `with`; there is nothing to close."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def connect(
    data: str | os.PathLike[str] | None = None,
    *,
    warehouse: str | None = None,
    config: str | os.PathLike[str] | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Connection:
    """A connection to the warehouse (a slug; None: the only one, or the one called `warehouse`) of a data folder on this machine.

    `data` is the folder (None: HEADRACE_DATA, else ./headrace-data), `config` a TOML file, `overrides` settings in the shape of
    that file. Raises HeadraceError."""
    wanted = {**(overrides or {}), **({"data": os.fspath(data)} if data is not None else {})}
    return Connection(settings.load(Path(config) if config is not None else None, overrides=wanted), warehouse)


__all__ = ["Connection", "connect"]
