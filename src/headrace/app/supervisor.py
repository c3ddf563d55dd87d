"""`headrace serve`: starts the collectors and the worker, restarts what dies, and ends them in order."""

from __future__ import annotations

import logging
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from types import FrameType
from typing import Final

import msgspec

from headrace import config as settings
from headrace.app import folder
from headrace.config import Config
from headrace.workspace.workspace import Workspace

logger = logging.getLogger(__name__)

COLLECTORS_END_SECONDS: Final = 6.0
ALL_END_SECONDS: Final = 9.5
POLL_SECONDS: Final = 0.05
HEALTHY_SECONDS: Final = 10.0
LONGEST_PAUSE_SECONDS: Final = 10.0
LONGEST_PAUSE_AFTER_KILL_SECONDS: Final = 1.0
"""Killed from outside, by an operator or for want of memory: unlike after a fault of its own nothing says that it will end again."""


class Child:
    """One process that is kept alive. It gets its settings on stdin and dies with this process."""

    def __init__(self, name: str, arguments: Sequence[str], config: Config, descriptors: Sequence[int]) -> None:
        self.name = name
        self._arguments = arguments
        self._config = msgspec.json.encode(config)
        self._descriptors = tuple(descriptors)
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self._pause_seconds = 0.0
        self._due = 0.0

    def start(self) -> None:
        command = [sys.executable, "-m", "headrace.app", str(os.getpid()), *self._arguments]
        self._process = subprocess.Popen(  # noqa: S603 - our own module
            command, stdin=subprocess.PIPE, pass_fds=self._descriptors, process_group=0
        )
        self._started = time.monotonic()
        if self._process.stdin is not None:
            try:
                self._process.stdin.write(self._config)
                self._process.stdin.close()
            except BrokenPipeError:
                logger.warning("serve: %s ended before it read its settings", self.name)

    def keep(self) -> None:
        """Start again what has ended: at once the first time, later after a pause that doubles."""
        now = time.monotonic()
        if self._process is not None and self._process.poll() is not None:
            lived = now - self._started
            killed = self._process.returncode == -signal.SIGKILL
            longest = LONGEST_PAUSE_AFTER_KILL_SECONDS if killed else LONGEST_PAUSE_SECONDS
            self._pause_seconds = 0.0 if lived > HEALTHY_SECONDS else min(longest, max(0.1, self._pause_seconds * 2))
            self._due = now + self._pause_seconds
            logger.error("serve: %s ended (%s) and is started again", self.name, _ending(self._process.returncode))
            self._process = None
        if self._process is None and now >= self._due:
            self.start()

    def end(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()

    def wait(self, deadline: float) -> None:
        """Wait for the end until `deadline` (monotonic); kill it then."""
        if self._process is None:
            return
        try:
            self._process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            logger.error("serve: %s did not end in time and is killed; what it accepted is in the log", self.name)  # noqa: TRY400 - no traceback wanted
            self._process.kill()
            self._process.wait()


class Supervisor:
    """Holds the folder, the listening sockets and the children."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._stop = threading.Event()
        _raise_descriptor_limit()
        folder.prepare(config.folder)
        self._lock = folder.lock(config.folder, patience_seconds=2.0)
        with Workspace.open(config.folder) as workspace:
            self.setup_code = workspace.setup_code() if workspace.people().nobody() else ""
        self._collecting = folder.listen_tcp(*settings.address(config.collector.listen), "--collector")
        self._console = folder.listen_tcp(*settings.address(config.console.listen), "--console")
        folder.note_address(self._lock, self.collector_url)
        self._collectors = [
            Child(
                f"collector {n}",
                ("collector", str(n), str(self._collecting.fileno())),
                config,
                (self._lock, self._collecting.fileno()),
            )
            for n in range(config.collector.processes)
        ]
        self._worker = Child(
            "worker", ("worker", str(self._console.fileno())), config, (self._lock, self._console.fileno())
        )

    @property
    def collector_url(self) -> str:
        return _url(self._collecting)

    @property
    def console_url(self) -> str:
        return _url(self._console)

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT, then drain; a second signal ends everything at once, which loses nothing either."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._ask_to_stop)
        children = [*self._collectors, self._worker]
        for child in children:
            child.start()
        while not self._stop.wait(POLL_SECONDS):
            for child in children:
                child.keep()
        self._drain()

    def _ask_to_stop(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        if self._stop.is_set():
            for child in (*self._collectors, self._worker):
                child.wait(0.0)
        self._stop.set()

    def _drain(self) -> None:
        """Collectors first, so that the worker finds everything they accepted in the log."""
        began = time.monotonic()
        self._collecting.close()
        for child in self._collectors:
            child.end()
        for child in self._collectors:
            child.wait(began + COLLECTORS_END_SECONDS)
        self._worker.end()
        self._worker.wait(began + ALL_END_SECONDS)


def _raise_descriptor_limit() -> None:
    """Each connection takes a descriptor; shells often allow far fewer than the kernel does. Children inherit it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and (hard == resource.RLIM_INFINITY or soft < hard):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _url(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _ending(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
