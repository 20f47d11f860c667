"""Which peers may tell the gateway where a request comes from.

A forwarding header (`X-Forwarded-*`, `Forwarded`, `X-Request-Id`) is a claim;
only listed proxies are believed. Knows nothing of the headers themselves.
"""

from __future__ import annotations

from collections.abc import Sequence


class TrustedProxies:
    """The networks of trusted proxies.

    Raises ValueError naming the entry's place and what is wrong with it.
    """

    def __init__(self, cidrs: Sequence[str]) -> None:
        raise NotImplementedError

    def trusts(self, ip: str) -> bool:
        """Is this peer address in one of the networks? False for anything that is no address."""
        raise NotImplementedError
