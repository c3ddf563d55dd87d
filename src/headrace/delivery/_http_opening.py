"""From a host's name to a connection: every address that the name has is checked, and the connection goes to one that passed.

The name is asked anew for each connection, and what was asked is what is connected to, so that a name whose answer changes between a
check and a connection leads nowhere.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from typing import Final

from headrace.delivery._http_stream import FailureError, Stream
from headrace.delivery._http_url import Target
from headrace.delivery.addresses import SETTING, Address, AllowedNetworks, refusal

Resolve = Callable[[str, int], Sequence[str]]
"""A host's addresses as texts. Blocks; raises OSError."""

_MOST_LOOKUPS: Final = 4
_MOST_ADDRESSES: Final = 4
"""Of a name with more, the first ones are tried, so that each has a fair part of the time."""


def addresses_of(host: str, port: int) -> Sequence[str]:
    """What the operating system says."""
    found = socket.getaddrinfo(host.encode(), port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


class Names:
    """Asks for names in threads of one destination alone, so that a name server that hangs holds up nobody else. At most
    _MOST_LOOKUPS at once; the threads are daemons, since nothing ends a look-up and the end of the process must not wait for it."""

    def __init__(self, resolve: Resolve = addresses_of) -> None:
        self._resolve = resolve
        self._free = asyncio.Semaphore(_MOST_LOOKUPS)

    async def addresses(self, host: str, port: int) -> Sequence[Address]:
        """In the order of the answer, each once. Raises OSError."""
        found = _numeric(host, port) or await self._asked(host, port)
        return [ip_address(text) for text in dict.fromkeys(found)]

    async def _asked(self, host: str, port: int) -> Sequence[str]:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Sequence[str]] = loop.create_future()
        await self._free.acquire()

        def done(found: Sequence[str], error: Exception | None) -> None:
            self._free.release()
            if answer.done():  # nobody waits any more
                return
            if error is None:
                answer.set_result(found)
            else:
                answer.set_exception(error)

        def ask() -> None:
            found: Sequence[str] = ()
            failure = None
            try:
                found = self._resolve(host, port)
            except Exception as error:  # noqa: BLE001 -- raised where it is waited for
                failure = error
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(done, found, failure)

        try:
            threading.Thread(target=ask, name="look-up", daemon=True).start()
        except RuntimeError as error:
            self._free.release()
            raise OSError(errno.EAGAIN, "no thread can be started to ask for a name") from error
        return await answer


def _numeric(host: str, port: int) -> Sequence[str]:
    """The address that the host is spelled as, in any of the spellings that the system takes (127.1, 0x7f000001, 2130706433, ...)."""
    with suppress(OSError):
        found = socket.getaddrinfo(
            host.rstrip(".").encode(), port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST
        )
        return [str(entry[4][0]) for entry in found]
    return ()


async def opened(
    target: Target, names: Names, allowed: AllowedNetworks, *, seconds: float, ca_file: Path | None
) -> Stream:
    """A connection, with TLS where the address says https. Raises FailureError."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    context = tls_context(ca_file) if target.is_tls else None
    try:
        async with asyncio.timeout_at(deadline):
            found = await names.addresses(target.host, target.port)
            passed = checked(target, found, allowed)[:_MOST_ADDRESSES]
            for place, address in enumerate(passed):
                until = loop.time() + (deadline - loop.time()) / (len(passed) - place)
                try:
                    async with asyncio.timeout_at(until):
                        return await _connected(target, address, context)
                except ssl.SSLError:
                    raise
                except OSError:
                    if address == passed[-1]:
                        raise
    except OSError as error:
        raise _failure(error, target, seconds) from error
    raise AssertionError("unreachable: the last address returns or raises")


def checked(target: Target, found: Sequence[Address], allowed: AllowedNetworks) -> Sequence[Address]:
    """Those that may be reached. Raises FailureError where none may."""
    passed: list[Address] = []
    refused = ""
    for address in found:
        why = refusal(address, allowed, own_towards(address))
        if why is None:
            passed.append(address)
        else:
            refused = (
                refused or f"{address} is {why}"
                if target.host == str(address)
                else f"{target.host} is {address}, which is {why}"
            )
    if passed:
        return passed
    if refused:
        raise FailureError("ADDRESS_REFUSED", f"{refused}; use a public address, or allow the network by {SETTING}")
    raise FailureError("ENOTFOUND", f"the name {target.host} has no address")


def own_towards(address: Address) -> Sequence[Address]:
    """The address that this machine would speak from; it is `address` itself where that is the machine's own. Sends nothing."""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    family = socket.AF_INET6 if isinstance(address, IPv6Address) else socket.AF_INET
    with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as asking:
        asking.connect((str(address), 9))
        return (ip_address(asking.getsockname()[0]),)
    return ()  # no way there: connecting will say so


async def _connected(target: Target, address: Address, context: ssl.SSLContext | None) -> Stream:
    loop = asyncio.get_running_loop()
    family = socket.AF_INET6 if isinstance(address, IPv6Address) else socket.AF_INET
    connecting = socket.socket(family, socket.SOCK_STREAM)
    try:
        connecting.setblocking(False)
        connecting.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await loop.sock_connect(connecting, (str(address), target.port))
    except BaseException:
        connecting.close()
        raise
    transport, stream = await loop.create_connection(Stream, sock=connecting)  # which closes it from here on
    if context is not None:
        try:
            await stream.secure(context, target.host.rstrip("."))
        except BaseException:
            transport.abort()  # the loop's own way out leaves a connection open whose handshake had not begun
            raise
    return stream


@lru_cache(maxsize=8)
def tls_context(ca_file: Path | None) -> ssl.SSLContext:
    """Trusts the system's authorities (or those of SSL_CERT_FILE), certifi's where the system has none, and those in `ca_file`. It
    always verifies."""
    context = ssl.create_default_context()
    if not context.cert_store_stats()["x509_ca"]:
        import certifi  # noqa: PLC0415 -- where the system has none

        context.load_verify_locations(certifi.where())
    if ca_file is not None:
        context.load_verify_locations(ca_file)
    context.set_alpn_protocols(["http/1.1"])
    return context


def _failure(error: OSError, target: Target, seconds: float) -> FailureError:
    if isinstance(error, socket.gaierror):
        return FailureError("ENOTFOUND", f"the name {target.host} was not found ({error.strerror})")
    if isinstance(error, ssl.SSLError):
        return FailureError("ETLS", f"no secure connection to {target.where}: {_reason(error)}")
    if isinstance(error, TimeoutError):
        return FailureError("ETIMEDOUT", f"no connection to {target.where} within {seconds:g} s")
    if isinstance(error, (ConnectionResetError, ConnectionAbortedError, BrokenPipeError)):
        return FailureError("ECONNRESET", f"{target.where} cut the connection while it opened")
    if error.errno in (errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENETDOWN):
        return FailureError("ECONNREFUSED", f"no connection to {target.where}: {error.strerror}")
    return FailureError("INTERNAL", f"no connection to {target.where} can be opened on this machine: {error}")


def _reason(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not valid: {error.verify_message}"
    return str(error.reason or error).replace("_", " ").lower()
