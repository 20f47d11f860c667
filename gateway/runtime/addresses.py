"""Listen addresses as text and as values. No I/O: names are resolved where sockets are made.

`host:port`, `[::1]:port` and `:port` (every address of both families). A host may
be a name. Port 0 means any free port, which the log then tells.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

UNIX_PATH_MAX = 107
"""Bytes of a Unix socket's path (`sun_path` less its end mark)."""

_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\.?")
_ANY = ("", "0.0.0.0", "::")  # noqa: S104 - compared with, not bound to


@dataclass(frozen=True, slots=True)
class Address:
    """A parsed listen address; `host` "" is every address of both families."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Nobody outside this machine can connect. The name `localhost` counts as loopback."""
        if self.host.rstrip(".").lower() == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def overlaps(self, other: Address) -> bool:
        """Both would receive some connection."""
        if self.port != other.port or self.port == 0:
            return False
        if self.host == other.host or "" in (self.host, other.host):
            return True
        if self.host in _ANY or other.host in _ANY:
            return (":" in self.host) == (":" in other.host)
        return False


def parse(text: str) -> Address:
    """The address in `text`. Raises `ValueError` saying what is wrong with it."""
    host, colon, digits = text.rpartition(":")
    if not colon:
        raise ValueError(f'"{text}" has no port; write host:port, for example 0.0.0.0:8080')
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 5 and int(digits) <= 65535):
        raise ValueError(f'"{digits}" is no port; a number from 0 to 65535 is expected')
    if host.startswith("[") and host.endswith("]"):
        try:
            host = str(ipaddress.IPv6Address(host[1:-1]))
        except ValueError:
            raise ValueError(f'"{host}" is no IPv6 address') from None
    elif ":" in host:
        raise ValueError(f'an IPv6 address needs brackets: "[{host}]:{digits}"')
    elif host and not _is_ipv4(host) and not is_host_name(host):
        raise ValueError(f'"{host}" is neither an IP address nor a host name')
    return Address(host, int(digits))


def is_host_name(text: str) -> bool:
    """A host name of RFC 1123 (underscores allowed), not an IPv4 address in disguise."""
    if len(text) > 253 or not _NAME.fullmatch(text):
        return False
    return not text.rstrip(".").rpartition(".")[2].isdigit()


def _is_ipv4(text: str) -> bool:
    try:
        ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return True
