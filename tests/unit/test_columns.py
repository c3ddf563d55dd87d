"""Values of one column -> types, and which column a path has."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.loader.columns import Typed, misfit_reason, typed
from headrace.loader.growing import Growing
from headrace.loader.rows import Row, rows
from headrace.loader.tables import Table, Tables
from headrace.loader.values import timestamp
from headrace.warehouses.base import Columns, ColumnType, NamedColumn, TableName
from made_events import START, made

ORDERS = TableName("shop", "order_placed")
TEXT, INTEGER, FLOAT, BOOLEAN, TIMESTAMP = (
    ColumnType.STRING,
    ColumnType.INTEGER,
    ColumnType.FLOAT,
    ColumnType.BOOLEAN,
    ColumnType.TIMESTAMP,
)
BIG = 2**53 + 1
NOON = "2026-03-01T12:00:00Z"


def yes() -> bool:
    return True


def no() -> bool:
    return False


def outcome(
    column: Sequence[Any], known: ColumnType | None = None, may_widen: Callable[[], bool] = yes
) -> tuple[Any, ...]:
    """Type, values and places of misfits."""
    result: Typed = typed(column, known, may_widen)
    return result.type, result.array.to_pylist(), list(result.misfits)


CHANGES: list[tuple[list[Any], ColumnType, list[Any], list[int]]] = [
    ([1, None, 2], INTEGER, [1, None, 2], []),
    ([None, 1, 2.5], FLOAT, [None, 1.0, 2.5], []),
    ([1, 1.0], FLOAT, [1.0, 1.0], []),
    ([2.5, 1], FLOAT, [2.5, 1.0], []),
    ([2.5, BIG], FLOAT, [2.5, None], [1]),
    ([BIG, 2.5], INTEGER, [BIG, None], [1]),
    ([1, 2.5, BIG, 3], FLOAT, [1.0, 2.5, None, 3.0], [2]),
    ([1, "free", 2], INTEGER, [1, None, 2], [1]),
    ([1, "5"], INTEGER, [1, None], [1]),
    ([1, True], INTEGER, [1, None], [1]),
    ([1, 2**63], INTEGER, [1, None], [1]),
    ([2**63, 1], TEXT, [str(2**63), "1"], []),
    ([True, False, None], BOOLEAN, [True, False, None], []),
    ([True, 1, "true"], BOOLEAN, [True, None, None], [1, 2]),
    (["a", 5, True, 2.5, [1, "x"]], TEXT, ["a", "5", "true", "2.5", '[1,"x"]'], []),
    ([[1], "a"], TEXT, ["[1]", "a"], []),
    ([1.5, "x"], FLOAT, [1.5, None], [1]),
    ([NOON, "soon", 5, "2026-03-01 13:00:00"], TIMESTAMP, [START, None, None, START.replace(hour=13)], [1, 2]),
    (["soon", NOON], TEXT, ["soon", NOON], []),
]


@pytest.mark.parametrize(("column", "kind", "values", "misfits"), CHANGES)
def test_the_first_value_decides_and_no_value_is_lost(
    column: list[Any], kind: ColumnType, values: list[Any], misfits: list[int]
) -> None:
    assert (kind, values, misfits) == outcome(column)


@pytest.mark.parametrize(("column", "kind", "values", "misfits"), CHANGES)
def test_the_outcome_is_the_same_value_by_value(
    column: list[Any], kind: ColumnType, values: list[Any], misfits: list[int]
) -> None:
    growing = Growing(Table(ORDERS, 500, {}), lambda *_: True)
    for place, value in enumerate(column):
        leaves = {} if value is None else {"x": value}
        growing.add([Row(ORDERS.table, rows(made(f"m{place}"))[1].standard, leaves)])
        growing.settle()
    assert kind is growing.table.types["x"]
    assert values == growing.column("x").to_pylist()
    assert [f"m{place}" for place in misfits] == [discard.row_id for discard in growing.discards]


def test_a_stored_integer_column_widens_only_while_its_integers_are_exact() -> None:
    assert (FLOAT, [1.5], []) == outcome([1.5], INTEGER, yes)
    assert (INTEGER, [None], [0]) == outcome([1.5], INTEGER, no)


def test_the_warehouse_is_asked_at_most_once_a_column() -> None:
    asked = []

    def refuse(*_: Any) -> bool:
        asked.append(1)
        return False

    table = Table(ORDERS, 500, {"x": INTEGER})
    table.column("x")
    for _ in range(2):
        growing = Growing(table, refuse)
        growing.add([Row(ORDERS.table, rows(made())[1].standard, {"x": 1.5}) for _ in range(3)])
        growing.settle()
    assert [1] == asked


def test_a_discard_holds_the_value_as_it_was_sent() -> None:
    growing = Growing(Table(ORDERS, 500, {"revenue": FLOAT, "big": INTEGER}), lambda *_: False)
    event = made("m7", properties=b'{"revenue": "free", "big": 1e400, "list": [1]}', sent_at="yesterday", at=3)
    growing.add([rows(event)[1]])
    growing.settle()
    found = {(discard.column, discard.value) for discard in growing.discards}
    assert {("revenue", '"free"'), ("big", "1e400"), ("sent_at", '"yesterday"')} == found
    assert {("shop", "order_placed", "m7", event.received_at)} == {
        (d.schema, d.table, d.row_id, d.received_at) for d in growing.discards
    }


def test_reasons_name_the_value_and_the_type() -> None:
    assert "text does not fit the column's type integer" == misfit_reason("x", INTEGER)
    assert "an array does not fit the column's type boolean" == misfit_reason([], BOOLEAN)
    assert "an integer that a double cannot hold exactly does not fit the column's type float" == misfit_reason(
        BIG, FLOAT
    )


plain = st.datetimes().map(lambda moment: moment.isoformat() + "Z")
odd = st.from_regex(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,8})?)?(Z|[+-][0-9]{2}:?[0-9]{2})?",
    fullmatch=True,
)


@given(st.lists(plain | odd | st.none(), max_size=5))
def test_the_short_way_to_timestamps_says_what_the_long_one_says(texts: list[str | None]) -> None:
    expected = [None if text is None else timestamp(text) for text in texts]
    assert expected == typed(texts, TIMESTAMP, no).array.to_pylist()


def table(stored: Columns | None = None, named: Sequence[tuple[str, str]] = (), max_columns: int = 500) -> Table:
    now = datetime.now(UTC)
    columns = [NamedColumn(*ORDERS, column, path, "string", now, now) for path, column in named]
    return Table(ORDERS, max_columns, stored or {}, columns)


def test_two_names_that_fall_on_one_column_get_two() -> None:
    orders = table()
    assert ["plan", "plan_2", "plan_3", "plan_2_2"] == [orders.column(p) for p in ("plan", "Plan", "$plan", "plan 2")]
    assert "plan_2" == orders.column("Plan")


def test_a_path_keeps_its_column_after_a_restart() -> None:
    orders = table({"plan": TEXT, "plan_2": TEXT}, [("Plan", "plan"), ("plan", "plan_2")])
    assert ("plan_2", "plan") == (orders.column("plan"), orders.column("Plan"))


def test_a_property_named_like_a_standard_column_gets_an_underscore() -> None:
    orders = table()
    assert ["_user_id", "_loaded_at", "_id", "_user_id_2"] == [
        orders.column(p) for p in ("userId", "loaded_at", "_id", "user.id")
    ]


def test_reserved_words_are_names_like_any_other() -> None:
    assert ["select", "table", "order", "group"] == [table().column(p) for p in ("select", "table", "order", "group")]


def test_a_column_that_nobody_named_is_taken_by_the_first_path() -> None:
    assert "plan" == table({"plan": INTEGER}).column("plan")


def test_columns_beyond_the_limit_go_to_extra() -> None:
    growing = Growing(table(max_columns=500), lambda *_: True)
    properties = {f"p{number}": number for number in range(600)} | {"nested": {"a": 1, "b": None}}
    growing.add([rows(made(properties=properties))[1], rows(made("m2", properties={"p1": 5}))[1]])
    growing.settle()
    stored = growing.arrow(START).to_pylist()
    assert 500 == len(growing.table.types)
    extra = json.loads(stored[0]["_extra"])
    columns = {name: value for name, value in stored[0].items() if name in properties}
    assert properties | {"nested": {"a": 1}} == columns | extra
    assert (None, 5) == (stored[1]["_extra"], stored[1]["p1"])


def test_a_full_table_keeps_the_columns_it_has() -> None:
    orders = table(max_columns=50)
    assert 50 - 10 - 1 == sum(orders.column(f"p{number}") is not None for number in range(100))
    assert orders.column("q") is None
    assert "p0" == orders.column("p0")


def test_standard_tables_have_their_place_whatever_events_there_are() -> None:
    tables = Tables({}, [], max_columns=500, max_tables=10)
    made_tables = [n for n in range(20) if tables.table(TableName("shop", f"event_{n}")) is not None]
    assert [0, 1] == made_tables
    assert tables.table(TableName("shop", "identifies")) is not None
    assert tables.table(TableName("shop", "event_1")) is not None
    assert tables.table(TableName("other", "event_5")) is not None
