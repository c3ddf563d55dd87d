"""How a selection is shown beside the tables and columns that it is about. Pure."""

from __future__ import annotations

from typing import Any

from headrace.console.looking import Looked
from headrace.console.warehouse_orders import SelectableColumn, SelectableTable, SourceSelection
from headrace.errors import ConfigError
from headrace.loader import selection
from headrace.loader.retyping import BESIDE, HISTORY
from headrace.loader.selection import EVERYTHING, Selector
from headrace.loader.standard import EXTRA, LOADED_AT, standard_columns
from headrace.warehouses.base import TableName
from headrace.workspace.records import Source


def shown(source: Source, chosen: dict[str, Any] | None, known: Looked | None, problem: str | None) -> SourceSelection:
    """`problem` is why the tables are not those of now."""
    try:
        parsed = EVERYTHING if chosen is None else selection.parse(chosen)
    except ConfigError as error:
        parsed, problem = EVERYTHING, str(error)
    selector = Selector(parsed)
    names = sorted(name for name in known.tables if name.schema == source.schema) if known else []
    return SourceSelection(
        source=source.slug,
        nickname=source.nickname,
        schema=source.schema,
        removed=source.removed_at is not None,
        selection=chosen,
        notes=selection.consequences(parsed),
        tables=[_table(known, name, selector) for name in names if known and not name.table.startswith(BESIDE)],
        problem=problem,
    )


def _table(known: Looked, name: TableName, selector: Selector) -> SelectableTable:
    stored = known.tables[name]
    history = HISTORY.get(name.table, name.table)
    named = known.named.get(TableName(name.schema, history), {})
    standard = {*standard_columns(name.table), LOADED_AT, EXTRA}
    return SelectableTable(
        table=name.table,
        is_on=selector.keeps_table(name.table),
        is_named=history == name.table,
        rows=stored.rows,
        is_exact=stored.is_exact,
        columns=[
            SelectableColumn(
                column=column,
                type=type_.value,
                original=(named.get(column) or {}).get("original") or "",
                is_on=column in standard or selector.keeps_column(history, column),
                is_standard=column in standard,
            )
            for column, type_ in stored.columns.items()
        ],
    )
