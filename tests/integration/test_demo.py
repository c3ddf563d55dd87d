"""`headrace demo`: a whole server, a simulated month, and a report that agrees with what was sent."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import psutil
import pytest

from headrace.cli.demo import Balance, _terminable
from headrace.cli.demo_server import HOST, DemoServer, free_ports
from headrace.errors import ConfigError

PROGRAM: Final = ("-m", "headrace")
SECONDS: Final = 90


@contextmanager
def started(temporary: Path, *arguments: str, program: Sequence[str] = PROGRAM) -> Iterator[subprocess.Popen[str]]:
    """The demo, small, with `temporary` as the place of temporary folders."""
    temporary.mkdir(exist_ok=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")}
    process = subprocess.Popen(
        [sys.executable, *program, "demo", "--recipients", "300", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment | {"TMPDIR": str(temporary)},
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def test_everything_that_was_sent_is_in_the_tables_once_and_nothing_is_left_behind(tmp_path: Path) -> None:
    with started(tmp_path / "tmp", "--exit", "--json") as process:
        output, errors = process.communicate(timeout=SECONDS)
        assert 0 == process.returncode, errors
    found = json.loads(output)
    assert found["agree"]
    assert ["Selligent", "Shop"] == [source["source"] for source in found["sources"]]
    for source in found["sources"]:
        assert source["sent"] - source["repeated"] == source["distinct"] == source["rows"]
    weekly = [row for row in found["campaigns"] if not row["campaign_name"].startswith("Journey")]
    assert 4 == len(weekly)
    assert all(row["human_opens"] <= row["opens"] + row["human_clicks"] for row in weekly)
    by_name = {figure["figure"]: figure for figure in found["figures"]}
    for figure in by_name.values():
        assert figure["truth"] == pytest.approx(figure["model"], abs=2)
    clicked = by_name["clicked by a person"]
    assert clicked["rows"] > 3 * clicked["truth"]  # the control: what counting rows would say
    assert [] == list((tmp_path / "tmp").iterdir())


def test_people_read_a_table_and_it_serves_on_until_it_is_ended(tmp_path: Path) -> None:
    with started(tmp_path / "tmp", "--data", str(tmp_path / "data")) as process:
        assert process.stdout is not None
        text = ""
        while "Serving until Ctrl-C." not in text:
            line = process.stdout.readline()
            assert line, f"{text}\n{process.stderr.read() if process.stderr else ''}"
            text += line
        children = psutil.Process(process.pid).children(recursive=True)
        url = text.partition("tracking API")[2].split()[0]
        with socket.create_connection((HOST, int(url.rsplit(":", 1)[1])), timeout=5):
            process.send_signal(signal.SIGTERM)
        rest, _ = process.communicate(timeout=SECONDS)
        _, alive = psutil.wait_procs(children, timeout=20)
    output = text + rest
    assert "Every event that was sent is in the tables exactly once." in output
    assert "NewArrivals" in output
    assert "opened by a person" in output
    assert (tmp_path / "data" / "warehouse.duckdb").exists()
    assert len(children) >= 3
    assert ([], 0) == (alive, process.returncode)


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGKILL])
def test_its_server_ends_with_it_at_any_moment(tmp_path: Path, ending: signal.Signals) -> None:
    with started(tmp_path / "tmp", "--json") as process:
        family: list[psutil.Process] = []
        ends = time.monotonic() + SECONDS
        while len(family) < 3:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < ends, "its server does not start"
            family = psutil.Process(process.pid).children(recursive=True)
            time.sleep(0.02)
        family = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(ending)
        process.wait(SECONDS)
        _, alive = psutil.wait_procs(family, timeout=20)
    assert [] == alive
    left_behind = [folder.name for folder in (tmp_path / "tmp").iterdir()]
    assert (ending is signal.SIGKILL) == bool(left_behind)


def test_a_folder_in_use_is_said(tmp_path: Path) -> None:
    with DemoServer(tmp_path), pytest.raises(ConfigError, match="another headrace server"):
        DemoServer(tmp_path).__enter__()


def test_a_port_that_somebody_takes_in_the_last_moment_is_left_to_him(tmp_path: Path) -> None:
    server = DemoServer(tmp_path)
    wanted = server.url
    with socket.create_server((HOST, int(wanted.rsplit(":", 1)[1]))), server:
        assert wanted != server.url
        with socket.create_connection((HOST, int(server.url.rsplit(":", 1)[1])), timeout=5):
            pass


def test_other_ports_are_taken_when_somebody_uses_the_usual_ones() -> None:
    usual = free_ports()
    with socket.create_server((HOST, usual[1])):
        others = free_ports()
    assert usual[1] not in others
    assert 2 == len(set(others))


@pytest.mark.parametrize(
    ("rows", "ids", "duplicates", "agrees"),
    [(90, 90, 10, True), (89, 89, 10, False), (91, 90, 10, False), (91, 91, 9, False), (90, 90, 9, False)],
)
def test_a_lost_or_double_row_is_no_agreement(rows: int, ids: int, duplicates: int, *, agrees: bool) -> None:
    balance = Balance("Shop", "shop", 100, 90, 10, rows, ids, duplicates)
    assert agrees == balance.agrees


FORGETFUL: Final = """
from headrace.cli import demo, main
demo._columns_by_table = lambda *given: {}
main()
"""


def test_the_verdict_of_a_difference_is_code_1(tmp_path: Path) -> None:
    """The demo is told that there are no tables; the tests above are the control."""
    with started(tmp_path / "tmp", "--exit", program=("-c", FORGETFUL)) as process:
        output, errors = process.communicate(timeout=SECONDS)
    assert 1 == process.returncode
    assert "DIFFER" in output
    assert "do not hold exactly what was sent" in errors


def test_a_signal_whose_exception_is_lost_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in the callbacks that run while a module is imported."""
    lost: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", lost.append)

    class Subject:
        pass

    subject = Subject()
    with _terminable() as was_told:
        watching = weakref.ref(subject, lambda _: signal.raise_signal(signal.SIGTERM))
        del subject
        assert was_told()
    assert watching() is None
    assert [KeyboardInterrupt] == [one.exc_type for one in lost]
