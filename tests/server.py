"""A real `headrace serve` for tests: started on free ports, asked through its own commands and doors, ended with the test."""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from headrace import cli
from headrace.app.folder import WORKER_SOCKET, short_path

START_SECONDS = 30.0
WORKER_SECONDS = 60.0
STOP_SECONDS = 20.0
PATIENT = {"HEADRACE_COLLECTOR_COMMIT_TIMEOUT_SECONDS": "15"}
"""What a test may set otherwise: a machine that stands still for some seconds is no reason to refuse events."""
LOAD_SECONDS = 60.0


class NewSource(NamedTuple):
    slug: str
    schema: str
    write_key: str


class Answer(NamedTuple):
    """`headers` by lower-case name."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port


class Server:
    """Start and stop it as often as a test likes: the data folder stays. `settings` are HEADRACE_* variables."""

    def __init__(self, data: Path, settings: Mapping[str, str] | None = None) -> None:
        self.data = data
        self.host = "127.0.0.1"
        self.port = free_port()
        self.console_port = free_port()
        self.output = data.parent / f"{data.name}.output.txt"
        outside = {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")}
        self._environment = outside | PATIENT | dict(settings or {})
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process is not None, "the server was not started"
        return self._process.pid

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        arguments = (
            "serve",
            "--collector",
            f"{self.host}:{self.port}",
            "--console",
            f"{self.host}:{self.console_port}",
        )
        with self.output.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "headrace", *arguments, "--data", str(self.data)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self._environment,
            )
        ends = time.monotonic() + START_SECONDS
        while not self._healthy():
            if self._process.poll() is not None:
                raise AssertionError(
                    f"the server ended with {self._process.returncode} before it was up:\n{self.tail()}"
                )
            if time.monotonic() > ends:
                self.stop()
                raise AssertionError(f"the server is not up after {START_SECONDS:.0f} s:\n{self.tail()}")
            time.sleep(0.05)
        ends = time.monotonic() + WORKER_SECONDS
        while not self._is_worker_up() and time.monotonic() < ends:
            time.sleep(0.02)

    def _is_worker_up(self) -> bool:
        """It listens a moment after the collectors; a test that keeps it from coming up goes on without it."""
        name, descriptor = short_path(self.data / WORKER_SOCKET)
        try:
            with socket.socket(socket.AF_UNIX) as worker:
                worker.connect(name)
        except OSError:
            return False
        finally:
            os.close(descriptor)
        return True

    def stop(self) -> int:
        """Ends it as an operator would, with SIGTERM; its exit code. What does not end is killed and fails the test."""
        if self._process is None:
            return 0
        process, self._process = self._process, None
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            return process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(
                f"the server did not end within {STOP_SECONDS:.0f} s of SIGTERM:\n{self.tail()}"
            ) from None

    def kill(self) -> None:
        """kill -9 of the supervisor; its children must die with it."""
        assert self._process is not None, "the server was not started"
        process, self._process = self._process, None
        process.kill()
        process.wait()

    def tail(self, lines: int = 40) -> str:
        return "\n".join(self.output.read_text(errors="replace").splitlines()[-lines:])

    def _healthy(self) -> bool:
        try:
            return self.request("GET", "/v1/health", timeout_seconds=2).status == 200
        except (OSError, http.client.HTTPException):
            return False

    # The doors.

    def request(
        self,
        method: str,
        target: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_seconds: float = 30,
    ) -> Answer:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=timeout_seconds)
        try:
            connection.request(method, target, body, dict(headers or {}))
            response = connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        finally:
            connection.close()

    def post(
        self, target: str, body: Any, source: NewSource | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """`body` is bytes as they are, or a JSON value."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        key = {"X-Write-Key": source.write_key} if source else {}
        return self.request("POST", target, content, {"Content-Type": "application/json"} | key | dict(headers or {}))

    def raw(self, request: bytes, timeout_seconds: float = 30, *, end: bool = False) -> Answer | None:
        """Sends these very bytes on a connection of their own; None when it was closed without an answer.

        `end` closes our side after the last byte, as a client that died would."""
        with socket.create_connection((self.host, self.port), timeout=timeout_seconds) as connection:
            try:
                connection.sendall(request)
                if end:
                    connection.shutdown(socket.SHUT_WR)
                response = http.client.HTTPResponse(connection, method=request.split(b" ", 1)[0].decode())
                response.begin()
                return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
            except (ConnectionError, http.client.RemoteDisconnected, http.client.BadStatusLine):
                return None

    # The commands.

    def command(self, *arguments: str) -> str:
        """What `headrace ARGUMENT... --data FOLDER` prints; a failure fails the test.

        It runs in this process, since the imports of a new one cost a second each time."""
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = cli.run(cli.app, [*arguments, "--data", str(self.data)])
        assert code == 0, (
            f"headrace {' '.join(arguments)}: exit code {code}\n{out.getvalue()}{err.getvalue()}\n{self.tail()}"
        )
        return out.getvalue()

    def add_source(self, name: str, kind: str = "http-api", *options: str) -> NewSource:
        """Adds a source to the running server."""
        shown = json.loads(self.command("source", "add", kind, "--name", name, *options, "--json"))
        return NewSource(shown["slug"], shown["schema"], shown["write_key"])

    def query(self, sql: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = json.loads(self.command("query", sql, "--json"))
        assert len(rows) < 10_000, "the answer may have been cut at the limit of rows"
        return rows

    def status(self) -> dict[str, Any]:
        status: dict[str, Any] = json.loads(self.command("status", "--json"))
        return status

    def wait_until_loaded(self, timeout_seconds: float = LOAD_SECONDS) -> None:
        self.command("status", "--wait", "--timeout", f"{timeout_seconds:.0f}")


def basic(write_key: str) -> str:
    """The Authorization header of Segment's SDKs."""
    from base64 import b64encode

    return "Basic " + b64encode(f"{write_key}:".encode()).decode()


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def in_list(values: Sequence[str]) -> str:
    return "(" + ", ".join("'" + value.replace("'", "''") + "'" for value in values) + ")"
