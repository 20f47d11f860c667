"""Which peers may tell the gateway where a request comes from.

A forwarding header (`X-Forwarded-*`, `Forwarded`, `X-Request-Id`) is a claim;
only listed proxies are believed. Knows nothing of the headers themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

_KNOWN_MAX = 4096


class TrustedProxies:
    """The networks of trusted proxies: addresses and CIDR blocks.

    Raises ValueError naming the entry's place and what is wrong with it.
    """

    __slots__ = ("_known", "_networks")

    def __init__(self, cidrs: Sequence[str]) -> None:
        self._networks = tuple(_network(place, text) for place, text in enumerate(cidrs))
        self._known: dict[str, bool] = {}

    def trusts(self, ip: str) -> bool:
        """Is this peer address in one of the networks? False for anything that is no address."""
        if not self._networks:
            return False
        verdict = self._known.get(ip)
        if verdict is None:
            if len(self._known) >= _KNOWN_MAX:
                self._known.clear()  # clients choose their addresses: bound what they can fill
            verdict = self._known[ip] = self._judge(ip)
        return verdict

    def _judge(self, ip: str) -> bool:
        try:
            address: IPv4Address | IPv6Address = ip_address(ip.partition("%")[0])
        except ValueError:
            return False
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped  # a dual-stack listener shows IPv4 peers like this
        return any(
            low <= int(address) <= high for v, low, high in self._networks if v == address.version
        )


def _network(place: int, text: str) -> tuple[int, int, int]:
    """(IP version, first address, last address) of one entry."""
    where = f"trusted_proxies[{place}]"
    try:
        network = ip_network(text.strip(), strict=False)
    except ValueError:
        raise ValueError(
            f"{where}: {text!r} is neither an IP address nor a network like 10.0.0.0/8"
        ) from None
    written = text.strip().partition("/")[0]
    if ip_address(written) != network.network_address:
        raise ValueError(f"{where}: {text!r} has bits set behind its prefix; write {network}")
    return network.version, int(network.network_address), int(network.broadcast_address)
