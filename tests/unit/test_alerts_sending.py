"""Notices on their way: restarts and kills, channels that take nothing, waits, and what is given up."""

from __future__ import annotations

import json
import logging
import threading
import time
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from alert_scene import FAILS, NOW, SLACK, TOKEN, WORKS, Scene, begun, scene, titles
from headrace.alerts import kept, sending
from headrace.alerts.alerts import Alerts
from headrace.alerts.base import DestinationFigures
from headrace.alerts.channels import Outside
from headrace.destinations.base import Answer, Exchange, Request

__all__ = ["begun", "scene"]


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


def test_notices_are_sent_in_threads_of_their_own(scene: Scene) -> None:
    """The step is over while the channel has not answered yet."""
    sending_in: list[threading.Thread] = []

    async def exchange(request: Request) -> Exchange:
        sending_in.append(threading.current_thread())
        assert may_answer.wait(30)
        return Exchange(request, Answer(200))

    may_answer = threading.Event()
    scene.watch(hold_minutes=0)
    scene.figures.of_destinations = [DestinationFigures("crm", "CRM", 0, 100)]
    scene.http.exchange = exchange  # type: ignore[method-assign]
    outside = Outside(scene.http.opened, lambda _: None, lambda: scene.now)
    alerts = Alerts(scene.workspace, scene.figures, outside, scene.folder)
    alerts.step()
    alerts.step()
    assert ["ops"] == [waiting.channel for waiting in alerts.state.waiting]
    may_answer.set()
    while not sending_in:
        time.sleep(0.001)
    sending_in[0].join(30)
    assert (1, []) == (len(sending_in), [waiting.channel for waiting in alerts.state.waiting])


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
