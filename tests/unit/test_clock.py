from datetime import UTC, datetime, timedelta

import pytest

from headrace.collector import clock

RECEIVED = datetime(2026, 8, 3, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-08-03T09:41:07.123Z", datetime(2026, 8, 3, 9, 41, 7, 123000, tzinfo=UTC)),
        ("2026-08-03T09:41:07+02:00", datetime(2026, 8, 3, 7, 41, 7, tzinfo=UTC)),
        ("2026-08-03T09:41:07", datetime(2026, 8, 3, 9, 41, 7, tzinfo=UTC)),
        ("2026-08-03", datetime(2026, 8, 3, tzinfo=UTC)),
        ("yesterday", None),
        ("9999-12-31T23:59:59-10:00", None),
        ("10000-01-01T00:00:00Z", None),
    ],
)
def test_iso_8601_is_read_as_utc_and_anything_else_is_not(text: str, expected: datetime | None) -> None:
    assert expected == clock.parse(text)


def test_the_clocks_error_is_taken_out_by_segments_formula() -> None:
    sent_at = datetime(2026, 8, 3, 13, 0, tzinfo=UTC)  # a clock that is an hour ahead
    expected = RECEIVED - timedelta(seconds=5)
    assert (expected, None) == clock.event_time(RECEIVED, "2026-08-03T12:59:55Z", sent_at, "correct")


def test_a_late_delivery_keeps_its_time_with_keep() -> None:
    sent_at = datetime(2026, 8, 3, 11, 59, tzinfo=UTC)
    opened = "2026-08-03T09:41:07.000Z"
    assert (clock.parse(opened), None) == clock.event_time(RECEIVED, opened, sent_at, "keep")


def test_without_sent_at_nothing_is_shifted_and_without_timestamp_the_receipt_counts() -> None:
    assert clock.event_time(RECEIVED, "2026-08-01T00:00:00Z", None, "correct")[0] == datetime(2026, 8, 1, tzinfo=UTC)
    assert (RECEIVED, None) == clock.event_time(RECEIVED, None, None, "correct")


def test_keep_clamps_more_than_five_minutes_of_future_only() -> None:
    assert (RECEIVED, clock.TIMESTAMP_IN_FUTURE) == clock.event_time(RECEIVED, "2026-08-03T12:05:01Z", None, "keep")
    assert clock.event_time(RECEIVED, "2026-08-03T12:05:00Z", None, "keep")[1] is None


def test_a_timestamp_that_cannot_be_read_or_shifted_is_warned_of() -> None:
    far = datetime(9999, 12, 31, tzinfo=UTC)
    assert (RECEIVED, clock.TIMESTAMP_UNREADABLE) == clock.event_time(RECEIVED, "soon", None, "keep")
    assert (RECEIVED, clock.TIMESTAMP_UNREADABLE) == clock.event_time(RECEIVED, "0001-01-02T00:00:00Z", far, "correct")


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (1_785_000_000, "2026-07-25T17:20:00.000+00:00"),
        (1_785_000_000_123, "2026-07-25T17:20:00.123+00:00"),
        (1e300, None),
    ],
)
def test_numbers_are_seconds_or_milliseconds(number: float, expected: str | None) -> None:
    assert expected == clock.from_epoch(number)
