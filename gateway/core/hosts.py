"""What the host of an address is."""

from __future__ import annotations

from ipaddress import ip_address


def is_ip(host: str) -> bool:
    """Is this an IP address rather than a name?"""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
