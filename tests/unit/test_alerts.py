"""The loop of alerts: told once, reminded, told when it is over; quiet hours, flapping, restarts, channels that take nothing."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from alert_scene import NOW, SLACK, TOKEN, Scene
from headrace.alerts import kept, sending
from headrace.alerts.base import DestinationFigures, SourceFigures
from headrace.destinations.base import Answer


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a channel, to be copied: making one anew takes as long as ten tests."""
    folder = tmp_path_factory.mktemp("begun")
    with Scene(folder) as made:
        made.slack()
    return folder


@pytest.fixture
def scene(begun: Path, tmp_path: Path) -> Iterator[Scene]:
    shutil.copytree(begun, tmp_path / "data")
    with Scene(tmp_path / "data") as made:
        yield made


def titles(scene: Scene) -> list[str]:
    """The first line of each notice."""
    return [text.splitlines()[0].strip("*") for text in scene.http.texts]


FAILS = "Delivery to CRM (crm) fails"
WORKS = "Delivery to CRM (crm) works again"

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


# restarts and kills


def test_a_restart_repeats_nothing_and_forgets_nothing(scene: Scene) -> None:
    scene.watch(hold_minutes=0)
    scene.step(delivered=10)
    scene.started()
    scene.step(minutes=10, times=5)
    assert [FAILS] == titles(scene)
    scene.started()
    scene.step(minutes=1, delivered=100)
    scene.step(minutes=5)
    assert [FAILS, WORKS] == titles(scene)
    assert "from 2026-11-18 12:30 UTC" in scene.http.texts[-1]


def test_without_the_file_a_restart_repeats_it(scene: Scene) -> None:
    """The control of the test above."""
    scene.watch(hold_minutes=0)
    scene.step(delivered=10)
    (scene.folder / kept.FILE).unlink()
    scene.started()
    scene.step(minutes=1)
    assert [FAILS, FAILS] == titles(scene)


def test_what_nobody_was_told_of_must_hold_anew_after_a_restart(scene: Scene) -> None:
    scene.watch()
    scene.step(delivered=10)
    scene.started()
    scene.step(minutes=60)
    assert [] == titles(scene)
    scene.step(minutes=5)
    assert [FAILS] == titles(scene)


def test_a_kill_before_the_notice_went_loses_nothing(scene: Scene) -> None:
    scene.watch(hold_minutes=0)
    scene.is_held = True
    scene.step(delivered=10)
    assert [] == titles(scene)
    scene.is_held = False
    scene.started()  # whatever was on its way is gone with the process
    scene.step(minutes=1)
    assert [FAILS] == titles(scene)


def test_a_kill_between_sending_and_noting_repeats_it_once_with_the_same_id(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.workspace.add_channel("webhook", "Hook", {"url": "https://hook.example/x"})
    scene.watch("hook", hold_minutes=0)
    with monkeypatch.context() as patched:
        patched.setattr(sending, "noted", _killed)
        scene.step(delivered=10)
    scene.started()
    scene.step(minutes=1, times=5)
    assert 2 == len(scene.http.requests)
    assert 1 == len({request.headers["webhook-id"] for request in scene.http.requests})


def _killed(*_: Any) -> Any:
    raise RuntimeError("killed")


def test_a_file_that_cannot_be_read_is_put_aside_and_alerts_go_on(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    scene.watch(hold_minutes=0)
    (scene.folder / kept.FILE).write_text("{")
    scene.started()
    scene.step(delivered=10)
    assert [FAILS] == titles(scene)
    assert "{" == (scene.folder / f"{kept.FILE}.damaged").read_text()
    assert "cannot read" in caplog.text


def test_on_a_full_disk_it_is_told_all_the_same(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    scene.watch(hold_minutes=0)
    monkeypatch.setattr(kept, "write", full)
    scene.step(delivered=10)
    scene.step(minutes=1, times=3)
    assert [FAILS] == titles(scene)
    assert "No space left" in caplog.text


def test_the_file_is_the_owner_s_alone(scene: Scene) -> None:
    scene.watch(hold_minutes=0)
    scene.step(delivered=10)
    assert 0o600 == (scene.folder / kept.FILE).stat().st_mode & 0o777


# channels that take nothing


def test_a_notice_that_cannot_be_sent_is_tried_again_with_longer_and_longer_waits(scene: Scene) -> None:
    scene.watch(hold_minutes=0)
    scene.http.answers = ["ECONNREFUSED"] * 4
    scene.step(delivered=10)
    tried_at = []
    for second in range(5, 200, 5):
        before = len(scene.http.requests)
        scene.step(minutes=5 / 60)
        if len(scene.http.requests) > before:
            tried_at.append(second)
    assert [10, 30, 70, 150] == tried_at
    assert () == scene.alerts.state.waiting
    assert "" == scene.alerts.state.troubles["ops"].error


def test_what_cannot_be_sent_is_shown_as_an_error_without_the_secret(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    scene.watch(hold_minutes=0)
    scene.http.answers = ["ECONNREFUSED", Answer(500, {}, f"no {SLACK} here, nor {TOKEN}".encode())]
    for _ in range(2):
        scene.step(minutes=1, delivered=10)
        state = kept.read(scene.folder)
        assert state is not None
        assert NOW + timedelta(minutes=1) == state.troubles["ops"].since
        assert state.troubles["ops"].error
        assert state.troubles["ops"].error in caplog.text
    everything = (scene.folder / kept.FILE).read_text() + caplog.text + repr(scene.alerts.state)
    assert TOKEN not in everything
    assert "no answer from ***" in everything  # the control: that is where it stood


def test_how_long_a_tool_wants_to_be_left_alone_is_heeded_within_bounds(scene: Scene) -> None:
    scene.watch(hold_minutes=0)
    scene.http.answers = [Answer(429, {"retry-after": "120"}), Answer(429, {"retry-after": "999999"})]
    scene.step(delivered=10)
    scene.step(minutes=1.9)
    assert 1 == len(scene.http.requests)
    scene.step(minutes=0.1)
    assert 2 == len(scene.http.requests)
    scene.step(minutes=10)
    assert 3 == len(scene.http.requests)


def test_a_channel_that_hangs_or_fails_holds_up_no_other(scene: Scene) -> None:
    scene.workspace.add_channel("webhook", "Hook", {"url": "https://hook.example/x"})
    scene.watch("ops", "hook", hold_minutes=0)
    scene.is_held = True
    scene.step(delivered=10)
    hanging, quick = scene.begun
    quick()
    assert ["https://hook.example/x"] == [request.url for request in scene.http.requests]
    scene.step(minutes=1, delivered=100)
    scene.step(minutes=5)
    assert 3 == len(scene.begun)  # to the channel that hangs nothing more goes, to the other the recovery
    scene.begun[2]()
    assert ["began", "recovered"] == [state for request in scene.http.requests for state in _states(request.body)]
    hanging()
    scene.step(minutes=1)
    scene.begun[3]()
    assert [FAILS, WORKS] == [text.splitlines()[0].strip("*") for text in _slack_texts(scene)]


def _states(body: bytes) -> list[str]:
    return [part["state"] for part in json.loads(body)["alerts"]]


def _slack_texts(scene: Scene) -> list[str]:
    return [json.loads(request.body)["text"] for request in scene.http.requests if request.url == SLACK]


def test_a_notice_that_a_channel_refuses_does_not_hold_up_the_next_one(scene: Scene) -> None:
    scene.watch(hold_minutes=0)
    scene.http.answers = [Answer(400, {}, b"invalid_payload")]
    scene.step(delivered=10)
    scene.figures.of_destinations.append(DestinationFigures("other", "Other", 0, 100))
    scene.http.answers = []
    scene.step(minutes=0.15)
    assert 1 == len(scene.http.requests)
    scene.workspace.set_alert("deliveries", {"remind_hours": 2})  # a look before the next half minute
    scene.http.answers = [Answer(400, {}, b"invalid_payload")]
    scene.step(minutes=0.01)
    scene.step(minutes=0.01)
    assert "Delivery to Other (other) fails" in titles(scene)[-1]
    assert [FAILS] == [waiting.notice.parts[0].finding.title for waiting in scene.alerts.state.waiting]


def test_after_a_channel_was_mended_everything_is_tried_at_once(scene: Scene) -> None:
    scene.watch(hold_minutes=0)
    scene.http.answers = ["ENOTFOUND"] * 6
    scene.step(delivered=10)
    scene.step(minutes=10, times=5)
    assert 6 == len(scene.http.requests)
    scene.step(minutes=0.1)
    assert 6 == len(scene.http.requests)
    scene.workspace.set_channel("ops", {"url": "https://hooks.slack.example/services/other"})
    scene.step(minutes=0.1)
    assert "https://hooks.slack.example/services/other" == scene.http.requests[-1].url
    assert () == scene.alerts.state.waiting


def test_after_a_day_a_notice_is_given_up_loudly_and_counted(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    scene.watch(hold_minutes=0, remind_hours=0)
    scene.http.answers = ["ECONNREFUSED"] * 10_000
    scene.step(delivered=10)
    scene.step(minutes=144, times=10)
    assert (1, 0) == (len(scene.alerts.state.waiting), scene.alerts.state.troubles["ops"].lost)
    scene.step(minutes=10)
    assert (0, 1) == (len(scene.alerts.state.waiting), scene.alerts.state.troubles["ops"].lost)
    assert any(entry.levelno == logging.ERROR and "given up" in entry.getMessage() for entry in caplog.records)


def test_what_waits_for_a_channel_is_bounded(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "MOST_WAITING", 3)
    scene.watch(hold_minutes=0, recover_minutes=0)
    scene.http.answers = ["ECONNREFUSED"] * 100
    for number in range(10):
        scene.step(minutes=1, delivered=100 * (number % 2))
    assert (3, 7) == (len(scene.alerts.state.waiting), scene.alerts.state.troubles["ops"].lost)


def test_secrets_that_do_not_open_are_the_trouble_of_that_channel_alone(scene: Scene) -> None:
    scene.workspace.add_channel("webhook", "Hook", {"url": "https://hook.example/x"})
    scene.watch("ops", "hook", hold_minutes=0)
    with scene.opened._database.write() as connection:
        connection.execute(sa.text("UPDATE alert_channels SET sealed = '1.AAAA' WHERE slug = 'ops'"))
    scene.step(delivered=10)
    assert ["https://hook.example/x"] == [request.url for request in scene.http.requests]
    assert "headrace alert channel set ops" in scene.alerts.state.troubles["ops"].error


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
