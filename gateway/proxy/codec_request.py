# cython: language_level=3, annotation_typing=False
"""Request heads: read from clients, rendered for instances.

Strict on purpose: whatever RFC 9110/9112 lets a recipient refuse is refused, so that a head
has one reading only. Invariants of a rendered head: exactly one Host, at most one framing, no
hop-by-hop field of the client, and forwarding fields that are the gateway's own statement.

Every request passes here twice, so the shape follows its costs: one loop over the head proves
that no line holds a control byte and that all line ends are CRLF, then each line costs a search
for its colon and a dict look-up, and neighbouring lines that go on as they are stay one piece.
`codec_request.pxd` types the same source for Cython.
"""

from __future__ import annotations

import re

from gateway.proxy import fields as f
from gateway.proxy import lines, scan
from gateway.proxy.field_names import PLAIN, UNKNOWN
from gateway.proxy.fields import (
    CONNECTION,
    CONTENT_LENGTH,
    COOKIE,
    EXPECT,
    FORWARDING,
    HOST,
    MAX_FORWARDS,
    NO_OPTIONS,
    REQUEST_ID_FIELD,
    REQUEST_KINDS,
    REQUEST_NAMES,
    SELECTOR,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
)
from gateway.proxy.heads import Framing, HeadLimits, Malformed, RequestHead
from gateway.proxy.scan import TCHAR
from gateway.routing import affinity

MAX_EMPTY_LINES = 4
"""Ignored before a request line (RFC 9112, 2.2)."""

_NONE = Framing.NONE
_LENGTH = Framing.LENGTH
_CHUNKED = Framing.CHUNKED

_OTHER_VERSION = re.compile(rb"[" + TCHAR + rb"]+ [!\"$-~]+ HTTP/[0-9]\.[0-9]")
_ABSOLUTE = re.compile(rb"(?i:http(s)?)://([^/?]*)(.*)")
NO_PROXY = (
    "this gateway is no forward proxy. A proxy for callers whose template declares external_links, "
    "it serves http:// URLs of its routes only: unset https_proxy, or name the host in no_proxy"
)
_NOT_SERVED = {
    b"CONNECT": (501, "CONNECT is not supported: " + NO_PROXY),
    b"TRACE": (405, "TRACE is not allowed"),
    # Never a request: HTTP/2 begins with it, so that HTTP/1.1 ends here (RFC 9113, 3.4 and 11.6).
    b"PRI": (501, "PRI is no method of HTTP/1.1"),
}


def parse_request(data: bytes, limits: HeadLimits, searched: int = 0) -> RequestHead | None:
    """Read a request head; None if it is not complete yet.

    `searched`: the length `data` had when this was last called for the same head; with it a
    head that comes byte by byte costs linear time. What can be seen to be wrong in a part of
    a head is refused at once.

    Raises Malformed: 400, 405 (TRACE), 414 (no complete request line within the limit),
    417 (unknown expectation), 431, 501 (CONNECT, PRI, unknown transfer coding), 505.
    """
    start = _empty_lines(data) if data and data[0] == 13 else 0
    size = scan.find_head_end(data, searched if searched > start + 3 else start + 3)
    if size < 0 or size > limits.bytes:
        lines.check_part(data, start, searched, limits, 400)
        return None
    end = size - 4
    line_end = scan.find_byte(data, 13, start, end)
    head = RequestHead()
    head.size = size
    _read_request_line(head, data, start, line_end)
    lines.check_lines(data, start, end, limits, 400)
    _read_request_fields(head, data, line_end + 2, end)
    return head


def _read_request_line(head: RequestHead, data: bytes, start: int, end: int) -> None:
    """Sets method, target and minor (RFC 9112, 3)."""
    method_end = scan.token_end(data, start, end)
    target_end = scan.target_end(data, method_end + 1, end) if method_end < end else end
    if (
        method_end == start
        or target_end == method_end + 1
        or end - target_end != 9
        or data[method_end] != 32
        or scan.piece(data, target_end, target_end + 8) != b" HTTP/1."
        or not 48 <= data[target_end + 8] <= 49
    ):
        raise _bad_request_line(data[start:end])
    head.method = scan.piece(data, start, method_end)
    head.target = scan.piece(data, method_end + 1, target_end)
    head.minor = data[target_end + 8] - 48


def _read_request_fields(head: RequestHead, data: bytes, at: int, end: int) -> None:
    """Reads the lines in data[at:end]; the last one's CRLF is at `end`."""
    kept: list[bytes] = []
    run = at  # where the lines began that go on as they are
    host: bytes | None = None
    connection: bytes | None = None
    length: bytes | None = None
    coding: bytes | None = None
    expect: bytes | None = None
    upgrade: bytes | None = None
    head.cookies = head.selector = head.request_id = head.trailer = None
    head.max_forwards = head.forwarding = None
    head.trailers_ok = False
    while at < end:
        begin = at
        stop = scan.find_byte(data, 13, at, end)
        at = stop + 2
        kind = UNKNOWN if scan._INTERPRETED else REQUEST_NAMES.kind(data, begin, stop)
        if kind == PLAIN:
            continue
        colon = scan.find_byte(data, 58, begin, stop)
        if kind == UNKNOWN:
            name = scan.piece(data, begin, colon)
            kind = REQUEST_KINDS.get(name, UNKNOWN)
            if kind == UNKNOWN:
                kind = f.classify_request(name)
        if colon == stop:
            raise Malformed(400, "field line without colon")
        if kind == PLAIN:
            continue
        value = scan.trimmed(data, colon + 1, stop)
        if kind == MAX_FORWARDS and head.method != b"OPTIONS":
            continue
        if run < begin:
            kept.append(scan.piece(data, run, begin))
        run = at
        if kind == HOST:
            if host is not None:
                raise Malformed(400, "more than one Host")
            host = value
        elif kind == CONNECTION:
            connection = value if connection is None else connection + b"," + value
        elif kind == COOKIE:
            if value:
                head.cookies = value if head.cookies is None else head.cookies + b"; " + value
        elif kind == CONTENT_LENGTH:
            if length is not None:
                raise Malformed(400, "more than one Content-Length")
            length = value
        elif kind == TRANSFER_ENCODING:
            if coding is not None:
                raise Malformed(400, "more than one Transfer-Encoding")
            # A tab is a blank to RFC 9110, 5.6.3, part of the coding to llhttp.
            if scan.find_byte(data, 9, colon, stop) < stop:
                raise Malformed(400, "tab in Transfer-Encoding")
            coding = value
        elif kind == FORWARDING:
            if head.forwarding is None:
                head.forwarding = []
            head.forwarding.append((scan.piece(data, begin, colon).lower(), value))
        elif kind == UPGRADE:
            upgrade = value if upgrade is None else upgrade + b"," + value
        elif kind == EXPECT:
            expect = value if expect is None else expect + b"," + value
        elif kind == REQUEST_ID_FIELD:
            # Two different ids are none.
            fit = head.request_id is None and f.REQUEST_ID.fullmatch(value) is not None
            head.request_id = value if fit else b""
        elif kind == SELECTOR:
            head.selector = value if head.selector is None else head.selector + b"," + value
        elif kind == TE:
            if b"trailers" in f.split_list(value):
                head.trailers_ok = True
        elif kind == TRAILER:
            head.trailer = value if head.trailer is None else head.trailer + b", " + value
        elif kind == MAX_FORWARDS:
            if head.max_forwards is not None or f.DIGITS.fullmatch(value) is None:
                raise Malformed(400, "invalid Max-Forwards")
            head.max_forwards = int(value)
    if run < end:
        kept.append(scan.piece(data, run, end + 2))
    head.fields = kept[0] if len(kept) == 1 else b"".join(kept)
    if not head.request_id:
        head.request_id = None
    _read_target(head, host)
    _frame_request(head, length, coding)
    options = NO_OPTIONS if connection is None else f.read_connection(connection, 400)
    # A proxy must not keep a connection of HTTP/1.0 (RFC 9112, 9.3); to others this is no proxy.
    head.keep_alive = not options.close and (
        head.minor == 1 or (options.keep_alive and not head.is_absolute)
    )
    head.listed = options.listed
    if options.listed:
        head.fields = f.without_listed(head.fields, options.listed)
    head.expect_continue = False
    if expect is not None and head.minor == 1:  # HTTP/1.0 knows none (RFC 9110, 10.1.1)
        if expect.lower() != b"100-continue":
            raise Malformed(417, "unknown expectation")
        head.expect_continue = head.framing is _CHUNKED or head.length > 0
    head.upgrade = None
    if (
        upgrade is not None
        and options.upgrade
        and upgrade.lower() == b"websocket"
        and head.minor == 1
        and head.method == b"GET"
        and head.framing is not _CHUNKED
        and head.length <= 0
    ):
        head.upgrade = b"websocket"


def _read_target(head: RequestHead, host: bytes | None) -> None:
    """Sets target, path, host and authority (RFC 9112, 3.2 and 3.3)."""
    target = head.target
    method = head.method
    if method in _NOT_SERVED:
        raise Malformed(*_NOT_SERVED[method])
    if host is not None:
        head.host, head.authority = f.read_authority(host)
    elif head.minor == 1:
        raise Malformed(400, "no Host")
    else:
        head.host = head.authority = b""
    head.is_absolute = head.is_https = False
    if target[0] != 47:  # not origin-form
        if target != b"*":
            match = _ABSOLUTE.fullmatch(target)
            if match is None:
                raise Malformed(400, "invalid target")
            head.is_absolute = True
            head.is_https = match[1] is not None
            head.host, head.authority = f.read_authority(match[2])
            target = match[3]
            if not target.startswith(b"/"):
                # RFC 9112, 3.2.4: OPTIONS of a whole server leaves the last proxy as `*`.
                target = b"*" if not target and method == b"OPTIONS" else b"/" + target
            head.target = target
        elif method != b"OPTIONS":
            raise Malformed(400, "invalid target")
    query = scan.find_byte(target, 63, 0, len(target))
    head.path = target if query == len(target) else scan.piece(target, 0, query)


def _frame_request(head: RequestHead, length: bytes | None, coding: bytes | None) -> None:
    """Sets framing and length (RFC 9112, 6.1 to 6.3)."""
    head.length = -1
    if coding is not None:
        if length is not None:
            raise Malformed(400, "both Content-Length and Transfer-Encoding")
        if head.minor == 0:
            raise Malformed(400, "Transfer-Encoding in HTTP/1.0")
        if coding.lower() != b"chunked":
            last = coding.lower().rpartition(b",")[2].strip(b" \t")
            raise Malformed(501 if last == b"chunked" else 400, "unknown transfer coding")
        head.framing = _CHUNKED
    elif length is not None:
        head.length = f.read_length(length, 400)
        head.framing = _LENGTH
    else:
        head.framing = _NONE
    if head.framing is not _CHUNKED:
        head.trailer = None


class Hop:
    """What the gateway says of a client's connection in each request that it passes on.

    peer: the client's address (IPv6 without brackets), proto: b"http" or b"https", port: of the
    entrypoint. trusted: the peer is a trusted proxy, its forwarding fields are kept and extended.
    """

    __slots__ = ("_after_host", "_before_host", "peer", "port", "proto", "trusted")

    def __init__(self, peer: bytes, proto: bytes, port: bytes, trusted: bool) -> None:
        self.peer = peer
        self.proto = proto
        self.port = port
        self.trusted = trusted
        self._before_host = (
            b"X-Forwarded-For: %b\r\nX-Forwarded-Proto: %b\r\nX-Forwarded-Host: "
            % (
                peer,
                proto,
            )
        )
        self._after_host = b"\r\nX-Forwarded-Port: %b\r\nX-Request-Id: " % port


def render_request(
    head: RequestHead, hop: Hop, request_id: bytes, strip_cookie: bytes | None
) -> bytes:
    """The head to send upstream, complete with its empty line.

    request_id: used where the client sent no acceptable one. strip_cookie: name to take out.
    """
    authority = head.authority
    cookies = head.cookies
    if cookies is not None and strip_cookie is not None:
        cookies = affinity.strip_cookie(cookies, strip_cookie)
    own_id = request_id if head.request_id is None else head.request_id
    if hop.trusted and head.forwarding is not None:
        forwarding = b"\r\n".join(_trusted_forwarding(head, hop.peer, hop.proto, hop.port))
        before, host, after = forwarding, b"", b"\r\nX-Request-Id: "
    else:
        before, host, after = hop._before_host, authority, hop._after_host
    return b"".join(
        (
            head.method,
            b" ",
            head.target,
            b" HTTP/1.1\r\nHost: ",
            authority,
            b"\r\n",
            head.fields,
            b"" if cookies is None else b"Cookie: ",
            b"" if cookies is None else cookies,
            b"" if cookies is None else b"\r\n",
            b"" if _has_plain_rest(head) else _rest(head),
            before,
            host,
            after,
            own_id,
            _VIA if head.minor else _VIA_10,
        )
    )


def _has_plain_rest(head: RequestHead) -> bool:
    """Nothing of what `_rest` says?"""
    return (
        head.framing is _NONE
        and head.upgrade is None
        and head.max_forwards is None
        and not head.trailers_ok
        and not head.expect_continue
    )


def _rest(head: RequestHead) -> bytes:
    """Lines on the body and on the next hop."""
    out: list[bytes] = []
    if head.framing is _LENGTH:
        out.append(b"Content-Length: %d\r\n" % head.length)
    elif head.framing is _CHUNKED:
        out.append(b"Transfer-Encoding: chunked\r\n")
        if head.trailer is not None:
            out.append(b"Trailer: %b\r\n" % head.trailer)
    if head.expect_continue:
        out.append(b"Expect: 100-continue\r\n")
    if head.upgrade is not None:
        out.append(b"Upgrade: websocket\r\nConnection: Upgrade\r\n")
    elif head.trailers_ok:
        out.append(b"TE: trailers\r\nConnection: TE\r\n")
    if head.max_forwards is not None:
        out.append(b"Max-Forwards: %d\r\n" % max(head.max_forwards - 1, 0))
    return b"".join(out)


_VIA = b"\r\nVia: 1.1 gateway\r\n\r\n"
_VIA_10 = b"\r\nVia: 1.0 gateway\r\n\r\n"


def _trusted_forwarding(head: RequestHead, peer: bytes, proto: bytes, port: bytes) -> list[bytes]:
    """What a trusted proxy said, with the gateway's own step behind it."""
    said: dict[bytes, bytes] = {}
    for name, value in head.forwarding or ():
        if value:
            said[name] = said[name] + b", " + value if name in said else value
    chain = said.pop(b"x-forwarded-for", None)
    forwarded = said.pop(b"forwarded", None)
    out = [b"X-Forwarded-For: " + (peer if chain is None else chain + b", " + peer)]
    for name, value in (
        (b"X-Forwarded-Proto", proto),
        (b"X-Forwarded-Host", head.authority),
        (b"X-Forwarded-Port", port),
    ):
        out.append(name + b": " + said.pop(name.lower(), value))
    out += [name + b": " + value for name, value in said.items()]
    if forwarded is not None:  # RFC 7239, 4 and 6: IPv6 and ports need quotes
        node = b'"[%b]"' % peer if b":" in peer else peer
        out.append(
            b'Forwarded: %b, for=%b;host="%b";proto=%b' % (forwarded, node, head.authority, proto)
        )
    return out


def _empty_lines(data: bytes) -> int:
    """Where the request line starts behind empty lines."""
    start = 0
    while data[start : start + 2] == b"\r\n":
        start += 2
        if start > 2 * MAX_EMPTY_LINES:
            raise Malformed(400, "too many empty lines before the request line")
    return start


def _bad_request_line(line: bytes) -> Malformed:
    if _OTHER_VERSION.fullmatch(line) is not None:
        return Malformed(505, "HTTP version is not supported")
    return Malformed(400, "invalid request line")
