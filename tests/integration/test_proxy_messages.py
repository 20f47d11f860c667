"""Requests and answers go through whole, in order and framed for the other side."""

from __future__ import annotations

import asyncio
import socket

from tests.support.certificates import tls_client, with_tls
from tests.support.plane import HOST, chunked, get, on_both_transports, post, proxied, settings
from tests.support.wire import Peer, eventually, serve_plain


@on_both_transports
async def test_a_request_reaches_the_origin_and_its_answer_the_client() -> None:
    async with proxied() as (plane, _origin):
        client = await plane.client()
        answer = await client.ask(get(b"/x?y=%20z"))
        assert answer.status == 200
        assert answer.body == b"origin GET /x?y=%20z "
        assert answer.get(b"x-served-by") == b"one"


@on_both_transports
async def test_connections_are_kept_on_both_sides() -> None:
    async with proxied() as (plane, origin):
        client = await plane.client()
        for number in range(20):
            answer = await client.ask(get(b"/%d" % number))
            assert answer.body == b"origin GET /%d " % number
        assert origin.connections == 1
        assert plane.dataplane.open_connections == 1


@on_both_transports
async def test_bodies_arrive_whole_with_length_and_in_chunks() -> None:
    async with proxied() as (plane, _origin):
        client = await plane.client()
        big = bytes(range(256)) * 2000
        assert (await client.ask(post(big))).body == b"origin POST / " + big
        assert (await client.ask(chunked(b"abc", big, b"d"))).body == (
            b"origin POST / abc" + big + b"d"
        )
        assert (await client.ask(post(b""))).body == b"origin POST / "


@on_both_transports
async def test_pipelined_requests_are_answered_in_order() -> None:
    async def slow_first(peer: Peer) -> None:
        while True:
            request = await peer.request()
            if request.target == b"/0":
                await asyncio.sleep(0.1)
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n" + request.target)

    async with proxied(slow_first) as (plane, _origin):
        client = await plane.client()
        await client.send(get(b"/0") + post(b"body", target=b"/1") + chunked(b"x") + get(b"/3"))
        bodies = [(await client.answer()).body for _ in range(2)]
        assert bodies == [b"/0", b"/1"]


@on_both_transports
async def test_thousands_of_pipelined_requests_need_no_stack() -> None:
    async with proxied() as (plane, _origin):
        client = await plane.client()
        await client.send(get(b"/", host=b"unknown.test") * 3000 + get(b"/end"))
        for _ in range(3000):
            assert (await client.answer()).status == 404
        assert (await client.answer()).body == b"origin GET /end "


@on_both_transports
async def test_a_head_may_come_byte_by_byte() -> None:
    async with proxied() as (plane, _origin):
        client = await plane.client()
        for byte in post(b"abc", b"X-A: b"):
            await client.send(bytes([byte]))
            await asyncio.sleep(0)
        assert (await client.answer()).body == b"origin POST / abc"


@on_both_transports
async def test_answers_without_bodies_keep_both_connections_in_step() -> None:
    async def bodyless(peer: Peer) -> None:
        while True:
            request = await peer.request()
            if request.target == b"/304":
                await peer.send(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n")
            elif request.target == b"/204":
                await peer.send(b"HTTP/1.1 204 No Content\r\n\r\n")
            else:
                await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n")
                if request.method != b"HEAD":
                    await peer.send(b"content")

    async with proxied(bodyless) as (plane, _origin):
        client = await plane.client()
        for _ in range(3):
            head = await client.ask(get(method=b"HEAD"), b"HEAD")
            assert (head.status, head.get(b"content-length")) == (200, b"7")
            assert (await client.ask(get(b"/304"))).status == 304
            assert (await client.ask(get(b"/204"))).status == 204
            assert (await client.ask(get(b"/"))).body == b"content"


@on_both_transports
async def test_a_body_behind_a_bodyless_answer_meets_nobody_else() -> None:
    async def wrong(peer: Peer) -> None:
        while True:
            request = await peer.request()
            if request.method == b"HEAD":
                await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n")
                await asyncio.sleep(0.01)
                await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
            else:
                await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood")

    async with proxied(wrong) as (plane, _origin):
        client = await plane.client()
        for _ in range(5):
            await client.ask(get(method=b"HEAD"), b"HEAD")
            assert (await client.ask(get())).body == b"good"


@on_both_transports
async def test_an_http10_client_gets_a_plain_body_and_the_end() -> None:
    async def chunks(peer: Peer) -> None:
        await peer.request()
        await peer.send(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
        )

    async with proxied(chunks) as (plane, _origin):
        client = await plane.client()
        await client.send(b"GET / HTTP/1.0\r\nHost: " + HOST + b"\r\n\r\n")
        raw = await client.closed()
        assert raw.endswith(b"\r\n\r\nabc")
        assert b"transfer-encoding" not in raw.lower()


@on_both_transports
async def test_an_answer_that_lasts_until_close_is_chunked_for_http11() -> None:
    async def until_close(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\nab")
        await asyncio.sleep(0.02)
        await peer.send(b"cd")

    async with proxied(until_close) as (plane, _origin):
        client = await plane.client()
        answer = await client.ask(get())
        assert answer.body == b"abcd"
        assert answer.get(b"transfer-encoding") == b"chunked"
        assert (await client.ask(get())).body == b"abcd"  # the client's side stays open


@on_both_transports
async def test_connection_close_ends_the_clients_side_only() -> None:
    async with proxied() as (plane, origin):
        client = await plane.client()
        await client.send(get(b"/", b"Connection: close") + get(b"/never"))
        raw = await client.closed()
        assert raw.count(b"HTTP/1.1 200") == 1
        assert b"connection: close" in raw.lower()
        other = await plane.client()
        assert (await other.ask(get())).status == 200
        assert origin.connections == 1


@on_both_transports
async def test_forwarding_fields_are_the_gateways_statement() -> None:
    heads: list[bytes] = []

    async def keep(peer: Peer) -> None:
        request = await peer.request()
        heads.append(request.head)
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    async with proxied(keep) as (plane, _origin):
        client = await plane.client()
        await client.ask(
            get(
                b"/",
                b"X-Forwarded-For: 6.6.6.6",
                b"X-Forwarded-Proto: https",
                b"Connection: keep-alive, X-Secret",
                b"X-Secret: 1",
                b"Keep-Alive: timeout=5",
            )
        )
    head = heads[0].lower()
    assert b"\r\nx-forwarded-for: 127.0.0.1\r\n" in head
    assert b"\r\nx-forwarded-proto: http\r\n" in head
    assert b"\r\nx-forwarded-port: %d\r\n" % plane.port in head
    assert b"\r\nx-request-id: " in head
    assert b"6.6.6.6" not in head
    assert b"x-secret" not in head
    assert b"keep-alive" not in head
    assert head.count(b"\r\nhost:") == 1


@on_both_transports
async def test_an_absolute_target_is_routed_by_its_own_host() -> None:
    async with proxied() as (plane, _origin):
        client = await plane.client()
        answer = await client.ask(get(b"http://a.test/x", host=b"other.test"))
        assert answer.body == b"origin GET /x "


@on_both_transports
async def test_continue_is_the_origins_to_say() -> None:
    async def asks_for_more(peer: Peer) -> None:
        request = await peer.read_head()
        assert request.get(b"expect") == b"100-continue"
        await peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        await peer.read_body(request, until_close=False)
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n" + request.body)

    async with proxied(asks_for_more) as (plane, _origin):
        client = await plane.client()
        await client.send(get(b"/", b"Expect: 100-continue", b"Content-Length: 4", method=b"POST"))
        assert (await client.read_head()).status == 100
        await client.send(b"body")
        assert (await client.answer()).body == b"body"


@on_both_transports
async def test_a_refused_expectation_is_relayed_and_nobody_waits_for_the_body() -> None:
    async def refuses(peer: Peer) -> None:
        await peer.read_head()
        await peer.send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
        await peer.closed()

    async with proxied(refuses) as (plane, origin):
        client = await plane.client()
        await client.send(get(b"/", b"Expect: 100-continue", b"Content-Length: 4", method=b"POST"))
        answer = await client.answer()
        assert (answer.status, answer.body) == (403, b"no")
        assert answer.get(b"connection") == b"close"
        await eventually(lambda: origin.open == 0)


@on_both_transports
async def test_early_hints_are_forwarded_but_not_to_http10() -> None:
    async def hints(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n")
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    async with proxied(hints) as (plane, _origin):
        client = await plane.client()
        await client.send(get())
        assert (await client.read_head()).status == 103
        assert (await client.answer()).status == 200
        old = await plane.client()
        await old.send(b"GET / HTTP/1.0\r\nHost: " + HOST + b"\r\n\r\n")
        assert b" 103 " not in await old.closed()


@on_both_transports
async def test_an_early_answer_ends_the_connection_after_it() -> None:
    async def early(peer: Peer) -> None:
        await peer.read_head()
        await peer.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig")
        await peer.closed()

    async with proxied(early) as (plane, _origin):
        client = await plane.client()
        await client.send(
            get(b"/", b"Content-Length: 1000000", method=b"POST") + b"GET /smuggled HTTP/1.1\r\n"
        )
        answer = await client.answer()
        assert (answer.status, answer.body) == (413, b"big")
        assert await client.closed() == b""


@on_both_transports
async def test_events_are_passed_on_as_they_come() -> None:
    gate = asyncio.Event()

    async def events(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
        await gate.wait()
        await peer.send(b"3\r\ntwo\r\n0\r\n\r\n")

    async with proxied(events) as (plane, _origin):
        client = await plane.client()
        await client.send(get())
        await client.read_head()
        assert await client.reader.readexactly(8) == b"3\r\none\r\n"
        gate.set()
        assert await client.reader.readexactly(13) == b"3\r\ntwo\r\n0\r\n\r\n"


@on_both_transports
async def test_an_upload_reaches_the_origin_while_it_is_still_under_way() -> None:
    seen = asyncio.Event()

    async def reads_half(peer: Peer) -> None:
        await peer.read_head()
        assert await peer.reader.readexactly(8) == b"3\r\none\r\n"
        seen.set()
        await peer.reader.readuntil(b"0\r\n\r\n")
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    async with proxied(reads_half) as (plane, _origin):
        client = await plane.client()
        await client.send(get(b"/", b"Transfer-Encoding: chunked", method=b"POST"))
        await client.send(b"3\r\none\r\n")
        await asyncio.wait_for(seen.wait(), 5)
        await client.send(b"3\r\ntwo\r\n0\r\n\r\n")
        assert (await client.answer()).status == 200


@on_both_transports
async def test_the_origins_answer_fields_come_back_as_they_were() -> None:
    async def fields(peer: Peer) -> None:
        await peer.request()
        await peer.send(
            b"HTTP/1.1 299 Odd Reason\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nX-Odd: \xff v\r\n"
            b"Connection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=3\r\nContent-Length: 0\r\n\r\n"
        )

    async with proxied(fields) as (plane, _origin):
        client = await plane.client()
        answer = await client.ask(get())
        assert answer.start == b"HTTP/1.1 299 Odd Reason"
        assert answer.all(b"set-cookie") == [b"a=1", b"b=2"]
        assert answer.get(b"x-odd") == b"\xff v"
        assert answer.get(b"x-hop") is None
        assert answer.get(b"keep-alive") is None


@on_both_transports
async def test_clients_never_get_each_others_answers() -> None:
    async with proxied() as (plane, _origin):

        async def one(number: int) -> None:
            client = await plane.client()
            for turn in range(10):
                answer = await client.ask(post(b"%d" % turn, target=b"/%d" % number))
                assert answer.body == b"origin POST /%d %d" % (number, turn)
            client.close()

        await asyncio.gather(*(one(n) for n in range(60)))


@on_both_transports
async def test_plain_text_or_json_as_the_client_accepts() -> None:
    async with proxied(serve_plain) as (plane, _origin):
        client = await plane.client()
        text = await client.ask(get(host=b"unknown.test"))
        assert text.status == 404
        assert text.body.startswith(b"404 ")
        json = await client.ask(get(b"/", b"Accept: application/json", host=b"unknown.test"))
        assert json.get(b"content-type") == b"application/json"


@on_both_transports
async def test_both_sides_are_on_the_transports_that_were_chosen() -> None:
    async with proxied() as (plane, _origin):
        client = await plane.client()
        assert (await client.ask(get())).status == 200
        dataplane = plane.dataplane
        (served,) = dataplane._clients
        pools = [
            p for i in dataplane.world.services.values() for p in i.instances[0].upstreams.values()
        ]
        kinds = {type(served.transport).__module__, type(pools[0].idle[0].transport).__module__}
        assert {k.split(".")[0] for k in kinds} == {dataplane.settings.transport}


@on_both_transports
async def test_neither_side_holds_back_small_pieces() -> None:
    for config in (settings(), with_tls(settings())):
        async with proxied(config=config) as (plane, _origin):
            is_tls = config.entrypoints["public"].tls is not None
            client = await (tls_client(plane.port) if is_tls else plane.client())
            assert (await client.ask(get())).status == 200
            dataplane = plane.dataplane
            (served,) = dataplane._clients
            ((upstream,),) = (pool.idle for pool in dataplane.upstream_pools)
            for transport in (served.transport, upstream.transport):
                assert transport is not None
                sock = transport.get_extra_info("socket")
                assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
