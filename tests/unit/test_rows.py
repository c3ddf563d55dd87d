"""Events -> rows, before names and types are settled."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from headrace.errors import RejectedEventError
from headrace.event import Event
from headrace.loader.rows import Row, event_id, rows, tracks_only
from headrace.loader.standard import standard_columns
from headrace.loader.values import fitted, nested, parsed, text_of, timestamp, type_of
from headrace.warehouses.base import ColumnType
from made_events import START, made


def standard(row: Row) -> dict[str, Any]:
    return dict(zip(standard_columns(row.table), row.standard, strict=True))


def only(event: Event) -> Row:
    (row,) = rows(event)
    return row


def test_a_track_event_has_a_row_in_tracks_without_properties_and_one_in_its_own_table() -> None:
    tracks, own = rows(made(properties={"plan": "pro"}, context={"app": {"version": "2"}}, event="Email Opened"))
    assert ("tracks", "email_opened") == (tracks.table, own.table)
    assert {"context.app.version": "2"} == tracks.leaves
    assert {"context.app.version": "2", "plan": "pro"} == own.leaves
    assert tracks.standard == own.standard
    assert {
        "id": "m1",
        "anonymous_id": None,
        "user_id": "u1",
        "event": "email_opened",
        "event_text": "Email Opened",
        "original_timestamp": None,
        "sent_at": None,
        "received_at": START,
        "timestamp": START,
    } == standard(own)


def test_an_event_called_users_goes_to_a_table_of_its_own() -> None:
    assert "_users" == rows(made(event="Users"))[1].table
    assert "users" == standard(rows(made(event="Users"))[1])["event"]


def test_every_other_type_has_one_row() -> None:
    cases = {
        "identify": ("identifies", {"user_id": "u1"}),
        "group": ("groups", {"group_id": "g1"}),
        "page": ("pages", {"name": "Home"}),
        "screen": ("screens", {"name": "Home"}),
        "alias": ("aliases", {"previous_id": "p1"}),
    }
    for type_, (table, expected) in cases.items():
        fields = {
            "group": {"group_id": "g1"},
            "page": {"name": "Home"},
            "screen": {"name": "Home"},
            "alias": {"previous_id": "p1"},
        }
        row = only(made("m1", type_, {"plan": "pro"}, {"ip": "::1"}, **fields.get(type_, {})))  # type: ignore[arg-type]  # a type's name
        assert table == row.table
        assert {"plan": "pro", "context.ip": "::1"} == row.leaves
        assert expected.items() <= standard(row).items()


def test_fields_of_the_envelope_without_a_column_are_kept() -> None:
    alias = only(made("m1", "alias", previous_id="p1", anonymous_id="a1"))
    assert {"envelope.anonymousId": "a1"} == alias.leaves
    assert {"envelope.groupId": "g1"} == rows(made(group_id="g1"))[1].leaves


def test_nested_objects_are_flattened_at_any_depth_and_empty_ones_leave_nothing() -> None:
    deep: Any = "end"
    for _ in range(90):
        deep = {"a": deep}
    leaves = only(
        made("m1", "identify", {"x": {"y": {"z": 1}, "none": {}, "null": None}, "empty": {}, "deep": deep})
    ).leaves
    assert {"x.y.z": 1, "deep" + ".a" * 90: "end"} == leaves


def test_arrays_stay_whole() -> None:
    assert [1, {"a": None}, []] == only(made("m1", "identify", {"list": [1, {"a": None}, []]})).leaves["list"]


def test_nul_characters_are_stripped_from_values() -> None:
    leaves = only(made("m1", "identify", {"a": "x\0y", "list": ["\0", {"b": "\0z"}]})).leaves
    assert {"a": "xy", "list": ["", {"b": "z"}]} == leaves
    row = rows(made("m\0one", user_id="u\0", event="Order\0 Placed"))[0]
    assert ("mone", "u", "Order Placed") == tuple(standard(row)[c] for c in ("id", "user_id", "event_text"))
    assert "mone" == event_id(made("m\0one"))


def test_numbers_that_no_column_holds_keep_their_digits() -> None:
    digits = "9" * 5_000
    leaves = only(
        made("m1", "identify", f'{{"a": 1e400, "b": {2**64}, "c": [1e400, {digits}], "d": {digits}}}'.encode())
    ).leaves
    assert "1e400" == text_of(leaves["a"])
    assert str(2**64) == text_of(leaves["b"])
    assert f"[1e400,{digits}]" == text_of(leaves["c"])
    assert digits == text_of(leaves["d"])
    assert {ColumnType.STRING} == {type_of(value) for value in leaves.values()}


def test_integers_of_64_bits_are_integers() -> None:
    assert {ColumnType.INTEGER} == {type_of(value) for value in (0, 2**63 - 1, -(2**63))}
    assert {ColumnType.STRING} == {type_of(value) for value in (2**63, -(2**63) - 1)}


def test_a_property_that_says_what_the_envelope_says_is_not_kept_twice() -> None:
    properties = {"user_id": "u1", "event": "Order Placed", "timestamp": "2026-03-01T12:00:00Z", "messageId": "x"}
    assert {"messageId": "x"} == rows(made(properties=properties))[1].leaves
    assert {} == rows(made(properties={"userId": 5}, user_id="5"))[1].leaves
    shifted = made(properties={"timestamp": "2020-01-01T00:00:00Z"}, original_timestamp="2020-01-01T00:00:00Z")
    assert {} == rows(shifted)[1].leaves


def test_a_property_that_differs_from_the_envelope_is_kept_and_the_envelope_wins() -> None:
    row = rows(
        made(properties={"user_id": "other", "id": "sku-1", "received_at": "x", "loaded_at": "y", "user": {"id": 7}})
    )[1]
    assert {"user_id": "other", "id": "sku-1", "received_at": "x", "loaded_at": "y", "user.id": 7} == row.leaves
    assert ("m1", "u1", START) == tuple(standard(row)[c] for c in ("id", "user_id", "received_at"))


def test_a_property_fills_a_place_that_the_envelope_left_empty() -> None:
    event = made(properties={"user_id": "u9", "sentAt": "2026-03-01T12:00:00Z"}, user_id=None, anonymous_id="a")
    for row in rows(event):
        assert ("u9", "2026-03-01T12:00:00Z") == (standard(row)["user_id"], standard(row)["sent_at"])
    assert {} == rows(event)[1].leaves
    assert "Home" == standard(only(made("m1", "page", {"name": "Home"})))["name"]


@pytest.mark.parametrize("value", [True, ["u9"], "", "  "])
def test_what_is_no_id_fills_no_place(value: Any) -> None:
    row = rows(made(properties={"user_id": value}, user_id=None, anonymous_id="a"))[1]
    assert {"user_id": value} == row.leaves
    assert standard(row)["user_id"] is None


def test_nested_properties_are_never_promoted() -> None:
    row = rows(made(properties={"user": {"id": "u9"}}, user_id=None, anonymous_id="a"))[1]
    assert {"user.id": "u9"} == row.leaves


def test_properties_named_like_roots_are_not_mistaken_for_them() -> None:
    properties = {"context": {"ip": 1}, "properties": {"context": 2}, "envelope": 3, "context.ip": 4}
    leaves = only(made("m1", "identify", properties, {"ip": 5})).leaves
    assert {
        "context.ip": 5,
        "properties.context.ip": 1,
        "properties.properties.context": 2,
        "properties.envelope": 3,
        "context\\.ip": 4,
    } == leaves
    below_properties = {"context": {"ip": 1}, "properties": {"context": 2}, "envelope": 3}
    expected = {"context": {"ip": 5}, "properties": below_properties, "context.ip": 4}
    assert expected == msgspec.json.decode(nested(leaves))


def test_what_has_no_table_goes_to_tracks_with_its_properties_as_they_were_sent() -> None:
    tracks, own = rows(made(properties={"cart": {"total": 5, "items": [1]}, "none": None}, context={"ip": "::1"}))
    row = tracks_only(tracks, own)
    assert "tracks" == row.table
    assert {"context.ip": "::1"} == row.leaves
    assert {"cart": {"total": 5, "items": [1]}} == msgspec.json.decode(nested(row.extra))


@pytest.mark.parametrize("properties", [b"[1]", b"12345", b'"text"'])
def test_properties_that_are_no_object_reject_the_event(properties: bytes) -> None:
    with pytest.raises(RejectedEventError) as error:
        rows(made(properties=properties))
    assert "properties_not_object" == error.value.code


def test_a_track_event_without_a_name_is_rejected() -> None:
    with pytest.raises(RejectedEventError):
        rows(made(event=None))


def test_empty_properties_are_an_empty_object() -> None:
    assert {} == parsed(msgspec.Raw(b""))
    assert {} == parsed(msgspec.Raw(b"{}"))


TIMESTAMPS = {
    "2026-08-03T07:00:04Z": "2026-08-03T07:00:04+00:00",
    "2026-08-03T07:00:04.123Z": "2026-08-03T07:00:04.123000+00:00",
    "2026-08-03T07:00:04.123456789Z": "2026-08-03T07:00:04.123456+00:00",
    "2026-08-03T07:00:04,5+02:00": "2026-08-03T05:00:04.500000+00:00",
    "2026-08-03T07:00:04-0530": "2026-08-03T12:30:04+00:00",
    "2026-08-03T07:00:04+02": "2026-08-03T05:00:04+00:00",
    "2026-08-03T07:00": "2026-08-03T07:00:00+00:00",
    "2026-08-03 07:00:04": "2026-08-03T07:00:04+00:00",
    "0001-01-01T00:00:00Z": "0001-01-01T00:00:00+00:00",
    "9999-12-31T23:59:59.999999Z": "9999-12-31T23:59:59.999999+00:00",
}
NO_TIMESTAMPS = [
    "2026-08-03",
    "2026-08-03T07",
    "20260803T070004Z",
    "2026-W01-1T10:00",
    "2026-02-30T07:00:00Z",
    "2026-08-03T07:00:60Z",
    "0000-01-01T00:00:00Z",
    "10000-01-01T00:00:00Z",
    "0001-01-01T00:00:00+01:00",
    "9999-12-31T23:59:59-01:00",
    "2026-08-03T07:00:04Z ",
    "２０２６-08-03T07:00:04Z",
    "now",
    "",
]


@pytest.mark.parametrize(("text", "expected"), TIMESTAMPS.items())
def test_a_text_with_date_and_time_is_a_timestamp(text: str, expected: str) -> None:
    moment = timestamp(text)
    assert moment is not None
    assert expected == moment.isoformat()
    assert moment == fitted(text, ColumnType.TIMESTAMP)


@pytest.mark.parametrize("text", NO_TIMESTAMPS)
def test_any_other_text_is_not_and_nor_is_a_time_out_of_range(text: str) -> None:
    assert timestamp(text) is None
    assert ColumnType.STRING is type_of(text)


def test_a_blank_between_date_and_time_fits_but_does_not_decide() -> None:
    assert ColumnType.STRING is type_of("2026-08-03 07:00:04")
    assert ColumnType.TIMESTAMP is type_of("2026-08-03T07:00:04")
