"""WebSocket messages of one size over and over (RFC 6455): what a client sends and what it gets back.

Both sides know the size, so that they count bytes and read nothing.
"""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha1

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_FINAL_BINARY = 0x82
_MASKED = 0x80
KEY = b64encode(bytes(range(16)))
"""What every client of ours sends."""


def accept(key: bytes) -> bytes:
    """The answer to a client's key (section 4.2.2)."""
    return b64encode(sha1(key + _GUID, usedforsecurity=False).digest())


def frame(size: int, *, masked: bool) -> bytes:
    """One message of `size` zeros (section 5.2); the mask is of zeros too."""
    mask = _MASKED if masked else 0
    if size < 126:
        head = bytes((_FINAL_BINARY, mask | size))
    elif size < 65536:
        head = bytes((_FINAL_BINARY, mask | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((_FINAL_BINARY, mask | 127)) + size.to_bytes(8, "big")
    return head + bytes(4 * masked) + bytes(size)


def upgrade(host: str, size: int) -> bytes:
    """The request for a connection with messages of that size."""
    return (
        b"GET /%d HTTP/1.1\r\nHost: %b\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: %b\r\nSec-WebSocket-Version: 13\r\n\r\n" % (size, host.encode(), KEY)
    )


def agreed() -> bytes:
    """The answer to that."""
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: %b\r\n\r\n" % accept(KEY)
    )
