# cython: language_level=3, annotation_typing=False
"""Message heads as values: what `codec` reads and renders.

Invariant: a head object exists only for bytes that passed every check of the codec.
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

    def __init__(self, bytes: int, fields: int) -> None:
        self.bytes = bytes
        self.fields = fields


class RequestHead:
    """A request as the client sent it; what is needed to route, to frame and to render it."""

    __slots__ = (
        "authority",
        "cookies",
        "expect_continue",
        "fields",
        "forwarding",
        "framing",
        "host",
        "is_absolute",
        "is_https",
        "keep_alive",
        "length",
        "listed",
        "max_forwards",
        "method",
        "minor",
        "path",
        "request_id",
        "selector",
        "size",
        "target",
        "trailer",
        "trailers_ok",
        "upgrade",
    )

    method: bytes
    target: bytes
    """As sent upstream: origin-form with query, or `*`."""
    path: bytes
    """`target` up to `?`."""
    host: bytes
    """Lower case, without port and trailing dot, IPv6 in brackets; b"" for HTTP/1.0 without Host."""
    is_absolute: bool
    """The target came with a host of its own, as to a proxy (RFC 9112, 3.2.2)."""
    is_https: bool
    """That target is an https URL."""
    authority: bytes
    """Host and port as the client wrote them: the Host sent upstream."""
    minor: int
    """0 or 1: the client speaks HTTP/1.`minor`."""
    framing: Framing
    length: int
    """Of the body; -1 unless `framing` is LENGTH."""
    keep_alive: bool
    """The client wants to go on using its connection."""
    expect_continue: bool
    """The client waits for a 100 before it sends the body (never True without one)."""
    upgrade: bytes | None
    """b"websocket" when the client may be switched to it."""
    cookies: bytes | None
    """All Cookie values joined with `; `."""
    selector: bytes | None
    """X-Gateway-Service."""
    request_id: bytes | None
    """X-Request-Id, if it is fit to be kept."""
    max_forwards: int | None
    """Only for OPTIONS. 0: answer it here (RFC 9110, 7.6.2)."""
    size: int
    """Bytes consumed, leading empty lines and the last one included."""
    fields: bytes
    """Lines that go upstream as they are, each with its CRLF."""
    listed: frozenset[bytes]
    """Names (lower case) that Connection listed: not in `fields`, nor to be passed on as trailers."""
    forwarding: list[tuple[bytes, bytes]] | None
    """Forwarding fields (lower-case name, value): they count only from a trusted peer."""
    trailer: bytes | None
    """Trailer, where the body can have one."""
    trailers_ok: bool
    """The client said `TE: trailers`."""

    @property
    def accept(self) -> bytes | None:
        """All Accept values joined with `, `; looked for only when the gateway answers itself."""
        found = [
            line[7:].strip(b" \t")
            for line in self.fields.split(b"\r\n")
            if line[:7].lower() == b"accept:"
        ]
        return b", ".join(found) if found else None


class ResponseHead:
    """An instance's answer; what is needed to frame and to render it."""

    __slots__ = (
        "announced",
        "fields",
        "framing",
        "has_date",
        "keep_alive",
        "length",
        "listed",
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
    """Of the body; -1 unless `framing` is LENGTH."""
    keep_alive: bool
    """The upstream connection may be reused once the body has ended cleanly."""
    upgrade: bool
    """A well-formed 101 to websocket; acceptable only if the request had `upgrade`."""
    has_date: bool
    size: int
    """Bytes consumed."""
    fields: bytes
    """Lines that go to the client as they are, each with its CRLF."""
    listed: frozenset[bytes]
    """As in `RequestHead`."""
    announced: int
    """Content-Length of an answer to HEAD or a 304, which has no body; -1: none."""
    trailer: bytes | None
    """Trailer, where the body can have one."""
    upgrade_to: bytes | None
    """Upgrade, where it is passed on (101 and 426)."""
