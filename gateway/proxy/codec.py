"""The head codec: bytes of a message head in, values out, and back to bytes.

Pure: no I/O, no clock, no sockets; it never sees a body. Strict on purpose: whatever
RFC 9110/9112 lets a recipient refuse is refused, so that a head has one reading only.

Invariants: a rendered head has CRLF line ends, token names, exactly one Host and one
framing, and no hop-by-hop field of the other side.
"""

from __future__ import annotations

from enum import IntEnum


class Framing(IntEnum):
    """How the body behind a head is delimited (RFC 9112, 6.3)."""

    NONE = 0
    LENGTH = 1
    CHUNKED = 2
    UNTIL_CLOSE = 3


class Malformed(Exception):  # noqa: N818 - a verdict on somebody else's bytes
    """Bytes that are no acceptable message. Whose fault it is, the caller knows.

    `status` is what to answer the client (502 for answers of an instance), `reason` a
    short text that is safe to show: it never quotes the bytes.
    """

    __slots__ = ("reason", "status")

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(status, reason)
        self.status = status
        self.reason = reason


class HeadLimits:
    """Bounds of one head: `bytes` from first byte to the empty line, `fields` lines."""

    __slots__ = ("bytes", "fields")

    def __init__(self, bytes: int, fields: int) -> None:  # noqa: A002
        self.bytes = bytes
        self.fields = fields


class RequestHead:
    """A request as the client sent it; what is needed to route, to frame and to render it.

    target: as sent upstream (origin-form with query, or `*`); path: target up to `?`.
    host: lower case, without port and trailing dot, IPv6 in brackets, b"" for HTTP/1.0 without Host.
    authority: host and port as the client wrote them: the Host sent upstream.
    length: of the body, -1 unless `framing` is LENGTH.
    upgrade: b"websocket" when the client may be switched to it, else None.
    expect_continue: only True when a body follows.
    cookies: all Cookie values joined with "; ". selector: X-Gateway-Service.
    request_id: X-Request-Id if it is fit to be kept. accept: all Accept values joined.
    max_forwards: only for OPTIONS (0: answer it, do not forward it).
    size: bytes consumed, the empty line and leading empty lines included.
    """

    __slots__ = (
        "accept",
        "authority",
        "cookies",
        "expect_continue",
        "fields",
        "forwarding",
        "framing",
        "host",
        "keep_alive",
        "length",
        "max_forwards",
        "method",
        "minor",
        "path",
        "request_id",
        "selector",
        "size",
        "target",
        "trailers_ok",
        "upgrade",
    )

    method: bytes
    target: bytes
    path: bytes
    host: bytes
    authority: bytes
    minor: int
    framing: Framing
    length: int
    keep_alive: bool
    expect_continue: bool
    upgrade: bytes | None
    cookies: bytes | None
    selector: bytes | None
    request_id: bytes | None
    accept: bytes | None
    max_forwards: int | None
    size: int
    trailers_ok: bool
    """The client said `TE: trailers`."""
    fields: list[bytes]
    """Lines that go upstream as they are."""
    forwarding: list[bytes] | None
    """Lines with forwarding fields, which only count from a trusted peer."""


class ResponseHead:
    """An instance's answer; what is needed to frame and to render it.

    keep_alive: the upstream connection may be reused once the body has ended cleanly.
    upgrade: a well-formed 101 to websocket; only acceptable if the request had `upgrade`.
    length: of the body, -1 unless `framing` is LENGTH. size: bytes consumed.
    """

    __slots__ = (
        "announced",
        "fields",
        "framing",
        "has_date",
        "keep_alive",
        "length",
        "minor",
        "reason",
        "size",
        "status",
        "trailer",
        "upgrade",
        "upgrade_to",
    )

    status: int
    reason: bytes
    minor: int
    framing: Framing
    length: int
    keep_alive: bool
    upgrade: bool
    has_date: bool
    size: int
    fields: list[bytes]
    """Lines that go to the client as they are."""
    announced: bytes | None
    """Content-Length of a bodyless answer (HEAD, 304), which is passed on."""
    trailer: bytes | None
    """Value of Trailer."""
    upgrade_to: bytes | None
    """Value of Upgrade where it is passed on (101, 426)."""


def find_head_end(data: bytes | bytearray, start: int) -> int:
    """Index behind the empty line that ends a head, -1 if it has not come yet.

    `start`: how many bytes an earlier call has already searched.
    """
    end = data.find(b"\r\n\r\n", start - 3 if start > 3 else 0)
    return end + 4 if end >= 0 else -1


def parse_request(
    data: bytes | bytearray, limits: HeadLimits, searched: int = 0
) -> RequestHead | None:
    """Read a request head; None if it is not complete yet.

    `searched`: the length `data` had when this was last called for the same head; with it a
    head that comes byte by byte costs linear time.

    Raises Malformed: 400, 405 (TRACE), 414 (no complete request line within the limit),
    417 (unknown expectation), 431, 501 (CONNECT, unknown transfer coding), 505.
    """
    raise NotImplementedError


def render_request(
    head: RequestHead,
    *,
    peer: bytes,
    proto: bytes,
    port: bytes,
    trusted: bool,
    request_id: bytes,
    strip_cookie: bytes | None,
) -> bytes:
    """The head to send upstream, complete with its empty line.

    peer: the client's address (IPv6 without brackets), proto: b"http" or b"https", port: of the
    entrypoint. trusted: the peer is a trusted proxy, its forwarding fields are kept and extended.
    request_id: used where the client sent no acceptable one. strip_cookie: name to take out.
    """
    raise NotImplementedError


def parse_response(
    data: bytes | bytearray, method: bytes, limits: HeadLimits, searched: int = 0
) -> ResponseHead | None:
    """Read an answer's head (1xx included); None if it is not complete yet.

    `searched` as in `parse_request`. Raises Malformed(502).
    """
    raise NotImplementedError


def client_framing(response: ResponseHead, method: bytes, client_minor: int) -> Framing:
    """How the body goes to a client of HTTP/1.`client_minor`."""
    raise NotImplementedError


def render_response(
    head: ResponseHead, *, framing: Framing, client_minor: int, close: bool, extra: bytes
) -> bytes:
    """The head to send to the client. `extra`: ready `Name: value` lines, CRLF behind each."""
    raise NotImplementedError


def render_interim(head: ResponseHead) -> bytes:
    """A 1xx answer for the client (never for one of HTTP/1.0)."""
    raise NotImplementedError
