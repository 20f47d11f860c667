"""Answers' heads: what is read, how the body is framed, what is refused."""

from __future__ import annotations

import pytest

from gateway.proxy.codec import (
    Framing,
    HeadLimits,
    Malformed,
    ResponseHead,
    client_framing,
    parse_response,
)

LIMITS = HeadLimits(65536, 128)


def raw(line: bytes, *fields: bytes) -> bytes:
    return b"\r\n".join([line, *fields, b"", b""])


def read(data: bytes, method: bytes = b"GET") -> ResponseHead:
    head = parse_response(data, method, LIMITS)
    assert head is not None
    return head


def ok(*fields: bytes, method: bytes = b"GET") -> ResponseHead:
    return read(raw(b"HTTP/1.1 200 OK", *fields), method)


def dribble(data: bytes) -> ResponseHead | None:
    """Read `data` as if every byte came alone; a head must not be complete before its end."""
    head = None
    for end in range(1, len(data) + 1):
        assert head is None
        head = parse_response(data[:end], b"GET", LIMITS, end - 1)
    return head


FULL = raw(
    b"HTTP/1.1 404 Not Found",
    b"Date: Tue, 01 Jan 2030 00:00:00 GMT",
    b"Content-Type: text/plain",
    b"Content-Length: 9",
    b"Set-Cookie: a=1",
    b"Connection: keep-alive",
)


def check_full(head: ResponseHead | None) -> None:
    assert head is not None
    assert (head.status, head.reason, head.minor) == (404, b"Not Found", 1)
    assert (head.framing, head.length, head.keep_alive) == (Framing.LENGTH, 9, True)
    assert (head.has_date, head.upgrade, head.size) == (True, False, len(FULL))


def test_a_whole_head_is_read_and_bytes_behind_it_are_left() -> None:
    check_full(parse_response(FULL, b"GET", LIMITS))
    check_full(parse_response(FULL + b"not found", b"GET", LIMITS))


def test_a_head_cut_anywhere_is_incomplete_and_then_understood_the_same() -> None:
    for cut in range(len(FULL)):
        assert parse_response(FULL[:cut], b"GET", LIMITS) is None
        check_full(parse_response(FULL, b"GET", LIMITS, cut))


def test_a_head_that_comes_byte_by_byte_is_understood_the_same() -> None:
    check_full(dribble(FULL))


@pytest.mark.parametrize(
    ("line", "status", "reason"),
    [
        (b"HTTP/1.1 200", 200, b""),
        (b"HTTP/1.1 200 ", 200, b""),
        (b"HTTP/1.0 299 Quite  OK", 299, b"Quite  OK"),
        (b"HTTP/1.1 599 caf\xe9\t!", 599, b"caf\xe9\t!"),
        (b"HTTP/1.1 100 Continue", 100, b"Continue"),
    ],
)
def test_status_lines(line: bytes, status: int, reason: bytes) -> None:
    head = read(raw(line))
    assert (head.status, head.reason) == (status, reason)


LENGTH_5 = (b"Content-Length: 5",)
CHUNKED = (b"Transfer-Encoding: chunked",)


@pytest.mark.parametrize(
    ("line", "fields", "method", "framing", "length", "announced", "keep_alive"),
    [
        (b"HTTP/1.1 200 OK", LENGTH_5, b"GET", Framing.LENGTH, 5, -1, True),
        (b"HTTP/1.1 200 OK", CHUNKED, b"GET", Framing.CHUNKED, -1, -1, True),
        (b"HTTP/1.1 200 OK", (), b"GET", Framing.UNTIL_CLOSE, -1, -1, False),
        (b"HTTP/1.0 200 OK", (), b"GET", Framing.UNTIL_CLOSE, -1, -1, False),
        (b"HTTP/1.0 200 OK", LENGTH_5, b"GET", Framing.LENGTH, 5, -1, False),
        # RFC 9110, 9.3.2 and 15.4.5: no body, whatever the fields say
        (b"HTTP/1.1 200 OK", LENGTH_5, b"HEAD", Framing.NONE, -1, 5, True),
        (b"HTTP/1.1 200 OK", CHUNKED, b"HEAD", Framing.NONE, -1, -1, True),
        (b"HTTP/1.1 200 OK", (), b"HEAD", Framing.NONE, -1, -1, True),
        (b"HTTP/1.1 304 Not Modified", LENGTH_5, b"GET", Framing.NONE, -1, 5, True),
        (b"HTTP/1.1 304 Not Modified", (), b"GET", Framing.NONE, -1, -1, True),
        (b"HTTP/1.1 204 No Content", (), b"GET", Framing.NONE, -1, -1, True),
        (b"HTTP/1.1 204 No Content", (b"Content-Length: 0",), b"GET", Framing.NONE, -1, -1, True),
        # A body that must not be there may come all the same: not reused.
        (b"HTTP/1.1 204 No Content", LENGTH_5, b"GET", Framing.NONE, -1, -1, False),
        (b"HTTP/1.1 204 No Content", CHUNKED, b"GET", Framing.NONE, -1, -1, False),
        (b"HTTP/1.1 103 Early Hints", (), b"GET", Framing.NONE, -1, -1, True),
        (b"HTTP/1.1 100 Continue", (b"Content-Length: 0",), b"GET", Framing.NONE, -1, -1, True),
    ],
)
def test_framing(
    line: bytes,
    fields: tuple[bytes, ...],
    method: bytes,
    framing: Framing,
    length: int,
    announced: int,
    keep_alive: bool,
) -> None:
    head = read(raw(line, *fields), method)
    assert (head.framing, head.length, head.announced) == (framing, length, announced)
    assert head.keep_alive is keep_alive


@pytest.mark.parametrize(
    ("line", "connection", "keep_alive"),
    [
        (b"HTTP/1.1 200 OK", b"close", False),
        (b"HTTP/1.1 200 OK", b"x, CLOSE", False),
        (b"HTTP/1.1 200 OK", b"", True),
        (b"HTTP/1.0 200 OK", b"Keep-Alive", True),
        (b"HTTP/1.0 200 OK", b"keep-alive, close", False),
    ],
)
def test_when_an_upstream_connection_is_kept(
    line: bytes, connection: bytes, keep_alive: bool
) -> None:
    head = read(raw(line, b"Content-Length: 0", b"Connection: " + connection))
    assert head.keep_alive is keep_alive


def test_switching_to_websocket_is_told() -> None:
    head = read(
        raw(b"HTTP/1.1 101 Switching Protocols", b"Upgrade: WebSocket", b"Connection: upgrade, x")
    )
    assert head.upgrade
    assert not head.keep_alive
    assert head.framing == Framing.NONE
    assert not ok(b"Upgrade: websocket", b"Connection: Upgrade", b"Content-Length: 0").upgrade


@pytest.mark.parametrize(
    ("framing", "minor", "expected"),
    [
        (LENGTH_5, 1, Framing.LENGTH),
        (LENGTH_5, 0, Framing.LENGTH),
        (CHUNKED, 1, Framing.CHUNKED),
        (CHUNKED, 0, Framing.UNTIL_CLOSE),
        ((), 1, Framing.CHUNKED),
        ((), 0, Framing.UNTIL_CLOSE),
    ],
)
def test_framing_towards_the_client(
    framing: tuple[bytes, ...], minor: int, expected: Framing
) -> None:
    assert client_framing(ok(*framing), b"GET", minor) == expected
    assert client_framing(ok(*framing, method=b"HEAD"), b"HEAD", minor) == Framing.NONE


H = b"HTTP/1.1 200 OK"

REFUSED: list[tuple[str, bytes]] = [
    # RFC 9112, 4: status line
    ("SSH", b"SSH-2.0-OpenSSH_9.2p1 Debian\r\nxx\r\n\r\n"),
    ("no HTTP, incomplete", b"SSH-2.0"),
    ("text status", raw(b"HTTP/1.1 abc OK")),
    ("two digits", raw(b"HTTP/1.1 20 OK")),
    ("four digits", raw(b"HTTP/1.1 2000 OK")),
    ("status 600", raw(b"HTTP/1.1 600 OK")),
    ("status 099", raw(b"HTTP/1.1 099 OK")),
    ("two spaces", raw(b"HTTP/1.1  200 OK")),
    ("tab", raw(b"HTTP/1.1\t200 OK")),
    ("HTTP/1.2", raw(b"HTTP/1.2 200 OK")),
    ("HTTP/2", raw(b"HTTP/2 200 OK")),
    ("lower case", raw(b"http/1.1 200 OK")),
    ("NUL in reason", raw(b"HTTP/1.1 200 O\0K")),
    ("empty line first", b"\r\n" + raw(H)),
    # RFC 9112, 2.2 and 5: lines and fields
    ("LF ends", b"HTTP/1.1 200 OK\nX: y\n\n"),
    ("LF in a value", raw(H, b"X: a\nY: b")),
    ("CR in a value", raw(H, b"X: a\rSet-Cookie: evil=1")),
    ("NUL in a value", raw(H, b"X: a\0b")),
    ("fold", raw(H, b"X: a", b" b")),
    ("space before colon", raw(H, b"X : v")),
    ("no colon", raw(H, b"X")),
    ("known name, no colon", raw(H, b"Server")),
    ("empty name", raw(H, b": v")),
    ("bad name", raw(H, b"X[]: v")),
    # RFC 9112, 6.3: framing
    ("CL twice", raw(H, b"Content-Length: 2", b"Content-Length: 3")),
    ("CL twice the same", raw(H, b"Content-Length: 2", b"Content-Length: 2")),
    ("CL list", raw(H, b"Content-Length: 2, 2")),
    ("CL text", raw(H, b"Content-Length: abc")),
    ("CL minus", raw(H, b"Content-Length: -2")),
    ("CL plus", raw(H, b"Content-Length: +2")),
    ("CL empty", raw(H, b"Content-Length:")),
    ("CL huge", raw(H, b"Content-Length: 9999999999999999999")),
    ("CL and TE", raw(H, b"Content-Length: 2", b"Transfer-Encoding: chunked")),
    ("TE twice", raw(H, b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked")),
    ("chunked twice", raw(H, b"Transfer-Encoding: chunked, chunked")),
    ("gzip", raw(H, b"Transfer-Encoding: gzip")),
    ("gzip, chunked", raw(H, b"Transfer-Encoding: gzip, chunked")),
    ("TE with a tab", raw(H, b"Transfer-Encoding: chunked\t")),
    ("TE in HTTP/1.0", raw(b"HTTP/1.0 200 OK", b"Transfer-Encoding: chunked")),
    ("Connection no token", raw(H, b"Connection: a b")),
    # RFC 9110, 8.6; RFC 9112, 6.1: what is behind it would be a body to some
    ("103 with CL", raw(b"HTTP/1.1 103 x", b"Content-Length: 3")),
    ("100 with TE", raw(b"HTTP/1.1 100 x", b"Transfer-Encoding: chunked")),
    # RFC 9110, 7.8
    ("101 to nothing", raw(b"HTTP/1.1 101 Switching Protocols")),
    ("101 to h2c", raw(b"HTTP/1.1 101 x", b"Upgrade: h2c", b"Connection: Upgrade")),
    ("101 without Connection", raw(b"HTTP/1.1 101 x", b"Upgrade: websocket")),
]


@pytest.mark.parametrize("data", [c[1] for c in REFUSED], ids=[c[0] for c in REFUSED])
@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
def test_refused(data: bytes, method: bytes) -> None:
    with pytest.raises(Malformed) as refusal:
        parse_response(data, method, LIMITS)
    assert refusal.value.status == 502


@pytest.mark.parametrize("data", [c[1] for c in REFUSED], ids=[c[0] for c in REFUSED])
def test_refused_when_it_comes_byte_by_byte(data: bytes) -> None:
    with pytest.raises(Malformed) as refusal:
        dribble(data)
    assert refusal.value.status == 502


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\nX: " + b"v" * 1024,
        raw(H, b"X: " + b"v" * 1024),
        raw(H, *[b"x: y"] * 17),
        b"HTTP/1.1 200 " + b"o" * 1024,
    ],
)
def test_limits(data: bytes) -> None:
    with pytest.raises(Malformed) as refusal:
        parse_response(data, b"GET", HeadLimits(1024, 16))
    assert refusal.value.status == 502
