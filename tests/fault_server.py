"""A server on loopback that misbehaves as it is told, by path, and keeps every request that it received.

    with FaultServer() as server:
        server.behave("/hook", resets(), answers(503), answers(200))  # one after the other; the last one stays
        ... send to server.url + "/hook" ...
        assert 3 == len(server.received("/hook"))

It answers 200 where nothing else was said, runs in a thread of its own, and ends at once whatever is still open.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import itertools
import json
import socket
import ssl
import struct
import threading
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, NamedTuple, Self, cast

Tls = Literal["right", "self-signed", "wrong-name", "plain-text"]
"""`plain-text`: the address says https and no TLS is spoken."""

START_SECONDS = 10.0
_ENDLESS_CHUNK = b"x" * 16_384


class Received(NamedTuple):
    """Header names in small letters. `connection` is the number of the connection that it came in on, `at` a time.monotonic()."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    connection: int
    at: float

    def json(self) -> Any:
        return json.loads(self.body)


Behaviour = Callable[[asyncio.StreamWriter, Received], Awaitable[bool]]
"""Writes what it answers; True where the connection goes on."""


def answers(status: int = 200, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Behaviour:
    async def behave(writer: asyncio.StreamWriter, request: Received) -> bool:
        has_body = status >= 200 and status not in (204, 304) and request.method != "HEAD"
        lines = {"content-length": str(len(body))} if has_body else {}
        writer.write(_head(status, lines | dict(headers or {})) + (body if has_body else b""))
        await writer.drain()
        return True

    return behave


def asks_to_wait(seconds: float, status: int = 429) -> Behaviour:
    """Retry-After in seconds."""
    return answers(status, b"slower", {"retry-after": f"{seconds:g}"})


def asks_to_wait_until(at: datetime, status: int = 429) -> Behaviour:
    """Retry-After as a date."""
    return answers(status, b"slower", {"retry-after": format_datetime(at.astimezone(UTC), usegmt=True)})


def redirects(to: str | None = None, status: int = 302) -> Behaviour:
    """To `to`, or in a loop to where the request came in."""

    async def behave(writer: asyncio.StreamWriter, request: Received) -> bool:
        return await answers(status, headers={"location": to or request.path})(writer, request)

    return behave


def compressed(body: bytes) -> Behaviour:
    """By gzip, whether or not that was asked for."""
    return answers(200, gzip.compress(body), {"content-encoding": "gzip"})


def waits(seconds: float, then: Behaviour | None = None) -> Behaviour:
    async def behave(writer: asyncio.StreamWriter, request: Received) -> bool:
        await asyncio.sleep(seconds)
        return await (then or answers())(writer, request)

    return behave


def hangs() -> Behaviour:
    """Never answers."""

    async def behave(writer: asyncio.StreamWriter, request: Received) -> bool:
        await asyncio.Event().wait()
        return False

    return behave


def drips(interval_seconds: float = 1.0, status: int = 200) -> Behaviour:
    """An answer of a byte at a time."""

    async def behave(writer: asyncio.StreamWriter, request: Received) -> bool:
        writer.write(_head(status, {"content-length": "100000"}))
        while True:
            writer.write(b".")
            await writer.drain()
            await asyncio.sleep(interval_seconds)

    return behave


def endless(status: int = 200, *, chunk_bytes: int | None = None) -> Behaviour:
    """An answer without an end, as fast as it is taken; in chunks of `chunk_bytes` where that is given."""
    piece = _ENDLESS_CHUNK
    if chunk_bytes is not None:
        piece = (b"%x\r\n" % chunk_bytes + b"x" * chunk_bytes + b"\r\n") * (1 + 16_384 // (chunk_bytes + 6))

    async def behave(writer: asyncio.StreamWriter, request: Received) -> bool:
        writer.write(_head(status, {} if chunk_bytes is None else {"transfer-encoding": "chunked"}))
        while True:
            writer.write(piece)
            await writer.drain()

    return behave


def floods_with_1xx() -> Behaviour:
    """Informational answers without an end."""

    async def behave(writer: asyncio.StreamWriter, request: Received) -> bool:
        while True:
            writer.write(_head(103, {"link": "</style.css>; rel=preload"}) * 200)
            await writer.drain()

    return behave


def huge_headers() -> Behaviour:
    """Header lines without an end."""

    async def behave(writer: asyncio.StreamWriter, request: Received) -> bool:
        writer.write(b"HTTP/1.1 200 OK\r\n")
        for number in itertools.count():
            writer.write(b"x-filler-%d: %s\r\n" % (number, b"y" * 1_000))
            await writer.drain()
        return False

    return behave


def resets() -> Behaviour:
    """Takes the request and resets the connection."""

    async def behave(writer: asyncio.StreamWriter, request: Received) -> bool:
        _reset(writer)
        return False

    return behave


def closes() -> Behaviour:
    """Takes the request and closes the connection without an answer."""

    async def behave(writer: asyncio.StreamWriter, request: Received) -> bool:
        return False

    return behave


def cuts(status: int = 200) -> Behaviour:
    """Closes the connection in the middle of the answer."""

    async def behave(writer: asyncio.StreamWriter, request: Received) -> bool:
        writer.write(_head(status, {"content-length": "1000"}) + b"the begin")
        await writer.drain()
        return False

    return behave


def raw(answer: bytes, *, keeps_open: bool = False) -> Behaviour:
    """Any bytes, then closes, or not."""

    async def behave(writer: asyncio.StreamWriter, request: Received) -> bool:
        writer.write(answer)
        await writer.drain()
        return keeps_open

    return behave


def garbage() -> Behaviour:
    return raw(b"SSH-2.0-OpenSSH_9.2p1\r\n\x00\xff\xfe\r\n\r\n")


def answers_then_closes(status: int = 200, body: bytes = b"") -> Behaviour:
    """An answer that promises nothing about the connection, which closes right after it."""

    async def behave(writer: asyncio.StreamWriter, request: Received) -> bool:
        await answers(status, body)(writer, request)
        return False

    return behave


def _head(status: int, headers: Mapping[str, str]) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} Said\r\n{lines}\r\n".encode("latin-1")


def _reset(writer: asyncio.StreamWriter) -> None:
    connected: socket.socket = writer.get_extra_info("socket")
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


class FaultServer:
    """`port` 0 is a free one; `tls` None speaks plain HTTP."""

    def __init__(self, *, host: str = "127.0.0.1", port: int = 0, tls: Tls | None = None) -> None:
        self.requests: list[Received] = []
        self.connections = 0
        self.port = port
        self._host = host
        self._tls = tls
        self._script_by_path: dict[str, list[Behaviour]] = defaultdict(lambda: [answers()])
        self._folder = TemporaryDirectory(prefix="fault-server-")
        self._arrived = threading.Condition()
        self._started = threading.Event()
        self._serving: set[asyncio.Task[None]] = set()
        self._failure: BaseException | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="fault-server", daemon=True)

    @property
    def url(self) -> str:
        scheme = "http" if self._tls is None else "https"
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{scheme}://{host}:{self.port}"

    @property
    def ca_file(self) -> Path:
        """What a client must trust for `tls="right"` and `"wrong-name"`."""
        return Path(self._folder.name) / "ca.pem"

    def behave(self, path: str, *behaviours: Behaviour) -> None:
        """Each request for `path` meets the next of these; the last one stays. `*` is every path of which nothing was said."""
        self._script_by_path[path] = list(behaviours)

    def received(self, path: str) -> Sequence[Received]:
        return [request for request in list(self.requests) if request.path == path]

    def wait_for(self, count: int, timeout_seconds: float = 10.0) -> Sequence[Received]:
        """The requests, once there are `count` of them. Raises TimeoutError."""
        with self._arrived:
            if not self._arrived.wait_for(lambda: len(self.requests) >= count, timeout_seconds):
                raise TimeoutError(f"{len(self.requests)} of {count} requests arrived in {timeout_seconds} s")
            return list(self.requests)

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._started.wait(START_SECONDS):
            raise TimeoutError("the fault server did not start")
        if self._failure is not None:
            raise self._failure
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(RuntimeError):  # its thread ended by itself
            self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(START_SECONDS)
        self._folder.cleanup()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = None
        try:
            context = self._context()
            server = self._loop.run_until_complete(
                asyncio.start_server(self._serve, self._host, self.port, ssl=context)
            )
            self.port = server.sockets[0].getsockname()[1]
            self._started.set()
            self._loop.run_forever()
        except BaseException as error:  # noqa: BLE001 -- told to the thread that starts it
            self._failure = error
        finally:
            self._started.set()
            if server is not None:
                server.close()
            for task in asyncio.all_tasks(self._loop):
                task.cancel()
            while remaining := asyncio.all_tasks(self._loop):
                self._loop.run_until_complete(asyncio.gather(*remaining, return_exceptions=True))
            self._loop.run_until_complete(asyncio.sleep(0))  # transports close a turn later
            self._loop.close()

    def _context(self) -> ssl.SSLContext | None:
        if self._tls is None or self._tls == "plain-text":
            return None
        name = "elsewhere.example" if self._tls == "wrong-name" else self._host
        chain = made_certificate(Path(self._folder.name), name, is_self_signed=self._tls == "self-signed")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(chain)
        return context

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        number = self.connections
        self._serving.add(cast("asyncio.Task[None]", asyncio.current_task()))  # the loop itself holds tasks weakly
        try:
            if self._tls == "plain-text":
                await reader.read(1)
                writer.write(_head(400, {"connection": "close"}))
                return
            async for request in _requests(reader, number):
                with self._arrived:
                    self.requests.append(request)
                    self._arrived.notify_all()
                if not await self._next(request.path)(writer, request):
                    break
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client went away, or the server ends
        finally:
            writer.close()
            self._serving.discard(cast("asyncio.Task[None]", asyncio.current_task()))

    def _next(self, path: str) -> Behaviour:
        script = self._script_by_path[path if path in self._script_by_path else "*"]
        return script.pop(0) if len(script) > 1 else script[0]


async def _requests(reader: asyncio.StreamReader, connection: int) -> AsyncIterator[Received]:
    """Until the client closes. Bodies by content-length and in chunks."""
    while head := await _head_of(reader):
        line, *fields = head.decode("latin-1").split("\r\n")
        method, path, _ = line.split(" ", 2)
        headers = {
            name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields if field)
        }
        if headers.get("transfer-encoding") == "chunked":
            body = b""
            while size := int(await reader.readline(), 16):
                body += await reader.readexactly(size)
                await reader.readexactly(2)
            await reader.readline()
        else:
            body = await reader.readexactly(int(headers.get("content-length", "0")))
        yield Received(method, path, headers, body, connection, time.monotonic())


async def _head_of(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        return b""


def made_certificate(folder: Path, host: str, *, is_self_signed: bool) -> Path:
    """A file with the key and certificate for `host`, a name or an address; beside it `ca.pem`, the authority that signed it, or did not."""
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    now = datetime.now(UTC)

    def certificate(subject: str, key: Any, issuer: str, signing_key: Any, *, is_ca: bool) -> x509.Certificate:
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        )
        if not is_ca:
            try:
                name: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(subject))
            except ValueError:
                name = x509.DNSName(subject)
            builder = builder.add_extension(x509.SubjectAlternativeName([name]), critical=False)
        return builder.sign(signing_key, hashes.SHA256())

    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority = certificate("Fault server's authority", ca_key, "Fault server's authority", ca_key, is_ca=True)
    issuer, signing_key = (host, key) if is_self_signed else ("Fault server's authority", ca_key)
    own = certificate(host, key, issuer, signing_key, is_ca=False)
    pem = serialization.Encoding.PEM
    (folder / "ca.pem").write_bytes(authority.public_bytes(pem))
    (folder / "server.pem").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()) + own.public_bytes(pem)
    )
    return folder / "server.pem"
