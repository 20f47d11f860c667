"""Limits of connections: all of them, of an entrypoint, of a client address."""

from __future__ import annotations

import pytest

from gateway.proxy.doors import address_key


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("::1", "192.0.2.1", False),
        ("", "192.0.2.1", False),
    ],
)
def test_one_client_is_an_ipv4_address_or_a_network_of_ipv6(
    one: str, other: str, same: bool
) -> None:
    assert (address_key(one) == address_key(other)) is same
