"""Another type for a column: what converts and what does not, what happens to the rest, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from by_hand import by_hand
from headrace.errors import ConfigError, NotFoundError, WarehouseUnavailableError
from headrace.loader import columns, conversions, values
from headrace.loader.conversions import converted, refitted
from headrace.loader.retyping import Retype, Retyped
from headrace.loader.values import MISFIT
from headrace.warehouses.base import ColumnType, Retyping
from loader_house import House
from made_events import made

BOOLEAN, INTEGER, FLOAT = ColumnType.BOOLEAN, ColumnType.INTEGER, ColumnType.FLOAT
TIMESTAMP, STRING = ColumnType.TIMESTAMP, ColumnType.STRING
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
TABLE = "shop.order_placed"


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    opened = House(tmp_path)
    yield opened
    opened.warehouse.close()


def retype(house: House, column: str, type_name: str) -> Retyped:
    return Retype.parsed(column, type_name).run(house.warehouse, lambda: house.now)


# The table of conversions.


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        (True, STRING, "true"),
        (False, STRING, "false"),
        (True, INTEGER, MISFIT),
        (True, FLOAT, MISFIT),
        (True, TIMESTAMP, MISFIT),
        (1, FLOAT, 1.0),
        (2**53, FLOAT, float(2**53)),
        (2**53 + 1, FLOAT, MISFIT),
        (1, STRING, "1"),
        (-(2**63), STRING, "-9223372036854775808"),
        (1, BOOLEAN, MISFIT),
        (1_772_366_400, TIMESTAMP, MISFIT),
        (1.0, INTEGER, 1),
        (-0.0, INTEGER, 0),
        (14.99, INTEGER, MISFIT),
        (2.0**53, INTEGER, 2**53),
        (2.0**54, INTEGER, MISFIT),
        (1.0, STRING, "1"),
        (-0.0, STRING, "-0.0"),
        (14.99, STRING, "14.99"),
        (1e300, STRING, "1e300"),
        (1.0, BOOLEAN, MISFIT),
        (NOON, STRING, "2026-03-01T12:00:00Z"),
        (NOON + timedelta(microseconds=5), STRING, "2026-03-01T12:00:00.000005Z"),
        (NOON, INTEGER, MISFIT),
        ("true", BOOLEAN, True),
        ("false", BOOLEAN, False),
        ("True", BOOLEAN, MISFIT),
        ("1", BOOLEAN, MISFIT),
        ("", BOOLEAN, MISFIT),
        ("15", INTEGER, 15),
        ("-15", INTEGER, -15),
        ("15.0", INTEGER, 15),
        ("1e3", INTEGER, 1000),
        ("9223372036854775807", INTEGER, 2**63 - 1),
        ("9223372036854775808", INTEGER, MISFIT),
        ("14.99", INTEGER, MISFIT),
        ("007", INTEGER, MISFIT),
        ("+49", INTEGER, MISFIT),
        (" 5", INTEGER, MISFIT),
        ("٥", INTEGER, MISFIT),
        ("5" * 5000, INTEGER, MISFIT),
        ("14.99", FLOAT, 14.99),
        ("14.90", FLOAT, 14.9),
        ("1e3", FLOAT, 1000.0),
        ("15", FLOAT, 15.0),
        ("9007199254740993", FLOAT, MISFIT),
        ("0.1234567890123456789", FLOAT, MISFIT),
        ("1e400", FLOAT, MISFIT),
        ("1e-400", FLOAT, MISFIT),
        ("1e99999999999", FLOAT, MISFIT),
        ("14,99", FLOAT, MISFIT),
        ("NaN", FLOAT, MISFIT),
        ("free", FLOAT, MISFIT),
        ("", FLOAT, MISFIT),
        ("2026-03-01T12:00:00Z", TIMESTAMP, NOON),
        ("2026-03-01 13:00:00+01:00", TIMESTAMP, NOON),
        ("2026-03-01T12:00:00.000000000Z", TIMESTAMP, NOON),
        ("2026-03-01T12:00:00.0000001Z", TIMESTAMP, MISFIT),
        ("2026-03-01", TIMESTAMP, MISFIT),
        ("noon", TIMESTAMP, MISFIT),
    ],
)
def test_a_stored_value_converts_without_loss_or_not_at_all(value: Any, kind: ColumnType, expected: Any) -> None:
    found = converted(value, kind)
    assert (expected, type(expected)) == (found, type(found))


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [(1.0, STRING, "1.0"), ([1, {"a": 2}], STRING, '[1,{"a":2}]'), ("14.99", FLOAT, 14.99), (True, INTEGER, MISFIT)],
)
def test_a_sent_value_is_taken_as_a_load_would_and_then_converted(value: Any, kind: ColumnType, expected: Any) -> None:
    assert expected == refitted(value, kind)


STORED = {
    BOOLEAN: st.booleans(),
    INTEGER: st.integers(values.INTEGER_MINIMUM, values.INTEGER_MAXIMUM),
    FLOAT: st.floats(allow_nan=False, allow_infinity=False),
    TIMESTAMP: st.datetimes(timezones=st.just(UTC)),
    STRING: st.text(),
}
TYPED = st.sampled_from(list(STORED)).flatmap(lambda kind: st.tuples(st.just(kind), STORED[kind]))


@given(TYPED)
def test_retyping_to_string_and_back_loses_nothing(typed: tuple[ColumnType, Any]) -> None:
    kind, value = typed
    text = converted(value, STRING)
    assert isinstance(text, str)
    assert (value, str(value)) == ((back := converted(text, kind)), str(back))


@given(TYPED, st.sampled_from(list(STORED)))
def test_what_converts_comes_back_and_what_does_not_comes_back_from_discards(
    typed: tuple[ColumnType, Any], other: ColumnType
) -> None:
    kind, value = typed
    there = converted(value, other)
    if there is MISFIT:
        assert value == refitted(json.loads(conversions.sent(value)), kind)
    elif kind is STRING:  # another spelling of the same
        assert there == converted(converted(there, kind), other)
    else:
        back = converted(there, kind)
        assert value == back or (back is MISFIT and kind is INTEGER and value == there)


def test_control_a_conversion_that_rounds_is_seen() -> None:
    assert 14.99 != converted(int(14.99), FLOAT)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (BOOLEAN, [True, None, None, None, None, None]),
        (INTEGER, [None, 5, None, None, None, None]),
        (FLOAT, [None, 5.0, 14.99, None, None, None]),
        (TIMESTAMP, [None, None, None, NOON, None, None]),
        (STRING, ["true", "5", "14.99", "2026-03-01T12:00:00Z", "free", "[1]"]),
    ],
)
def test_every_type_takes_what_events_bring_later(kind: ColumnType, expected: list[Any]) -> None:
    arriving = [True, 5, 14.99, "2026-03-01T12:00:00Z", "free", [1]]
    found = columns.typed(arriving, kind, lambda: False)
    assert (expected, kind) == (found.array.to_pylist(), found.type)
    assert [place for place, value in enumerate(expected) if value is None] == list(found.misfits)


# The whole of it, in a warehouse.


def test_texts_become_numbers_and_what_is_none_waits_as_it_was(house: House) -> None:
    texts = ["14.99", "20", "free", None]
    house.load(*(made(f"m{number}", properties={"revenue": text}) for number, text in enumerate(texts)))
    expected = Retyped("shop", "order_placed", "revenue", "string", "float", 2, 0, 1)
    assert expected == retype(house, f"{TABLE}.revenue", "float")
    assert [14.99, 20.0, None, None] == house.column(TABLE, "revenue")
    (discard,) = house.rows("headrace.discards")
    assert ("m2", '"free"') == (discard["row_id"], discard["value"])
    assert "float" in discard["reason"]
    assert ["float"] == [row["type"] for row in house.rows("headrace.columns")]
    assert 1 == retype(house, f"{TABLE}.revenue", "string").reapplied
    assert ["14.99", "20", "free", None] == house.column(TABLE, "revenue")
    assert [] == house.rows("headrace.discards")


def test_what_did_not_fit_is_applied_again_as_it_was_sent(house: House) -> None:
    sent = [5, "six", 7.5, [8], 2**70, True]
    house.load(*(made(f"m{number}", properties={"size": value}) for number, value in enumerate(sent)))
    before = len(house.rows("headrace.discards"))
    retyped = retype(house, f"{TABLE}.size", "string")
    assert (before, 0) == (retyped.reapplied, retyped.discarded)
    assert ["5", "six", "7.5", "[8]", str(2**70), "true"] == house.column(TABLE, "size")


def test_the_newest_of_several_discards_of_a_row_is_applied(house: House) -> None:
    house.load(made("m1", properties={"size": 1}), made("m2", properties={"size": "two"}))
    newer = """'"three"' AS value, loaded_at + INTERVAL 1 DAY AS loaded_at"""
    by_hand(house, f"INSERT INTO headrace.discards SELECT * REPLACE ({newer}) FROM headrace.discards")
    retyped = retype(house, f"{TABLE}.size", "string")
    assert (1, 1) == (retyped.reapplied, retyped.discarded)
    assert ["1", "three"] == house.column(TABLE, "size")
    assert ['"two"'] == [row["value"] for row in house.rows("headrace.discards")]


def test_a_discard_whose_row_is_gone_or_filled_stays(house: House) -> None:
    sizes = {"m1": 1, "m2": "two", "m3": "three"}
    house.load(*(made(message_id, properties={"size": size}) for message_id, size in sizes.items()))
    by_hand(house, "DELETE FROM shop.order_placed WHERE id = 'm2'")
    by_hand(house, "UPDATE shop.order_placed SET size = 33 WHERE id = 'm3'")
    retyped = retype(house, f"{TABLE}.size", "string")
    assert (2, 0, 2) == (retyped.converted, retyped.reapplied, retyped.discarded)
    assert ["1", "33"] == house.column(TABLE, "size")


def test_loading_goes_on_with_the_new_type(house: House) -> None:
    house.load(made("m1", properties={"size": "5"}))
    retype(house, f"{TABLE}.size", "integer")
    house.load(made("m2", properties={"size": 6}, at=1), made("m3", properties={"size": "big"}, at=2))
    assert [5, 6, None] == house.column(TABLE, "size")
    assert "integer" == house.types(TABLE)["size"]
    retype(house, f"{TABLE}.size", "string")
    house.load(made("m4", properties={"size": 7.5}, at=3), made("m5", properties={"size": [8]}, at=4))
    assert ["5", "6", "big", "7.5", "[8]"] == house.column(TABLE, "size")


def test_the_same_type_again_applies_what_waits_and_is_refused_when_nothing_does(house: House) -> None:
    house.load(made("m1", properties={"size": 5}), made("m2", properties={"size": "6"}))
    assert [5, None] == house.column(TABLE, "size")
    assert 1 == retype(house, f"{TABLE}.size", "integer").reapplied
    assert [5, 6] == house.column(TABLE, "size")
    house.load(made("m3", properties={"size": "big"}, at=3))
    with pytest.raises(ConfigError, match="is integer already"):
        retype(house, f"{TABLE}.size", "integer")
    with pytest.raises(ConfigError, match="no column can be made json"):
        Retype("shop", "order_placed", "size", ColumnType.JSON).run(house.warehouse, lambda: house.now)


@pytest.mark.parametrize("table", ["identifies", "users"])
def test_users_change_with_identifies(house: House, table: str) -> None:
    house.load(
        made("m1", "identify", {"age": "30"}, at=1),
        made("m2", "identify", {"age": "old"}, at=2),
        made("m3", "identify", {"age": "40"}, at=3, user_id="u2"),
    )
    retyped = retype(house, f"shop.{table}.age", "integer")
    assert ("identifies", "users", 2, 1) == (retyped.table, retyped.latest, retyped.converted, retyped.discarded)
    assert [30, 40] == [row["age"] for row in house.rows("shop.users")]
    assert "integer" == house.types("shop.users")["age"] == house.types("shop.identifies")["age"]
    house.load(made("m4", "identify", {"age": 31}, at=4))
    assert [31, 40] == [row["age"] for row in house.rows("shop.users")]
    retype(house, f"shop.{table}.age", "string")
    assert ["31", "40"] == [row["age"] for row in house.rows("shop.users")]
    assert ["30", "old", "40", "31"] == house.column("shop.identifies", "age")


def test_accounts_change_with_groups_and_a_table_without_latest_state_alone(house: House) -> None:
    house.load(made("m1", "group", {"seats": "3"}, group_id="g1"), made("m2", "identify", {"age": "1"}, user_id=None))
    assert "accounts" == retype(house, "shop.groups.seats", "integer").latest
    assert [3] == [row["seats"] for row in house.rows("shop.accounts")]
    assert retype(house, "shop.identifies.age", "integer").latest is None


def test_a_failed_retype_changes_nothing_and_can_be_run_again(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.load(made("m1", properties={"size": "5"}))

    def busy(_retyping: Retyping) -> None:
        raise WarehouseUnavailableError("warehouse: busy")

    with monkeypatch.context() as patched:
        patched.setattr(house.warehouse, "retype", busy)
        with pytest.raises(WarehouseUnavailableError):
            retype(house, f"{TABLE}.size", "integer")
    assert ["5"] == house.column(TABLE, "size")
    assert 1 == retype(house, f"{TABLE}.size", "integer").converted


@pytest.mark.parametrize(
    ("column", "type_name", "error", "text"),
    [
        ("shop.order_placed", "float", ConfigError, "expected SCHEMA.TABLE.COLUMN"),
        ("shop..size", "float", ConfigError, "expected SCHEMA.TABLE.COLUMN"),
        ("shop.order_placed.size", "text", ConfigError, "a column can be boolean, integer, float, timestamp, string"),
        ("shop.order_placed.size", "json", ConfigError, "there is no type 'json'"),
        ("shop.order_placed.received_at", "string", ConfigError, "standard column"),
        ("shop.order_placed.loaded_at", "string", ConfigError, "standard column"),
        ("shop.order_placed._extra", "string", ConfigError, "standard column"),
        ("shop.users.id", "integer", ConfigError, "standard column"),
        ("headrace.offsets.next", "string", ConfigError, "not made from events"),
        ("shopp.order_placed.size", "float", NotFoundError, "did you mean 'shop'"),
        ("shop.order_place.size", "float", NotFoundError, "did you mean 'order_placed'"),
        ("shop.order_placed.sice", "float", NotFoundError, "did you mean 'size'"),
        ("shop.order_placed.xyz", "float", NotFoundError, "it has loaded_at, size"),
    ],
)
def test_what_cannot_be_retyped_is_refused_with_a_remedy(
    house: House, column: str, type_name: str, error: type[ConfigError], text: str
) -> None:
    house.load(made("m1", properties={"size": 5}), made("m2", "identify", {"age": 1}))
    with pytest.raises(error, match=text):
        retype(house, column, type_name)
    assert [5] == house.column(TABLE, "size")


def test_a_number_beyond_double_comes_back_as_text(house: House) -> None:
    huge = msgspec.Raw(b'{"size": 1e999}')
    house.load(made("m1", properties={"size": 1}), made("m2", properties=bytes(huge)))
    assert ["1e999"] == [row["value"] for row in house.rows("headrace.discards")]
    retype(house, f"{TABLE}.size", "string")
    assert ["1", "1e999"] == house.column(TABLE, "size")


def test_a_zone_other_than_utc_is_the_same_moment() -> None:
    there = datetime(2026, 3, 1, 13, tzinfo=timezone(timedelta(hours=1)))
    assert NOON == converted(there.isoformat(), TIMESTAMP)
