"""Quiet hours by the clock on the wall, over midnight and where the clock is changed."""

from __future__ import annotations

from datetime import UTC, datetime, time

import pytest

from headrace.alerts import quiet

BRUSSELS = quiet.zone("Europe/Brussels")


def is_quiet(text: str, now: str, zone: str = "UTC") -> bool:
    return quiet.is_quiet(text, quiet.zone(zone), datetime.fromisoformat(now).replace(tzinfo=UTC))


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        ("2026-11-18T21:59:59", False),
        ("2026-11-18T22:00:00", True),
        ("2026-11-19T00:00:00", True),
        ("2026-11-19T06:59:59", True),
        ("2026-11-19T07:00:00", False),
        ("2026-11-19T12:00:00", False),
    ],
)
def test_quiet_hours_over_midnight(now: str, expected: bool) -> None:  # noqa: FBT001 - a table's column
    assert expected is is_quiet("22:00-07:00", now)


def test_quiet_hours_within_a_day() -> None:
    assert [False, True, False] == [is_quiet("12:00-13:00", f"2026-11-18T{at}") for at in ("11:59", "12:59", "13:00")]
    assert not is_quiet("", "2026-11-18T12:00")


def test_they_are_those_of_the_time_zone() -> None:
    assert is_quiet("22:00-07:00", "2026-11-18T21:30", "Europe/Brussels")
    assert not is_quiet("22:00-07:00", "2026-11-18T21:30")
    assert is_quiet("22:00-07:00", "2026-07-18T20:30", "Europe/Brussels")  # in summer two hours before UTC
    assert not is_quiet("22:00-07:00", "2026-11-18T20:30", "Europe/Brussels")


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        # 29 March 2026: 1:00 UTC is 2:00, which becomes 3:00 at once
        ("2026-03-29T04:59", True),  # 6:59
        ("2026-03-29T05:00", False),  # 7:00
        # 25 October 2026: 1:00 UTC is 3:00, which becomes 2:00 again
        ("2026-10-25T05:59", True),  # 6:59
        ("2026-10-25T06:00", False),  # 7:00
        ("2026-10-24T20:00", True),  # 22:00, summer
        ("2026-10-25T20:59", False),  # 21:59, winter
        ("2026-10-25T21:00", True),  # 22:00, winter
    ],
)
def test_a_night_in_which_the_clock_is_changed_ends_by_the_new_clock(now: str, expected: bool) -> None:  # noqa: FBT001 - a table's column
    assert expected is is_quiet("22:00-07:00", now, "Europe/Brussels")


def test_an_end_that_comes_twice_is_its_second_coming_and_one_that_never_comes_is_after_the_gap() -> None:
    quiet_at = [
        at
        for at in range(0, 180, 15)
        if is_quiet("22:00-02:30", f"2026-10-25T0{at // 60}:{at % 60:02}", "Europe/Brussels")
    ]
    assert (
        list(range(0, 90, 15)) == quiet_at
    )  # 0:30 UTC is the first 2:30, 1:30 UTC the second: without a break until then
    assert is_quiet("22:00-02:30", "2026-03-29T01:15", "Europe/Brussels")  # 3:15
    assert not is_quiet("22:00-02:30", "2026-03-29T01:30", "Europe/Brussels")  # 3:30


def test_what_is_no_time_is_refused() -> None:
    assert (time(7, 5), time(9, 0)) == quiet.hours(" 7:05 - 09:00 ")
    for text in ("7-9", "07:00", "24:00-01:00", "07:60-08:00", "07:00-07:00", "x", "٠٧:00-08:00"):
        with pytest.raises(ValueError, match="HH:MM-HH:MM"):
            quiet.hours(text)


def test_utc_needs_no_time_zones_of_the_system() -> None:
    assert UTC is quiet.zone("UTC")
    assert datetime(2026, 1, 1, tzinfo=BRUSSELS).utcoffset() != datetime(2026, 7, 1, tzinfo=BRUSSELS).utcoffset()
