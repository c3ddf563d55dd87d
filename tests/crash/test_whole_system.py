"""Faults of the whole system under load. The oracle is that of the kills: acknowledged = warehouse + rejected, each once."""

from __future__ import annotations

import random
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

import server
from crash import faults
from crash.faults import wait_until
from crash.ledger import Request
from crash.scene import Scene
from crash.traffic import Mix, request_of
from crash.verdict import rows
from server import free_port

SMALL = {"HEADRACE_COLLECTOR_STAGING_BYTES": "1000000", "HEADRACE_COLLECTOR_COMMIT_TIMEOUT_SECONDS": "2"}
GROWTH_BYTES = 60_000_000
"""Of the collector: a megabyte of staged events, and what each open request holds."""


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """For tests that leave the server as they found it, and know what their own events come to."""
    with Scene(tmp_path_factory.mktemp("scene"), stand_ins=["poison"]) as opened:
        yield opened


def batch(name: str, count: int, event: str = "Storm Passed", padding: Callable[[], str] = str) -> Request:
    events: list[dict[str, Any]] = [
        {
            "type": "track",
            "event": event,
            "userId": "u",
            "messageId": f"{name}-{number}",
            "properties": {"note": padding()},
        }
        for number in range(count)
    ]
    return request_of("/v1/batch", events)


def together(scene: Scene, works: Sequence[Sequence[Request]]) -> list[threading.Thread]:
    """Post each list of requests on a connection of its own, all at once."""

    def post(requests: Sequence[Request]) -> None:
        sender = scene.sender()
        for request in requests:
            sender.post(request)
        sender.close()

    threads = [threading.Thread(target=post, args=(work,), daemon=True) for work in works]
    for thread in threads:
        thread.start()
    return threads


def gained(scene: Scene, before: dict[str, Any]) -> dict[str, int]:
    after = scene.settle()["totals"]
    return {name: after[name] - before["totals"][name] for name in after}


def serve(*arguments: str) -> subprocess.CompletedProcess[str]:
    """`headrace serve` to its end, which must come by itself."""
    return subprocess.run(
        [sys.executable, "-m", "headrace", "serve", *arguments], capture_output=True, text=True, timeout=60, check=False
    )


def test_a_storm_of_duplicates_is_stored_once_and_counted(scene: Scene) -> None:
    before = scene.status()
    batches = [batch(f"storm-{number}", 25) for number in range(12)]
    shuffled = random.Random(12)
    works = [shuffled.sample(batches * 2, 24) for _ in range(50)]
    for thread in together(scene, works):
        thread.join(60)
    counts = gained(scene, before)
    assert 300 == counts["loaded"]
    assert 100 * 300 - 300 == counts["duplicates"]
    assert [{"n": 300}] == scene.server.query("SELECT count(*) AS n FROM shop.storm_passed")


def test_a_poisoned_event_is_rejected_and_its_neighbours_proceed(scene: Scene) -> None:
    before = scene.status()
    sender = scene.sender()
    sender.post(batch("calm", 30, "Calm Passed"))
    sender.post(batch("poison-row", 1, "Poisoned Row"))
    sender.post(batch("poison-load", 1, "Poisoned Load"))
    sender.post(batch("calm-again", 30, "Calm Passed"))
    sender.close()
    counts = gained(scene, before)
    assert (60, 2, 0) == (counts["loaded"], counts["rejected"], counts["pending"])
    rejected = scene.server.query("SELECT message_id, code FROM headrace.rejected WHERE stage = 'loader' ORDER BY ALL")
    assert [("poison-load-0", "warehouse_refused"), ("poison-row-0", "loader_error")] == [
        (row["message_id"], row["code"]) for row in rejected
    ]


def test_a_second_server_on_the_same_folder_is_refused(scene: Scene) -> None:
    port = free_port()
    ended = serve("--data", str(scene.server.data), "--collector", f"127.0.0.1:{port}", "--console", "127.0.0.1:0")
    assert ended.returncode != 0
    assert f"another headrace server (process {scene.server.pid})" in ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr
    assert scene.status()["running"]


def test_a_port_that_is_taken_is_named(scene: Scene, tmp_path: Path) -> None:
    address = f"127.0.0.1:{scene.server.port}"
    ended = serve("--data", str(tmp_path / "other"), "--collector", address, "--console", "127.0.0.1:0")
    assert ended.returncode != 0
    assert f"cannot listen on {address}" in ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr


def test_children_die_with_the_supervisor_when_it_is_killed(scene: Scene) -> None:
    children = scene.children()
    assert 2 == len(children)
    scene.server.kill()
    _, alive = psutil.wait_procs(children, 30)
    scene.server.start()
    assert [] == alive


def test_a_crash_leaves_no_journal_for_the_next_one_to_replay(scene: Scene) -> None:
    sender = scene.sender()
    sender.post(batch("journal", 500, "Journal Written", padding=lambda: secrets.token_hex(100)))
    sender.close()
    scene.settle()
    scene.child("worker").kill()
    journal = scene.server.data / "warehouse.duckdb.wal"
    wait_until("the journal is folded in", lambda: not journal.exists() or journal.stat().st_size == 0)


def test_sigterm_under_load_drains_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "STOP_SECONDS", 60.0)
    with Scene(tmp_path, 13, stand_ins=["patient_end"]) as scene:
        scene.flow()
        wait_until("a thousand events are loaded", lambda: scene.status()["totals"]["loaded"] > 1_000)
        asked = time.monotonic()
        code = scene.server.stop()
        seconds = time.monotonic() - asked
        accepted = scene.ledger.at_least.accepted
        drained = scene.status()
        print(f"drained in {seconds:.1f} s; {accepted} accepted, {drained['totals']['pending']} pending")
        assert 0 == code
        assert "did not end in time" not in scene.server.tail(400)
        assert not drained["running"]
        scene.server.start()
        scene.acknowledges(time.monotonic())
        assert [] == scene.verdict().faults


def test_a_full_disk_refuses_with_503_and_mends_by_itself(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with faults.small_disk(data, 96), Scene(tmp_path, 3, mix=Mix(refused=0.0)) as scene:
        scene.flow()
        wait_until("a thousand events are acknowledged", lambda: len(scene.ledger.acknowledged) > 1_000)
        wait_until("some are loaded", lambda: scene.status()["totals"]["loaded"] > 0)
        faults.fill(data / "ballast")
        wait_until("requests get 503", lambda: scene.ledger.unavailable > 5)
        assert 503 == scene.server.request("GET", "/v1/health").status
        for child in scene.children():
            child.kill()
        refused = scene.ledger.unavailable
        wait_until("the new collector refuses, too", lambda: scene.ledger.unavailable > refused + 5)
        stored = scene.server.query("SELECT count(*) AS n FROM shop.tracks")[0]["n"]
        assert stored > 0
        assert scene.status()["totals"]["loaded"] >= stored
        (data / "ballast").unlink()
        scene.acknowledges(time.monotonic())
        assert [] == scene.verdict().faults


def test_failing_and_slow_syncs_are_never_acknowledged(tmp_path: Path, need: Callable[[str], str]) -> None:
    need("strace")
    with Scene(tmp_path, 2, settings=SMALL) as scene:
        scene.flow()
        scene.acknowledges(time.monotonic())
        collector = scene.child("collector")
        output = tmp_path / "strace.txt"
        with faults.traced(collector.pid, "error=EIO", output):
            wait_until("a sync fails and requests get 503", lambda: scene.ledger.unavailable > 5)
            failing = time.monotonic()
            assert 503 == scene.server.request("GET", "/v1/health").status
            time.sleep(1.0)
            assert not scene.ledger.acknowledged_since(failing)
        assert faults.is_injected(output)
        scene.acknowledges(time.monotonic())
        _slow_syncs(scene, collector, tmp_path / "slow.txt")
        scene.acknowledges(time.monotonic())
        assert collector.is_running()
        assert [] == scene.verdict().faults


def _slow_syncs(scene: Scene, collector: psutil.Process, output: Path) -> None:
    """Each takes 5 s, while 24 connections send half a megabyte each, and the next one after a 503."""
    before = collector.memory_info().rss
    unavailable = scene.ledger.unavailable
    with faults.traced(collector.pid, "delay_enter=5000000", output):
        works = [
            [batch(f"slow-{number}-{turn}", 16, padding=lambda: "x" * 30_000) for turn in range(3)]
            for number in range(24)
        ]
        threads = together(scene, works)
        largest = before
        began = time.monotonic()
        while time.monotonic() < began + (60 if scene.ledger.unavailable == unavailable else 7):
            largest = max(largest, collector.memory_info().rss)
            time.sleep(0.05)
        assert scene.ledger.unavailable > unavailable
    assert faults.is_injected(output)
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    print(f"the collector's memory grew by {(largest - before) / 1e6:.0f} MB")
    assert largest - before < GROWTH_BYTES


def test_a_clock_that_jumps_loses_and_doubles_nothing(tmp_path: Path) -> None:
    clock = tmp_path / "clock"
    clock.write_text("0")
    settings = {"CRASH_CLOCK_FILE": str(clock)}
    with Scene(tmp_path, 5, settings=settings, stand_ins=["other_clock"], mix=Mix(repeats=0.1)) as scene:
        scene.flow()
        for shift in ("0", "3600", "-86400"):
            clock.write_text(shift)
            scene.acknowledges(time.monotonic())
            time.sleep(0.5)
        scene.child("collector").kill()
        scene.child("worker").kill()
        scene.acknowledges(time.monotonic())
        clock.write_text("0")
        scene.acknowledges(time.monotonic())
        verdict = scene.verdict()
        assert [] == verdict.faults
        days = "SELECT DISTINCT received_at::DATE - current_date < 0 FROM w.shop.tracks ORDER BY ALL"
        assert [(False,), (True,)] == rows(scene.warehouse, days)


def test_retention_that_comes_before_the_loader_is_loud_and_counted(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    settings = {
        "HEADRACE_LOG_SEGMENT_BYTES": "65536",
        "HEADRACE_LOG_MAX_BYTES": "300000",
        "CRASH_CLOSED_FILE": str(closed),
    }
    with Scene(tmp_path, 16, settings=settings, stand_ins=["closed_warehouse"]) as scene:
        sender = scene.sender()
        sender.post(batch("early", 40))
        scene.settle()
        closed.touch()
        for number in range(60):
            sender.post(batch(f"late-{number}", 40, padding=lambda: secrets.token_hex(200)))
        sender.close()
        wait_until("segments are forced out", lambda: "max_bytes" in scene.server.tail(400))
        assert scene.status()["totals"]["pending"] > 0
        closed.unlink()
        verdict = scene.verdict()
        assert [] == list(verdict.other_faults)
        assert [] == list(verdict.doubled)
        assert 0 < verdict.rejected == len(verdict.lost)
        rejected = "SELECT DISTINCT stage, code FROM w.headrace.rejected"
        assert [("log", "log_removed")] == rows(scene.warehouse, rejected)
