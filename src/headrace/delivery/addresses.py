"""Which addresses requests to tools may reach. Pure.

A destination's address is chosen by a user, and headrace runs inside the operator's network: without these rules a user could have
headrace ask things that only that network can reach. The table is our own, since `is_private` and `is_global` of Python's ipaddress
let several of these networks pass (3.11: NAT64, 6to4 with a private address in it, site-local) and differ by version. It follows IANA's
registries: https://www.iana.org/assignments/iana-ipv4-special-registry, .../iana-ipv6-special-registry and .../ipv6-address-space.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Final

from headrace.errors import ConfigError

Address = IPv4Address | IPv6Address
_Network = IPv4Network | IPv6Network

SETTING: Final = "HEADRACE_ALLOWED_NETWORKS"

_REFUSED_V4: Final[Sequence[tuple[IPv4Network, str]]] = tuple(
    (IPv4Network(network), why)
    for network, why in (
        ("0.0.0.0/8", "unspecified, this host (RFC 1122, 3.2.1.3)"),
        ("10.0.0.0/8", "private (RFC 1918)"),
        ("100.64.0.0/10", "shared by a carrier's customers, CGNAT (RFC 6598)"),
        ("127.0.0.0/8", "loopback (RFC 1122, 3.2.1.3)"),
        # Azure answers every virtual machine there: https://learn.microsoft.com/azure/virtual-network/what-is-ip-address-168-63-129-16
        ("168.63.129.16/32", "a cloud's own service for its machines"),
        ("169.254.0.0/16", "link-local (RFC 3927)"),
        ("172.16.0.0/12", "private (RFC 1918)"),
        ("192.0.0.0/24", "protocol assignments (RFC 6890)"),
        ("192.0.2.0/24", "documentation (RFC 5737)"),
        ("192.31.196.0/24", "AS112 (RFC 7535)"),
        ("192.52.193.0/24", "AMT (RFC 7450)"),
        ("192.88.99.0/24", "6to4 relays (RFC 7526)"),
        ("192.168.0.0/16", "private (RFC 1918)"),
        ("192.175.48.0/24", "AS112 (RFC 7534)"),
        ("198.18.0.0/15", "benchmarking (RFC 2544)"),
        ("198.51.100.0/24", "documentation (RFC 5737)"),
        ("203.0.113.0/24", "documentation (RFC 5737)"),
        ("224.0.0.0/4", "multicast (RFC 5771)"),
        ("255.255.255.255/32", "broadcast (RFC 919)"),
        ("240.0.0.0/4", "reserved (RFC 1112)"),
    )
)

_REFUSED_V6: Final[Sequence[tuple[IPv6Network, str]]] = tuple(
    (IPv6Network(network), why)
    for network, why in (
        ("::/128", "unspecified (RFC 4291, 2.5.2)"),
        ("::1/128", "loopback (RFC 4291, 2.5.3)"),
        ("::/96", "IPv4-compatible (RFC 4291, 2.5.5.1)"),
        ("::ffff:0:0:0/96", "IPv4-translated (RFC 2765)"),
        ("64:ff9b::/96", "NAT64 (RFC 6052)"),
        ("64:ff9b:1::/48", "local-use NAT64 (RFC 8215)"),
        ("100::/64", "discarded (RFC 6666)"),
        ("2001::/32", "Teredo (RFC 4380)"),
        ("2001:2::/48", "benchmarking (RFC 5180)"),
        ("2001:db8::/32", "documentation (RFC 3849)"),
        ("2001::/23", "protocol assignments (RFC 2928)"),
        ("2002::/16", "6to4 (RFC 3056)"),
        ("2620:4f:8000::/48", "AS112 (RFC 7534)"),
        ("3fff::/20", "documentation (RFC 9637)"),
        ("5f00::/16", "segment routing (RFC 9602)"),
        ("fc00::/7", "unique local (RFC 4193)"),
        ("fe80::/10", "link-local (RFC 4291, 2.5.6)"),
        ("fec0::/10", "site-local (RFC 3879)"),
        ("ff00::/8", "multicast (RFC 4291, 2.7)"),
    )
)

_GLOBAL_UNICAST: Final = IPv6Network("2000::/3")
"""IANA gives out public addresses from here only (RFC 4291, 2.4)."""


class AllowedNetworks:
    """Networks that the operator lets destinations reach, for example `127.0.0.0/8,10.0.0.0/8`; one address is a network too."""

    def __init__(self, text: str = "") -> None:
        """Raises ConfigError that names the piece that is no network."""
        self._networks: Sequence[_Network] = tuple(_network(piece) for piece in text.split(",") if piece.strip())

    def __contains__(self, address: Address) -> bool:
        """An IPv4 address is meant in its IPv4-mapped form too."""
        return any(address in network for network in self._networks) or (
            (inner := _mapped(address)) is not None and inner in self
        )

    def __repr__(self) -> str:
        return f"AllowedNetworks({','.join(map(str, self._networks))!r})"


NOTHING_ALLOWED: Final = AllowedNetworks()


def refusal(address: Address, allowed: AllowedNetworks = NOTHING_ALLOWED, own: Collection[Address] = ()) -> str | None:
    """Why a request must not reach `address`, as a phrase that follows its name; None where it may. `own`: this machine's."""
    if address in allowed:
        return None
    inner = _mapped(address)
    if inner is not None:
        return refusal(inner, allowed, own)
    if address in own:
        return "this machine's own"
    table: Sequence[tuple[_Network, str]] = _REFUSED_V4 if isinstance(address, IPv4Address) else _REFUSED_V6
    for network, why in table:
        if address in network:
            return why
    if isinstance(address, IPv6Address) and address not in _GLOBAL_UNICAST:
        return "not given out for public use (RFC 4291, 2.4)"
    return None


def _mapped(address: Address) -> IPv4Address | None:
    return address.ipv4_mapped if isinstance(address, IPv6Address) else None


def _network(piece: str) -> _Network:
    text = piece.strip().replace("%", "/%")  # a zone says which interface; a network has none
    try:
        return ip_network(text)
    except ValueError as error:
        raise ConfigError(
            f"{SETTING}: {piece.strip()!r} is no network ({error}); write networks like 10.0.0.0/8 or fd00::/8, separated by commas"
        ) from None
