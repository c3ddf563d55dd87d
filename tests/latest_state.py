"""Histories and the latest state that they lead to, by the specification alone."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from headrace.warehouses.base import Columns, ColumnType, TableName, Warehouse
from made_loads import START, arrow, at, latest, load, rows_of

HISTORY_COLUMNS: Columns = {
    "id": ColumnType.STRING,
    "user_id": ColumnType.STRING,
    "received_at": ColumnType.TIMESTAMP,
    "loaded_at": ColumnType.TIMESTAMP,
    "plan": ColumnType.STRING,
    "age": ColumnType.INTEGER,
}
TRAITS: Columns = {"plan": ColumnType.STRING, "age": ColumnType.INTEGER}
LATEST_COLUMNS: Columns = {
    "id": ColumnType.STRING,
    "received_at": ColumnType.TIMESTAMP,
    "loaded_at": ColumnType.TIMESTAMP,
    **TRAITS,
}
Identify = tuple[str | None, int, str | None, int | None]
SCHEMAS = itertools.count()

identifies = st.lists(
    st.tuples(
        st.sampled_from(["u1", "u2", "ü3", None]),
        st.integers(0, 4),
        st.sampled_from(["free", "pro", None]),
        st.sampled_from([1, 2, None]),
    ),
    min_size=1,
    max_size=12,
)


def arrivals(events: Sequence[Identify], order: Sequence[int], cuts: Sequence[int]) -> list[list[tuple[Any, ...]]]:
    """Rows of identifies, in an order of arrival, cut into loads. Ids sort otherwise than they arrive."""
    ids = [f"{(number * 7) % 12:02}-é" for number in range(len(events))]
    rows_ = [
        (id_, user, at(second), START, plan, age) for id_, (user, second, plan, age) in zip(ids, events, strict=True)
    ]
    arrived = [rows_[place] for place in order]
    edges = [0, *sorted({cut for cut in cuts if cut < len(arrived)}), len(arrived)]
    return [part for first, last in itertools.pairwise(edges) if (part := arrived[first:last])]


def oracle(parts: Sequence[Sequence[tuple[Any, ...]]]) -> list[list[Any]]:
    """The rows of users by the specification alone."""
    users: dict[str, list[Any]] = {}
    for _, user, received_at, _, plan, age in sorted(
        (row for part in parts for row in part), key=lambda r: (r[2], r[0])
    ):
        if user is not None:
            row = users.setdefault(user, [user, None, None, None])
            row[1] = received_at.strftime("%Y-%m-%dT%H:%M:%SZ")
            row[2] = row[2] if plan is None else plan
            row[3] = row[3] if age is None else age
    return [users[user] for user in sorted(users)]


def users_after(warehouse: Warehouse, parts: Sequence[Sequence[tuple[Any, ...]]]) -> list[list[Any]]:
    schema = f"s{next(SCHEMAS)}"
    history, users = TableName(schema, "identifies"), TableName(schema, "users")
    for number, part in enumerate(parts):
        create = {history: HISTORY_COLUMNS, users: LATEST_COLUMNS} if number == 0 else {}
        arrived = arrow(HISTORY_COLUMNS, part)
        upserts = [latest(schema, TRAITS)]
        warehouse.commit(load(number, number + 1, {history: arrived}, create=create, upserts=upserts, consumer=schema))
    return rows_of(warehouse, f"SELECT id, received_at, plan, age FROM {schema}.users ORDER BY id")


LATE_ARRIVALS: list[list[Identify]] = [
    [("u1", 3, "pro", None)],
    [("u1", 1, "free", 7)],
    [("u1", 3, None, 9), ("u2", 0, "free", 1)],
    [("u2", 0, "pro", None)],
]


def late_parts() -> list[list[tuple[Any, ...]]]:
    numbers = itertools.count(90, -1)
    return [
        [(f"{next(numbers)}", user, at(second), START, plan, age) for user, second, plan, age in part]
        for part in LATE_ARRIVALS
    ]
