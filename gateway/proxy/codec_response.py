# cython: language_level=3, annotation_typing=False
"""Answers' heads: read from instances, rendered for clients.

Strict on purpose: an answer that has no single reading is refused (502), never repaired.
Invariants of a rendered head: at most one framing, no hop-by-hop field of the instance.
The shape is that of `codec_request`, for the same reasons.
"""

from __future__ import annotations

import re

from gateway.proxy import fields as f
from gateway.proxy.fields import NO_OPTIONS, PLAIN, RESPONSE_KINDS
from gateway.proxy.heads import Framing, HeadLimits, Malformed, ResponseHead
from gateway.proxy.lines import check_lines, check_part

_NONE = Framing.NONE
_LENGTH = Framing.LENGTH
_CHUNKED = Framing.CHUNKED
_UNTIL_CLOSE = Framing.UNTIL_CLOSE

_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9][0-9])(?: ([\t -~\x80-\xff]*))?")
_STATUS_START = b"HTTP/1."


def parse_response(
    data: bytes | bytearray, method: bytes, limits: HeadLimits, searched: int = 0
) -> ResponseHead | None:
    """Read an answer's head (1xx included); None if it is not complete yet.

    `method` of the request, `searched` as in `parse_request`. Raises Malformed(502).
    """
    resume = searched - 3
    end = data.find(b"\r\n\r\n", resume if resume > 0 else 0)
    if end < 0 or end + 4 > limits.bytes:
        if not _STATUS_START.startswith(data[:7]):
            raise Malformed(502, "invalid status line")
        check_part(data, 0, searched, limits, 502)
        return None
    lines = bytes(data[:end]).split(b"\r\n")
    match = _STATUS_LINE.fullmatch(lines[0])
    if match is None:
        raise Malformed(502, "invalid status line")
    check_lines(data[:end], len(lines) - 1, limits, 502)
    version, status, reason = match.groups()
    head = ResponseHead()
    head.size = end + 4
    head.minor = 1 if version == b"1" else 0
    head.status = int(status)
    head.reason = reason or b""
    _read_response_fields(head, lines, method)
    return head


def _read_response_fields(head: ResponseHead, lines: list[bytes], method: bytes) -> None:
    kept: list[bytes] = []
    connection: bytes | None = None
    length: bytes | None = None
    coding: bytes | None = None
    upgrade: bytes | None = None
    head.trailer = None
    head.has_date = False
    first = True
    for line in lines:
        if first:
            first = False
            continue
        name, colon, value = line.partition(b":")
        kind = RESPONSE_KINDS.get(name)
        if kind is None:
            kind = f.classify_response(name)
        if not colon:
            raise Malformed(502, "field line without colon")
        if kind == PLAIN:
            kept.append(line)
            continue
        value = value.strip(b" \t")
        if kind == f.DATE:
            head.has_date = True
            kept.append(line)
        elif kind == f.CONTENT_LENGTH:
            if length is not None:
                raise Malformed(502, "more than one Content-Length")
            length = value
        elif kind == f.TRANSFER_ENCODING:
            if coding is not None:
                raise Malformed(502, "more than one Transfer-Encoding")
            if b"\t" in line:  # a blank to RFC 9110, 5.6.3, a part of the coding to llhttp
                raise Malformed(502, "tab in Transfer-Encoding")
            coding = value
        elif kind == f.CONNECTION:
            connection = value if connection is None else connection + b"," + value
        elif kind == f.UPGRADE:
            upgrade = value if upgrade is None else upgrade + b", " + value
        elif kind == f.TRAILER:
            head.trailer = value if head.trailer is None else head.trailer + b", " + value
    options = NO_OPTIONS if connection is None else f.read_connection(connection, 502)
    head.keep_alive = not options.close and (head.minor == 1 or options.keep_alive)
    head.listed = options.listed
    head.fields = f.without_listed(kept, options.listed) if options.listed else kept
    _frame_response(head, length, coding, method)
    head.upgrade = False
    head.upgrade_to = upgrade if head.status == 426 else None
    if head.status == 101:
        if upgrade is None or upgrade.lower() != b"websocket" or not options.upgrade:
            raise Malformed(502, "101 without a switch to websocket")
        head.upgrade = True
        head.upgrade_to = upgrade
        head.keep_alive = False


def _frame_response(
    head: ResponseHead, length: bytes | None, coding: bytes | None, method: bytes
) -> None:
    """Sets framing, length and announced; a doubtful end costs keep_alive (RFC 9112, 6.3)."""
    head.length = head.announced = -1
    size = -1 if length is None else f.read_length(length, 502)
    if coding is not None:
        if length is not None:
            raise Malformed(502, "both Content-Length and Transfer-Encoding")
        if head.minor == 0:
            raise Malformed(502, "Transfer-Encoding in HTTP/1.0")
        if coding.lower() != b"chunked":
            raise Malformed(502, "unknown transfer coding")
    status = head.status
    # RFC 9110, 8.6; RFC 9112, 6.1: neither framing field may be with 1xx or 204.
    if status < 200:
        if coding is not None or size > 0:
            raise Malformed(502, "framing field in an interim answer")
        head.framing = _NONE
    elif status == 204:
        head.framing = _NONE
        if coding is not None or size > 0:  # a body may follow
            head.keep_alive = False
    elif method == b"HEAD" or status == 304:
        head.framing = _NONE
        head.announced = size
    elif coding is not None:
        head.framing = _CHUNKED
    elif length is not None:
        head.framing = _LENGTH
        head.length = size
    else:
        head.framing = _UNTIL_CLOSE
        head.keep_alive = False
    if head.framing != _CHUNKED:
        head.trailer = None


def client_framing(response: ResponseHead, method: bytes, client_minor: int) -> Framing:
    """How the body goes to a client of HTTP/1.`client_minor`."""
    framing = response.framing
    if method == b"HEAD":
        return _NONE
    if framing in (_NONE, _LENGTH):
        return framing
    return _CHUNKED if client_minor == 1 else _UNTIL_CLOSE


def render_response(
    head: ResponseHead, *, framing: Framing, client_minor: int, close: bool, extra: bytes
) -> bytes:
    """The head to send to the client. `extra`: ready `Name: value` lines, CRLF behind each."""
    out = [b"HTTP/1.1 %d %b" % (head.status, head.reason)]
    out += head.fields
    if framing == _LENGTH:
        out.append(b"Content-Length: %d" % head.length)
    elif framing == _CHUNKED:
        out.append(b"Transfer-Encoding: chunked")
        if head.trailer is not None:
            out.append(b"Trailer: " + head.trailer)
    elif framing == _UNTIL_CLOSE:
        close = True
    elif head.announced >= 0:
        out.append(b"Content-Length: %d" % head.announced)
    if head.upgrade:
        out.append(b"Upgrade: websocket\r\nConnection: Upgrade")
    elif head.upgrade_to is not None:
        options = b"close, Upgrade" if close else b"Upgrade"
        out.append(b"Upgrade: %b\r\nConnection: %b" % (head.upgrade_to, options))
    elif close:
        out.append(b"Connection: close")
    elif client_minor == 0:
        out.append(b"Connection: keep-alive")
    out.append(extra + b"\r\n")
    return b"\r\n".join(out)


def render_interim(head: ResponseHead) -> bytes:
    """A 1xx answer for the client (never for one of HTTP/1.0)."""
    out = [b"HTTP/1.1 %d %b" % (head.status, head.reason)]
    out += head.fields
    out.append(b"\r\n")
    return b"\r\n".join(out)
