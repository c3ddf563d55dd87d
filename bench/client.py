"""The load generator: a process of its own that posts over kept-alive connections and checks every answer.

    python bench/client.py      reads a job in JSON, says "ready", and then answers every line with a number of requests
                                or with seconds to keep a pace

With `per_second` 0 every connection sends its next request as soon as it has its answer. `Client` starts it and talks to it.
"""

from __future__ import annotations

import gzip
import itertools
import json
import re
import select
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from types import TracebackType
from typing import Self

import msgspec

import samples

RECEIVE_BYTES = 65_536
PREPARED = 400
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


class Stream(msgspec.Struct, frozen=True):
    """Requests of one form. `batch` 0 posts single events; `weight` is how many of it are sent in a turn."""

    key: str
    kind: samples.Kind
    batch: int = 0
    compressed: bool = False
    weight: int = 1


class Job(msgspec.Struct, frozen=True):
    port: int
    streams: list[Stream]
    connections: int = 64
    per_second: float = 0.0
    """Requests a second, 0 for as many as there are answers."""


class Result(msgspec.Struct, frozen=True):
    """`late` is how many seconds behind its pace the client was at worst."""

    requests: int
    events: int
    sent_bytes: int
    seconds: float
    cpu_seconds: float
    late: float = 0.0


class Request(msgspec.Struct, frozen=True):
    content: bytes
    events: int


def requests(stream: Stream) -> Iterator[Request]:
    """For ever, single events fresh each; of batches a number is prepared and cycled, since making one costs as much as taking it in."""
    events = samples.events(stream.kind)
    if stream.batch:
        prepared = [_request(stream, samples.batch(events, stream.batch), stream.batch) for _ in range(PREPARED)]
        return itertools.cycle(prepared)
    return (_request(stream, event, 0) for event in events)


def _request(stream: Stream, body: bytes, events: int) -> Request:
    """`events` 0: a single one."""
    sent = gzip.compress(body, 6) if stream.compressed else body
    encoding = b"Content-Encoding: gzip\r\n" if stream.compressed else b""
    path = "/v1/batch" if events else samples.path(body)
    head = b"POST %b HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nX-Write-Key: %b\r\n%bContent-Length: %d\r\n\r\n"
    return Request(head % (path.encode(), stream.key.encode(), encoding, len(sent)) + sent, events or 1)


def mixed(streams: list[Stream]) -> Iterator[Request]:
    """The streams' requests in turn, by weight."""
    sources = [iterator for stream in streams for iterator in [requests(stream)] * stream.weight]
    return (next(source) for source in itertools.cycle(sources))


class Connections:
    """Sends on whichever is free, and checks the answers."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.source = mixed(job.streams)
        self.poll = select.epoll()
        self.by_descriptor: dict[int, socket.socket] = {}
        for _ in range(job.connections):
            connection = socket.create_connection(("127.0.0.1", job.port), timeout=30)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.by_descriptor[connection.fileno()] = connection
            self.poll.register(connection.fileno(), select.EPOLLIN)
        self.free = deque(self.by_descriptor)
        self.sent = self.events = self.sent_bytes = 0

    def send(self) -> None:
        request = next(self.source)
        # Blocking: the server reads on every connection, so that it waits for the socket's buffer at most.
        self.by_descriptor[self.free.popleft()].sendall(request.content)
        self.sent += 1
        self.events += request.events
        self.sent_bytes += len(request.content)

    def receive(self, timeout_seconds: float) -> int:
        """The number of answers that came within the time."""
        answered = self.poll.poll(timeout_seconds)
        for descriptor, _ in answered:
            self._answer(descriptor)
            self.free.append(descriptor)
        return len(answered)

    def _answer(self, descriptor: int) -> None:
        connection = self.by_descriptor[descriptor]
        answer = connection.recv(RECEIVE_BYTES)
        while (head := answer.partition(b"\r\n\r\n"))[1] == b"" or len(head[2]) < _length(head[0]):
            more = connection.recv(RECEIVE_BYTES)
            if not more:
                raise SystemExit(f"the server closed a connection after {answer!r}")
            answer += more
        if not answer.startswith(b"HTTP/1.1 200 ") or b'"rejected":[{' in answer:
            raise SystemExit(f"an answer is not a plain 200: {answer[:2_000]!r}")

    def run(self, amount: float) -> Result:
        sent, events, sent_bytes = self.sent, self.events, self.sent_bytes
        began, cpu = time.perf_counter(), time.process_time()
        late = self._paced(amount) if self.job.per_second else self._saturated(int(amount))
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
        return Result(self.sent - sent, self.events - events, self.sent_bytes - sent_bytes, seconds, cpu, late)

    def _saturated(self, count: int) -> float:
        pending = 0
        while count or pending:
            while self.free and count:
                self.send()
                count -= 1
                pending += 1
            pending -= self.receive(30.0)
        return 0.0

    def _paced(self, seconds: float) -> float:
        began = time.perf_counter()
        late = 0.0
        for number in range(int(seconds * self.job.per_second)):
            due = began + number / self.job.per_second
            while (wait := due - time.perf_counter()) > 0 or not self.free:
                self.receive(max(wait, 0.0) if self.free else 30.0)
            late = max(late, time.perf_counter() - due)
            self.send()
        while len(self.free) < self.job.connections:
            self.receive(30.0)
        return late


def _length(head: bytes) -> int:
    found = _LENGTH.search(head)
    return int(found[1]) if found else 0


def main() -> None:
    connections = Connections(msgspec.json.decode(sys.stdin.readline(), type=Job))
    print("ready", flush=True)
    for line in sys.stdin:
        print(msgspec.json.encode(connections.run(float(line))).decode(), flush=True)


class Client:
    """The process, from this side."""

    def __init__(self, job: Job) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._write(msgspec.json.encode(job).decode())
        self._line()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate()

    def start(self, amount: float) -> None:
        """So many requests, or seconds at the pace."""
        self._write(json.dumps(amount))

    def result(self) -> Result:
        """Waits for the end. Raises SystemExit when an answer was no 200."""
        return msgspec.json.decode(self._line(), type=Result)

    def run(self, amount: float) -> Result:
        self.start(amount)
        return self.result()

    def _write(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("the load generator ended; its reason stands above")
        return line


if __name__ == "__main__":
    main()
