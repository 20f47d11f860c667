"""Request heads: what is read, what is refused and with which status."""

from __future__ import annotations

import time

import pytest

from gateway.proxy.codec import (
    Framing,
    HeadLimits,
    Malformed,
    RequestHead,
    find_head_end,
    parse_request,
)

LIMITS = HeadLimits(65536, 128)
HOST = b"Host: shop.example"


def raw(line: bytes, *fields: bytes, host: bytes | None = HOST) -> bytes:
    lines = [line, *([] if host is None else [host]), *fields, b"", b""]
    return b"\r\n".join(lines)


def read(data: bytes, limits: HeadLimits = LIMITS) -> RequestHead:
    head = parse_request(data, limits)
    assert head is not None
    return head


def get(*fields: bytes, host: bytes | None = HOST, version: bytes = b"HTTP/1.1") -> RequestHead:
    return read(raw(b"GET / " + version, *fields, host=host))


def post(*fields: bytes, version: bytes = b"HTTP/1.1") -> RequestHead:
    return read(raw(b"POST / " + version, *fields))


def dribble(data: bytes) -> RequestHead | None:
    """Read `data` as if every byte came alone; a head must not be complete before its end."""
    head = None
    for end in range(1, len(data) + 1):
        assert head is None
        head = parse_request(data[:end], LIMITS, end - 1)
    return head


FULL = raw(
    b"POST /a/b?c=d HTTP/1.1",
    b"Connection: keep-alive",
    b"Accept: text/html",
    b"Cookie: a=1",
    b"X-Odd:\t v \t",
    b"Content-Length: 5",
    b"cookie: b=2",
    b"X-Gateway-Service: shop-v2",
    b"X-Request-Id: abc-123",
    b"accept: */*;q=0.1",
    host=b"Host: Shop.Example:8080",
)


def check_full(head: RequestHead | None, size: int = len(FULL)) -> None:
    assert head is not None
    assert (head.method, head.target, head.path) == (b"POST", b"/a/b?c=d", b"/a/b")
    assert (head.host, head.authority, head.minor) == (b"shop.example", b"Shop.Example:8080", 1)
    assert (head.framing, head.length, head.keep_alive) == (Framing.LENGTH, 5, True)
    assert (head.cookies, head.selector, head.request_id) == (b"a=1; b=2", b"shop-v2", b"abc-123")
    assert head.accept == b"text/html, */*;q=0.1"
    assert (head.expect_continue, head.upgrade, head.max_forwards) == (False, None, None)
    assert head.size == size


def test_a_whole_head_is_read_and_bytes_behind_it_are_left() -> None:
    check_full(parse_request(FULL, LIMITS))
    check_full(parse_request(FULL + b"hello" + FULL, LIMITS))


def test_a_head_cut_anywhere_is_incomplete_and_then_understood_the_same() -> None:
    for data in (FULL, b"\r\n\r\n" + FULL):
        for cut in range(len(data)):
            assert parse_request(data[:cut], LIMITS) is None, cut
            check_full(parse_request(data, LIMITS, cut), len(data))


def test_a_head_that_comes_byte_by_byte_is_understood_the_same() -> None:
    check_full(dribble(FULL))


def test_the_end_of_a_head_is_found_from_where_the_last_search_stopped() -> None:
    for cut in range(len(FULL) + 1):
        found = find_head_end(FULL[:cut], 0)
        assert found == (len(FULL) if cut == len(FULL) else -1)
        if found < 0:
            assert find_head_end(FULL, cut) == len(FULL)


@pytest.mark.parametrize(
    ("value", "host", "authority"),
    [
        (b"a.example", b"a.example", b"a.example"),
        (b"A.EXAMPLE", b"a.example", b"A.EXAMPLE"),
        (b"a.example:8080", b"a.example", b"a.example:8080"),
        (b"a.example.", b"a.example", b"a.example."),
        (b"a.example:", b"a.example", b"a.example"),
        (b"a_b.example", b"a_b.example", b"a_b.example"),
        (b"127.0.0.1:80", b"127.0.0.1", b"127.0.0.1:80"),
        (b"[::1]", b"[::1]", b"[::1]"),
        (b"[2001:DB8::1]:443", b"[2001:db8::1]", b"[2001:DB8::1]:443"),
        (b"\t a.example \t", b"a.example", b"a.example"),
    ],
)
def test_host_is_lower_case_without_port_and_authority_as_written(
    value: bytes, host: bytes, authority: bytes
) -> None:
    head = get(host=b"Host:" + value)
    assert (head.host, head.authority) == (host, authority)


@pytest.mark.parametrize(
    ("line", "host", "target", "path"),
    [
        (b"GET http://b.example/x?y HTTP/1.1", b"b.example", b"/x?y", b"/x"),
        (b"GET HTTP://B.example:1/x HTTP/1.1", b"b.example", b"/x", b"/x"),
        (b"GET http://b.example HTTP/1.1", b"b.example", b"/", b"/"),
        (b"GET http://b.example?q=/ HTTP/1.1", b"b.example", b"/?q=/", b"/"),
        (b"OPTIONS http://b.example HTTP/1.1", b"b.example", b"*", b"*"),
        (b"OPTIONS http://b.example/ HTTP/1.1", b"b.example", b"/", b"/"),
        (b"OPTIONS * HTTP/1.1", b"shop.example", b"*", b"*"),
        (b"GET //b.example/x HTTP/1.1", b"shop.example", b"//b.example/x", b"//b.example/x"),
        (b"GET /? HTTP/1.1", b"shop.example", b"/?", b"/"),
        (b"GET /a%2Fb/../%00 HTTP/1.1", b"shop.example", b"/a%2Fb/../%00", b"/a%2Fb/../%00"),
        (b'GET /?a[]=1&b={}|^`"<>\\ HTTP/1.1', b"shop.example", b'/?a[]=1&b={}|^`"<>\\', b"/"),
    ],
)
def test_forms_of_targets(line: bytes, host: bytes, target: bytes, path: bytes) -> None:
    head = read(raw(line))
    assert (head.host, head.target, head.path) == (host, target, path)


def test_the_authority_of_an_absolute_target_wins_over_host() -> None:
    head = read(raw(b"GET http://B.example:81/x HTTP/1.1"))
    assert (head.host, head.authority) == (b"b.example", b"B.example:81")


@pytest.mark.parametrize(
    ("line", "is_absolute"),
    [
        (b"GET http://b.example/x HTTP/1.1", True),
        (b"OPTIONS http://b.example HTTP/1.0", True),
        (b"GET /http://b.example/ HTTP/1.1", False),
        (b"GET //b.example/ HTTP/1.1", False),
        (b"OPTIONS * HTTP/1.1", False),
    ],
)
def test_a_request_as_to_a_proxy_is_told_from_others(line: bytes, is_absolute: bool) -> None:
    assert read(raw(line)).is_absolute is is_absolute


@pytest.mark.parametrize(
    ("line", "is_https"),
    [
        (b"GET https://b.example/x HTTP/1.1", True),
        (b"GET HTTPS://b.example/x HTTP/1.1", True),
        (b"GET http://b.example/x HTTP/1.1", False),
        (b"GET /https://b.example/ HTTP/1.1", False),
    ],
)
def test_an_https_target_is_told_from_others(line: bytes, is_https: bool) -> None:
    head = read(raw(line))
    assert head.is_https is is_https
    if is_https:
        assert (head.host, head.target) == (b"b.example", b"/x")


def test_who_wants_a_forward_proxy_is_told_what_there_is_instead() -> None:
    with pytest.raises(Malformed) as refused:
        parse_request(raw(b"CONNECT a.example:443 HTTP/1.1"), LIMITS)
    for word in ("no forward proxy", "external_links", "https_proxy", "no_proxy"):
        assert word in refused.value.reason
    assert "a.example" not in refused.value.reason


@pytest.mark.parametrize("method", [b"get", b"X-PURGE!~1", b"M-SEARCH", b"a"])
def test_a_method_is_kept_as_it_is(method: bytes) -> None:
    assert read(raw(method + b" / HTTP/1.1")).method == method


@pytest.mark.parametrize(
    ("fields", "minor", "keep_alive"),
    [
        ((), 1, True),
        ((b"Connection: close",), 1, False),
        ((b"Connection: CLOSE",), 1, False),
        ((b"Connection: foo, Close",), 1, False),
        ((b"Connection: foo", b"Connection: ,close,"), 1, False),
        ((b"Connection: keep-alive, close",), 1, False),
        ((), 0, False),
        ((b"Connection: Keep-Alive",), 0, True),
        ((b"Connection: keep-alive, close",), 0, False),
        ((b"Proxy-Connection: keep-alive",), 0, False),
    ],
)
def test_when_a_client_connection_is_kept(
    fields: tuple[bytes, ...], minor: int, keep_alive: bool
) -> None:
    assert get(*fields, version=b"HTTP/1.%d" % minor).keep_alive is keep_alive


def test_as_to_a_proxy_a_connection_of_http10_is_not_kept() -> None:
    for version, keep_alive in ((b"1.0", False), (b"1.1", True)):
        line = b"GET http://shop.example/ HTTP/" + version
        assert read(raw(line, b"Connection: keep-alive")).keep_alive is keep_alive


def test_framing_of_bodies() -> None:
    assert (post().framing, post().length) == (Framing.NONE, -1)
    zero = post(b"Content-Length: 0")
    assert (zero.framing, zero.length) == (Framing.LENGTH, 0)
    longest = post(b"Content-Length: 9223372036854775807")
    assert longest.length == 2**63 - 1
    for spelling in (b"Transfer-Encoding: chunked", b"TRANSFER-ENCODING:CHUNKED "):
        head = post(spelling)
        assert (head.framing, head.length) == (Framing.CHUNKED, -1)
    assert get(b"Content-Length: 3").length == 3


def test_connection_does_not_change_the_framing() -> None:
    assert post(b"Connection: Content-Length, Host", b"Content-Length: 3").length == 3
    head = post(b"Connection: Transfer-Encoding", b"Transfer-Encoding: chunked")
    assert head.framing == Framing.CHUNKED


def test_expectations() -> None:
    assert post(b"Expect: 100-Continue", b"Content-Length: 3").expect_continue
    assert post(b"Expect: 100-continue", b"Transfer-Encoding: chunked").expect_continue
    # Without a body nobody may wait for it.
    assert not post(b"Expect: 100-continue", b"Content-Length: 0").expect_continue
    assert not get(b"Expect: 100-continue").expect_continue
    for value in (b"Expect: 100-continue", b"Expect: x"):
        assert not post(value, b"Content-Length: 3", version=b"HTTP/1.0").expect_continue


WEBSOCKET = (b"Upgrade: websocket", b"Connection: Upgrade")


def test_an_upgrade_to_websocket_is_seen() -> None:
    assert get(*WEBSOCKET).upgrade == b"websocket"
    assert get(b"upgrade: WebSocket", b"Connection: keep-alive, Upgrade").upgrade == b"websocket"
    assert get(*WEBSOCKET, b"Content-Length: 0").upgrade == b"websocket"


@pytest.mark.parametrize(
    "data",
    [
        raw(b"GET / HTTP/1.0", *WEBSOCKET),
        raw(b"POST / HTTP/1.1", *WEBSOCKET),
        raw(b"GET / HTTP/1.1", *WEBSOCKET, b"Content-Length: 3"),
        raw(b"GET / HTTP/1.1", *WEBSOCKET, b"Transfer-Encoding: chunked"),
        raw(b"GET / HTTP/1.1", b"Upgrade: websocket"),
        raw(b"GET / HTTP/1.1", b"Upgrade: h2c", b"Connection: Upgrade, HTTP2-Settings"),
        raw(b"GET / HTTP/1.1", b"Upgrade: websocket, h2c", b"Connection: Upgrade"),
        raw(b"GET / HTTP/1.1", *WEBSOCKET, b"Upgrade: h2c"),
    ],
)
def test_any_other_upgrade_is_not_honoured(data: bytes) -> None:
    assert read(data).upgrade is None


def test_max_forwards_counts_for_options_only() -> None:
    assert read(raw(b"OPTIONS / HTTP/1.1", b"Max-Forwards: 7")).max_forwards == 7
    assert read(raw(b"OPTIONS * HTTP/1.1", b"Max-Forwards: 0")).max_forwards == 0
    assert read(raw(b"GET / HTTP/1.1", b"Max-Forwards: x")).max_forwards is None


@pytest.mark.parametrize(
    ("fields", "kept"),
    [
        ((b"X-Request-ID: 0af7651916cd43dd",), b"0af7651916cd43dd"),
        ((b"X-Request-Id: " + b"a" * 128,), b"a" * 128),
        ((b"X-Request-Id: " + b"a" * 129,), None),
        ((b"X-Request-Id: a b",), None),
        ((b"X-Request-Id:",), None),
        ((b"X-Request-Id: caf\xe9",), None),
        ((b"X-Request-Id: a", b"X-Request-Id: b"), None),
        ((b"X-Request-Id: a", b"X-Request-Id: b", b"X-Request-Id: c"), None),
    ],
)
def test_only_a_plain_request_id_is_kept(fields: tuple[bytes, ...], kept: bytes | None) -> None:
    assert get(*fields).request_id == kept


def test_http_10_needs_no_host() -> None:
    head = get(host=None, version=b"HTTP/1.0")
    assert (head.host, head.authority) == (b"", b"")


def test_a_few_empty_lines_before_a_request_are_ignored() -> None:
    data = raw(b"GET / HTTP/1.1")
    assert read(b"\r\n" * 4 + data).size == len(data) + 8
    with pytest.raises(Malformed):
        parse_request(b"\r\n" * 5 + data, LIMITS)


G = b"GET / HTTP/1.1"
P = b"POST / HTTP/1.1"

REFUSED: list[tuple[str, bytes, int]] = [
    # RFC 9112, 3: request line
    ("two spaces", raw(b"GET  / HTTP/1.1"), 400),
    ("tab", raw(b"GET\t/\tHTTP/1.1"), 400),
    ("space behind", raw(b"GET / HTTP/1.1 "), 400),
    ("space before", raw(b" GET / HTTP/1.1"), 400),
    ("space in target", raw(b"GET /a b HTTP/1.1"), 400),
    ("no version", raw(b"GET /"), 400),
    ("HTTP/0.9", b"GET /\r\n\r\n", 400),
    ("empty target", raw(b"GET  HTTP/1.1"), 400),
    ("method no token", raw(b'G="<>" / HTTP/1.1'), 400),
    ("method with colon", raw(b"G:T / HTTP/1.1"), 400),
    ("non-ASCII method", raw(b"G\xc9T / HTTP/1.1"), 400),
    # RFC 9112, 2.3: version
    ("lower case version", raw(b"GET / http/1.1"), 400),
    ("two minor digits", raw(b"GET / HTTP/1.11"), 400),
    ("no minor", raw(b"GET / HTTP/1"), 400),
    ("HTTP/1.2", raw(b"GET / HTTP/1.2"), 505),
    ("HTTP/2.0", raw(b"GET / HTTP/2.0"), 505),
    ("HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    ("HTTP/0.9 named", raw(b"GET / HTTP/0.9"), 505),
    # RFC 9112, 3.2: target
    ("relative target", raw(b"GET a/b HTTP/1.1"), 400),
    ("asterisk for GET", raw(b"GET * HTTP/1.1"), 400),
    ("asterisk and more", raw(b"OPTIONS *a HTTP/1.1"), 400),
    ("authority-form", raw(b"GET shop.example:80 HTTP/1.1"), 400),
    ("fragment", raw(b"GET /a#b HTTP/1.1"), 400),
    ("NUL in target", raw(b"GET /\0 HTTP/1.1"), 400),
    ("control in target", raw(b"GET /\x01 HTTP/1.1"), 400),
    ("DEL in target", raw(b"GET /\x7f HTTP/1.1"), 400),
    ("non-ASCII target", raw(b"GET /caf\xc3\xa9 HTTP/1.1"), 400),
    ("other scheme", raw(b"GET ftp://shop.example/ HTTP/1.1"), 400),
    ("user info", raw(b"GET http://u:p@shop.example/ HTTP/1.1"), 400),
    ("absolute without host", raw(b"GET http:///x HTTP/1.1"), 400),
    ("absolute, comma", raw(b"GET http://a,b/x HTTP/1.1"), 400),
    ("absolute without Host", raw(b"GET http://a/ HTTP/1.1", host=None), 400),
    ("absolute, bad Host", raw(b"GET http://a/ HTTP/1.1", host=b"Host: a b"), 400),
    ("CONNECT", raw(b"CONNECT shop.example:80 HTTP/1.1"), 501),
    ("CONNECT origin-form", raw(b"CONNECT / HTTP/1.1"), 501),
    ("PRI", raw(b"PRI / HTTP/1.1"), 501),
    ("TRACE", raw(b"TRACE / HTTP/1.1"), 405),
    # RFC 9112, 3.2: Host
    ("no Host", raw(G, host=None), 400),
    ("two Hosts", raw(G, b"Host: other.example"), 400),
    ("the same Host twice", raw(G, HOST), 400),
    ("two Hosts, HTTP/1.0", raw(b"GET / HTTP/1.0", HOST), 400),
    ("empty Host", raw(G, host=b"Host:"), 400),
    ("Host with space", raw(G, host=b"Host: a b"), 400),
    ("Host with path", raw(G, host=b"Host: a/b"), 400),
    ("Host with comma", raw(G, host=b"Host: a,b"), 400),
    ("Host with user", raw(G, host=b"Host: u@a"), 400),
    ("Host non-ASCII", raw(G, host=b"Host: caf\xc3\xa9"), 400),
    ("Host percent", raw(G, host=b"Host: a%2eb"), 400),
    ("Host port text", raw(G, host=b"Host: a:b"), 400),
    ("Host port range", raw(G, host=b"Host: a:65536"), 400),
    ("Host port digits", raw(G, host=b"Host: a:000080"), 400),
    ("Host only port", raw(G, host=b"Host: :80"), 400),
    ("Host only dot", raw(G, host=b"Host: ."), 400),
    ("Host two dots", raw(G, host=b"Host: a.."), 400),
    ("Host bad IPv6", raw(G, host=b"Host: [:::1]"), 400),
    ("Host IPv4 in brackets", raw(G, host=b"Host: [1.2.3.4]"), 400),
    ("Host open bracket", raw(G, host=b"Host: [::1"), 400),
    ("Host bare IPv6", raw(G, host=b"Host: ::1"), 400),
    # RFC 9112, 2.2: line ends
    ("LF ends", b"GET / HTTP/1.1\nHost: a\n\n", 400),
    ("CR ends", b"GET / HTTP/1.1\rHost: a\r\r", 400),
    ("LF in a value", raw(G, b"X: a\nY: b"), 400),
    ("LF in a name", raw(G, b"X\nY: b"), 400),
    ("CR in a value", raw(G, b"X: a\rY: b"), 400),
    ("CR before CRLF", raw(G, b"X: a\r"), 400),
    ("LF before CRLF", raw(G, b"X: a\n"), 400),
    ("LF before the request", b"\n" + raw(G), 400),
    ("CR before the request", b"\r" + raw(G), 400),
    # RFC 9112, 5: fields
    ("space before colon", raw(G, b"X : a"), 400),
    ("tab before colon", raw(G, b"X\t: a"), 400),
    ("known name, space before colon", raw(G, b"Accept : a"), 400),
    ("no colon", raw(G, b"X"), 400),
    ("known name, no colon", raw(G, b"Accept"), 400),
    ("known name, no colon, Host", raw(G, host=b"Host"), 400),
    ("empty name", raw(G, b": a"), 400),
    ("fold", raw(G, b"X: a", b" b"), 400),
    ("fold with tab", raw(G, b"X: a", b"\tb: c"), 400),
    ("space line first", b"GET / HTTP/1.1\r\n X: a\r\nHost: a\r\n\r\n", 400),
    ("name with bracket", raw(G, b"X[]: a"), 400),
    ("name with space", raw(G, b"X y: a"), 400),
    ("name non-ASCII", raw(G, b"X\x85: a"), 400),
    ("name with NUL", raw(G, b"X\0: a"), 400),
    ("NUL in a value", raw(G, b"X: a\0b"), 400),
    ("VT in a value", raw(G, b"X:\x0ba"), 400),
    ("ESC in a value", raw(G, b"X: \x1b[0m"), 400),
    ("DEL in a value", raw(G, b"X: a\x7f"), 400),
    ("Connection of 65 options", raw(G, b"Connection: " + b"x," * 65), 400),
    ("Connection no token", raw(G, b"Connection: close; x"), 400),
    # RFC 9112, 6.1: Transfer-Encoding
    ("CL and TE", raw(P, b"Content-Length: 3", b"Transfer-Encoding: chunked"), 400),
    ("TE and CL", raw(P, b"Transfer-Encoding: chunked", b"Content-Length: 3"), 400),
    ("CL and xchunked", raw(P, b"Content-Length: 3", b"Transfer-Encoding: xchunked"), 400),
    ("TE twice", raw(P, b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"), 400),
    ("chunked twice", raw(P, b"Transfer-Encoding: chunked, chunked"), 501),
    ("chunked not last", raw(P, b"Transfer-Encoding: chunked, identity"), 400),
    ("gzip, chunked", raw(P, b"Transfer-Encoding: gzip, chunked"), 501),
    ("gzip", raw(P, b"Transfer-Encoding: gzip"), 400),
    ("identity", raw(P, b"Transfer-Encoding: identity"), 400),
    ("quoted", raw(P, b'Transfer-Encoding: "chunked"'), 400),
    ("parameter", raw(P, b"Transfer-Encoding: chunked;q=1"), 400),
    ("empty element", raw(P, b"Transfer-Encoding: ,chunked"), 501),
    ("empty", raw(P, b"Transfer-Encoding:"), 400),
    ("TE in HTTP/1.0", raw(b"POST / HTTP/1.0", b"Transfer-Encoding: chunked"), 400),
    ("TE with a tab before", raw(P, b"Transfer-Encoding:\tchunked"), 400),
    ("TE with a tab behind", raw(P, b"Transfer-Encoding: chunked\t"), 400),
    ("TE with VT", raw(P, b"Transfer-Encoding:\x0bchunked"), 400),
    ("TE with NBSP", raw(P, b"Transfer-Encoding:\xa0chunked"), 400),
    ("TE space colon", raw(P, b"Transfer-Encoding : chunked"), 400),
    ("TE underscore", raw(P, b"Transfer_Encoding: chunked"), 400),
    ("TE decorated", raw(P, b"Transfer-Encoding1: chunked"), 400),
    ("TE without hyphen", raw(P, b"TransferEncoding: chunked"), 400),
    ("CL underscore", raw(P, b"CONTENT_LENGTH: 3"), 400),
    ("CL dotted", raw(P, b"Content.Length: 3"), 400),
    # RFC 9110, 8.6: Content-Length
    ("CL twice", raw(P, b"Content-Length: 3", b"Content-Length: 4"), 400),
    ("CL twice the same", raw(P, b"Content-Length: 3", b"content-length: 3"), 400),
    ("CL list", raw(P, b"Content-Length: 3, 3"), 400),
    ("CL plus", raw(P, b"Content-Length: +3"), 400),
    ("CL minus", raw(P, b"Content-Length: -1"), 400),
    ("CL underscore digits", raw(P, b"Content-Length: 1_0"), 400),
    ("CL hex", raw(P, b"Content-Length: 0x10"), 400),
    ("CL empty", raw(P, b"Content-Length:"), 400),
    ("CL superscript", raw(P, b"Content-Length: \xb2"), 400),
    ("CL Arabic digits", raw(P, "Content-Length: ٣".encode()), 400),
    ("CL space", raw(P, b"Content-Length: 1 0"), 400),
    ("CL fraction", raw(P, b"Content-Length: 1.0"), 400),
    ("CL 2**63", raw(P, b"Content-Length: 9223372036854775808"), 400),
    ("CL 25 digits", raw(P, b"Content-Length: 1844674407370955161600005"), 400),
    ("CL 5000 digits", raw(P, b"Content-Length: " + b"1" * 5000), 400),
    # RFC 9110, 10.1.1 and 7.6.2
    ("expectation", raw(P, b"Expect: 200-ok, y", b"Content-Length: 1"), 417),
    ("two expectations", raw(P, b"Expect: 100-continue", b"Expect: 100-continue"), 417),
    ("Max-Forwards text", raw(b"OPTIONS / HTTP/1.1", b"Max-Forwards: -1"), 400),
    ("Max-Forwards twice", raw(b"OPTIONS / HTTP/1.1", b"Max-Forwards: 1", b"Max-Forwards: 1"), 400),
    # RFC 9112, 2.2: no HTTP at all
    ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(64)), 400),
]


@pytest.mark.parametrize(("data", "status"), [c[1:] for c in REFUSED], ids=[c[0] for c in REFUSED])
def test_refused(data: bytes, status: int) -> None:
    with pytest.raises(Malformed) as refusal:
        parse_request(data, LIMITS)
    assert refusal.value.status == status
    assert refusal.value.reason.isascii()


@pytest.mark.parametrize(("data", "status"), [c[1:] for c in REFUSED], ids=[c[0] for c in REFUSED])
def test_refused_when_it_comes_byte_by_byte(data: bytes, status: int) -> None:
    with pytest.raises(Malformed) as refusal:
        dribble(data)
    # Seen earlier, a control byte may hide what else is wrong.
    assert refusal.value.status in (status, 400)


@pytest.mark.parametrize(
    "data", [b"GET / HTTP/1.1\n", b"\x16", b"GET / HTTP/1.1\r\nHost: a\rX", b"GET /\x00"]
)
def test_what_can_never_become_a_head_is_refused_before_it_is_complete(data: bytes) -> None:
    with pytest.raises(Malformed):
        parse_request(data, LIMITS)


SMALL = HeadLimits(1024, 16)


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (raw(b"GET /" + b"a" * 1024 + b" HTTP/1.1"), 414),
        (b"GET /" + b"a" * 1019, 414),
        (raw(b"GET / HTTP/1.1", b"X: " + b"v" * 1024), 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"v" * 1024, 431),
        (raw(b"GET / HTTP/1.1", *[b"x: y"] * 16), 431),
    ],
)
def test_limits(data: bytes, status: int) -> None:
    with pytest.raises(Malformed) as refusal:
        parse_request(data, SMALL)
    assert refusal.value.status == status


def test_limits_are_inclusive() -> None:
    data = raw(b"GET / HTTP/1.1", *[b"x: y"] * 15)
    assert read(data, HeadLimits(len(data), 16)).size == len(data)
    filled = raw(b"GET / HTTP/1.1", b"X: ")
    data = raw(b"GET / HTTP/1.1", b"X: " + b"v" * (1024 - len(filled)))
    assert len(data) == 1024
    assert read(data + b"body", SMALL).size == 1024
    for cut in range(1, 1024):
        assert parse_request(data[:cut], SMALL) is None


def test_large_heads_cost_little_even_byte_by_byte() -> None:
    """64 KiB one byte at a time took 0.05 s; a quadratic reader takes minutes."""
    data = raw(b"GET / HTTP/1.1", b"X: " + b"v" * 65000)
    began = time.perf_counter()
    assert dribble(data) is not None
    assert time.perf_counter() - began < 2
    many = raw(b"GET / HTTP/1.1", *[b"Cookie: " + b"c" * 490] * 127)
    began = time.perf_counter()
    assert len(read(many).cookies or b"") > 60000
    assert time.perf_counter() - began < 0.1
