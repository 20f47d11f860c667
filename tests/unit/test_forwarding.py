from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.routing.forwarding import TrustedProxies

NETWORKS = ("10.0.0.0/8", "192.168.1.7", "2001:db8::/32", "::1")


@pytest.mark.parametrize("ip", ["10.0.0.0", "10.255.255.255", "192.168.1.7", "2001:db8::5", "::1"])
def test_addresses_in_a_listed_network_are_trusted(ip: str) -> None:
    trusted = TrustedProxies(NETWORKS)
    assert trusted.trusts(ip)
    assert trusted.trusts(ip)


@pytest.mark.parametrize("ip", ["11.0.0.0", "9.255.255.255", "192.168.1.8", "2001:db9::", "::2"])
def test_others_are_not(ip: str) -> None:
    assert not TrustedProxies(NETWORKS).trusts(ip)


@pytest.mark.parametrize(
    "peer", ["", "unix:", "10.0.0", "10.0.0.1, 1.2.3.4", "\x00", "10.0.0.1:80"]
)
def test_what_is_no_address_is_not_trusted(peer: str) -> None:
    assert not TrustedProxies(("0.0.0.0/0", "::/0")).trusts(peer)


def test_nobody_is_trusted_by_default() -> None:
    assert not TrustedProxies(()).trusts("127.0.0.1")


def test_an_ipv4_peer_of_a_dual_stack_listener_is_known_by_its_ipv4_address() -> None:
    assert TrustedProxies(("10.0.0.0/8",)).trusts("::ffff:10.1.2.3")
    assert not TrustedProxies(("10.0.0.0/8",)).trusts("::ffff:11.1.2.3")


def test_the_zone_of_a_link_local_peer_does_not_matter() -> None:
    assert TrustedProxies(("fe80::/10",)).trusts("fe80::1%eth0")


def test_everything_means_one_family() -> None:
    assert not TrustedProxies(("0.0.0.0/0",)).trusts("::1")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("10.0.0.0/33", "neither an IP address nor a network"),
        ("proxy.example", "neither an IP address nor a network"),
        ("", "neither an IP address nor a network"),
        ("10.0.0.1/8", "write 10.0.0.0/8"),
    ],
)
def test_a_bad_entry_is_refused_with_its_place(text: str, what: str) -> None:
    with pytest.raises(ValueError, match=r"trusted_proxies\[1\]") as refused:
        TrustedProxies(("127.0.0.1", text))
    assert what in str(refused.value)


@given(number=st.integers(0, 2**32 - 1), other=st.integers(0, 2**32 - 1), bits=st.integers(0, 32))
@settings(deadline=None, max_examples=60)
def test_verdicts_are_those_of_the_standard_library(number: int, other: int, bits: int) -> None:
    network = ip_network((number >> (32 - bits) << (32 - bits), bits))
    peer = ip_address(other)
    assert TrustedProxies((str(network),)).trusts(str(peer)) is (peer in network)


def test_clients_cannot_fill_the_memory_with_addresses() -> None:
    trusted = TrustedProxies(("10.0.0.0/8",))
    for n in range(10_000):
        trusted.trusts(str(ip_address(n)))
    assert len(trusted._known) <= 4096
