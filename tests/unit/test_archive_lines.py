"""The archive's line: readable, and exactly what it was when it comes back."""

from __future__ import annotations

import json
import string
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace import event
from headrace.archive import lines
from headrace.event import EVENT_TYPES, Event, LogEntry, RejectedEvent

AT = datetime(2026, 3, 1, 12, 30, 0, 123456, tzinfo=UTC)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
MAYBE = st.none() | TEXTS
MOMENTS = st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001 - the strategy adds it
SPACE = st.text(" \n\r\t", max_size=3)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


@st.composite
def objects(draw: st.DrawFn) -> msgspec.Raw:
    """A JSON object as somebody could write it, with line breaks of any kind between its values."""
    members = draw(st.dictionaries(TEXTS, VALUES, max_size=4))
    parts = (
        f"{draw(SPACE)}{json.dumps(name)}{draw(SPACE)}:{draw(SPACE)}{json.dumps(value, indent=draw(st.none() | st.just(1)))}{draw(SPACE)}"
        for name, value in members.items()
    )
    return msgspec.Raw(("{" + draw(SPACE) + ",".join(parts) + "}").encode())


EVENTS = st.builds(
    Event, TEXTS, st.sampled_from(sorted(EVENT_TYPES)), TEXTS, MOMENTS, MOMENTS, MAYBE, MAYBE, MAYBE, MAYBE, MAYBE, MAYBE,
    MAYBE, MAYBE, objects(), objects(), objects(), st.lists(TEXTS, max_size=3).map(tuple),
)  # fmt: skip
REJECTED = st.builds(
    RejectedEvent, TEXTS, st.sampled_from(["collector", "loader", "log"]), TEXTS, TEXTS, TEXTS, MOMENTS, MAYBE,
    st.integers(1, 10**6),
)  # fmt: skip


@given(st.integers(0, 2**62), EVENTS | REJECTED)
def test_an_entry_comes_back_as_exactly_what_it_was(offset: int, entry: LogEntry) -> None:
    line = lines.encode(offset, entry)
    assert b"\n" not in line
    assert b"\r" not in line
    assert (offset, entry) == lines.decode(line)
    assert event.encode(entry) == event.encode(lines.decode(line).entry), "byte for byte"
    assert offset == json.loads(line)["offset"]


def test_line_breaks_that_were_not_restored_would_be_seen() -> None:
    """The control of the test before."""
    made = Event("shop", "track", "1", AT, AT, "E", properties=msgspec.Raw(b'{\n"a": 1}'))
    told = json.loads(lines.encode(1, made))
    del told["lineBreaks"]
    assert made != lines.decode(json.dumps(told).encode()).entry


def test_a_line_is_what_the_documentation_shows() -> None:
    made = Event(
        "shop", "track", "m-1", AT, AT, "Order Completed", user_id="u-1", original_timestamp="2026-03-01T12:29:58Z",
        properties=msgspec.Raw(b'{"total":12.50}'), context=msgspec.Raw(b'{"ip":"192.0.2.1"}'), warnings=("id_number",),
    )  # fmt: skip
    expected = (
        b'{"entry":"event","offset":17,"source":"shop","type":"track","messageId":"m-1",'
        b'"receivedAt":"2026-03-01T12:30:00.123456Z","timestamp":"2026-03-01T12:30:00.123456Z",'
        b'"properties":{"total":12.50},"context":{"ip":"192.0.2.1"},"integrations":{},"event":"Order Completed",'
        b'"userId":"u-1","originalTimestamp":"2026-03-01T12:29:58Z","warnings":["id_number"]}'
    )
    assert expected == lines.encode(17, made)


@pytest.mark.parametrize(
    "line",
    [b"", b"{}", b"[]", b'{"entry":"other","offset":1}', b'{"entry":"rejected","offset":1,"source":"shop"}', b"\xff"],
)
def test_what_is_no_line_is_refused(line: bytes) -> None:
    with pytest.raises((msgspec.DecodeError, UnicodeDecodeError)):
        lines.decode(line)


def test_a_place_of_a_line_break_that_cannot_be_is_refused() -> None:
    line = lines.encode(1, Event("shop", "track", "1", AT, AT, "E", properties=msgspec.Raw(b'{\n"a": 1}')))
    with pytest.raises(msgspec.DecodeError, match="no place"):
        lines.decode(line.replace(b'["n",1]', b'["n",999]'))


def test_letters_of_all_kinds_stay_readable() -> None:
    line = lines.encode(1, Event("shop", "track", string.ascii_letters + "é漢", AT, AT, "Köp"))
    assert "é漢".encode() in line
