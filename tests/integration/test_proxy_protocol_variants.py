"""One message, one reading, whatever way its bytes come: in pieces, by TLS, behind others."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from dataclasses import dataclass

from tests.integration.test_proxy_protocol_smuggling import (
    BODIES,
    CODINGS,
    HEADS,
    HIDDEN,
    LENGTHS,
    POST,
    SIZES,
)
from tests.support.certificates import tls_client, with_tls
from tests.support.plane import Plane, get, on_both_transports, post, proxied, settings
from tests.support.recorder import recorded, statuses
from tests.support.wire import Peer

H = b"Host: a.test\r\n"
OK = b"HTTP/1.1 200 OK\r\n"


def in_pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]


def by_byte(data: bytes) -> list[bytes]:
    return in_pieces(data, list(range(1, len(data)))) if len(data) < 2000 else [data]


async def send(peer: Peer, pieces: list[bytes]) -> None:
    """Each piece in a turn of its own; who is refused in the middle need not read the rest."""
    try:
        for piece in pieces:
            await peer.send(piece)
            await asyncio.sleep(0)
    except ConnectionError:
        pass


@dataclass(frozen=True)
class Passed:
    """What reaches the instance."""

    method: bytes = b"GET"
    target: bytes = b"/x"
    host: bytes = b"a.test"
    body: bytes = b""


SELF = Passed(b"")
"""Answered with 200 by the gateway itself."""

REQUESTS: list[tuple[bytes, Passed | int]] = [
    # methods
    (b"get /x HTTP/1.1\r\n" + H + b"\r\n", Passed(b"get")),
    (b"trace /x HTTP/1.1\r\n" + H + b"\r\n", Passed(b"trace")),
    (b"!#$%&'*+-.^_`|~ /x HTTP/1.1\r\n" + H + b"\r\n", Passed(b"!#$%&'*+-.^_`|~")),
    (b"PROPFIND /x HTTP/1.1\r\n" + H + b"Content-Length: 1\r\n\r\na", Passed(b"PROPFIND", body=b"a")),
    (b"TRACE /x HTTP/1.1\r\n" + H + b"\r\n", 405),
    (b"CONNECT a.test:80 HTTP/1.1\r\n" + H + b"\r\n", 501),
    (b"CONNECT / HTTP/1.1\r\n" + H + b"\r\n", 501),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    # versions
    (b"GET /x HTTP/0.9\r\n" + H + b"\r\n", 505),
    (b"GET /x HTTP/1.10\r\n" + H + b"\r\n", 400),
    (b"GET /x hTTP/1.1\r\n" + H + b"\r\n", 400),
    (b"GET /x\r\n\r\n", 400),
    # Host
    (b"\r\n\r\nGET /x HTTP/1.1\r\nhOsT:A.TEST:8080\r\n\r\n", Passed(host=b"A.TEST:8080")),
    (b"GET /x HTTP/1.1\r\nHost:\t a.test:0 \t\r\n\r\n", Passed(host=b"a.test:0")),
    (b"GET /x HTTP/1.1\r\nHost: a.test:\r\n\r\n", Passed()),
    (b"GET /x HTTP/1.1\r\nHost: a.test.:443\r\n\r\n", Passed(host=b"a.test.:443")),
    (b"GET /x HTTP/1.1\r\nHost: a.test:65536\r\n\r\n", 400),
    (b"GET /x HTTP/1.1\r\nHost: a.test:000080\r\n\r\n", 400),
    (b"GET /x HTTP/1.1\r\nHost: a.test..\r\n\r\n", 400),
    (b"GET /x HTTP/1.1\r\nHost: .\r\n\r\n", 400),
    (b"GET /x HTTP/1.1\r\nHost: a%2etest\r\n\r\n", 400),
    (b"GET /x HTTP/1.1\r\nHost: [::1\r\n\r\n", 400),
    (b"GET /x HTTP/1.1\r\nHost: ::1\r\n\r\n", 400),
    (b"GET /x HTTP/1.1\r\nHost: [::1%25eth0]\r\n\r\n", 400),
    (b"GET /x HTTP/1.1\r\nHost: " + b"a" * 256 + b"\r\n\r\n", 400),
    # targets with a host of their own
    (b"GET http://a.test:81/x?y HTTP/1.1\r\nHost: b.test\r\n\r\n", Passed(target=b"/x?y", host=b"a.test:81")),
    (b"GET hTTp://A.test HTTP/1.1\r\nHost: b.test:9\r\n\r\n", Passed(target=b"/", host=b"A.test")),
    (b"GET http://a.test?x=http://b HTTP/1.1\r\n" + H + b"\r\n", Passed(target=b"/?x=http://b")),
    (b"GET http://a.test@b.test/ HTTP/1.1\r\n" + H + b"\r\n", 400),
    (b"GET http://b.test#a.test/ HTTP/1.1\r\n" + H + b"\r\n", 400),
    (b"GET http://:80/ HTTP/1.1\r\n" + H + b"\r\n", 400),
    (b"GET ws://a.test/ HTTP/1.1\r\n" + H + b"\r\n", 400),
    (b"GET a.test:80 HTTP/1.1\r\n" + H + b"\r\n", 400),
    (b"GET http://a.test/x HTTP/1.1\r\n\r\n", 400),
    (b"GET http://a.test/x HTTP/1.0\r\n\r\n", Passed()),
    # other targets
    (b"GET /%61?%zz&\\\"<>^`{|} HTTP/1.1\r\n" + H + b"\r\n", Passed(target=b"/%61?%zz&\\\"<>^`{|}")),
    (b"GET //b.test/../;y=/%2F..%00 HTTP/1.1\r\n" + H + b"\r\n", Passed(target=b"//b.test/../;y=/%2F..%00")),
    (b"OPTIONS * HTTP/1.1\r\n" + H + b"Max-Forwards: 1\r\n\r\n", Passed(b"OPTIONS", b"*")),
    (b"OPTIONS /x HTTP/1.1\r\n" + H + b"Max-Forwards: 0\r\nContent-Length: 1\r\n\r\na", SELF),
    (b"OPTIONS /x HTTP/1.1\r\n" + H + b"Max-Forwards: 99999999999999999999\r\n\r\n", 400),
    (b"GET /x HTTP/1.1\r\n" + H + b"Max-Forwards: 0\r\n\r\n", Passed()),
    # bodies
    (
        b"PUT /x HTTP/1.1\r\n" + H + b"Transfer-Encoding: cHunKed\r\n\r\n"
        b'003;x;y="z;\\"\t"\r\nabc\r\nA\r\n0123456789\r\n0000;e\r\nX-T: v\r\n\r\n',
        Passed(b"PUT", body=b"abc0123456789"),
    ),
    (b"PUT /x HTTP/1.1\r\n" + H + b"Content-Length: 0000000000000000003\r\n\r\nabc", Passed(b"PUT", body=b"abc")),
    (b"PUT /x HTTP/1.1\r\n" + H + b"Content-Length: 00000000000000000003\r\n\r\nabc", 400),
    (b"PUT /x HTTP/1.1\r\n" + H + b"Expect: x\r\nContent-Length: 1\r\n\r\na", 417),
    # fields
    (b"GET /x HTTP/1.1\r\n" + H + b"X: \x80\xff\t\xe2\x82\xac\r\nX:\r\nx:  \t \r\n\r\n", Passed()),
    (b"GET /x HTTP/1.1\r\n" + H + b"Connection: ,, ,\r\nConnection: X-Q,\r\nX-q: 1\r\n\r\n", Passed()),
    (b"GET /x HTTP/1.1\r\n" + H + b"X: y\r\n" * 127 + b"\r\n", Passed()),
    (b"GET /x HTTP/1.1\r\n" + H + b"X: y\r\n" * 128 + b"\r\n", 431),
    # upgrades that are none
    (b"GET /x HTTP/1.1\r\n" + H + b"Upgrade: websocket, h2c\r\nConnection: upgrade\r\n\r\n", Passed()),
    (
        b"PUT /x HTTP/1.1\r\n" + H + b"Upgrade: websocket\r\nConnection: upgrade\r\nContent-Length: 1\r\n\r\na",
        Passed(b"PUT", body=b"a"),
    ),
]  # fmt: skip


@on_both_transports
async def test_a_request_has_one_reading_whatever_way_it_comes() -> None:
    async with (
        recorded(config=with_tls(settings())) as (secure, behind_tls),
        recorded() as (plain, recorder),
    ):
        for data, expected in REQUESTS:
            for way in ("whole", "by byte", "by TLS", "behind another", "with another"):
                is_tls = way == "by TLS"
                seen = behind_tls if is_tls else recorder
                client = await (tls_client(secure.port) if is_tls else plain.client())
                if way == "behind another":
                    assert (await client.ask(get(b"/first"))).status == 200
                first = get(b"/first") if way == "with another" else b""
                before = len(seen.requests) + len(first[:1])
                await send(client, by_byte(data) if way == "by byte" else [first + data])
                if first:
                    assert (await client.answer()).body == b"ok /first"
                said = await client.answer()
                told = [
                    Passed(r.method, r.target, r.get(b"host") or b"", r.body)
                    for r in seen.requests[before:]
                ]
                if isinstance(expected, int):
                    assert (said.status, told) == (expected, []), (way, data)
                else:
                    wanted = [] if expected is SELF else [expected]
                    assert (said.status, told) == (200, wanted), (way, data)
                client.close()


def hostile() -> Iterator[bytes]:
    """A few of each kind of what is refused, and of what is read as one message."""
    inside = b"0\r\n\r\n" + HIDDEN
    for coding in CODINGS[::4]:
        yield POST + b"Content-Length: %d\r\n" % len(inside) + coding + b"\r\n\r\n" + inside
    for length in LENGTHS[::4]:
        yield POST + length + b"\r\n\r\nhello" + HIDDEN
    chunks = POST + b"Transfer-Encoding: chunked\r\n\r\n"
    for size in SIZES[::4]:
        yield chunks + size + b"\r\nhello\r\n0\r\n\r\n" + HIDDEN
    for body in BODIES[::3]:
        yield chunks + body + HIDDEN
    for head in HEADS[::5]:
        yield head + HIDDEN


async def told(plane: Plane, pieces: list[bytes], *, is_tls: bool = False, first: bytes = b"") -> list[int]:  # fmt: skip
    """The statuses of all that is said to it, up to the gateway's close."""
    client = await (tls_client(plane.port) if is_tls else plane.client())
    if first:
        assert (await client.ask(first)).status == 200
    await send(client, pieces)
    return statuses(await client.closed())


@on_both_transports
async def test_what_is_refused_is_refused_whatever_way_it_comes() -> None:
    rng = random.Random(3)
    async with (
        recorded(config=with_tls(settings())) as (secure, behind_tls),
        recorded() as (plain, recorder),
    ):
        for data in hostile():
            cuts = sorted(rng.sample(range(1, len(data)), 3))
            verdict = await told(plain, [data])
            assert verdict in ([400], [501]), data
            assert await told(plain, by_byte(data)) == verdict, data
            assert await told(plain, in_pieces(data, cuts)) == verdict, (data, cuts)
            assert await told(plain, [data], first=get(b"/first")) == verdict, data
            assert await told(secure, in_pieces(data, cuts), is_tls=True) == verdict, (data, cuts)
            canary = await plain.client()
            assert (await canary.ask(get(b"/canary"))).body == b"ok /canary", data
            canary.close()
        assert set(recorder.targets) <= {b"/", b"/first", b"/canary"}
        assert b"/hidden" not in behind_tls.targets


ANSWERS: list[tuple[bytes, bytes]] = [
    (OK + b"CONTENT-LENGTH:\t2 \t\r\n\r\nok", b"ok"),
    (OK + b"Content-Length: 0000000000000000002\r\n\r\nok", b"ok"),
    (OK + b'Transfer-Encoding: CHUNKED\r\n\r\n0002;a="\\";"\r\nok\r\n0;b\r\nX: 1\r\n\r\n', b"ok"),
    (OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n00\r\nContent-Length: 7\r\nEvil: \t\r\n\r\n", b"ok"),
    (OK + b"Content_Length: 9\r\nContent-Length: 2\r\n\r\nok", b"ok"),
    (OK + b"Keep-Alive: evil\r\nProxy-Connection: evil\r\nUpgrade: evil\r\nContent-Length: 2\r\n\r\nok", b"ok"),
    (b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok", b"ok"),
    (b"HTTP/1.1 200 \t\x80\xff odd \r\nContent-Length: 2\r\n\r\nok", b"ok"),
    (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok", b"ok"),
    (b"HTTP/1.1 299 Odd\r\nContent-Length: 2\r\nConnection: close, X-A\r\nx-a: evil\r\n\r\nok", b"ok"),
    (b"HTTP/1.1 599 Odd\r\nContent-Length: 2\r\n\r\nok", b"ok"),
    (b"HTTP/1.1 205 Reset\r\nContent-Length: 0\r\n\r\n", b""),
    (b"HTTP/1.1 204 No\r\nContent-Length: 0\r\n\r\n", b""),
    (b"HTTP/1.1 304 No\r\nContent-Length: 5000\r\n\r\n", b""),
    (b"HTTP/1.1 100 Go\r\nContent-Length: 0\r\n\r\nHTTP/1.1 102 P\r\n\r\n" + OK + b"Content-Length: 2\r\n\r\nok", b"ok"),
    (OK + b"Content-Length: 2\r\n" + b"Set-Cookie: a=b; c\r\n" * 127 + b"\r\nok", b"ok"),
]  # fmt: skip
ANSWERS_REFUSED = [
    OK + b"Content-Length: 2,\r\n\r\nok",
    OK + b"Content-Length: 1_0\r\n\r\nok",
    OK + b"Content-Length: \xd9\xa2\r\n\r\nok",
    OK + b"Content-Length: 9223372036854775808\r\n\r\nok",
    OK + b"Content-Length: 2\r\n" + b"Set-Cookie: a=b; c\r\n" * 128 + b"\r\nok",
    OK + b"Transfer-Encoding:\r\n\r\n0\r\n\r\n",
    OK + b"Transfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n",
    OK + b"Transfer-Encoding: chunked\x0b\r\n\r\n0\r\n\r\n",
    OK + b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    OK + b"Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n0\r\n\r\n",
    OK + b"X\t: 1\r\nContent-Length: 0\r\n\r\n",
    OK + b"\tX: 1\r\nContent-Length: 0\r\n\r\n",
    OK + b"X: \x7f\r\nContent-Length: 0\r\n\r\n",
    OK + b"X: " + b"a" * 70_000 + b"\r\nContent-Length: 0\r\n\r\n",
    OK + b'Connection: "x"\r\nContent-Length: 0\r\n\r\n',
    b"HTTP/1.1 000 X\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 600 X\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 2000 X\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 \xb200 X\r\nContent-Length: 0\r\n\r\n",
    b"http/1.1 200 X\r\nContent-Length: 0\r\n\r\n",
    b"\0HTTP/1.1 200 X\r\nContent-Length: 0\r\n\r\n",
    b"ICY 200 OK\r\n\r\n",
    b"\x15\x03\x03\x00\x02\x02\x28",
    b"HTTP/1.1 101 S\r\n\r\n" + OK + b"Content-Length: 0\r\n\r\n",
    b"HTTP/1.1 103 E\r\nX: 1\n\n" + OK + b"Content-Length: 0\r\n\r\n",
]


@on_both_transports
async def test_an_answer_has_one_reading_whatever_way_it_comes_and_whoever_asked() -> None:
    pieces: list[bytes] = []

    async def serve(peer: Peer) -> None:
        while True:
            request = await peer.request()
            is_canary = request.target == b"/canary"
            for piece in [OK + b"Content-Length: 2\r\n\r\nme"] if is_canary else pieces:
                await peer.send(piece)
                await asyncio.sleep(0)

    asked = {
        "GET": get(),
        "HEAD": get(method=b"HEAD"),
        "POST": post(b"hello"),
        "1.0": b"GET / HTTP/1.0\r\n" + H + b"\r\n",
        "1.0 kept": b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n" + H + b"\r\n",
    }
    async with proxied(serve) as (plane, _):
        for answer, body in [*ANSWERS, *((refused, None) for refused in ANSWERS_REFUSED)]:
            for name, request in asked.items():
                for way in ([answer], by_byte(answer)):
                    pieces[:] = way
                    client = await plane.client()
                    method = request.split(b" ")[0]
                    said = await client.ask(request, method)
                    assert (said.status == 502) == (body is None), (name, answer)
                    if body is not None:
                        assert said.body == (b"" if name == "HEAD" else body), (name, answer)
                    assert b"evil" not in said.head.lower(), (name, answer)
                    client.close()
                    canary = await plane.client()
                    assert (await canary.ask(get(b"/canary"))).body == b"me", (name, answer)
                    canary.close()
