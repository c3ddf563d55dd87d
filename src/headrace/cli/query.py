"""`headrace query`: one SELECT over a warehouse."""

from __future__ import annotations

import csv
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from headrace.cli import options
from headrace.cli.options import ConfigFile, Data, Json, OneOf
from headrace.cli.output import plain, print_error, print_json, print_line, print_table
from headrace.errors import ConfigError

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
    parquet: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a Parquet file, with the warehouse's own types.")
    ] = None,
    warehouse: OneOf = None,
    data: Data = None,
    config: ConfigFile = None,
) -> None:
    """Ask a warehouse with one SELECT: safe, bounded in time and rows, also while the server loads."""
    from headrace.app import reach  # noqa: PLC0415 - --help needs no database

    if parquet is not None and as_csv:
        raise typer.BadParameter("say either --csv or --parquet")
    chosen = options.settings(data, config)
    if parquet is not None:
        _write(parquet, reach.arrow(chosen, sql, warehouse=warehouse), as_json=as_json)
        return
    result = reach.query(chosen, sql, warehouse=warehouse)
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


def _write(file: Path, table: Any, *, as_json: bool) -> None:
    """The whole file or none: whoever reads an older one of this name never sees half of the new one."""
    import pyarrow as pa  # noqa: PLC0415 - --help needs none of it
    import pyarrow.parquet as pq  # noqa: PLC0415 - as above

    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        pq.write_table(table.rename_columns(_unique(table.column_names)), temporary, compression="zstd")
        temporary.replace(file)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise ConfigError(f"query: Parquet cannot hold a column's type ({error}); cast it in the SELECT") from None
    except OSError as error:
        raise ConfigError(f"query: cannot write {file}: {error.strerror or error}; give another file") from None
    finally:
        temporary.unlink(missing_ok=True)
    if as_json:
        print_json({"file": str(file.absolute()), "rows": table.num_rows})
    else:
        print_line(f"wrote {table.num_rows:,} {'row' if table.num_rows == 1 else 'rows'} to {plain(file)}")


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
