"""The PROXY protocol: a load balancer says in front of the connection whom it is for.

After the specification by HAProxy (`proxy-protocol.txt`, 2.1 for version 1, 2.2 for
version 2), and stricter where that leaves room: numbers have no leading zeros
and no signs, addresses are those of the family that is named, lines end with CRLF
within 107 bytes, and headers of version 2 have at most 4096 bytes. What is behind
the addresses (TLVs) is skipped.

Pure: bytes in, a verdict out, the same however they were split. Knows nothing of
who may send it.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

V1_MAX = 107
"""The longest line of version 1, CRLF included (2.1)."""
V2_MAX = 4096
_V1_START = b"PROXY "
_V2_START = b"\r\n\r\n\0\r\nQUIT\n"
_V2_HEAD = 16
_PORT = re.compile(rb"0|[1-9][0-9]{0,4}")
_V2_ADDRESSES = {0x11: (4, 12), 0x21: (16, 36)}
"""Family and transport -> size of an address, size of the block of addresses (TCP only)."""


class NoProxyHeader(ValueError):  # noqa: N818 - says what happened
    """What came is no valid header, and no further bytes make it one."""


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """A header of `size` bytes. `source` None: the connection is the proxy's own (a check)."""

    size: int
    source: str | None


def read_proxy_header(data: bytes) -> ProxyHeader | None:
    """The header at the beginning of `data`. None: all of `data` belongs to one that goes on.

    Raises NoProxyHeader as soon as it is certain.
    """
    if data[:12] == _V2_START[: len(data)]:
        return _read_v2(data)
    if data[:6] == _V1_START[: len(data)]:
        return _read_v1(data)
    raise NoProxyHeader("the connection does not begin with a PROXY header")


def _read_v1(data: bytes) -> ProxyHeader | None:
    end = data.find(b"\n", 0, V1_MAX)
    if end < 0:
        if len(data) >= V1_MAX:
            raise NoProxyHeader("the line is longer than 107 bytes")
        return None
    if data[end - 1] != 13:
        raise NoProxyHeader("the line does not end with CRLF")
    words = data[: end - 1].split(b" ")
    size = end + 1
    if words[1] == b"UNKNOWN":  # the rest of the line is to be ignored (2.1)
        return ProxyHeader(size, None)
    if len(words) != 6 or words[1] not in (b"TCP4", b"TCP6"):
        raise NoProxyHeader("six words with TCP4 or TCP6 are expected")
    version = 4 if words[1] == b"TCP4" else 6
    source, _ = _address(words[2], version), _address(words[3], version)
    for word in words[4:]:
        if not _PORT.fullmatch(word) or int(word) > 65535:
            raise NoProxyHeader("a port is no number from 0 to 65535")
    return ProxyHeader(size, source)


def _address(word: bytes, version: int) -> str:
    try:
        text = word.decode("ascii")
        address: ipaddress.IPv4Address | ipaddress.IPv6Address
        if version == 4:
            address = ipaddress.IPv4Address(text)
        else:
            address = ipaddress.IPv6Address(text)
            if address.scope_id is not None:
                raise NoProxyHeader("an address has a zone")
    except NoProxyHeader:
        raise
    except ValueError:
        raise NoProxyHeader("an address is none of its family") from None
    return _text(address)


def _text(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    """As the socket of a client that connects itself would tell it."""
    mapped = getattr(address, "ipv4_mapped", None)
    return str(address if mapped is None else mapped)


def _read_v2(data: bytes) -> ProxyHeader | None:
    if len(data) < _V2_HEAD:
        return None
    command, family = data[12], data[13]
    if command not in (0x20, 0x21):
        raise NoProxyHeader("an unknown version or command")
    if family >> 4 > 3 or family & 15 > 2:
        raise NoProxyHeader("an unknown family or transport")
    size = _V2_HEAD + int.from_bytes(data[14:16], "big")
    if size > V2_MAX:
        raise NoProxyHeader("the header is longer than 4096 bytes")
    block = _V2_ADDRESSES.get(family)
    if command == 0x20 or family == 0:  # LOCAL, UNSPEC: addresses are to be ignored (2.2)
        block = None
    elif block is None:
        raise NoProxyHeader("it is for something else than TCP")
    elif size - _V2_HEAD < block[1]:
        raise NoProxyHeader("the addresses do not fit into the header")
    if len(data) < size:
        return None
    if block is None:
        return ProxyHeader(size, None)
    return ProxyHeader(size, _text(ipaddress.ip_address(data[_V2_HEAD : _V2_HEAD + block[0]])))
