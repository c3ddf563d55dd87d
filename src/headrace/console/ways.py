"""How a request came to the console's address: from whom, under which name of the server, over https or not. All functions are pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Mapping
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from headrace.config import ConsoleConfig, address

_LOOPBACK_NAMES: Final = ("localhost", "localhost.localdomain")
_FORWARDING: Final = ("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip")


class Way(NamedTuple):
    """`host` is that of the Host header, without port; `is_direct`: no proxy has said that it stands between."""

    peer: str
    host: str
    authority: str
    is_https: bool
    is_direct: bool

    @property
    def is_local(self) -> bool:
        """From this machine, under a name that only this machine has."""
        return self.is_direct and _is_loopback(self.peer) and (self.host in _LOOPBACK_NAMES or _is_loopback(self.host))


def way(headers: Mapping[str, str], client: str, http_version: str, config: ConsoleConfig) -> Way:
    """`headers` by lower-case name; `client` is the peer's address, empty on a Unix socket.

    A proxy of one's own is trusted only where the configuration says so. nginx speaks HTTP/1.0 when it is told nothing."""
    authority = headers.get("host", "").strip().lower()
    peer, is_https = client, urlsplit(config.public_url).scheme == "https"
    if config.trust_forwarded:
        peer = headers.get("x-forwarded-for", "").rpartition(",")[2].strip() or peer
        is_https = headers.get("x-forwarded-proto", "").rpartition(",")[2].strip().lower() == "https" or is_https
    is_behind = config.trust_forwarded or config.public_url or http_version == "1.0"
    is_direct = not is_behind and not any(name in headers for name in _FORWARDING)
    return Way(peer, host_of(authority), authority, is_https, is_direct)


def host_of(authority: str) -> str:
    """The host of a Host header, in lower case, without port and brackets.

    >>> host_of("[::1]:8001"), host_of("Localhost:80"), host_of("example.com")
    ('::1', 'localhost', 'example.com')
    """
    authority = authority.strip().lower()
    if authority.startswith("["):
        return authority[1:].partition("]")[0]
    host, _, port = authority.rpartition(":")
    return (host if host and port.isdigit() else authority).rstrip(".")


def allowed_hosts(config: ConsoleConfig) -> frozenset[str]:
    """The names under which the console answers, besides addresses and those of this machine."""
    named = [host_of(part) for part in config.allowed_hosts.split(",") if part.strip()]
    public = urlsplit(config.public_url).hostname if config.public_url else None
    return frozenset((*named, address(config.listen)[0].lower(), *([public] if public else [])))


def is_allowed(host: str, names: Collection[str]) -> bool:
    """Whether a request may come under this host. A page elsewhere can have its own name point here, but it cannot have an address for a name."""
    return host in names or host in _LOOPBACK_NAMES or host.endswith(".localhost") or _is_address(host)


def is_own(headers: Mapping[str, str], authority: str, public_url: str) -> bool | None:
    """Whether a page of this console sent the request; None when it does not say where it comes from, as programs do."""
    origin, site = headers.get("origin"), headers.get("sec-fetch-site")
    if origin is None:
        return None if site is None else site in {"same-origin", "none"}
    own = {authority, urlsplit(public_url).netloc.lower()} - {""}
    is_same = urlsplit(origin.lower()).netloc in own
    return is_same and site in {None, "same-origin", "none"}


def network(peer: str) -> str:
    """What one person at one place surely has in common: the address, of IPv6 its first half.

    >>> network("192.0.2.7"), network("2001:db8::1:2:3:4")
    ('192.0.2.7', '2001:db8::')
    """
    try:
        found = ipaddress.ip_address(peer)
    except ValueError:
        return peer[:100]
    if isinstance(found, ipaddress.IPv6Address):
        return str(found.ipv4_mapped or ipaddress.IPv6Address(int(found) >> 64 << 64))
    return str(found)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_loopback(host: str) -> bool:
    try:
        found = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return (mapped or found).is_loopback
