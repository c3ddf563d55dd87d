"""Faults that come from outside the processes: a disk that is full, syncs that fail or take long."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from conftest import missing

SYNCS = "fdatasync,fsync"


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[None]:
    """A file system of this size at `folder`. Only root can do it."""
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=0700", "none", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        missing(f"a small disk cannot be mounted ({mounted.stderr.strip()}); run the tests as root")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(ballast: Path) -> None:
    """Leave not a byte of room on the disk."""
    with ballast.open("ab", buffering=0) as written:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while True:
                    written.write(b"\0" * size)
            except OSError:
                continue


@contextmanager
def traced(pid: int, injection: str, output: Path) -> Iterator[None]:
    """The syncs of this process come to `injection` (strace's words) as long as this lasts."""
    command = ["strace", "-f", "-o", str(output), "-p", str(pid), "-e", f"trace={SYNCS}"]
    tracer = subprocess.Popen(
        [*command, "-e", f"inject={SYNCS}:{injection}"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        assert tracer.stderr is not None
        attached = tracer.stderr.readline()
        assert "attached" in attached, f"strace: {attached}{tracer.stderr.read()}"
        yield
    finally:
        tracer.terminate()
        try:
            tracer.wait(10)
        except subprocess.TimeoutExpired:
            tracer.kill()
            tracer.wait()
        if tracer.stderr is not None:
            tracer.stderr.close()


def is_injected(output: Path) -> bool:
    return output.exists() and any(word in output.read_bytes() for word in (b"INJECTED", b"DELAYED"))


def wait_until(what: str, is_so: Callable[[], bool], patience_seconds: float = 60.0) -> None:
    ends = time.monotonic() + patience_seconds
    while not is_so():
        assert time.monotonic() < ends, f"not within {patience_seconds:.0f} s: {what}"
        time.sleep(0.05)
