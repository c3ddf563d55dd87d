"""What a request to a tool costs this process, beside a bare httpx.AsyncClient that does the same: CPU time of POSTs, one after the other,
to a server on loopback in a process of its own. Medians of several rounds in turn, so that a noisy machine disturbs both alike.

python bench/outgoing.py
"""

from __future__ import annotations

import asyncio
import multiprocessing
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

import httpx

from headrace.delivery.addresses import AllowedNetworks
from headrace.delivery.http import HttpClient
from headrace.destinations.base import Request

ROUNDS = 9
REQUESTS = 400
BODY = b'{"type":"track","event":"Email Opened","properties":{"filler":"' + b"x" * 900 + b'"}}'
HEADERS = {"content-type": "application/json", "webhook-id": "message-1"}
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"


class _Answering(asyncio.Protocol):
    """Answers once a whole request of the one known length is there."""

    def __init__(self) -> None:
        self._seen = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._seen += data
        _, end, body = self._seen.partition(b"\r\n\r\n")
        if end and len(body) >= len(BODY):
            self._seen = b""
            assert isinstance(self._transport, asyncio.WriteTransport)
            self._transport.write(ANSWER)


def _serve(started: Connection) -> None:
    async def serve() -> None:
        server = await asyncio.get_running_loop().create_server(_Answering, "127.0.0.1", 0)
        started.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(serve())


@contextmanager
def answering() -> Iterator[str]:
    """The URL of a server that answers every POST of BODY."""
    spawning = multiprocessing.get_context("spawn")
    ours, theirs = spawning.Pipe()
    process = spawning.Process(target=_serve, args=(theirs,), daemon=True)
    process.start()
    try:
        if not ours.poll(20):
            raise TimeoutError("the server did not start")
        yield f"http://127.0.0.1:{ours.recv()}/hook"
    finally:
        process.terminate()
        process.join(10)


async def _cpu_us(post: Callable[[], Awaitable[Any]]) -> float:
    began = time.process_time()
    for _ in range(REQUESTS):
        await post()
    return (time.process_time() - began) / REQUESTS * 1e6


async def _measure(url: str) -> dict[str, float]:
    client = HttpClient(AllowedNetworks("127.0.0.0/8"))
    request = Request("POST", url, HEADERS, BODY)

    async def ours() -> None:
        exchange = await client.exchange(request)
        assert exchange.answer is not None
        assert exchange.answer.status == 200

    async with httpx.AsyncClient(trust_env=False) as bare:

        async def theirs() -> None:
            response = await bare.post(url, content=BODY, headers=HEADERS)
            assert response.status_code == 200

        await ours()
        await theirs()
        rounds = [(await _cpu_us(ours), await _cpu_us(theirs)) for _ in range(ROUNDS)]
    await client.close()
    return {
        "headrace_us": statistics.median(own for own, _ in rounds),
        "httpx_us": statistics.median(bare for _, bare in rounds),
        "ratio": statistics.median(own / bare for own, bare in rounds),
    }


def measure() -> dict[str, float]:
    """CPU us a request of the client and of httpx, and the median of their ratios within a round."""
    with answering() as url:
        return asyncio.run(_measure(url))


def main() -> None:
    found = measure()
    print(f"headrace {found['headrace_us']:6.1f} us CPU a request")
    print(f"httpx    {found['httpx_us']:6.1f} us CPU a request")
    print(f"ratio    {found['ratio']:6.2f} (limit 3)")
    sys.exit(found["ratio"] > 3)


if __name__ == "__main__":
    main()
