"""Requests that two readers could end at different places: refused, or passed on with one end.

What is said of each: nothing hidden in a body is ever run as a request, the origin gets no two
framings, and whoever comes next gets an answer of their own.
"""

from __future__ import annotations

import itertools

from tests.support.plane import Plane, get, on_both_transports
from tests.support.recorder import Recorder, recorded, statuses, talk

HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: a.test\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a.test\r\n"


async def is_harmless(plane: Plane, recorder: Recorder, data: bytes) -> list[int]:
    """Send it; the statuses of what came back until the gateway closed, which it must."""
    before = len(recorder.requests)
    client = await plane.client()
    await client.send(data)
    said = await client.closed()
    found = statuses(said)
    assert b"/hidden" not in recorder.targets[before:], data
    assert not recorder.violations, (data, recorder.violations)
    assert all(status == 200 or status in range(400, 500) or status == 501 for status in found), (
        data
    )
    canary = await plane.client()
    assert (await canary.ask(get(b"/canary"))).body == b"ok /canary", data
    canary.close()
    return found


CODINGS = [
    b"Transfer-Encoding: chunked",
    b"transfer-encoding: Chunked",
    b"TRANSFER-ENCODING: CHUNKED",
    b"Transfer-Encoding:chunked",
    b"Transfer-Encoding:\tchunked",
    b"Transfer-Encoding: chunked\t",
    b"Transfer-Encoding: chunked ",
    b"Transfer-Encoding:  chunked",
    b"Transfer-Encoding : chunked",
    b"Transfer-Encoding\t: chunked",
    b" Transfer-Encoding: chunked",
    b"\tTransfer-Encoding: chunked",
    b"X: y\r\n Transfer-Encoding: chunked",
    b"Transfer-Encoding:\r\n chunked",
    b"Transfer-Encoding:\r\n\tchunked",
    b"Transfer-Encoding\r\n: chunked",
    b"Transfer-Encoding\n : chunked",
    b"X: y\rTransfer-Encoding: chunked",
    b"X: y\nTransfer-Encoding: chunked",
    b"X: y\r\rTransfer-Encoding: chunked",
    b"X: y\n\rTransfer-Encoding: chunked",
    b"X: y\r\n\rTransfer-Encoding: chunked",
    b"X: y\0Transfer-Encoding: chunked",
    b"Transfer-Encoding: chunked\r",
    b"Transfer-Encoding: chunked\0",
    b"Transfer-Encoding: \0chunked",
    b"Transfer-Encoding: \x0bchunked",
    b"Transfer-Encoding: \x0cchunked",
    b"Transfer-Encoding: \x1fchunked",
    b"Transfer-Encoding: \x7fchunked",
    b"Transfer-Encoding: \x85chunked",
    b"Transfer-Encoding: \xa0chunked",
    b"Transfer-Encoding: \xff\xfechunked",
    b"Transfer-Encoding: xchunked",
    b"Transfer-Encoding: chunkedx",
    b"Transfer-Encoding: x chunked",
    b"Transfer-Encoding: chunk",
    b"Transfer-Encoding: ch\xc5\xafnked",
    b'Transfer-Encoding: "chunked"',
    b"Transfer-Encoding: 'chunked'",
    b"Transfer-Encoding: chunked;",
    b"Transfer-Encoding: chunked;q=0.5",
    b"Transfer-Encoding: chunked,",
    b"Transfer-Encoding: ,chunked",
    b"Transfer-Encoding: chunked, chunked",
    b"Transfer-Encoding: chunked, identity",
    b"Transfer-Encoding: identity, chunked",
    b"Transfer-Encoding: gzip, chunked",
    b"Transfer-Encoding: chunked, gzip",
    b"Transfer-Encoding: identity",
    b"Transfer-Encoding: gzip",
    b"Transfer-Encoding: ",
    b"Transfer-Encoding:",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
    b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x",
    b"Transfer-Encoding: x\r\nTransfer-Encoding: chunked",
    b"Transfer-Encoding: \r\nTransfer-Encoding: chunked",
    b"Transfer_Encoding: chunked",
    b"Transfer.Encoding: chunked",
    b"TransferEncoding: chunked",
    b"Transfer-Encoding\0: chunked",
    b"Transfer-Encoding\x85: chunked",
    b"Tr\xc3\xa4nsfer-Encoding: chunked",
    b":Transfer-Encoding: chunked",
    b": chunked\r\nTransfer-Encoding: chunked",
    b"Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked",
]


@on_both_transports
async def test_a_length_beside_any_spelling_of_a_coding_hides_no_request() -> None:
    inside = b"0\r\n\r\n" + HIDDEN
    chunk = b"%x\r\n%b\r\n0\r\n\r\n" % (len(HIDDEN), HIDDEN)
    async with recorded() as (plane, recorder):
        for coding in CODINGS:
            for length, body in ((len(inside), inside), (4, chunk), (0, chunk)):
                field = b"Content-Length: %d" % length
                for fields in ((field, coding), (coding, field)):
                    found = await is_harmless(
                        plane, recorder, POST + b"\r\n".join([*fields, b"", body])
                    )
                    assert found in ([400], [501]), (fields, found)


@on_both_transports
async def test_any_spelling_of_a_coding_alone_is_chunked_or_refused() -> None:
    body = b"5\r\nhello\r\n0\r\n\r\n"
    plain = {0, 1, 2, 3, 6, 7, len(CODINGS) - 1}
    async with recorded() as (plane, recorder):
        for at, coding in enumerate(CODINGS):
            data = POST + coding + b"\r\n\r\n" + body + get(b"/next", b"Connection: close")
            client = await plane.client()
            await client.send(data)
            found = statuses(await client.closed())
            if at in plain:
                assert found == [200, 200], coding
                assert recorder.requests[-2].body == b"hello", coding
            else:
                assert len(found) == 1 and found[0] in (400, 501), (coding, found)


LENGTHS = [
    b"Content-Length: +5",
    b"Content-Length: -5",
    b"Content-Length: -0",
    b"Content-Length: 5_0",
    b"Content-Length: 0x5",
    b"Content-Length: 5.0",
    b"Content-Length: 5e0",
    b"Content-Length: 5,5",
    b"Content-Length: 5, 6",
    b"Content-Length: 5,",
    b"Content-Length: ,5",
    b"Content-Length: 5;5",
    b"Content-Length: 5 5",
    b"Content-Length: 5\t5",
    b"Content-Length: \x0b5",
    b"Content-Length: 5\x0c",
    b"Content-Length: 5\0",
    b"Content-Length: 5\r\n 5",
    b"Content-Length:\r\n 5",
    b'Content-Length: "5"',
    b"Content-Length: \xb2",
    b"Content-Length: \xd9\xa5",
    b"Content-Length: \xef\xbc\x95",
    b"Content-Length: ",
    b"Content-Length:",
    b"Content-Length: five",
    b"Content-Length: 00000000000000000000005",
    b"Content-Length: 18446744073709551621",
    b"Content-Length: 9223372036854775808",
    b"Content-Length: 4294967301000000000000",
    b"Content-Length: " + b"9" * 5000,
    b"Content-Length: 5\r\nContent-Length: 5",
    b"Content-Length: 5\r\nContent-Length: 6",
    b"Content-Length: 5\r\ncontent-length: 0",
    b"Content-Length: 5\r\nContent-Length:",
    b"Content-Length : 5",
    b"Content-Length\t: 5",
    b" Content-Length: 5",
    b"X: y\r\n Content-Length: 5",
    b"X: y\rContent-Length: 5",
    b"X: y\nContent-Length: 5",
    b"Content_Length: 5",
    b"Content.Length: 5",
    b"ContentLength: 5",
    b"Content-Length\0: 5",
    b"Content-Length: 5\r\nContent_Length: 40",
]


@on_both_transports
async def test_a_length_that_is_not_plain_digits_once_is_refused() -> None:
    async with recorded() as (plane, recorder):
        for length, method in itertools.product(LENGTHS, (b"POST", b"GET")):
            line = method + POST[4:]
            found = await is_harmless(plane, recorder, line + length + b"\r\n\r\nhello" + HIDDEN)
            assert found == [400], (length, found)


SIZES = [
    b"0x5",
    b"0X5",
    b"5h",
    b"#5",
    b"$5",
    b"+5",
    b"-5",
    b"0_5",
    b"5.0",
    b"5,",
    b" 5",
    b"\t5",
    b"5 ",
    b"5\t",
    b"\x0b5",
    b"5\x0b",
    b"5\0",
    b"\xb2",
    b"\xd9\xa5",
    b"",
    b";a",
    b"5\r",
    b"5\n;a",
    b"5\r;a",
    b"5 ;a",
    b"5; a",
    b"5;a =b",
    b"5;a= b",
    b"5;",
    b"5;;",
    b"5;a;",
    b"5;=b",
    b"5;a=",
    b'5;a="',
    b'5;a="\n"',
    b'5;a="\r"',
    b'5;a="\\\r\n"',
    b"5;a\nb",
    b"5;\n",
    b"5;a\rb",
    b"5;a\r",
    b"5;a\0",
    b"5;a\x7f",
    b"5;a\xe9",
    b"5;a b",
    b"5;a,b",
    b"00000000000000005",
    b"10000000000000005",
    b"FFFFFFFFFFFFFFFF",
    b"FFFFFFFFFFFFFFFB",
    b"8000000000000005",
    b"7FFFFFFFFFFFFFFF",
    b"7FFFFFFFFFFFFFFE",
    b"4000000000000000",
]


@on_both_transports
async def test_a_chunk_size_that_is_not_plain_is_refused() -> None:
    line = POST + b"Transfer-Encoding: chunked\r\n\r\n"
    async with recorded() as (plane, recorder):
        for size in SIZES:
            for data in (
                line + size + b"\r\nhello\r\n0\r\n\r\n" + HIDDEN,
                line + b"1\r\na\r\n" + size + b"\r\nhello\r\n0\r\n\r\n" + HIDDEN,
            ):
                assert await is_harmless(plane, recorder, data) == [400], size


BODIES = [
    # line ends, also those only one of two readers takes for one (RFC 9112, 7.1)
    b"5\nhello\n0\n\n",
    b"5\r\nhello\n0\r\n\r\n",
    b"5\r\nhello\r0\r\n\r\n",
    b"5\rhello\r\n0\r\n\r\n",
    b"5\n\rhello\r\n0\r\n\r\n",
    b"5\r\n\nhello\r\n0\r\n\r\n",
    b"5\r\nhelloX\r\n0\r\n\r\n",
    b"5\r\nhelloXX0\r\n\r\n",
    b"5\r\nhell\r\n0\r\n\r\n",
    b"5\r\nhello\r\n\r\n0\r\n\r\n",
    b"5\r\nhello0\r\n\r\n",
    b"5\r\nhello\r\n0\n\r\n",
    b"5\r\nhello\r\n0\r\n\n",
    b"5\r\nhello\r\n0\r\n\r\r",
    b"5\r\nhello\r\n0\r\nX\r\n\r\n",
    b"5\r\nhello\r\n0\r\n\rX\r\n\r\n",
    b"5\r\nhello\r\n0\r\n\nGET /hidden HTTP/1.1\r\nHost: a.test\r\n\r\n",
    b"5\r\nhello\r\n0\r\nGET /hidden HTTP/1.1\r\nHost: a.test\r\n\r\n",
    # an extension that ends at LF for one reader and at CRLF for another (CVE-2025-55315)
    b"2;\nxx\r\n46\r\n0\r\n\r\nGET /hidden HTTP/1.1\r\nHost: a.test\r\n\r\n0\r\n\r\n",
    b"4;a\n\r\nxxxx\r\n0\r\n\r\n",
    b'4;a="\r\nxx"\r\n0\r\n\r\n',
    # trailers
    b"0\r\nContent-Length: 5\r\n\r\n",
    b"0\r\ncontent_length: 5\r\n\r\n",
    b"0\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"0\r\nX : y\r\n\r\n",
    b"0\r\n X: y\r\n\r\n",
    b"0\r\nX: y\r\n z\r\n\r\n",
    b"0\r\nX: y\rZ: z\r\n\r\n",
    b"0\r\nX: y\nZ: z\r\n\r\n",
    b"0\r\nX: \0\r\n\r\n",
    b"0\r\n: y\r\n\r\n",
]


@on_both_transports
async def test_a_chunked_body_that_ends_twice_is_refused() -> None:
    line = POST + b"Transfer-Encoding: chunked\r\n\r\n"
    async with recorded() as (plane, recorder):
        for body in BODIES:
            assert await is_harmless(plane, recorder, line + body + HIDDEN) == [400], body


@on_both_transports
async def test_what_is_in_a_body_stays_there() -> None:
    async with recorded() as (plane, recorder):
        for method in (b"GET", b"HEAD", b"DELETE", b"OPTIONS", b"PATCH", b"BREW"):
            line = method + POST[4:]
            for framing, body in (
                (b"Content-Length: %d" % len(HIDDEN), HIDDEN),
                (b"Transfer-Encoding: chunked", b"%x\r\n%b\r\n0\r\n\r\n" % (len(HIDDEN), HIDDEN)),
            ):
                for extra in (
                    b"",
                    b"Expect: 100-continue\r\n",
                    b"Upgrade: h2c\r\nConnection: Upgrade\r\n",
                ):
                    said = await talk(plane, line + extra + framing + b"\r\n\r\n" + body)
                    assert statuses(said) == [200, 200]
                    assert recorder.requests[-2].body == HIDDEN
                    assert recorder.targets[-2:] == [b"/", b"/bye"]
        # and what is behind an empty body is a request
        assert (
            statuses(await talk(plane, POST + b"Content-Length: 0\r\n\r\n" + HIDDEN)) == [200] * 3
        )


@on_both_transports
async def test_connection_can_remove_no_framing_and_no_host() -> None:
    async with recorded() as (plane, recorder):
        for listed in (
            b"Content-Length",
            b"content-length, host",
            b"close, Content-Length",
            b"Host, X-Forwarded-For, X-Forwarded-Proto, X-Forwarded-Host, Via, X-Request-Id",
        ):
            data = POST + b"Connection: %b\r\nContent-Length: 5\r\n\r\nhello" % listed
            client = await plane.client()
            assert (await client.ask(data)).status == 200
            seen = recorder.last
            assert (seen.body, seen.get(b"host")) == (b"hello", b"a.test")
            for name in (b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"via"):
                assert len(seen.all(name)) == 1


HEADS = [
    b"GET / HTTP/1.1\r\nHost: a.test\r\nX: a\rb\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a.test\r\nX: a\nb: c\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a.test\r\nX: a\0b\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a.test\r\nX: a\r\n b\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a.test\r\nX: a\r\n\tb: c\r\n\r\n",
    b"GET / HTTP/1.1\r\n Host: a.test\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a.test\r\n\r \n",
    b"GET / HTTP/1.1\r\nHost: a.test\r\n\n" + HIDDEN,
    b"GET / HTTP/1.1\r\nHost: a.test\n\n" + HIDDEN,
    b"GET / HTTP/1.1\nHost: a.test\n\n" + HIDDEN,
    b"GET / HTTP/1.1\rHost: a.test\r\r" + HIDDEN,
    b"GET / HTTP/1.1\r\nHost: a.test\r\r\n\r\n",
    b"GET / HTTP/1.1\r\r\nHost: a.test\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a.test\r\nX\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a.test\r\n: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a.test\r\nX : y\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a.test\r\nX y: z\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a.test\r\nX\x00: y\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a.test\r\nX\xff: y\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a.test\r\nHost: a.test\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a.test\r\nhOST: b.test\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a.test, a.test\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a.test#@b.test\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a.test/x\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a.test?x\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a.test\\x\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: u@a.test\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a.test:80:80\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a.test:8x\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a.test:-1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a.test%00\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: \xc3\xa1.test\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost:\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET /\x80 HTTP/1.1\r\nHost: a.test\r\n\r\n",
    b"GET /\x7f HTTP/1.1\r\nHost: a.test\r\n\r\n",
    b"GET /#a HTTP/1.1\r\nHost: a.test\r\n\r\n",
    b"GET  / HTTP/1.1\r\nHost: a.test\r\n\r\n",
    b"GET /  HTTP/1.1\r\nHost: a.test\r\n\r\n",
    b"GET\t/ HTTP/1.1\r\nHost: a.test\r\n\r\n",
    b"GET / HTTP/1.1 \r\nHost: a.test\r\n\r\n",
    b"GET / HTTP/1.1\x0b\r\nHost: a.test\r\n\r\n",
    b"GET / HTTP/1.1 x\r\nHost: a.test\r\n\r\n",
    b"GET / HTTP/1. 1\r\nHost: a.test\r\n\r\n",
    b"GET / HTTP/1,1\r\nHost: a.test\r\n\r\n",
    b"GET / HTTP/01.1\r\nHost: a.test\r\n\r\n",
    b"GET / HTTP/+1.1\r\nHost: a.test\r\n\r\n",
    b"GET / HTP/1.1\r\nHost: a.test\r\n\r\n",
    b"GET / \r\nHost: a.test\r\n\r\n",
    b"GET /\r\nHost: a.test\r\n\r\n",
    b"GET a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n",
    b"GET \\ HTTP/1.1\r\nHost: a.test\r\n\r\n",
    b"GET ?x HTTP/1.1\r\nHost: a.test\r\n\r\n",
    b"GET * HTTP/1.1\r\nHost: a.test\r\n\r\n",
    b"OPTIONS *x HTTP/1.1\r\nHost: a.test\r\n\r\n",
    b"GET http:/a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n",
    b"GET http:///x HTTP/1.1\r\nHost: a.test\r\n\r\n",
    b"GET http://a.test,b.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n",
    b"GET http://a.test\\@b.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n",
    b"GET file:///etc/passwd HTTP/1.1\r\nHost: a.test\r\n\r\n",
    b"(ET / HTTP/1.1\r\nHost: a.test\r\n\r\n",
    b"G\xc9T / HTTP/1.1\r\nHost: a.test\r\n\r\n",
    b"GET: / HTTP/1.1\r\nHost: a.test\r\n\r\n",
    b"\0GET / HTTP/1.1\r\nHost: a.test\r\n\r\n",
    b" GET / HTTP/1.1\r\nHost: a.test\r\n\r\n",
    b"\nGET / HTTP/1.1\r\nHost: a.test\r\n\r\n",
    b"\rGET / HTTP/1.1\r\nHost: a.test\r\n\r\n",
    b"\r\n" * 6 + b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n",
]


@on_both_transports
async def test_a_head_with_two_readings_is_400_and_the_end() -> None:
    async with recorded() as (plane, recorder):
        for head in HEADS:
            assert await is_harmless(plane, recorder, head + HIDDEN) == [400], head
        assert set(recorder.targets) == {b"/canary"}


@on_both_transports
async def test_behind_a_refused_request_nothing_is_read() -> None:
    async with recorded() as (plane, recorder):
        for head in HEADS[:4]:
            client = await plane.client()
            await client.send(get(b"/first") + head + HIDDEN)
            assert statuses(await client.closed()) == [200, 400]
        assert recorder.targets == [b"/first"] * 4
