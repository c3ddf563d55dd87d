"""The latest-state tables (`Upsert`) in DuckDB: exact for any order of arrival and any split into loads.

The fast way looks at the load alone: new values over old ones. It is right for a key whose row is older than every row that
the load brings for it. For the others, keys with late or simultaneous rows, the state is computed from the history anew.
"""
# ruff: noqa: S608 -- identifiers go through _sql.quoted, values are parameters or numbers

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import duckdb
import pyarrow as pa

from headrace.warehouses._sql import qualified, quoted
from headrace.warehouses.base import Upsert

LATE: Final = "headrace late keys"
# Names of columns are snake case, so these cannot be one.
_KEY, _RANK, _FIRST = '"the key"', '"the rank"', '"the first"'


def upsert(cursor: duckdb.DuckDBPyConnection, upsert_: Upsert, load_view: str, load_columns: Sequence[str]) -> None:
    """Within the transaction that has put the load's rows into the history already. `load_view` holds those rows alone."""
    late = late_keys(cursor, upsert_, load_view)
    cursor.register(LATE, pa.table({"key": pa.array(late, pa.string())}))
    brought = [column for column in upsert_.columns if column in load_columns]
    loaded_at = f"(SELECT max(loaded_at) FROM {quoted(load_view)} WHERE {quoted(upsert_.key)} IS NOT NULL)"
    cursor.execute(_merge(upsert_, quoted(load_view), "ANTI" if late else "", brought, loaded_at))
    if late:
        cursor.execute(_merge(upsert_, qualified(upsert_.history), "SEMI", upsert_.columns, loaded_at))
    cursor.unregister(LATE)


def late_keys(cursor: duckdb.DuckDBPyConnection, upsert_: Upsert, load_view: str) -> list[str]:
    key = quoted(upsert_.key)
    found = cursor.execute(
        f"""
        SELECT {_KEY} FROM (
            SELECT {key} AS {_KEY}, min(received_at) AS {_FIRST}
            FROM {quoted(load_view)} WHERE {key} IS NOT NULL GROUP BY ALL
        ) JOIN {qualified(upsert_.table)} AS stored ON stored.id = {_KEY}
        WHERE (stored.received_at < {_FIRST}) IS NOT TRUE
        """
    )
    return [row[0] for row in found.fetchall()]


def _merge(upsert_: Upsert, rows: str, late: str, columns: Sequence[str], loaded_at: str) -> str:
    """`late` is SEMI or ANTI, to keep only or leave out the late keys, or empty. DuckDB's arg_max leaves out nulls."""
    key, names = quoted(upsert_.key), [quoted(column) for column in columns]
    join = f'{late} JOIN {quoted(LATE)} AS late ON late."key" = {key}' if late else ""
    latest = "".join(f", arg_max({name}, {_RANK}) AS {name}" for name in names)
    update = "".join(f", {name} = coalesce(latest.{name}, stored.{name})" for name in names)
    return f"""
        MERGE INTO {qualified(upsert_.table)} AS stored USING (
            SELECT {_KEY}, max(received_at) AS received_at, {loaded_at} AS loaded_at{latest} FROM (
                SELECT *, {key} AS {_KEY}, row_number() OVER (ORDER BY received_at, id) AS {_RANK}
                FROM {rows} {join} WHERE {key} IS NOT NULL
            ) GROUP BY {_KEY}
        ) AS latest ON stored.id = latest.{_KEY}
        WHEN MATCHED THEN UPDATE SET received_at = latest.received_at, loaded_at = latest.loaded_at{update}
        WHEN NOT MATCHED THEN INSERT (id, received_at, loaded_at{"".join(f", {name}" for name in names)})
            VALUES (latest.{_KEY}, latest.received_at, latest.loaded_at{"".join(f", latest.{name}" for name in names)})
    """
