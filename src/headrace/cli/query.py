"""`headrace query`: one SELECT over the warehouse."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Sequence
from typing import Annotated, Any, Final

import typer

from headrace.cli import options
from headrace.cli.options import ConfigFile, Data, Json
from headrace.cli.output import plain, print_error, print_json, print_line, print_table

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


def register(app: typer.Typer) -> None:
    app.command("query")(query)


def query(
    sql: Annotated[str, typer.Argument(metavar="SQL", help="One SELECT; tables are named schema.table.")],
    *,
    as_json: Json = False,
    as_csv: Annotated[
        bool, typer.Option("--csv", help="Print CSV; texts that a spreadsheet would run are quoted.")
    ] = False,
    data: Data = None,
    config: ConfigFile = None,
) -> None:
    """Ask the warehouse with one SELECT: safe, bounded in time and rows, also while the server loads."""
    from headrace.app import reach  # noqa: PLC0415 - --help needs no database

    chosen = options.settings(data, config)
    result = reach.query(chosen, sql)
    columns = _unique(result.columns)
    if as_json:
        print_json([dict(zip(columns, row, strict=True)) for row in result.rows])
    elif as_csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow([_cell(column) for column in columns])
        writer.writerows([_cell(value) for value in row] for row in result.rows)
    else:
        print_table(columns, ([_shown(value) for value in row] for row in result.rows), "No rows.")
        print_line(f"\n{len(result.rows)} {'row' if len(result.rows) == 1 else 'rows'}, {result.seconds:.3f} s")
    if result.truncated:
        print_error(
            f"only the first {len(result.rows)} rows are shown; narrow the query, or raise query_rows in [warehouse]"
        )


def _unique(columns: Sequence[str]) -> list[str]:
    """Names of columns; the second of a name gets _1."""
    names: list[str] = []
    for column in columns:
        name, number = column, 0
        while name in names:
            number += 1
            name = f"{column}_{number}"
        names.append(name)
    return names


def _shown(value: Any) -> str:
    if value is None:
        return ""
    return plain(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def _cell(value: Any) -> Any:
    """A cell of CSV; a text that begins like a formula gets an apostrophe, so that no spreadsheet runs it."""
    if value is None:
        return ""
    if isinstance(value, str):
        return f"'{value}" if value.startswith(_FORMULA) else value
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else json.dumps(value)
