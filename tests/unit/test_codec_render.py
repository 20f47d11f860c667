"""Rendered heads: what goes on, what ends here, what the gateway says itself."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.proxy.codec import (
    Framing,
    HeadLimits,
    Hop,
    Malformed,
    client_framing,
    parse_request,
    parse_response,
    render_interim,
    render_request,
    render_response,
)

LIMITS = HeadLimits(65536, 128)


def upstream(
    *fields: bytes,
    line: bytes = b"GET /a?b HTTP/1.1",
    host: bytes | None = b"Host: shop.example:8080",
    peer: bytes = b"192.0.2.1",
    trusted: bool = False,
    strip_cookie: bytes | None = None,
) -> list[bytes]:
    """The lines an instance gets for a client's request."""
    data = b"\r\n".join([line, *([] if host is None else [host]), *fields, b"", b""])
    head = parse_request(data, LIMITS)
    assert head is not None
    out = render_request(head, Hop(peer, b"http", b"8080", trusted), b"minted", strip_cookie)
    assert out.endswith(b"\r\n\r\n")
    return out[:-4].split(b"\r\n")


def values(lines: list[bytes], name: bytes) -> list[bytes]:
    found = (line.partition(b": ") for line in lines[1:])
    return [value for key, _, value in found if key.lower() == name.lower()]


OWN = [
    b"X-Forwarded-For: 192.0.2.1",
    b"X-Forwarded-Proto: http",
    b"X-Forwarded-Host: shop.example:8080",
    b"X-Forwarded-Port: 8080",
    b"X-Request-Id: minted",
    b"Via: 1.1 gateway",
]


def test_a_plain_request_goes_on_with_the_gateways_own_fields() -> None:
    assert upstream() == [b"GET /a?b HTTP/1.1", b"Host: shop.example:8080", *OWN]


def test_order_spelling_and_bytes_of_fields_are_kept() -> None:
    fields = [
        b"user-agent: x/1",
        b"X-L: 1",
        b'Authorization: Basic "dXNlcjpwYXNz"',
        b"Accept: */*",
        b"X-L: 2",
        b"x-l:3 \t",
        b"X-B: caf\xe9 \xff\x80",
        b"x-!#$%&'*+.^`|~9: v",
        b"X-Empty:",
        b"traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        b"Max-Forwards: 9",
        b"Sec-WebSocket-Key: k",
    ]
    assert upstream(*fields)[2 : 2 + len(fields)] == fields


def test_an_absolute_target_becomes_origin_form_and_host_its_authority() -> None:
    lines = upstream(line=b"GET http://Other.example/x?y HTTP/1.1")
    assert lines[:2] == [b"GET /x?y HTTP/1.1", b"Host: Other.example"]
    assert values(lines, b"host") == [b"Other.example"]
    assert values(lines, b"x-forwarded-host") == [b"Other.example"]


def test_an_http_10_request_goes_on_as_11_and_via_tells() -> None:
    lines = upstream(line=b"GET / HTTP/1.0")
    assert lines[0] == b"GET / HTTP/1.1"
    assert values(lines, b"via") == [b"1.0 gateway"]


def test_via_of_others_is_kept() -> None:
    assert values(upstream(b"Via: 1.0 fred"), b"via") == [b"1.0 fred", b"1.1 gateway"]


@pytest.mark.parametrize(
    "field",
    [
        b"Connection: keep-alive",
        b"Keep-Alive: timeout=99",
        b"Proxy-Connection: keep-alive",
        b"Proxy-Authorization: Basic x",
        b"TE: gzip;q=0.5",
        b"Trailer: X-T",
        b"Upgrade: foo/2",
        b"HTTP2-Settings: AAMA",
        b"Proxy: http://evil.example/",
        b"X-Gateway-Service: shop-v2",
        b"x_gateway_service: shop-v2",
        b"X-Real-IP: 6.6.6.6",
        b"X_Real_IP: 6.6.6.6",
        b"X-Forwarded-For: 6.6.6.6, 7.7.7.7",
        b"X_Forwarded_For: 6.6.6.6",
        b"X.Forwarded-For: 6.6.6.6",
        b"X-Forwarded-Proto: https",
        b"X-Forwarded-Host: evil.example",
        b"X-Forwarded-Port: 1",
        b"X-Forwarded-Prefix: /evil",
        b"x-forwarded-user: root",
        b"Forwarded: for=6.6.6.6",
        b"For_warded: for=6.6.6.6",
        b"X_Request_Id: evil",
        b"X-Request-Id: not fit",
    ],
)
def test_what_ends_at_the_gateway(field: bytes) -> None:
    assert upstream(field)[2:] == OWN


def test_fields_listed_in_connection_are_removed() -> None:
    lines = upstream(
        b"X-HOP-TWO: 2",
        b"Connection: X-Hop-One, x-hop-two",
        b"connection: accept",
        b"X-Hop-One: 1",
        b"X-Keep: 3",
        b"Accept: */*",
    )
    assert lines[2:] == [b"X-Keep: 3", *OWN]


def test_connection_removes_neither_host_nor_framing_nor_what_the_gateway_says() -> None:
    listed = (
        b"close, Host, Content-Length, X-Forwarded-For, X-Forwarded-Proto, X-Forwarded-Host, "
        b"X-Forwarded-Port, X-Request-Id, Via, Cookie, Authorization, traceparent, Expect"
    )
    fields = [b"Authorization: Basic x", b"Via: 1.0 fred", b"traceparent: 00-x"]
    lines = upstream(
        b"Connection: " + listed,
        *fields,
        b"Cookie: a=1",
        b"Content-Length: 3",
        line=b"PUT / HTTP/1.1",
    )
    assert lines[1:] == [
        b"Host: shop.example:8080",
        *fields,
        b"Cookie: a=1",
        b"Content-Length: 3",
        *OWN,
    ]


def test_a_body_has_one_framing() -> None:
    post = b"POST / HTTP/1.1"
    assert upstream(b"Content-Length: 0007", line=post)[2:] == [b"Content-Length: 7", *OWN]
    assert upstream(b"transfer-encoding: CHUNKED", b"Trailer: X-T", line=post)[2:] == [
        b"Transfer-Encoding: chunked",
        b"Trailer: X-T",
        *OWN,
    ]


def test_expect_goes_on_when_a_body_follows() -> None:
    post = b"POST / HTTP/1.1"
    lines = upstream(b"expect: 100-Continue", b"Content-Length: 1", line=post)
    assert values(lines, b"expect") == [b"100-continue"]
    assert values(upstream(b"Expect: 100-continue"), b"expect") == []
    lines = upstream(b"Expect: 100-continue", b"Content-Length: 1", line=b"POST / HTTP/1.0")
    assert values(lines, b"expect") == []


def test_te_goes_on_for_trailers_only() -> None:
    lines = upstream(b"TE: gzip;q=0.5, Trailers", b"Connection: TE")
    assert values(lines, b"te") == [b"trailers"]
    assert values(lines, b"connection") == [b"TE"]


def test_an_upgrade_to_websocket_goes_on_with_its_fields() -> None:
    fields = [b"Sec-WebSocket-Key: k", b"Sec-WebSocket-Version: 13", b"Origin: https://a.example"]
    lines = upstream(b"Connection: keep-alive, Upgrade", b"Upgrade: WebSocket", *fields)
    assert lines[2:] == [*fields, b"Upgrade: websocket", b"Connection: Upgrade", *OWN]


def test_max_forwards_of_options_is_decremented() -> None:
    lines = upstream(b"Max-Forwards: 7", line=b"OPTIONS / HTTP/1.1")
    assert values(lines, b"max-forwards") == [b"6"]


def test_a_request_id_is_kept_or_minted() -> None:
    assert values(upstream(b"x-request-id: abc/1"), b"x-request-id") == [b"abc/1"]
    assert values(upstream(), b"x-request-id") == [b"minted"]


def test_cookies_are_joined_and_the_gateways_own_is_taken_out() -> None:
    name = b"GATEWAYSESSION"
    assert values(upstream(b'Cookie: a=b; c="d e"'), b"cookie") == [b'a=b; c="d e"']
    assert values(upstream(b"Cookie: a=1", b"cookie: b=2"), b"cookie") == [b"a=1; b=2"]
    lines = upstream(b"Cookie: GATEWAYSESSION=x", strip_cookie=name)
    assert values(lines, b"cookie") == []
    lines = upstream(b"Cookie: a=1; GATEWAYSESSION=x; b=2", strip_cookie=name)
    assert values(lines, b"cookie") == [b"a=1; b=2"]
    lines = upstream(b"Cookie: a=1", b"Cookie: GATEWAYSESSION=x", strip_cookie=name)
    assert values(lines, b"cookie") == [b"a=1"]
    lines = upstream(b"Cookie: a=1;b=2", strip_cookie=name)
    assert values(lines, b"cookie") == [b"a=1;b=2"]


def test_a_trusted_proxys_statements_are_kept_and_extended() -> None:
    lines = upstream(
        b"X-Forwarded-For: 203.0.113.7",
        b"x-forwarded-for: 198.51.100.2",
        b"X-Forwarded-Proto: https",
        b"X-Forwarded-Prefix: /p",
        b"X_Forwarded_For: 6.6.6.6",
        b"X-Real-IP: 6.6.6.6",
        b"Forwarded: for=203.0.113.7;proto=https",
        peer=b"2001:db8::1",
        trusted=True,
    )
    assert values(lines, b"x-forwarded-for") == [b"203.0.113.7, 198.51.100.2, 2001:db8::1"]
    assert values(lines, b"x-forwarded-proto") == [b"https"]
    assert values(lines, b"x-forwarded-host") == [b"shop.example:8080"]
    assert values(lines, b"x-forwarded-port") == [b"8080"]
    assert values(lines, b"x-forwarded-prefix") == [b"/p"]
    assert values(lines, b"forwarded") == [
        b'for=203.0.113.7;proto=https, for="[2001:db8::1]";host="shop.example:8080";proto=http'
    ]
    assert values(lines, b"x-real-ip") + values(lines, b"x_forwarded_for") == []


def test_a_trusted_proxy_that_says_nothing_changes_nothing() -> None:
    assert upstream(trusted=True)[2:] == OWN


# Answers


def downstream(
    *fields: bytes,
    line: bytes = b"HTTP/1.1 200 OK",
    method: bytes = b"GET",
    minor: int = 1,
    close: bool = False,
    extra: bytes = b"",
) -> list[bytes]:
    """The lines a client gets for an instance's answer."""
    head = parse_response(b"\r\n".join([line, *fields, b"", b""]), method, LIMITS)
    assert head is not None
    framing = client_framing(head, method, minor)
    out = render_response(head, framing, minor, close, extra)
    assert out.endswith(b"\r\n\r\n")
    return out[:-4].split(b"\r\n")


def test_an_answer_keeps_order_spelling_and_bytes_of_its_fields() -> None:
    fields = [
        b"server: x",
        b"Set-Cookie: a=1",
        b"Date: Tue, 01 Jan 2030 00:00:00 GMT",
        b"Set-Cookie: b=2; Path=/",
        b'WWW-Authenticate: Basic realm="a", Digest qop="auth"',
        b"X-B: caf\xe9",
    ]
    lines = downstream(*fields, b"Content-Length: 2", line=b"HTTP/1.0 401 Un authorised")
    assert lines == [b"HTTP/1.1 401 Un authorised", *fields, b"Content-Length: 2"]


def test_hop_by_hop_fields_of_an_answer_end_at_the_gateway() -> None:
    lines = downstream(
        b"X-Origin-Hop: 1",
        b"Connection: X-Origin-Hop, Set-Cookie",
        b"Keep-Alive: timeout=77",
        b"Proxy-Connection: close",
        b"Upgrade: h2c",
        b"Trailer: X-T",
        b"Content_Length: 9",
        b"Set-Cookie: a=1",
        b"X-Keep: 2",
        b"Content-Length: 0",
    )
    assert lines[1:] == [b"Set-Cookie: a=1", b"X-Keep: 2", b"Content-Length: 0"]


@pytest.mark.parametrize(
    ("fields", "line", "method", "minor", "close", "expected"),
    [
        ((b"Content-Length: 07",), b"200 OK", b"GET", 1, False, [b"Content-Length: 7"]),
        (
            (b"Content-Length: 7",),
            b"200 OK",
            b"GET",
            0,
            False,
            [b"Content-Length: 7", b"Connection: keep-alive"],
        ),
        (
            (b"Content-Length: 7",),
            b"200 OK",
            b"GET",
            1,
            True,
            [b"Content-Length: 7", b"Connection: close"],
        ),
        (
            (b"Transfer-Encoding: Chunked", b"Trailer: X-T"),
            b"200 OK",
            b"GET",
            1,
            False,
            [b"Transfer-Encoding: chunked", b"Trailer: X-T"],
        ),
        ((b"Transfer-Encoding: chunked",), b"200 OK", b"GET", 0, False, [b"Connection: close"]),
        ((), b"200 OK", b"GET", 1, False, [b"Transfer-Encoding: chunked"]),
        ((), b"200 OK", b"GET", 0, False, [b"Connection: close"]),
        ((b"Content-Length: 5000",), b"200 OK", b"HEAD", 1, False, [b"Content-Length: 5000"]),
        ((b"Transfer-Encoding: chunked",), b"200 OK", b"HEAD", 1, False, []),
        ((b"Content-Length: 0",), b"304 N", b"GET", 1, False, [b"Content-Length: 0"]),
        ((b"Content-Length: 5",), b"204 N", b"GET", 1, False, []),
        (
            (b"Upgrade: HTTP/3.0", b"Connection: Upgrade", b"Content-Length: 2"),
            b"426 U",
            b"GET",
            1,
            False,
            [b"Content-Length: 2", b"Upgrade: HTTP/3.0", b"Connection: Upgrade"],
        ),
        (
            (b"Upgrade: HTTP/3.0", b"Connection: Upgrade", b"Content-Length: 2"),
            b"426 U",
            b"GET",
            1,
            True,
            [b"Content-Length: 2", b"Upgrade: HTTP/3.0", b"Connection: close, Upgrade"],
        ),
        (
            (b"Upgrade: websocket", b"Connection: Upgrade", b"Sec-WebSocket-Accept: x"),
            b"101 S",
            b"GET",
            1,
            False,
            [b"Sec-WebSocket-Accept: x", b"Upgrade: websocket", b"Connection: Upgrade"],
        ),
    ],
)
def test_framing_and_connection_towards_the_client(
    fields: tuple[bytes, ...],
    line: bytes,
    method: bytes,
    minor: int,
    close: bool,
    expected: list[bytes],
) -> None:
    lines = downstream(*fields, line=b"HTTP/1.1 " + line, method=method, minor=minor, close=close)
    assert lines == [b"HTTP/1.1 " + line, *expected]


def test_extra_lines_come_last() -> None:
    lines = downstream(b"Content-Length: 0", extra=b"X-Served-By: a\r\nSet-Cookie: b=1\r\n")
    assert lines[1:] == [b"Content-Length: 0", b"X-Served-By: a", b"Set-Cookie: b=1"]


def test_a_missing_reason_leaves_a_valid_status_line() -> None:
    assert downstream(b"Content-Length: 0", line=b"HTTP/1.1 200")[0] == b"HTTP/1.1 200 "


def test_interim_answers_carry_their_fields_only() -> None:
    data = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nConnection: close\r\nKeep-Alive: x\r\n\r\n"
    head = parse_response(data, b"GET", LIMITS)
    assert head is not None
    assert render_interim(head) == b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    head = parse_response(b"HTTP/1.1 100 Continue\r\n\r\n", b"GET", LIMITS)
    assert head is not None
    assert render_interim(head) == b"HTTP/1.1 100 Continue\r\n\r\n"


# Whatever is accepted and rendered can be read again, and reads the same.

TOKENS = st.text("abcXYZ09-_.!#", min_size=1, max_size=8).map(str.encode)
VALUES = st.one_of(
    st.text(st.characters(max_codepoint=255, exclude_characters="\r\n"), max_size=12).map(
        lambda text: text.encode("latin-1")
    ),
    st.sampled_from(
        [b"close", b"keep-alive, Upgrade", b"websocket", b"chunked", b"7", b"a=1; b=2", b"trailers"]
    ),
)
NAMES = st.one_of(
    TOKENS,
    st.sampled_from(
        b"Connection Content-Length Transfer-Encoding Cookie Expect Upgrade TE Trailer Via Accept "
        b"X-Forwarded-For Forwarded X-Request-Id Keep-Alive Host Max-Forwards".split()
    ),
)
FIELDS = st.lists(st.tuples(NAMES, VALUES).map(lambda f: f[0] + b": " + f[1]), max_size=6)
REQUEST_LINES = st.builds(
    lambda method, target, minor: b"%b %b HTTP/1.%d" % (method, target, minor),
    st.sampled_from([b"GET", b"POST", b"OPTIONS", b"a!"]),
    st.sampled_from([b"/", b"/a?b=c", b"*", b"http://h.example/x", b"http://h.example", b"//x"]),
    st.integers(0, 1),
)


@settings(deadline=None, max_examples=300)
@given(REQUEST_LINES, FIELDS, st.booleans())
def test_a_rendered_request_reads_again_the_same(
    line: bytes, fields: list[bytes], trusted: bool
) -> None:
    try:
        head = parse_request(b"\r\n".join([line, b"Host: h.example", *fields, b"", b""]), LIMITS)
    except Malformed:
        return
    assert head is not None
    out = render_request(head, Hop(b"192.0.2.1", b"https", b"443", trusted), b"minted", b"a")
    again = parse_request(out, LIMITS)
    assert again is not None
    assert again.size == len(out)
    for name in ("method", "target", "path", "host", "authority", "framing", "length", "upgrade"):
        assert getattr(again, name) == getattr(head, name), name
    assert again.expect_continue == head.expect_continue
    assert again.trailers_ok == (head.trailers_ok and head.upgrade is None)
    assert again.fields.startswith(head.fields)
    assert again.keep_alive


@settings(deadline=None, max_examples=300)
@given(
    st.sampled_from([b"200 OK", b"204 N", b"304 N", b"404", b"426 U", b"500 \xe9", b"103 E"]),
    FIELDS,
    st.sampled_from([b"GET", b"HEAD"]),
    st.integers(0, 1),
    st.booleans(),
)
def test_a_rendered_answer_reads_again_the_same(
    status: bytes, fields: list[bytes], method: bytes, minor: int, close: bool
) -> None:
    try:
        head = parse_response(
            b"\r\n".join([b"HTTP/1.1 " + status, *fields, b"", b""]), method, LIMITS
        )
    except Malformed:
        return
    assert head is not None
    framing = client_framing(head, method, minor)
    out = render_response(head, framing, minor, close, b"X: y\r\n")
    again = parse_response(out, method, LIMITS)
    assert again is not None
    assert (again.size, again.status, again.reason) == (len(out), head.status, head.reason)
    assert again.framing == framing
    assert again.length == (head.length if framing == Framing.LENGTH else -1)
    assert again.keep_alive is not (close or framing == Framing.UNTIL_CLOSE)
    assert again.fields.startswith(head.fields)
