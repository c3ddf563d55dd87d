"""A loader and the e-mail model on a real warehouse: events go in as they are sent, the tables of `email` are looked at."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Final, cast

from email_lines import SOURCES
from email_oracle import COMPARED, Row
from headrace.config import LoaderConfig
from headrace.event import Event
from headrace.loader.loader import Loader
from headrace.reports.model.model import EmailModel
from headrace.reports.model.schema import SCHEMA
from headrace.reports.model.settings import ModelSettings
from headrace.reports.place import MailSource
from headrace.warehouses.base import HOUSEKEEPING, Deriving, TableName, Warehouse
from list_log import ListLog
from made_events import START, source

NOW: Final = START + timedelta(days=60)
MOST_ROWS: Final = 100_000


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
            warehouse = cast("Deriving", self.warehouse)
            self._model = EmailModel(warehouse, self.sources, self.settings, slice_events)
            self._slice_events = slice_events
        for number in range(1, most_increments + 1):
            if not self._model.advance(self.warehouse.tables()):
                return number
        return most_increments

    def restart(self) -> None:
        """What the model had in memory is gone."""
        self._model = None

    def rebuild(self) -> None:
        EmailModel(cast("Deriving", self.warehouse), self.sources, self.settings).rebuild(self.warehouse.tables())

    def rows(self) -> dict[tuple[str, str], list[Row]]:
        """Of the tables of events."""
        own = (HOUSEKEEPING, SCHEMA)
        return {
            (name.schema, name.table): self.table(name) for name in self.warehouse.tables() if name.schema not in own
        }

    def found(self, tables: Iterable[str] = COMPARED) -> dict[str, list[Row]]:
        """Of the tables of `email`."""
        return {table: self.table(TableName(SCHEMA, table)) for table in tables}

    def table(self, name: TableName) -> list[Row]:
        found = self.warehouse.arrow(
            f'SELECT * FROM "{name.schema}"."{name.table}"', max_rows=MOST_ROWS, timeout_seconds=60
        )
        return cast("list[Row]", found.to_pylist())
