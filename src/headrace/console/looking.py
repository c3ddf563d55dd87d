"""What a look into a warehouse tells: tables, columns and where their values come from, misfits and the types that would take them. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

import msgspec

from headrace.console.warehouse_tables import (
    ColumnShown,
    MisfitColumn,
    Proposal,
    Reason,
    RejectedShown,
    TableKind,
    TableShown,
)
from headrace.console.warehouses import LoadShown
from headrace.loader import conversions
from headrace.loader.retyping import BESIDE
from headrace.loader.retyping import HISTORY as HISTORY_OF
from headrace.loader.standard import EXTRA, LOADED_AT, standard_columns
from headrace.loader.values import MISFIT
from headrace.names import STANDARD_TABLES
from headrace.reports.model.schema import SCHEMA as EMAIL
from headrace.warehouses.base import HISTORY_TABLES, HOUSEKEEPING, ColumnType, StoredTable, TableName
from headrace.workspace.records import Source

SAMPLES: Final = 5
SAMPLE_CHARACTERS: Final = 200
Column = tuple[str, str, str]
"""Schema, table, column."""

_ORIGINS: Final[Mapping[str, str]] = {
    "id": "the event's messageId",
    "anonymous_id": "anonymousId",
    "user_id": "userId",
    "group_id": "groupId",
    "previous_id": "previousId",
    "name": "the page's or screen's name",
    "event": "the event's name as a table name",
    "event_text": "the event's name as it was sent",
    "original_timestamp": "when it happened, by the sender's clock",
    "sent_at": "when it was sent, by the sender's clock",
    "received_at": "when headrace received it",
    "timestamp": "when it happened, with the sender's clock put right",
    LOADED_AT: "when the load began that stored it",
}


class Looked(NamedTuple):
    """Rows of headrace.columns by table and column, when each table was last loaded, and discarded values by column, newest ones only."""

    tables: Mapping[TableName, StoredTable]
    named: Mapping[TableName, Mapping[str, Mapping[str, Any]]]
    last_loaded: Mapping[TableName, datetime]
    misfits: Mapping[Column, int]


def looked(
    tables: Mapping[TableName, StoredTable],
    named: Sequence[Mapping[str, Any]],
    loads: Sequence[LoadShown],
    discards: Sequence[Mapping[str, Any]],
) -> Looked:
    by_table: dict[TableName, dict[str, Mapping[str, Any]]] = defaultdict(dict)
    last: dict[TableName, datetime] = {}
    for row in named:
        name = TableName(row["schema"], row["table"])
        by_table[name][row["column"]] = row
        if row["last_seen"] is not None:
            last[name] = max(last.get(name, row["last_seen"]), row["last_seen"])
    for load in loads:
        for text in load.rows:
            name = TableName(*text.partition(".")[::2])
            last[name] = max(last.get(name, load.started), load.started)
    counts = Counter((row["schema"] or "", row["table"] or "", row["column"] or "") for row in discards)
    return Looked(tables, by_table, last, counts)


def tables(known: Looked, sources: Iterable[Source]) -> list[TableShown]:
    """By schema and name; those of a rebuild that is under way are left out."""
    of_schema = {source.schema: source for source in sources}
    shown = (_table(known, name, of_schema) for name in sorted(known.tables) if not name.table.startswith(BESIDE))
    return list(shown)


def table(known: Looked, name: TableName, sources: Iterable[Source]) -> TableShown:
    return _table(known, name, {source.schema: source for source in sources})


def _table(known: Looked, name: TableName, of_schema: Mapping[str, Source]) -> TableShown:
    stored, source = known.tables[name], of_schema.get(name.schema)
    history = TableName(name.schema, HISTORY_OF.get(name.table, name.table))
    return TableShown(
        schema=name.schema,
        table=name.table,
        kind=_kind(name, source),
        source=source.slug if source else None,
        rows=stored.rows,
        is_exact=stored.is_exact,
        size_bytes=stored.size_bytes,
        columns=len(stored.columns),
        last_loaded_at=known.last_loaded.get(name) or known.last_loaded.get(history),
        misfits=sum(count for column, count in known.misfits.items() if column[:2] == name),
    )


def _kind(name: TableName, source: Source | None) -> TableKind:
    if name.schema == HOUSEKEEPING:
        return "headrace"
    if name.schema == EMAIL:
        return "email"
    if source is None:
        return "other"
    if name.table in HISTORY_TABLES:
        return "events"
    return "latest" if name.table in STANDARD_TABLES else "event"


def columns(known: Looked, name: TableName, retyped: set[str], held: Mapping[Column, str]) -> list[ColumnShown]:
    """In the table's order. `retyped` are `schema.table.column`, `held` says why a column cannot change its type."""
    history = TableName(name.schema, HISTORY_OF.get(name.table, name.table))
    named = {**known.named.get(history, {}), **known.named.get(name, {})}
    is_events = name.schema not in (HOUSEKEEPING, EMAIL)
    standard = {*standard_columns(name.table), LOADED_AT} if is_events else set()
    found = []
    for column, type_ in known.tables[name].columns.items():
        row = {} if column in standard else named.get(column, {})
        original = row.get("original") or ""
        found.append(
            ColumnShown(
                column=column,
                type=type_.value,
                original=original,
                origin=_origin(name, column, original, is_standard=column in standard) if is_events else "",
                is_standard=column in standard,
                is_retyped=f"{history.schema}.{history.table}.{column}" in retyped,
                first_seen=row.get("first_seen"),
                last_seen=row.get("last_seen"),
                misfits=known.misfits.get((*history, column), 0),
                held=held.get((*history, column), ""),
            )
        )
    return found


def _origin(name: TableName, column: str, original: str, *, is_standard: bool) -> str:
    if is_standard:
        return _ORIGINS[
            "user_id"
            if (name.table, column) == ("users", "id")
            else "group_id"
            if (name.table, column) == ("accounts", "id")
            else column
        ]
    if column == EXTRA:
        return "what found no column of its own"
    if not original:
        return "added by hand"
    if original.startswith("context."):
        return "context"
    if original.startswith("envelope."):
        return "a field of the event itself"
    return "trait" if name.table in ("identifies", "users", "groups", "accounts") else "property"


# Misfits.


def misfits(
    discards: Sequence[Mapping[str, Any]], stored: Mapping[TableName, StoredTable], held: Mapping[Column, str]
) -> list[MisfitColumn]:
    """Rows of headrace.discards, newest first, by column, most values first."""
    by_column: dict[Column, list[Mapping[str, Any]]] = defaultdict(list)
    for row in discards:
        by_column[row["schema"] or "", row["table"] or "", row["column"] or ""].append(row)
    found = []
    for column, rows in sorted(by_column.items(), key=lambda entry: (-len(entry[1]), entry[0])):
        table = stored.get(TableName(*column[:2]))
        type_ = table.columns.get(column[2]) if table else None
        values = [_sent(row["value"]) for row in rows]
        found.append(
            MisfitColumn(
                *column,
                type=type_.value if type_ else None,
                values=len(rows),
                reasons=_reasons(rows),
                samples=_samples(rows),
                proposals=proposals(type_, values) if type_ in conversions.TYPES else (),
                held=held.get(column, ""),
            )
        )
    return found


def _reasons(rows: Sequence[Mapping[str, Any]]) -> list[Reason]:
    counts: Counter[str] = Counter()
    last: dict[str, datetime] = {}
    for row in rows:
        reason, at = row["reason"] or "", row["received_at"]
        counts[reason] += 1
        if at is not None:
            last[reason] = max(last.get(reason, at), at)
    return [Reason(reason, count, last.get(reason)) for reason, count in counts.most_common()]


def _samples(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    different = list(dict.fromkeys(str(row["value"]) for row in rows))[:SAMPLES]
    return [text if len(text) <= SAMPLE_CHARACTERS else f"{text[:SAMPLE_CHARACTERS]}…" for text in different]


def _sent(text: Any) -> Any:
    with suppress(msgspec.DecodeError):
        return msgspec.json.decode(str(text))
    return str(text)


def proposals(now: ColumnType, values: Sequence[Any]) -> list[Proposal]:
    """Types that would take some of these values, which do not fit the column's type of now. The best takes all of them and all that the
    column holds; string always does."""
    found = []
    for type_ in conversions.TYPES:
        fits = sum(conversions.refitted(value, type_) is not MISFIT for value in values)
        keeps = type_ in (now, ColumnType.STRING) or (now, type_) == (ColumnType.INTEGER, ColumnType.FLOAT)
        if fits:
            found.append(Proposal(type_.value, fits, len(values), keeps))
    best = next((one for one in found if one.fits == one.of and one.keeps), None)
    return [msgspec.structs.replace(one, is_best=one is best) for one in found]


# Pages of loads and rejected events.


def page_sql(table: str, moment: str, most: int, before: datetime | None, conditions: Sequence[str]) -> str:
    """To the second, in words that every engine takes: some have no finer literals. The caller leaves out what is too new."""
    bounds = list(conditions)
    if before is not None:
        until = before.astimezone(UTC).replace(microsecond=0) + timedelta(seconds=1)
        bounds.append(f"{moment} < CAST('{until:%Y-%m-%d %H:%M:%S}' AS TIMESTAMP)")
    where = f" WHERE {' AND '.join(bounds)}" if bounds else ""
    return f"SELECT * FROM headrace.{table}{where} ORDER BY {moment} DESC LIMIT {most}"  # noqa: S608 -- plain words, slugs and times


def page(
    rows: Sequence[dict[str, Any]], moment: str, limit: int, *, is_all: bool
) -> tuple[Sequence[dict[str, Any]], datetime | None] | None:
    """Of rows, newest first, `limit` and those after them of the same moment; and before which moment the next page is, None on the last one.
    None when that cannot be told without more rows, of which there are no more where `is_all`."""
    last = rows[limit - 1][moment] if len(rows) > limit else None
    end = next((number for number in range(limit, len(rows)) if rows[number][moment] != last), None)
    if end is not None:
        return rows[:end], last
    return (rows, None) if is_all else None


def rejected(rows: Sequence[Mapping[str, Any]]) -> list[RejectedShown]:
    return [
        RejectedShown(
            source=row["source"] or "",
            stage=row["stage"] or "",
            code=row["code"] or "",
            reason=row["reason"] or "",
            message_id=row["message_id"],
            raw=row["raw"] or "",
            events=int(row["events"] or 0),
            received_at=row["received_at"],
        )
        for row in rows
    ]
