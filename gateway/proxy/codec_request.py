# cython: language_level=3, annotation_typing=False
"""Request heads: read from clients, rendered for instances.

Strict on purpose: whatever RFC 9110/9112 lets a recipient refuse is refused, so that a head
has one reading only. Invariants of a rendered head: exactly one Host, at most one framing, no
hop-by-hop field of the client, and forwarding fields that are the gateway's own statement.

Every request passes here twice, so the shape follows CPython's costs: one `translate` over
the head proves that no line holds a control byte and that all line ends are CRLF, then each
line costs a `partition` and a dict look-up. `codec_request.pxd` types the same source for Cython.
"""

from __future__ import annotations

import re

from gateway.proxy import fields as f
from gateway.proxy.fields import NO_OPTIONS, PLAIN, REQUEST_KINDS
from gateway.proxy.heads import Framing, HeadLimits, Malformed, RequestHead
from gateway.proxy.lines import TCHAR, check_lines, check_part
from gateway.routing.affinity import strip_cookie as without_cookie

MAX_EMPTY_LINES = 4
"""Ignored before a request line (RFC 9112, 2.2)."""

_NONE = Framing.NONE
_LENGTH = Framing.LENGTH
_CHUNKED = Framing.CHUNKED

_REQUEST_LINE = re.compile(rb"([" + TCHAR + rb"]+) ([!\"$-~]+) HTTP/1\.([01])")
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


def parse_request(
    data: bytes | bytearray, limits: HeadLimits, searched: int = 0
) -> RequestHead | None:
    """Read a request head; None if it is not complete yet.

    `searched`: the length `data` had when this was last called for the same head; with it a
    head that comes byte by byte costs linear time. What can be seen to be wrong in a part of
    a head is refused at once.

    Raises Malformed: 400, 405 (TRACE), 414 (no complete request line within the limit),
    417 (unknown expectation), 431, 501 (CONNECT, PRI, unknown transfer coding), 505.
    """
    start = _empty_lines(data) if data[:1] == b"\r" else 0
    resume = searched - 3
    end = data.find(b"\r\n\r\n", resume if resume > start else start)
    if end < 0 or end + 4 > limits.bytes:
        check_part(data, start, searched, limits, 400)
        return None
    lines = bytes(data[start:end]).split(b"\r\n")
    line = lines[0]
    match = _REQUEST_LINE.fullmatch(line)
    if match is None:
        raise _bad_request_line(line)
    check_lines(data[start:end], len(lines) - 1, limits, 400)
    head = RequestHead()
    head.size = end + 4
    head.method, head.target, version = match.groups()
    head.minor = 1 if version == b"1" else 0
    _read_request_fields(head, lines)
    return head


def _read_request_fields(head: RequestHead, lines: list[bytes]) -> None:
    kept: list[bytes] = []
    host: bytes | None = None
    connection: bytes | None = None
    length: bytes | None = None
    coding: bytes | None = None
    expect: bytes | None = None
    upgrade: bytes | None = None
    head.accept = head.cookies = head.selector = head.request_id = head.trailer = None
    head.max_forwards = head.forwarding = None
    head.trailers_ok = False
    first = True
    for line in lines:
        if first:
            first = False
            continue
        name, colon, value = line.partition(b":")
        kind = REQUEST_KINDS.get(name)
        if kind is None:
            kind = f.classify_request(name)
        if not colon:
            raise Malformed(400, "field line without colon")
        if kind == PLAIN:
            kept.append(line)
            continue
        value = value.strip(b" \t")
        if kind == f.ACCEPT:
            kept.append(line)
            head.accept = value if head.accept is None else head.accept + b", " + value
        elif kind == f.HOST:
            if host is not None:
                raise Malformed(400, "more than one Host")
            host = value
        elif kind == f.CONNECTION:
            connection = value if connection is None else connection + b"," + value
        elif kind == f.COOKIE:
            if value:
                head.cookies = value if head.cookies is None else head.cookies + b"; " + value
        elif kind == f.CONTENT_LENGTH:
            if length is not None:
                raise Malformed(400, "more than one Content-Length")
            length = value
        elif kind == f.TRANSFER_ENCODING:
            if coding is not None:
                raise Malformed(400, "more than one Transfer-Encoding")
            if b"\t" in line:  # a blank to RFC 9110, 5.6.3, a part of the coding to llhttp
                raise Malformed(400, "tab in Transfer-Encoding")
            coding = value
        elif kind == f.FORWARDING:
            if head.forwarding is None:
                head.forwarding = []
            head.forwarding.append((name.lower(), value))
        elif kind == f.UPGRADE:
            upgrade = value if upgrade is None else upgrade + b"," + value
        elif kind == f.EXPECT:
            expect = value if expect is None else expect + b"," + value
        elif kind == f.REQUEST_ID_FIELD:
            # Two different ids are none.
            fit = head.request_id is None and f.REQUEST_ID.fullmatch(value) is not None
            head.request_id = value if fit else b""
        elif kind == f.SELECTOR:
            head.selector = value if head.selector is None else head.selector + b"," + value
        elif kind == f.TE:
            if b"trailers" in f.split_list(value):
                head.trailers_ok = True
        elif kind == f.TRAILER:
            head.trailer = value if head.trailer is None else head.trailer + b", " + value
        elif kind == f.MAX_FORWARDS:
            if head.method != b"OPTIONS":
                kept.append(line)
            elif head.max_forwards is not None or f.DIGITS.fullmatch(value) is None:
                raise Malformed(400, "invalid Max-Forwards")
            else:
                head.max_forwards = int(value)
    head.fields = kept
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
        head.fields = f.without_listed(kept, options.listed)
    head.expect_continue = False
    if expect is not None and head.minor == 1:  # HTTP/1.0 knows none (RFC 9110, 10.1.1)
        if expect.lower() != b"100-continue":
            raise Malformed(417, "unknown expectation")
        head.expect_continue = head.framing == _CHUNKED or head.length > 0
    head.upgrade = None
    if (
        upgrade is not None
        and options.upgrade
        and upgrade.lower() == b"websocket"
        and head.minor == 1
        and head.method == b"GET"
        and head.framing != _CHUNKED
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
    head.path = target.partition(b"?")[0]


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
    if head.framing != _CHUNKED:
        head.trailer = None


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
    out = [b"%b %b HTTP/1.1\r\nHost: %b" % (head.method, head.target, head.authority)]
    out += head.fields
    cookies = head.cookies
    if cookies is not None:
        if strip_cookie is not None and strip_cookie in cookies:
            cookies = without_cookie(cookies, strip_cookie)
        if cookies is not None:
            out.append(b"Cookie: " + cookies)
    if head.framing == _LENGTH:
        out.append(b"Content-Length: %d" % head.length)
    elif head.framing == _CHUNKED:
        out.append(b"Transfer-Encoding: chunked")
        if head.trailer is not None:
            out.append(b"Trailer: " + head.trailer)
    if head.expect_continue:
        out.append(b"Expect: 100-continue")
    if head.upgrade is not None:
        out.append(b"Upgrade: websocket\r\nConnection: Upgrade")
    elif head.trailers_ok:
        out.append(b"TE: trailers\r\nConnection: TE")
    if head.max_forwards is not None:
        out.append(b"Max-Forwards: %d" % max(head.max_forwards - 1, 0))
    if trusted and head.forwarding is not None:
        out += _trusted_forwarding(head, peer, proto, port)
    else:
        out.append(
            b"X-Forwarded-For: %b\r\nX-Forwarded-Proto: %b\r\n"
            b"X-Forwarded-Host: %b\r\nX-Forwarded-Port: %b" % (peer, proto, head.authority, port)
        )
    out.append(
        b"X-Request-Id: %b\r\nVia: 1.%d gateway\r\n\r\n"
        % (head.request_id or request_id, head.minor)
    )
    return b"\r\n".join(out)


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


def _empty_lines(data: bytes | bytearray) -> int:
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
