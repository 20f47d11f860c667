"""The chunked transfer coding (RFC 9112, 7.1): strict decoding and plain encoding.

Pure: bytes in, bytes out. What is passed on is encoded anew, so extensions and odd chunk
sizes end here. Memory is bounded by the piece fed and one line.
"""

from __future__ import annotations

from gateway.proxy.codec import HeadLimits

TRAILER_LIMITS = HeadLimits(bytes=16384, fields=64)
LAST_CHUNK = b"0\r\n\r\n"


class ChunkedDecoder:
    """Decodes one chunked body, fed in pieces of any size.

    done: the end was seen. rest: what came behind it (the next message).
    trailers: ready `Name: value` lines, without those a trailer must not hold.
    """

    __slots__ = ("done", "rest", "status", "trailers")

    done: bool
    rest: bytes
    trailers: bytes

    def __init__(self, status: int = 400, limits: HeadLimits = TRAILER_LIMITS) -> None:
        """`status` goes into Malformed (502 for bodies of instances); `limits` bound the trailers."""
        self.status = status
        self.done = False
        self.rest = b""
        self.trailers = b""

    def feed(self, data: bytes) -> bytes:
        """The payload in this piece, b"" if none. Raises Malformed, then and ever after."""
        raise NotImplementedError


def encode_chunk(data: bytes) -> bytes:
    """One chunk; b"" for no data, since an empty chunk would end the body."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


def last_chunk(trailers: bytes = b"") -> bytes:
    """The end of the body with trailers as `ChunkedDecoder.trailers` gives them."""
    return b"0\r\n%b\r\n" % trailers
