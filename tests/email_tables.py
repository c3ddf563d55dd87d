"""The tables of the schema `email` in a warehouse, filled by hand: for tests of what reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import pyarrow as pa

from headrace.reports.model.engine import Engine, engine
from headrace.reports.model.schema import SCHEMA, TABLES, Type
from headrace.warehouses.base import Derivation, Deriving

ARROW: Final = {
    Type.TEXT: pa.string(),
    Type.KEY: pa.int64(),
    Type.COUNT: pa.int64(),
    Type.TIME: pa.timestamp("us", tz="UTC"),
    Type.DAY: pa.date32(),
    Type.TRUTH: pa.bool_(),
    Type.MONEY: pa.float64(),
    Type.RATE: pa.float64(),
}


def create(warehouse: Deriving) -> None:
    def work(derivation: Derivation) -> None:
        chosen = engine(derivation.engine)
        derivation.run([f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"])
        for name, table in TABLES.items():
            derivation.run(chosen.create(name, table))

    warehouse.derive(work)


def fill(warehouse: Deriving, rows_by_table: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Rows by table; columns that a row lacks are null."""

    def work(derivation: Derivation) -> None:
        for name, rows in rows_by_table.items():
            _insert(derivation, engine(derivation.engine), name, rows)

    warehouse.derive(work)


def _insert(derivation: Derivation, chosen: Engine, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
    columns = TABLES[name].columns
    assert not {column for row in rows for column in row} - columns.keys()
    arrays = [pa.array([row.get(column) for row in rows], ARROW[of.type]) for column, of in columns.items()]
    derivation.stage(f"filled_{name}", pa.table(arrays, names=list(columns)))
    casts = ", ".join(chosen.cast(column, of.type) for column, of in columns.items())
    derivation.run([f"INSERT INTO {SCHEMA}.{name} ({', '.join(columns)}) SELECT {casts} FROM filled_{name}"])
