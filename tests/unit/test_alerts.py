"""The loop of alerts: told once, reminded, told when it is over; quiet hours, flapping, alerts that change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from alert_scene import FAILS, WORKS, Scene, begun, scene, titles
from headrace.alerts.base import DestinationFigures, SourceFigures

__all__ = ["begun", "scene"]


# told once, told again, told when it is over


def test_it_is_told_when_it_has_held_long_enough_and_not_repeated_while_it_lasts(scene: Scene) -> None:
    scene.watch()
    scene.step(delivered=10)
    scene.step(minutes=4)
    assert [] == titles(scene)
    scene.step(minutes=1)
    assert [FAILS] == titles(scene)
    scene.step(minutes=30, times=40)
    assert [FAILS] == titles(scene)


def test_without_a_time_to_hold_it_is_told_at_once(scene: Scene) -> None:
    scene.watch(hold_minutes=0)
    scene.step(delivered=95)
    assert [] == titles(scene)
    scene.step(minutes=1, delivered=94)
    assert [FAILS] == titles(scene)


def test_it_is_told_again_after_a_day_or_what_was_set_or_never(scene: Scene) -> None:
    scene.watch(hold_minutes=0)
    scene.step(delivered=10)
    scene.step(minutes=60 * 23)
    assert [FAILS] == titles(scene)
    scene.step(minutes=60)
    assert [FAILS, f"Still: {FAILS}"] == titles(scene)
    assert "(1 day)" in scene.http.texts[-1]
    scene.workspace.set_alert("deliveries", {"remind_hours": 1})
    scene.step(minutes=60)
    assert 3 == len(titles(scene))
    scene.workspace.set_alert("deliveries", {"remind_hours": 0})
    scene.step(minutes=6_000, times=3)
    assert 3 == len(titles(scene))


def test_when_it_is_over_that_is_told_with_how_long_it_lasted(scene: Scene) -> None:
    scene.watch()
    scene.step(delivered=10)
    scene.step(minutes=5, times=9)
    scene.step(minutes=5, delivered=100)
    scene.step(minutes=4)
    assert [FAILS] == titles(scene)
    scene.step(minutes=1)
    assert [FAILS, WORKS] == titles(scene)
    assert "It lasted 50 minutes: from 2026-11-18 12:30 UTC to 2026-11-18 13:20 UTC." in scene.http.texts[-1]
    assert {} == scene.alerts.state.lasting["deliveries"]
    scene.step(minutes=60, times=10)
    assert 2 == len(titles(scene))


def test_what_comes_and_goes_before_it_has_held_is_never_told(scene: Scene) -> None:
    scene.watch()
    for _ in range(20):
        scene.step(minutes=4, delivered=10)
        scene.step(minutes=1, delivered=100)
    assert [] == titles(scene)
    scene.step(minutes=4, delivered=10)
    scene.step(minutes=5)  # the control
    assert [FAILS] == titles(scene)


def test_what_is_well_for_a_moment_is_not_told_as_over(scene: Scene) -> None:
    scene.watch(hold_minutes=0)
    scene.step(delivered=10)
    for _ in range(20):
        scene.step(minutes=4, delivered=100)
        scene.step(minutes=1, delivered=10)
    assert [FAILS] == titles(scene)


def test_when_nothing_can_be_said_what_was_said_stays(scene: Scene) -> None:
    scene.watch(hold_minutes=0, remind_hours=1)
    scene.step(delivered=10)
    scene.figures.of_destinations = [DestinationFigures("crm", "CRM")]
    scene.step(minutes=60, times=10)
    assert [FAILS] == titles(scene)
    scene.step(minutes=1, delivered=100)
    scene.step(minutes=5)
    assert [FAILS, WORKS] == titles(scene)


def test_a_removed_destination_is_told_once_as_not_watched_any_more(scene: Scene) -> None:
    scene.watch(hold_minutes=0)
    scene.step(delivered=10)
    scene.figures.of_destinations = []
    scene.step(minutes=1)
    scene.step(minutes=1)
    assert [FAILS, "crm is not watched any more"] == titles(scene)


def test_several_subjects_at_the_same_moment_are_one_notice(scene: Scene) -> None:
    scene.watch(hold_minutes=0)
    scene.figures.of_destinations = [DestinationFigures(f"d{number}", f"d{number}", 0, 100) for number in range(25)]
    scene.step()
    (text,) = scene.http.texts
    assert 20 == text.count("headrace delivery show")
    assert text.endswith("And 5 more; see: headrace alert list")


# quiet hours: NOW is 12:30


def test_in_quiet_hours_nothing_is_told_and_at_their_end_what_still_lasts_is_one_notice(scene: Scene) -> None:
    scene.watch(quiet="12:00-14:00", hold_minutes=0, remind_hours=0)
    scene.workspace.add_alert("warehouse-late", "Late", {"quiet": "12:00-14:00", "hold_minutes": 0}, ["ops"])
    scene.step(delivered=10)
    scene.figures.of_destinations.append(DestinationFigures("other", "Other", 0, 100))
    scene.step(minutes=10, times=8)
    assert [] == titles(scene)
    scene.step(minutes=10)  # 14:00
    (text,) = scene.http.texts
    assert [FAILS, "Delivery to Other (other) fails"] == [
        line.strip("*") for line in text.splitlines() if line[0:1] == "*"
    ]
    assert "Since 2026-11-18 12:30 UTC (1 hour 30 minutes)." in text


def test_what_is_over_before_quiet_hours_end_is_not_told(scene: Scene) -> None:
    scene.watch(quiet="12:00-14:00", hold_minutes=0)
    scene.step(delivered=10)
    scene.step(minutes=10, delivered=100)
    scene.step(minutes=30, times=10)
    assert [] == titles(scene)


def test_an_urgent_alert_is_told_in_quiet_hours_too(scene: Scene) -> None:
    scene.watch(quiet="12:00-14:00", hold_minutes=0, urgent=True)
    scene.step(delivered=10)
    assert [FAILS] == titles(scene)
    scene.step(minutes=1, delivered=100)
    scene.step(minutes=5)
    assert [FAILS, WORKS] == titles(scene)


def test_what_ends_in_quiet_hours_is_told_at_their_end_with_when_it_was_over(scene: Scene) -> None:
    scene.watch(quiet="13:00-14:00", hold_minutes=0)
    scene.step(delivered=10)
    scene.step(minutes=40, delivered=100)  # 13:10
    scene.step(minutes=10, times=4)
    assert [FAILS] == titles(scene)
    scene.step(minutes=10)
    assert [FAILS, WORKS] == titles(scene)
    assert "to 2026-11-18 13:10 UTC" in scene.http.texts[-1]


def test_what_ends_and_begins_again_in_quiet_hours_is_not_told_as_over(scene: Scene) -> None:
    scene.watch(quiet="13:00-14:00", hold_minutes=0)
    scene.step(delivered=10)
    scene.step(minutes=40, delivered=100)
    scene.step(minutes=10)
    scene.step(minutes=10, delivered=10)
    scene.step(minutes=60)
    assert [FAILS] == titles(scene)


def test_quiet_hours_over_midnight_in_a_time_zone_and_the_times_told_in_it(scene: Scene) -> None:
    """The night in which the clock goes back: 22:00 is 20:00 UTC, 7:00 is 6:00 UTC."""
    scene.now = datetime(2026, 10, 24, 20, 30, tzinfo=UTC)
    scene.watch(quiet="22:00-07:00", time_zone="Europe/Brussels", hold_minutes=0)
    scene.step(delivered=10)
    scene.step(minutes=30, times=18)  # 5:30 UTC
    assert [] == titles(scene)
    scene.step(minutes=30)
    assert [FAILS] == titles(scene)
    assert "Since 2026-10-24 22:30 CEST" in scene.http.texts[0]


# alerts that cannot be checked, are changed, paused and removed


def test_figures_that_fail_are_shown_with_their_alert_and_hold_up_no_other(scene: Scene) -> None:
    scene.watch(hold_minutes=0)
    scene.workspace.add_alert("source-volume", "Volume", {}, ["ops"])
    scene.figures.broken = RuntimeError("the books are closed")
    scene.figures.of_sources = [SourceFigures("mails", "Mails")]
    scene.figures.came("mails", {datetime(2026, 11, day, 11, tzinfo=UTC): 1_000 for day in range(11, 18)})
    scene.step(delivered=10)
    assert ["Mails (mails) sends nothing"] == titles(scene)
    assert {"deliveries": "RuntimeError: the books are closed"} == scene.alerts.state.errors
    scene.figures.broken = None
    scene.step(minutes=1)
    assert {} == scene.alerts.state.errors
    assert FAILS == titles(scene)[-1]


def test_a_paused_alert_is_silent_and_begins_anew_when_it_is_resumed(scene: Scene) -> None:
    scene.watch(hold_minutes=0)
    scene.step(delivered=10)
    scene.workspace.pause("deliveries")
    scene.step(minutes=1, delivered=100)
    scene.step(minutes=60, delivered=10)
    assert [FAILS] == titles(scene)
    assert {} == scene.alerts.state.lasting
    scene.workspace.resume("deliveries")
    scene.step(minutes=1)
    assert [FAILS, FAILS] == titles(scene)


def test_what_changes_in_the_workspace_is_taken_up_at_the_next_step(scene: Scene) -> None:
    scene.step(delivered=10)
    scene.watch(hold_minutes=0)
    scene.step(minutes=0.01)
    assert [FAILS] == titles(scene)
    scene.workspace.remove_alert("deliveries")
    scene.step(minutes=60)
    scene.step(minutes=60)
    assert ([FAILS], {}) == (titles(scene), scene.alerts.state.lasting)


def test_figures_are_asked_every_half_minute_and_once_for_several_alerts(scene: Scene) -> None:
    scene.watch(hold_minutes=0)
    scene.watch(hold_minutes=0, name="Second")
    scene.step(delivered=100)
    scene.step(minutes=0.1, times=4)
    assert 1 == len(scene.figures.asked)
    scene.step(minutes=0.1)
    assert 2 == len(scene.figures.asked)


def test_a_clock_that_is_set_back_stops_nothing(scene: Scene) -> None:
    scene.watch(hold_minutes=0)
    scene.http.answers = ["ECONNREFUSED"]
    scene.step(delivered=10)
    scene.now -= timedelta(days=3)
    scene.step()
    assert [FAILS, FAILS] == titles(scene)
    assert () == scene.alerts.state.waiting
