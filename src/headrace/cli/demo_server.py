"""The server that a demo runs: `headrace serve` as a child, on free ports of this machine, ended with its parent."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from headrace.app.__main__ import die_with
from headrace.app.folder import address_of
from headrace.errors import ConfigError

HOST: Final = "127.0.0.1"
USUAL_PORTS: Final = (8_000, 8_001)
START_SECONDS: Final = 30.0
STOP_SECONDS: Final = 15.0
POLL_SECONDS: Final = 0.05
OUTPUT: Final = "demo-server.log"
ATTEMPTS: Final = 3
PORT_TAKEN: Final = "cannot listen on"

MODEL_SECONDS: Final = "HEADRACE_LOADER_MODEL_SECONDS"


class DemoServer:
    """Up within the `with`. Raises ConfigError, with what the server said, when it does not come up."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ports = free_ports()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self._ports[0]}"

    @property
    def console_url(self) -> str:
        return f"http://{HOST}:{self._ports[1]}"

    def __enter__(self) -> Self:
        for attempts_left in reversed(range(ATTEMPTS)):
            try:
                self._start()
                break
            except ConfigError:
                if not attempts_left or PORT_TAKEN not in self._said():
                    raise
                self._ports = free_ports()  # somebody took one between our look and the server's start
        return self

    def _start(self) -> None:
        collector, console = (f"{HOST}:{port}" for port in self._ports)
        command = [sys.executable, "-m", "headrace", "serve", "--data", str(self._folder)]
        with (self._folder / OUTPUT).open("wb") as output:
            self._process = subprocess.Popen(  # noqa: S603 -- our own module
                [*command, "--collector", collector, "--console", console],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={MODEL_SECONDS: "1", **os.environ},  # the report waits for it
                process_group=0,  # Ctrl-C is for us: the server is stopped when we are done with it
                preexec_fn=partial(die_with, os.getpid()),  # noqa: PLW1509 -- there are no other threads yet
            )
        try:
            self._wait_until_up()
        except BaseException:
            self._stop()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def wait(self) -> None:
        """Until the server ends by itself. Raises ConfigError then: it should not."""
        if self._process is not None:
            self._process.wait()
            raise ConfigError(f"demo: the server ended; it said:\n{self._said()}")

    def _wait_until_up(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not (
            address_of(self._folder) == self.url and self._healthy()
        ):  # another's server may be at the same port
            if self._process is not None and self._process.poll() is not None:
                raise ConfigError(f"demo: the server did not start; it said:\n{self._said()}")
            if time.monotonic() > deadline:
                raise ConfigError(f"demo: the server is not up after {START_SECONDS:.0f} s; it said:\n{self._said()}")
            time.sleep(POLL_SECONDS)

    def _healthy(self) -> bool:
        import httpx  # noqa: PLC0415 - 0.2 s that other commands need not wait

        try:
            return httpx.get(f"{self.url}/v1/health", timeout=2.0, trust_env=False).status_code == 200
        except httpx.RequestError:
            return False

    def _stop(self) -> None:
        """SIGTERM, which drains; kill -9 if that takes too long, which loses nothing either."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _said(self) -> str:
        lines = (self._folder / OUTPUT).read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(lines[-10:])


def free_ports() -> tuple[int, ...]:
    """The usual two if nobody uses them, else two that the system gives."""
    try:
        return _bound(USUAL_PORTS)
    except OSError:
        return _bound((0, 0))


def _bound(ports: tuple[int, ...]) -> tuple[int, ...]:
    """The numbers of these ports, having had them all at once. Raises OSError when one is taken."""
    listening = [socket.socket() for _ in ports]
    try:
        for one, port in zip(listening, ports, strict=True):
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            one.bind((HOST, port))
        return tuple(one.getsockname()[1] for one in listening)
    finally:
        for one in listening:
            one.close()
