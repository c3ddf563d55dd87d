"""Rows of a table of the model brought from what they are to what they should be, so that only what differs is written."""

# ruff: noqa: S608 -- all names are of the model

from __future__ import annotations

from headrace.reports.model.engine import Engine
from headrace.reports.model.schema import SCHEMA, TABLES


def rewrite(engine: Engine, table: str, had: str, made: str) -> list[str]:
    """Statements. `had` is a temporary table of rows picked from the table, with their places, `made` one of the rows that should
    stand in their stead. Leaves the temporary tables `old_TABLE` and `new_TABLE`: rows removed and inserted, all columns, differences only."""
    columns = list(TABLES[table].columns)
    listed = ", ".join(columns)
    return [
        *engine.temporary(f"removed_{table}", _without(table, had, made, ["place", *columns])),
        *engine.temporary(f"old_{table}", f"SELECT {listed} FROM removed_{table}"),
        *engine.temporary(f"new_{table}", _without(table, made, had, columns)),
        *engine.remove(table, f"removed_{table}"),
        f"INSERT INTO {SCHEMA}.{table} ({listed}) SELECT {listed} FROM new_{table}",
    ]


def nothing_rewritten(engine: Engine, table: str) -> list[str]:
    """Statements that leave `old_TABLE` and `new_TABLE` empty."""
    columns = ", ".join(TABLES[table].columns)
    return [
        statement
        for name in (f"old_{table}", f"new_{table}")
        for statement in engine.temporary(name, f"SELECT {columns} FROM {SCHEMA}.{table} WHERE false")
    ]


def _without(table: str, rows: str, others: str, columns: list[str]) -> str:
    """Rows that are not among the others, in any column of the table."""
    of_table = TABLES[table]
    same = [f"b.{column} = a.{column}" for column in of_table.key]
    same += [f"b.{column} IS NOT DISTINCT FROM a.{column}" for column in of_table.columns if column not in of_table.key]
    chosen = ", ".join(f"a.{column}" for column in columns)
    return f"SELECT {chosen} FROM {rows} AS a WHERE NOT EXISTS (SELECT 1 FROM {others} AS b WHERE {' AND '.join(same)})"
