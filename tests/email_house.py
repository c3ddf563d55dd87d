"""A loader and the e-mail model on a real warehouse: events go in as they are sent, the tables of `email` are looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from typing import Final, TypeVar, cast

import pytest

from email_lines import SOURCES
from email_oracle import COMPARED, Row
from headrace.config import LoaderConfig
from headrace.errors import WarehouseUnavailableError
from headrace.event import Event
from headrace.loader.loader import Loader
from headrace.reports.model.model import EmailModel
from headrace.reports.model.schema import SCHEMA, TABLES
from headrace.reports.model.settings import ModelSettings
from headrace.reports.place import MailSource
from headrace.warehouses.base import HOUSEKEEPING, Derivation, Deriving, TableName, Warehouse
from list_log import ListLog
from made_events import START, source

NOW: Final = START + timedelta(days=60)
T = TypeVar("T")
MOST_ROWS: Final = 100_000


class BreakingOff:
    """A warehouse whose transactions fail at their end while it `is_next`."""

    def __init__(self, warehouse: Deriving) -> None:
        self.engine = warehouse.engine
        self.is_next = False
        self._warehouse = warehouse

    def derive(self, work: Callable[[Derivation], T]) -> T:
        def failing(derivation: Derivation) -> T:
            work(derivation)
            raise WarehouseUnavailableError("warehouse: gone")

        return self._warehouse.derive(failing if self.is_next else work)


class EmailHouse:
    """`load` appends and loads; `advance` brings the model up to date."""

    def __init__(
        self,
        warehouse: Warehouse,
        settings: ModelSettings | None = None,
        sources: Sequence[MailSource] = SOURCES,
    ) -> None:
        self.warehouse = warehouse
        self.sources = sources
        self.settings = settings or ModelSettings()
        self.log = ListLog()
        self._loader: Loader | None = None
        self._model: EmailModel | None = None
        self._slice_events = 0
        self._deriving = BreakingOff(cast("Deriving", warehouse))

    def load(self, events: Sequence[Event], load_events: int = 50_000) -> None:
        self.log.append(events)
        sources = {one.slug: source(one.slug) for one in self.sources}
        config = LoaderConfig(load_events=load_events, dedup_days=365)
        if self._loader is None:
            self._loader = Loader("warehouse", [self.log], self.warehouse, lambda: sources, config, now=lambda: NOW)
        while self._loader.step() is not None:
            pass

    def advance(self, slice_events: int = 100_000, most_increments: int = 10_000) -> int:
        """How many increments it took, at the most `most_increments`."""
        if self._model is None or slice_events != self._slice_events:
            self._model = EmailModel(self._deriving, self.sources, self.settings, slice_events)
            self._slice_events = slice_events
        for number in range(1, most_increments + 1):
            if not self._model.advance(self.warehouse.tables()):
                return number
        return most_increments

    def restart(self) -> None:
        """What the model had in memory is gone."""
        self._model = None

    def break_off(self) -> None:
        """An increment does all of its work, and then the warehouse is gone."""
        self._deriving.is_next = True
        with pytest.raises(WarehouseUnavailableError):
            EmailModel(self._deriving, self.sources, self.settings).advance(self.warehouse.tables())
        self._deriving.is_next = False

    def rebuild(self) -> None:
        EmailModel(self._deriving, self.sources, self.settings).rebuild(self.warehouse.tables())

    def rows(self) -> dict[tuple[str, str], list[Row]]:
        """Of the tables of events."""
        own = (HOUSEKEEPING, SCHEMA)
        return {
            (name.schema, name.table): self.table(name) for name in self.warehouse.tables() if name.schema not in own
        }

    def found(self, tables: Iterable[str] = COMPARED) -> dict[str, list[Row]]:
        """Of the tables of `email`; none of those that are not there yet."""
        there = self.warehouse.tables()
        names = [TableName(SCHEMA, table) for table in tables]
        return {name.table: self.table(name) if name in there else [] for name in names}

    def everything(self) -> dict[str, list[Row]]:
        """Of all tables of the model but what it has read, numbers of keys too, in an order of their own."""
        found = self.found(table for table in TABLES if table != "progress")
        return {table: sorted(rows, key=lambda row: repr(sorted(row.items()))) for table, rows in found.items()}

    def table(self, name: TableName) -> list[Row]:
        found = self.warehouse.arrow(
            f'SELECT * FROM "{name.schema}"."{name.table}"', max_rows=MOST_ROWS, timeout_seconds=60
        )
        return cast("list[Row]", found.to_pylist())
