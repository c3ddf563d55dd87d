from __future__ import annotations

from ipaddress import IPv4Address, ip_address

import pytest

from headrace.delivery.addresses import AllowedNetworks, refusal
from headrace.errors import ConfigError

REFUSED = {
    "0.0.0.0": "unspecified",
    "0.1.2.3": "unspecified",
    "10.0.0.0": "private",
    "10.255.255.255": "private",
    "100.64.0.0": "CGNAT",
    "100.127.255.255": "CGNAT",
    "127.0.0.1": "loopback",
    "127.255.255.254": "loopback",
    "168.63.129.16": "cloud",
    "169.254.169.254": "link-local",
    "172.16.0.1": "private",
    "172.31.255.255": "private",
    "192.0.0.192": "protocol",
    "192.0.2.1": "documentation",
    "192.88.99.1": "6to4",
    "192.168.1.1": "private",
    "198.18.0.1": "benchmarking",
    "198.19.255.255": "benchmarking",
    "198.51.100.7": "documentation",
    "203.0.113.7": "documentation",
    "224.0.0.1": "multicast",
    "239.255.255.250": "multicast",
    "240.0.0.1": "reserved",
    "255.255.255.255": "broadcast",
    "::": "unspecified",
    "::1": "loopback",
    "::7f00:1": "IPv4-compatible",
    "::ffff:127.0.0.1": "loopback",
    "::ffff:a9fe:a9fe": "link-local",
    "::ffff:100.64.0.1": "CGNAT",
    "::ffff:0:127.0.0.1": "IPv4-translated",
    "64:ff9b::7f00:1": "NAT64",
    "64:ff9b::8.8.8.8": "NAT64",
    "64:ff9b:1::1": "NAT64",
    "64:ff9b:1:ffff:ffff:ffff:ffff:ffff": "NAT64",
    "64:ff9b:2::1": "not given out",
    "100::1": "discarded",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2": "Teredo",
    "2001:2::1": "benchmarking",
    "2001:10::1": "protocol",
    "2001:db8::1": "documentation",
    "2002:7f00:1::": "6to4",
    "2002:808:808::1": "6to4",
    "3fff::1": "documentation",
    "5f00::1": "segment routing",
    "4000::1": "not given out",
    "fc00::1": "unique local",
    "fd00:ec2::254": "unique local",
    "fe80::1": "link-local",
    "febf::1": "link-local",
    "fec0::1": "site-local",
    "ff02::1": "multicast",
}

PUBLIC = (
    "1.1.1.1",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.1",
    "169.253.255.255",
    "172.15.255.255",
    "172.32.0.0",
    "192.0.1.1",
    "192.167.255.255",
    "192.169.0.0",
    "198.17.255.255",
    "198.20.0.0",
    "223.255.255.255",
    "::ffff:8.8.8.8",
    "2001:200::1",
    "2001:4860:4860::8888",
    "2003::1",
    "2606:4700:4700::1111",
    "3ffe::1",
)


@pytest.mark.parametrize(("address", "why"), REFUSED.items(), ids=REFUSED)
def test_an_address_that_is_not_public_is_refused_with_its_reason(address: str, why: str) -> None:
    said = refusal(ip_address(address))
    assert said is not None
    assert why in said


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_passes_also_right_beside_a_refused_network(address: str) -> None:
    assert refusal(ip_address(address)) is None


def test_the_machines_own_address_is_refused_in_both_forms() -> None:
    own = (IPv4Address("9.9.9.9"),)
    assert refusal(ip_address("9.9.9.9"), own=own) == "this machine's own"
    assert refusal(ip_address("::ffff:9.9.9.9"), own=own) == "this machine's own"
    assert refusal(ip_address("9.9.9.10"), own=own) is None


def test_an_allowed_network_passes_also_as_ipv4_mapped_and_nothing_else_does() -> None:
    allowed = AllowedNetworks(" 127.0.0.0/8, 10.1.0.0/16,fd00::/8 ,192.168.0.7,")
    for passes in ("127.0.0.1", "::ffff:127.0.0.1", "10.1.2.3", "fd12::1", "192.168.0.7"):
        assert refusal(ip_address(passes), allowed) is None, passes
    for stays in ("10.2.0.1", "::1", "192.168.0.8", "2002:7f00:1::", "64:ff9b::7f00:1", "::7f00:1", "fc00::1"):
        assert refusal(ip_address(stays), allowed) is not None, stays
    assert refusal(ip_address("127.0.0.1"), allowed, own=(IPv4Address("127.0.0.1"),)) is None


def test_everything_can_be_allowed() -> None:
    allowed = AllowedNetworks("0.0.0.0/0,::/0")
    assert [None] * len(REFUSED) == [refusal(ip_address(address), allowed) for address in REFUSED]


@pytest.mark.parametrize("piece", ["10.0.0.1/8", "localhost", "127.0.0.0/33", "10.0.0.0/8;127.0.0.1", "fe80::1%eth0"])
def test_a_piece_that_is_no_network_is_named(piece: str) -> None:
    with pytest.raises(ConfigError, match="HEADRACE_ALLOWED_NETWORKS") as raised:
        AllowedNetworks(f"192.168.0.0/16,{piece}")
    assert repr(piece) in str(raised.value)
