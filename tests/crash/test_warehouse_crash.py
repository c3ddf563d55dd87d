"""kill -9, failing syncs and a full disk under DuckDB: position and rows agree afterwards, and nothing acknowledged is gone."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from headrace.config import WarehouseConfig
from headrace.warehouses._duckdb import DuckDB
from made_loads import CONSUMER, HOUR

SCRIPT = Path(__file__).parent / "loading.py"
TESTS = Path(__file__).parent.parent
SEED = 20_260_301


class State(NamedTuple):
    position: int
    rows: int
    ids: int
    in_books: int


def state(file: Path) -> State:
    """What a new process finds."""
    warehouse = DuckDB(file, WarehouseConfig(memory_bytes=128_000_000))
    position = warehouse.position(CONSUMER, 0)
    loaded = warehouse.books().get(HOUR)
    if position is None or loaded is None:
        warehouse.close()
        return State(0, 0, 0, 0)
    answer = warehouse.query("SELECT count(*), count(DISTINCT id) FROM shop.tracks", max_rows=1, timeout_seconds=30)
    rows, ids = answer.rows[0]
    warehouse.close()
    return State(position.next, rows, ids, loaded.loaded)


def loading(file: Path, *more: str, before: Sequence[str] = ()) -> subprocess.Popen[str]:
    path = os.pathsep.join((str(TESTS.parent / "src"), str(TESTS)))
    command = [*before, sys.executable, str(SCRIPT), str(file), *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path})


def acknowledged(process: subprocess.Popen[str]) -> int:
    """The last position that the process printed, once it has ended."""
    lines = [line for line in process.communicate(timeout=120)[0].splitlines() if line]
    return int(lines[-1].split()[0]) if lines else 0


def agrees(found: State, known: int) -> bool:
    return found.position >= known and {found.position} == {found.rows, found.ids, found.in_books}


def test_kill_9_in_the_middle_of_loads_leaves_position_and_rows_in_agreement(tmp_path: Path) -> None:
    file, known = tmp_path / "warehouse.duckdb", 0
    chance = random.Random(SEED)
    for _ in range(6):
        process = loading(file, "100000")
        assert process.stdout is not None
        process.stdout.readline()  # the first load of this round is in
        time.sleep(chance.uniform(0, 0.4))
        process.kill()
        known = max(known, acknowledged(process))
        found = state(file)
        assert agrees(found, known), found
    assert known > 0


def test_kill_9_at_the_very_beginning_leaves_a_file_that_opens(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    for number in range(6):
        file = tmp_path / f"{number}.duckdb"
        process = loading(file, "1")
        until = time.monotonic() + 30
        while not any(tmp_path.glob(f"{number}.duckdb*")) and time.monotonic() < until:
            time.sleep(0.001)
        time.sleep(chance.uniform(0, 0.03))
        process.kill()
        known = acknowledged(process)
        assert agrees(state(file), known)


def test_a_position_written_apart_from_its_rows_does_not_agree(tmp_path: Path) -> None:
    """The control: the oracle sees what the transaction prevents."""
    file = tmp_path / "warehouse.duckdb"
    known = acknowledged(loading(file, "100", "torn"))
    assert not agrees(state(file), known)
    known = acknowledged(loading(file, "3"))
    found = state(file)
    assert found.rows > found.ids


@pytest.mark.parametrize(
    "fault",
    ["fdatasync:error=EIO:when=5+3", "write:error=ENOSPC:when=20+9", "write:error=EIO:when=25..27"],
    ids=["sync error", "disk full", "write error"],
)
def test_failing_writes_and_syncs_double_and_lose_nothing(
    tmp_path: Path, need: Callable[[str], str], fault: str
) -> None:
    file, trace = tmp_path / "warehouse.duckdb", tmp_path / "trace"
    call = fault.split(":", maxsplit=1)[0]
    # A fault may hit what Python prints, too; then the process ends there, a crash like any other.
    strace = [need("strace"), "-f", "-q", "-o", str(trace), "-e", f"trace={call}", "-e", f"inject={fault}"]
    known = acknowledged(loading(file, "40", before=strace))
    assert "INJECTED" in trace.read_text()
    assert known > 0
    assert agrees(state(file), known)


DISK_FULL = """
import json, resource, sys
from pathlib import Path
from headrace.config import WarehouseConfig
from headrace.errors import WarehouseUnavailableError
from headrace.warehouses._duckdb import DuckDB
from made_loads import CONSUMER, tracks

file = Path(sys.argv[1])
warehouse = DuckDB(file, WarehouseConfig(memory_bytes=128_000_000))
seen = []

def limited(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

def rows():
    return warehouse.query("SELECT count(*) FROM shop.tracks", max_rows=1, timeout_seconds=9).rows[0][0]

start = 0
limited(400_000)
while True:
    try:
        warehouse.commit(tracks(start, start + 1_000, new=start == 0))
        start += 1_000
    except WarehouseUnavailableError:
        break
full = start
for _ in range(3):
    try:
        warehouse.commit(tracks(start, start + 1_000))
    except WarehouseUnavailableError:
        seen.append(rows())
try:
    warehouse.checkpoint(force=True)
except WarehouseUnavailableError:
    pass
limited(resource.RLIM_INFINITY)
warehouse.commit(tracks(start, start + 1_000))
print(json.dumps([full, seen, rows(), warehouse.position(CONSUMER, 0).next]))
"""


def test_a_full_disk_is_told_and_the_warehouse_recovers_by_itself(tmp_path: Path) -> None:
    file = tmp_path / "warehouse.duckdb"
    path = os.pathsep.join((str(TESTS.parent / "src"), str(TESTS)))
    command = [sys.executable, "-c", DISK_FULL, str(file)]
    output = subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path})
    full, seen, rows, position = json.loads(output.stdout)
    assert full > 0
    assert [full] * 3 == seen
    assert (full + 1_000, full + 1_000) == (rows, position)
    assert agrees(state(file), position)
