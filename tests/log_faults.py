"""A process that appends to a log while faults are injected into it, and the oracle over what is read afterwards.

The process writes a line before and after each append: `try ID COUNT`, then `ack ID OFFSET` or `fail ID`. Ids of one
append are ID, ID + 1 and so on.
"""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from headrace import event
from headrace.config import LogConfig
from headrace.errors import LogUnavailableError
from headrace.event import Event
from headrace.log.base import Gap, Hour, LogReader, LogWriter, Tally, hour_of
from headrace.log.sqlite import SqliteLog

AT: Final = datetime(2026, 3, 1, 12, tzinfo=UTC)
SMALL: Final = LogConfig(segment_bytes=65_536)
ACKS_FIRST: Final = "acknowledge-first"


def line(number: int, padding: int = 0) -> bytes:
    """An event whose id is the number; the padding does not compress."""
    noise = msgspec.Raw(b'{"noise":"%s"}' % os.urandom(padding // 2).hex().encode())
    return event.encode(Event("shop", "track", str(number), AT, AT, "Bought", properties=noise))


def append(writer: LogWriter, first_id: int, count: int, padding: int = 0) -> int:
    return writer.append([line(first_id + i, padding) for i in range(count)], {Hour("shop", hour_of(AT)): Tally(count)})


class Reading(NamedTuple):
    """All that a log yields: (offset, id) as read, and the gaps."""

    entries: list[tuple[int, int]]
    gaps: list[Gap]

    @property
    def ids(self) -> list[int]:
        return [number for _, number in self.entries]

    @property
    def lost(self) -> int:
        return sum(sum(tally) for gap in self.gaps for tally in gap.lost.values())


def read_all(reader: LogReader, offset: int | None = None, max_entries: int = 1_000) -> Reading:
    """From the oldest offset on, to the end."""
    at = reader.bounds().first if offset is None else offset
    entries: list[tuple[int, int]] = []
    gaps: list[Gap] = []
    while True:
        found = reader.read(at, max_entries=max_entries, max_bytes=1_000_000)
        gaps.extend(found.gaps)
        if found.next == at:
            return Reading(entries, gaps)
        # Entries of one slice are contiguous and end where it ends, unless it only crosses a gap.
        begin = found.next - len(found.entries)
        entries.extend((begin + i, int(str(entry.message_id))) for i, entry in enumerate(found.entries))
        at = found.next


class Told(NamedTuple):
    """What the process said: counts by first id, offsets by first id of what it acknowledged, and what it gave up."""

    tried: dict[int, int]
    acknowledged: dict[int, int]
    failed: list[int]


def told(output: str) -> Told:
    words = [text.split() for text in output.splitlines()]
    return Told(
        {int(w[1]): int(w[2]) for w in words if w[0] == "try" and len(w) == 3},
        {int(w[1]): int(w[2]) for w in words if w[0] == "ack" and len(w) == 3},
        [int(w[1]) for w in words if w[0] == "fail" and len(w) == 2],
    )


def violations(said: Told, reading: Reading) -> list[str]:
    """What the log does otherwise than promised, one text each."""
    found = [f"lost: {gap}" for gap in reading.gaps if gap.lost]
    offset_by_id = dict(zip(reading.ids, [offset for offset, _ in reading.entries], strict=True))
    offsets = [offset for offset, _ in reading.entries]
    found += [f"id {i} is there {n} times" for i, n in Counter(reading.ids).items() if n > 1]
    if any(later <= earlier for earlier, later in itertools.pairwise(offsets)):
        found.append("an offset is there twice")
    for first_id, first in said.acknowledged.items():
        for i in range(said.tried[first_id]):
            if offset_by_id.get(first_id + i) != first + i:
                found.append(f"acknowledged id {first_id + i} at {first + i} is at {offset_by_id.get(first_id + i)}")
    failed = {first_id + i for first_id in said.failed for i in range(said.tried[first_id])}
    found += [f"id {i} was refused and is there" for i in sorted(failed & offset_by_id.keys())]
    underway = said.tried.keys() - said.acknowledged.keys() - set(said.failed)
    for first_id in underway:
        there = sum(first_id + i in offset_by_id for i in range(said.tried[first_id]))
        if there not in (0, said.tried[first_id]):
            found.append(f"of the chunk of id {first_id} only {there} entries are there")
    return found


def traced(strace: str, *injections: str) -> list[str]:
    """The command line in front of a process, to inject faults into its system calls."""
    calls = ",".join(injection.split(":")[0] for injection in injections)
    inject = [part for injection in injections for part in ("-e", f"inject={injection}")]
    return [strace, "-f", "-qq", "-o", os.devnull, "-e", f"trace={calls}", *inject]


@contextmanager
def started(mode: str, folder: Path, *arguments: object, before: Sequence[str] = ()) -> Iterator[subprocess.Popen[str]]:
    """This file as a process, killed at the end if it is still there."""
    command = [*before, sys.executable, __file__, mode, str(folder), *map(str, arguments)]
    paths = os.pathsep.join(path for path in sys.path if path)
    running = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": paths}
    )
    try:
        with running:
            try:
                yield running
            finally:
                running.kill()
    finally:
        running.wait()


def heard(running: subprocess.Popen[str], word: str) -> str:
    """What the process says up to the line that begins with the word. Raises EOFError when it ends before."""
    assert running.stdout is not None
    output = ""
    for text in running.stdout:
        output += text
        if text.startswith(word):
            return output
    raise EOFError(output)


def go_on(running: subprocess.Popen[str]) -> None:
    assert running.stdin is not None
    running.stdin.write("go\n")
    running.stdin.flush()


def calls_before_ack(strace: str, folder: Path, syscall: str) -> int:
    """How many of these system calls there are up to the first acknowledgement; it depends on SQLite's version."""
    trace = folder.with_suffix(".trace")
    command = [strace, "-f", "-qq", "-o", str(trace), "-e", f"trace={syscall},write"]
    run(folder, 1, before=command)
    before, _, _ = trace.read_text().partition('"ack ')
    return len(re.findall(rf"\b{syscall}\(", before))


def run(folder: Path, appends: int, *, before: Sequence[str] = (), variant: str = "plain", start: int = 0) -> Told:
    """Append in a process of its own, to its end or its death."""
    with started("append", folder, appends, variant, start, before=before) as running:
        output, _ = running.communicate(timeout=60)
    return told(output)


def say(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def _append(folder: Path, appends: int, variant: str, start: int = 0) -> None:
    """Ends without closing anything, as a kill would."""
    writer = SqliteLog(folder, SMALL).writer(0)
    for number in range(appends):
        first_id, count = start + 1_000 * number, 1 + number % 5
        say("try", first_id, count)
        if variant == ACKS_FIRST:
            say("ack", first_id, writer.next)
        try:
            first = append(writer, first_id, count, padding=3_000)
        except LogUnavailableError:
            say("fail", first_id)
        else:
            if variant != ACKS_FIRST:
                say("ack", first_id, first)
        if number == 0 and variant == "wait":
            sys.stdin.readline()
    os._exit(0)


def _hold(folder: Path) -> None:
    """A reader that keeps what it reads open."""
    reader = SqliteLog(folder, SMALL).reader(0)
    say("ready", len(read_all(reader).entries))
    time.sleep(60)


def _fill(folder: Path) -> None:
    """Append on a disk that fills; then, told that there is room again, append once more."""
    writer = SqliteLog(folder, SMALL).writer(0)
    first_id = 0
    for _ in range(2):
        refusals = 0
        while refusals < 5:
            say("try", first_id, 4)
            try:
                say("ack", first_id, append(writer, first_id, 4, padding=20_000))
            except LogUnavailableError:
                say("fail", first_id)
                refusals += 1
            first_id += 1_000
        say("full")
        sys.stdin.readline()
    say("try", first_id, 4)
    say("ack", first_id, append(writer, first_id, 4, padding=20_000))
    say("end")
    os._exit(0)


MODES: Final[dict[str, Callable[..., None]]] = {"append": _append, "hold": _hold, "fill": _fill}


if __name__ == "__main__":
    mode, folder, *rest = sys.argv[1:]
    MODES[mode](Path(folder), *(int(word) if word.isdigit() else word for word in rest))
