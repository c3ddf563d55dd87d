"""Condition by condition: what it says of which figures, each with figures of which it must not say so."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from alert_scene import NOW, ScriptedFigures, found
from headrace.alerts import conditions
from headrace.alerts.base import DestinationFigures, Finding, SourceFigures, WarehouseFigures
from headrace.errors import NotFoundError
from headrace.event import Hour

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
LAST = datetime(2026, 11, 18, 11, tzinfo=UTC)
"""The whole hour before NOW."""


def delivery(delivered: int, failed: int = 0, retrying: int = 0, **more: Any) -> Finding:
    lasting = more.pop("lasting", ())
    state, error = more.pop("state", None), more.pop("error", "")
    usual = more.pop("usual", [])
    of = DestinationFigures("crm", "CRM", delivered, failed, retrying, state, error)
    return found("delivery-rate", ScriptedFigures([of], usual), lasting=lasting, **more)


# delivery-rate


@pytest.mark.parametrize(
    ("delivered", "failed", "retrying", "expected"),
    [
        (95, 5, 0, "good"),
        (94, 6, 0, "bad"),
        (94, 0, 6, "bad"),
        (0, 0, 20, "bad"),
        (0, 0, 19, "unknown"),
        (0, 0, 0, "unknown"),
    ],
)
def test_a_destination_that_delivers_less_than_its_share_is_bad_where_there_are_enough_events(
    delivered: int, failed: int, retrying: int, expected: str
) -> None:
    assert expected == delivery(delivered, failed, retrying).verdict


def test_the_share_and_the_least_number_are_settings() -> None:
    assert ("good", "bad") == (delivery(50, 50, below_percent=50).verdict, delivery(49, 51, below_percent=50).verdict)
    assert ("bad", "unknown") == (delivery(0, 5, least_events=5).verdict, delivery(0, 4, least_events=5).verdict)


def test_while_it_lasts_one_event_is_enough_to_say_that_it_is_well_again_and_none_says_nothing() -> None:
    assert "good" == delivery(1, lasting=["crm"]).verdict
    assert "unknown" == delivery(0, lasting=["crm"]).verdict
    assert "unknown" == delivery(1).verdict  # the control: too few where nothing lasts


@pytest.mark.parametrize("state", ["disabled", "stopped"])
def test_a_destination_that_is_disabled_or_stopped_is_bad_without_any_event(state: str) -> None:
    finding = delivery(0, state=state, error="410: the tool says that it is gone")
    assert ("bad", f"Delivery to CRM (crm) is {state}") == (finding.verdict, finding.title)
    assert "410: the tool says that it is gone" in finding.what
    assert "headrace destination resume crm" in finding.remedy
    assert "unknown" == delivery(0, 100, state="paused").verdict  # the control: that was a person's wish


def test_the_text_of_a_failing_delivery_says_how_much_against_what_is_usual_what_to_do_and_where_to_look() -> None:
    finding = delivery(420, 80, 500, usual=[DestinationFigures("crm", "CRM", 99_900, 100)], error="503")
    assert "Delivery to CRM (crm) fails" == finding.title
    assert (
        "Only 42 % of its events were delivered in the last 15 minutes: 420 of 1,000; 80 failed for good, "
        "500 are tried again. Most often: 503." == finding.what
    )
    assert "Usual is 99.9 % (of 100,000 in the 7 days before)." == finding.usual
    assert "headrace dead-letters replay crm" in finding.remedy
    assert "headrace delivery show crm" == finding.look
    assert {"delivered": 420, "failed": 80, "retrying": 500, "rate": 0.42} == finding.figures


def test_only_the_period_and_before_it_the_usual_are_asked() -> None:
    figures = ScriptedFigures([DestinationFigures("crm", "CRM", 0, 100)])
    found("delivery-rate", figures, period_minutes=60)
    assert [(NOW - HOUR, NOW), (NOW - HOUR - 7 * DAY, NOW - HOUR)] == figures.asked
    figures = ScriptedFigures([DestinationFigures("crm", "CRM", 100)])
    found("delivery-rate", figures)
    assert 1 == len(figures.asked)


def test_one_destination_can_be_chosen_else_each_is_watched() -> None:
    figures = ScriptedFigures([DestinationFigures(slug, slug, 0, 100) for slug in ("a", "b")])
    every = conditions.configured("delivery-rate", {}).findings(figures, NOW, ())
    assert ["a", "b"] == [finding.subject for finding in every]
    assert "b" == found("delivery-rate", figures, destination="b").subject


# source-volume


def volume(last: int, before: list[int], now: datetime = NOW, **settings: Any) -> Finding:
    """`before` are the same hours of the days before, yesterday's first."""
    figures = ScriptedFigures(of_sources=[SourceFigures("mails", "Mails")])
    figures.came("mails", {LAST: last, **{LAST - day * DAY: count for day, count in enumerate(before, 1)}})
    return found("source-volume", figures, now, **settings)


@pytest.mark.parametrize(
    ("last", "expected", "title"),
    [
        (501, "good", "Mails (mails) sends as usual again"),
        (500, "bad", "Mails (mails) sends 50 % fewer than usual"),
        (1_499, "good", "Mails (mails) sends as usual again"),
        (1_500, "bad", "Mails (mails) sends 50 % more than usual"),
        (0, "bad", "Mails (mails) sends nothing"),
    ],
)
def test_an_hour_is_held_against_the_median_of_the_same_hour_of_the_days_before(
    last: int, expected: str, title: str
) -> None:
    finding = volume(last, [1_000, 1_000, 90_000, 1_000, 0, 1_000, 1_000])
    assert (expected, title) == (finding.verdict, finding.title)


def test_the_text_of_a_changed_volume_says_how_much_came_and_how_much_is_usual() -> None:
    finding = volume(250, [1_000] * 7, time_zone="Europe/Brussels")
    assert "250 events came from Mails (mails) from 12:00 to 13:00, 75 % fewer than usual." == finding.what
    assert "Usual at this hour are 1,000 (the median of 7 earlier days)." == finding.usual
    assert ("headrace status --hours 24", LAST) == (finding.look, finding.since)
    assert "No events came from Mails (mails) from 11:00 to 12:00." == volume(0, [1_000] * 7).what


def test_only_wanted_directions_are_told() -> None:
    usual = [1_000] * 7
    assert ("bad", "good") == (
        volume(10, usual, direction="down").verdict,
        volume(9_000, usual, direction="down").verdict,
    )
    assert ("good", "bad") == (volume(10, usual, direction="up").verdict, volume(9_000, usual, direction="up").verdict)


def test_small_numbers_are_no_change_but_none_at_all_from_a_source_that_usually_has_some_is() -> None:
    assert "good" == volume(1, [50] * 7).verdict
    assert "bad" == volume(0, [50] * 7).verdict
    assert "good" == volume(0, [9] * 7).verdict
    assert "bad" == volume(0, [9] * 7, least_usual=9).verdict
    assert "bad" == volume(100, [5] * 7).verdict  # up to so many is a change
    assert "good" == volume(99, [5] * 7).verdict


def test_nothing_is_said_without_enough_history() -> None:
    assert "unknown" == volume(10, [1_000] * 2).verdict
    assert "bad" == volume(10, [1_000] * 3).verdict
    assert "unknown" == volume(10, [1_000] * 3, least_days=4).verdict
    figures = ScriptedFigures(of_sources=[SourceFigures("new", "New")])
    assert "unknown" == found("source-volume", figures).verdict


def test_hours_that_the_books_do_not_know_any_more_are_no_history() -> None:
    figures = ScriptedFigures(of_sources=[SourceFigures("mails", "Mails")], since=LAST - 2 * DAY)
    figures.came("mails", {LAST - day * DAY: 1_000 for day in range(1, 8)})
    assert "unknown" == found("source-volume", figures).verdict
    figures.since = LAST - 3 * DAY
    assert "bad" == found("source-volume", figures).verdict


def test_days_without_events_since_a_source_began_count_as_none() -> None:
    """A source that sends once a week is not missed on the other days."""
    assert "good" == volume(0, [0, 0, 0, 0, 0, 0, 5_000]).verdict
    assert "bad" == volume(0, [0, 0, 0, 5_000, 5_000, 5_000, 5_000]).verdict


def test_the_same_day_of_the_week_can_be_compared_with() -> None:
    before = [0] * 28
    before[6] = before[13] = before[20] = before[27] = 5_000
    assert "good" == volume(0, before, days=7).verdict
    assert "bad" == volume(0, before, days=4, every_days=7).verdict
    with pytest.raises(msgspec.ValidationError, match="the books know 34 days"):
        volume(0, before, days=5, every_days=7)


def test_an_hour_is_looked_at_when_it_is_over_and_its_last_events_are_there() -> None:
    figures = ScriptedFigures(of_sources=[SourceFigures("mails", "Mails")])
    figures.came("mails", {LAST - day * DAY: 1_000 for day in range(1, 8)})
    figures.came("mails", {LAST - HOUR - day * DAY: 10 for day in range(8)})
    assert "good" == found("source-volume", figures, LAST + HOUR + timedelta(seconds=59)).verdict
    assert "bad" == found("source-volume", figures, LAST + HOUR + timedelta(seconds=60)).verdict


def test_across_a_change_of_the_clock_the_same_time_on_the_wall_is_compared() -> None:
    """On 25 October 2026 Brussels' clocks go back: 9 o'clock is 7:00 UTC before and 8:00 UTC after."""
    last = datetime(2026, 10, 26, 8, tzinfo=UTC)
    figures = ScriptedFigures(of_sources=[SourceFigures("mails", "Mails")])
    figures.came("mails", {datetime(2026, 10, day, 7, tzinfo=UTC): 1_000 for day in range(19, 25)})
    figures.came("mails", {datetime(2026, 10, 25, 8, tzinfo=UTC): 1_000, last: 1_000})
    now = last + timedelta(minutes=90)
    brussels = found("source-volume", figures, now, time_zone="Europe/Brussels")
    assert ("good", 1_000) == (brussels.verdict, brussels.figures["usual"])
    assert 0 == found("source-volume", figures, now).figures["usual"]  # the control: by UTC it is another hour


def test_a_disabled_source_is_not_missed() -> None:
    figures = ScriptedFigures(of_sources=[SourceFigures("mails", "Mails", enabled=False)])
    figures.came("mails", {LAST - day * DAY: 1_000 for day in range(1, 8)})
    assert "unknown" == found("source-volume", figures).verdict
    figures.of_sources = [SourceFigures("mails", "Mails")]
    assert "bad" == found("source-volume", figures).verdict


# warehouse-late


def late(state: Any = "loading", lag: float = 0.0, pending: int = 0, error: str = "", **settings: Any) -> Finding:
    figures = ScriptedFigures(of_warehouses=[WarehouseFigures("dwh", "House", state, lag, pending, error)])
    return found("warehouse-late", figures, **settings)


@pytest.mark.parametrize(
    ("state", "lag", "expected"),
    [
        ("loading", 299.9, "good"),
        ("loading", 300.0, "bad"),
        ("failing", 0.0, "bad"),
        ("opening", 0.0, "bad"),
        ("stopped", 0.0, "bad"),
        ("paused", 9_999.0, "unknown"),
        ("closed", 9_999.0, "unknown"),
    ],
)
def test_a_warehouse_is_bad_when_its_oldest_event_waits_too_long_or_it_takes_no_loads(
    state: str, lag: float, expected: str
) -> None:
    assert expected == late(state, lag, 10).verdict


def test_the_text_of_a_late_warehouse_says_what_waits_since_when_and_what_to_do() -> None:
    finding = late("failing", 5_400, 1_234, "the disk is full")
    assert "House (dwh) takes no loads now" == finding.title
    assert (
        "House (dwh) takes no loads now. 1,234 events wait for it, the oldest for 1 hour 30 minutes. the disk is full."
        == finding.what
    )
    assert NOW - timedelta(seconds=5_400) == finding.since
    assert ("headrace warehouse show dwh", True) == (finding.look, "headrace warehouse test dwh" in finding.remedy)
    assert "House (dwh) is late" == late("loading", 300, 1).title
    assert "good" == late("loading", 300, 1, late_seconds=301).verdict


# rejected-events


def rejections(share: float, before: float | None = None, received: int = 1_000, **settings: Any) -> Finding:
    """Shares of what was refused this hour and on each of the days before."""
    lasting = settings.pop("lasting", ())
    figures = ScriptedFigures(of_sources=[SourceFigures("mails", "Mails")])
    figures.came("mails", {LAST + HOUR: received}, round(received * share))
    if before is not None:
        figures.came("mails", {LAST - day * DAY: 1_000 for day in range(1, 8)}, round(1_000 * before))
    return found("rejected-events", figures, lasting=lasting, **settings)


@pytest.mark.parametrize(
    ("share", "before", "expected"),
    [
        (0.02, 0.0, "good"),
        (0.021, 0.0, "bad"),
        (0.10, 0.05, "good"),
        (0.101, 0.05, "bad"),
        (0.5, None, "bad"),
        (0.01, None, "good"),
    ],
)
def test_a_share_of_rejected_events_is_bad_above_a_threshold_and_above_a_multiple_of_the_usual(
    share: float, before: float | None, expected: str
) -> None:
    assert expected == rejections(share, before).verdict


def test_events_that_the_warehouse_rejected_count_as_those_that_the_collector_refused() -> None:
    figures = ScriptedFigures(of_sources=[SourceFigures("mails", "Mails")])
    figures.came("mails", {LAST: 1_000}, 15)
    assert "good" == found("rejected-events", figures).verdict
    figures.rejected = {Hour("mails", LAST): 15, Hour("others", LAST): 900, Hour("mails", LAST - 5 * HOUR): 900}
    finding = found("rejected-events", figures)
    assert "bad" == finding.verdict
    assert (
        "3 % of what came from Mails (mails) in this hour and the one before was not taken: 15 events refused by the collector "
        "and 15 rejected by the warehouse, of 1,000." == finding.what
    )
    assert "headrace.rejected" in finding.remedy


def test_the_usual_share_is_said_where_it_is_known() -> None:
    assert "Usual is 5 % (of 7,000 in the 7 days before)." == rejections(0.5, 0.05).usual
    assert "" == rejections(0.5).usual
    assert ("More events of Mails (mails) than usual are rejected", "Many events of Mails (mails) are rejected") == (
        rejections(0.5, 0.05).title,
        rejections(0.5).title,
    )


def test_few_events_say_nothing_of_rejections_unless_they_say_that_it_is_over() -> None:
    assert ("unknown", "bad") == (rejections(1.0, received=99).verdict, rejections(1.0, received=100).verdict)
    assert "good" == rejections(0.0, received=1, lasting=["mails"]).verdict
    assert "unknown" == rejections(0.0, received=0, lasting=["mails"]).verdict


def test_the_period_is_this_hour_and_those_before_it() -> None:
    figures = ScriptedFigures(of_sources=[SourceFigures("mails", "Mails")])
    figures.came("mails", {LAST - HOUR: 1_000}, 500)
    assert "unknown" == found("rejected-events", figures).verdict
    assert "bad" == found("rejected-events", figures, period_hours=2).verdict


# settings


@pytest.mark.parametrize(
    ("kind", "settings", "text"),
    [
        ("delivery-rate", {"quiet": "22:00"}, "HH:MM-HH:MM"),
        ("delivery-rate", {"quiet": "22:00-22:00"}, "two different times"),
        ("delivery-rate", {"quiet": "25:00-07:00"}, "HH:MM-HH:MM"),
        ("delivery-rate", {"time_zone": "Mars/Olympus"}, "Europe/Brussels"),
        ("delivery-rate", {"time_zone": "../etc/passwd"}, "Europe/Brussels"),
        ("delivery-rate", {"below_percent": 0}, "below_percent"),
        ("source-volume", {"direction": "sideways"}, "direction"),
        ("source-volume", {"days": 2}, "least_days"),
        ("warehouse-late", {"nonesuch": 1}, "nonesuch"),
    ],
)
def test_wrong_settings_are_refused_with_what_would_be_right(kind: str, settings: dict[str, Any], text: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=text):
        conditions.configured(kind, settings)
    conditions.configured(kind, {})  # the control


def test_a_condition_that_is_not_there_is_answered_with_those_that_are() -> None:
    with pytest.raises(NotFoundError, match="delivery-rate, source-volume, warehouse-late, rejected-events"):
        conditions.condition("nonesuch")


def test_a_name_that_is_the_slug_is_said_once() -> None:
    figures = ScriptedFigures([DestinationFigures("crm", "crm", 0, 100)])
    assert "Delivery to crm fails" == found("delivery-rate", figures).title
