# cython: language_level=3, annotation_typing=False
"""Answers' heads: read from instances, rendered for clients.

Strict on purpose: an answer that has no single reading is refused (502), never repaired.
Invariants of a rendered head: at most one framing, no hop-by-hop field of the instance.
The shape is that of `codec_request`, for the same reasons.
"""

from __future__ import annotations

from gateway.proxy import fields as f
from gateway.proxy import lines, scan
from gateway.proxy.field_names import PLAIN, UNKNOWN
from gateway.proxy.fields import (
    CONNECTION,
    CONTENT_LENGTH,
    DATE,
    NO_OPTIONS,
    RESPONSE_KINDS,
    RESPONSE_NAMES,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
)
from gateway.proxy.heads import Framing, HeadLimits, Malformed, ResponseHead

_NONE = Framing.NONE
_LENGTH = Framing.LENGTH
_CHUNKED = Framing.CHUNKED
_UNTIL_CLOSE = Framing.UNTIL_CLOSE

_STATUS_START = b"HTTP/1."


def parse_response(
    data: bytes, method: bytes, limits: HeadLimits, searched: int = 0
) -> ResponseHead | None:
    """Read an answer's head (1xx included); None if it is not complete yet.

    `method` of the request, `searched` as in `parse_request`. Raises Malformed(502).
    """
    size = scan.find_head_end(data, searched)
    if size < 0 or size > limits.bytes:
        if not _STATUS_START.startswith(data[:7]):
            raise Malformed(502, "invalid status line")
        lines.check_part(data, 0, searched, limits, 502)
        return None
    end = size - 4
    line_end = scan.find_byte(data, 13, 0, end)
    head = ResponseHead()
    head.size = size
    _read_status_line(head, data, line_end)
    lines.check_lines(data, 0, end, limits, 502)
    _read_response_fields(head, data, line_end + 2, end, method)
    return head


def _read_status_line(head: ResponseHead, data: bytes, end: int) -> None:
    """Sets minor, status and reason (RFC 9112, 4)."""
    status = scan.number(data, 9, 12) if end >= 12 else -1
    if (
        not 100 <= status <= 599
        or scan.piece(data, 0, 7) != _STATUS_START
        or not 48 <= data[7] <= 49
        or data[8] != 32
        or (end > 12 and data[12] != 32)
        or scan.count_lines(data, 12, end) != 0
    ):
        raise Malformed(502, "invalid status line")
    head.minor = data[7] - 48
    head.status = status
    head.reason = scan.piece(data, 13, end) if end > 13 else b""


def _read_response_fields(
    head: ResponseHead, data: bytes, at: int, end: int, method: bytes
) -> None:
    """Reads the lines in data[at:end]; the last one's CRLF is at `end`."""
    kept: list[bytes] = []
    run = at  # where the lines began that go on as they are
    connection: bytes | None = None
    length: bytes | None = None
    coding: bytes | None = None
    upgrade: bytes | None = None
    head.trailer = None
    head.has_date = False
    while at < end:
        begin = at
        stop = scan.find_byte(data, 13, at, end)
        at = stop + 2
        kind = UNKNOWN if scan._INTERPRETED else RESPONSE_NAMES.kind(data, begin, stop)
        if kind == PLAIN:
            continue
        colon = scan.find_byte(data, 58, begin, stop)
        if kind == UNKNOWN:
            name = scan.piece(data, begin, colon)
            kind = RESPONSE_KINDS.get(name, UNKNOWN)
            if kind == UNKNOWN:
                kind = f.classify_response(name)
        if colon == stop:
            raise Malformed(502, "field line without colon")
        if kind == PLAIN:
            continue
        if kind == DATE:
            head.has_date = True
            continue
        if run < begin:
            kept.append(scan.piece(data, run, begin))
        run = at
        value = scan.trimmed(data, colon + 1, stop)
        if kind == CONTENT_LENGTH:
            if length is not None:
                raise Malformed(502, "more than one Content-Length")
            length = value
        elif kind == TRANSFER_ENCODING:
            if coding is not None:
                raise Malformed(502, "more than one Transfer-Encoding")
            # A tab is a blank to RFC 9110, 5.6.3, part of the coding to llhttp.
            if scan.find_byte(data, 9, colon, stop) < stop:
                raise Malformed(502, "tab in Transfer-Encoding")
            coding = value
        elif kind == CONNECTION:
            connection = value if connection is None else connection + b"," + value
        elif kind == UPGRADE:
            upgrade = value if upgrade is None else upgrade + b", " + value
        elif kind == TRAILER:
            head.trailer = value if head.trailer is None else head.trailer + b", " + value
    if run < end:
        kept.append(scan.piece(data, run, end + 2))
    head.fields = kept[0] if len(kept) == 1 else b"".join(kept)
    options = NO_OPTIONS if connection is None else f.read_connection(connection, 502)
    head.keep_alive = not options.close and (head.minor == 1 or options.keep_alive)
    head.listed = options.listed
    if options.listed:
        head.fields = f.without_listed(head.fields, options.listed)
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
    if head.framing is not _CHUNKED:
        head.trailer = None


def client_framing(response: ResponseHead, method: bytes, client_minor: int) -> Framing:
    """How the body goes to a client of HTTP/1.`client_minor`."""
    framing = response.framing
    if method == b"HEAD":
        return _NONE
    if framing is _NONE or framing is _LENGTH:
        return framing
    return _CHUNKED if client_minor == 1 else _UNTIL_CLOSE


def render_response(
    head: ResponseHead, framing: Framing, client_minor: int, close: bool, extra: bytes
) -> bytes:
    """The head to send to the client. `extra`: ready `Name: value` lines, CRLF behind each."""
    if framing is _LENGTH:
        framed = b"Content-Length: %d\r\n" % head.length
    elif framing is _CHUNKED:
        framed = b"Transfer-Encoding: chunked\r\n"
        if head.trailer is not None:
            framed += b"Trailer: %b\r\n" % head.trailer
    elif framing is _UNTIL_CLOSE:
        framed = b""
        close = True
    elif head.announced >= 0:
        framed = b"Content-Length: %d\r\n" % head.announced
    else:
        framed = b""
    if head.upgrade:
        options = b"Upgrade: websocket\r\nConnection: Upgrade\r\n"
    elif head.upgrade_to is not None:
        names = b"close, Upgrade" if close else b"Upgrade"
        options = b"Upgrade: %b\r\nConnection: %b\r\n" % (head.upgrade_to, names)
    elif close:
        options = b"Connection: close\r\n"
    elif client_minor == 0:
        options = b"Connection: keep-alive\r\n"
    else:
        options = b""
    return b"".join(
        (
            _ANSWERS[head.status],
            head.reason,
            b"\r\n",
            head.fields,
            framed,
            options,
            extra,
            b"\r\n",
        )
    )


_ANSWERS = [b"HTTP/1.1 %d " % status for status in range(600)]


def render_interim(head: ResponseHead) -> bytes:
    """A 1xx answer for the client (never for one of HTTP/1.0)."""
    return b"".join((_ANSWERS[head.status], head.reason, b"\r\n", head.fields, b"\r\n"))
