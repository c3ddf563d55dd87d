"""What the warehouse must hold for given events, worked out from the specification alone."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import msgspec

from headrace.event import Event
from loader_house import House, Row

ENVELOPE = ("id", "user_id", "event", "event_text", "received_at", "timestamp", "loaded_at")


def leaves(tree: Any, place: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from leaves(value, (*place, name))
        elif value is not None:
            yield (*place, name), value


def original(place: tuple[str, ...]) -> str:
    """As headrace.columns documents it."""
    names = [name.replace("\\", "\\\\").replace(".", "\\.").replace("\0", "\\0") for name in place]
    if place[0] == "properties" and place[1] not in ("properties", "context", "envelope"):
        names = names[1:]
    return ".".join(names)


def without_nul(value: Any) -> Any:
    return json.loads(json.dumps(value).replace("\\u0000", ""))


def means(sent: Any, stored: Any) -> bool:
    """Whether what is stored says what was sent, in whichever type."""
    sent = without_nul(sent)
    if stored is None or isinstance(sent, bool) != isinstance(stored, bool):
        return isinstance(sent, bool) and stored == json.dumps(sent)
    if isinstance(sent, str):
        return stored == sent or (isinstance(stored, str) and same_moment(sent, stored))
    return bool(stored == sent) or (isinstance(stored, str) and same_json(sent, stored))


def same_moment(sent: str, stored: str) -> bool:
    try:
        return datetime.fromisoformat(sent) == datetime.fromisoformat(stored)
    except (ValueError, TypeError):
        return False


def same_json(sent: Any, stored: str) -> bool:
    try:
        return bool(json.loads(stored) == sent)
    except ValueError:
        return False


def faults(house: House, events: Sequence[Event]) -> list[str]:
    """Everything in which the warehouse differs from these events."""
    tables = [name.table for name in house.warehouse.tables() if name.schema == "shop"]
    column_of = {(r["table"], r["original"]): r["column"] for r in house.rows("headrace.columns")}
    discards = {(r["table"], r["row_id"], r["column"]): r["value"] for r in house.rows("headrace.discards")}
    event_of = {event.message_id: event for event in events}
    found: list[str] = []
    for table in tables:
        for row in house.rows(f'shop."{table}"') if table not in ("users", "accounts") else ():
            columns = {path: column for (of, path), column in column_of.items() if of == table}
            kept = {column: value for (of, key, column), value in discards.items() if (of, key) == (table, row["id"])}
            found += [
                f"{table} {row['id']}: {fault}"
                for fault in faults_of_row(event_of[row["id"]], table, row, columns, kept)
            ]
    ids = [i for table in ("tracks", "identifies") if table in tables for i in house.column(f'shop."{table}"', "id")]
    ids += [row["message_id"] for row in house.rows("headrace.rejected")]
    return found + [f"{i}: {ids.count(i)} times" for i in {*ids, *event_of} if ids.count(i) != 1 or i not in event_of]


def faults_of_row(
    event: Event, table: str, row: Row, columns: dict[str, str], discards: dict[str, str]
) -> Iterator[str]:
    expected = dict(leaves(msgspec.json.decode(event.context), ("context",)))
    if table != "tracks":
        expected |= dict(leaves(msgspec.json.decode(event.properties), ("properties",)))
    unexplained = set(row) - set(ENVELOPE)
    for place, value in expected.items():
        column = columns.get(original(place), "")
        unexplained.discard(column)
        is_stored = means(value, row.get(column)) or (
            column in discards and same_json(without_nul(value), discards[column])
        )
        if not is_stored and not any(means(value, row.get(c)) or row.get(c) == str(value) for c in ENVELOPE):
            yield f"{place}: sent {value!r}, stored {row.get(column)!r}"
    yield from (f"{column} has {row[column]!r}, which nobody sent" for column in unexplained)
    if (event.user_id, event.event and event.event.replace("\0", "")) != (row.get("user_id"), row.get("event_text")):
        yield f"user {row.get('user_id')!r}, event {row.get('event_text')!r}"
