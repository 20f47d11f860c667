"""Limits, slow clients, tunnels, draining: nobody can hold what belongs to others."""

from __future__ import annotations

import asyncio
import hashlib
import resource
import socket

from msgspec import structs

from gateway.proxy.client import REQUESTS_A_TURN, ClientConnection
from gateway.runtime.settings import LimitSettings, Settings
from tests.support.plane import Plane, chunked, get, on_both_transports, post, proxied, settings
from tests.support.wire import Peer, eventually

UPGRADE = (
    b"Upgrade: websocket",
    b"Connection: Upgrade",
    b"Sec-WebSocket-Version: 13",
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)
SWITCHING = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)


def limited(config: Settings, **limits: int) -> Settings:
    return structs.replace(config, limits=LimitSettings(**limits))


async def echo(peer: Peer) -> None:
    request = await peer.read_head()
    assert request.get(b"upgrade") == b"websocket"
    await peer.send(SWITCHING + b"hello")
    while data := await peer.reader.read(65536):
        await peer.send(data)


async def tunnel(found: Plane) -> Peer:
    client = await found.client()
    await client.send(get(b"/ws", *UPGRADE))
    assert (await client.read_head()).status == 101
    assert await client.reader.readexactly(5) == b"hello"
    return client


@on_both_transports
async def test_a_slow_head_is_408_by_its_whole_time() -> None:
    async with proxied(config=settings(client_header=0.4)) as (found, _origin):
        client = await found.client()
        await client.send(b"GET / HTTP/1.1\r\n")
        for _ in range(50):
            if client.reader.at_eof() or client.writer.is_closing():
                break
            try:
                await client.send(b"X-A: b\r\n")
            except ConnectionError:
                break
            await asyncio.sleep(0.05)
        assert (await client.closed()).startswith(b"HTTP/1.1 408 ")


@on_both_transports
async def test_a_stalled_body_is_408_and_the_origin_sees_no_whole_request() -> None:
    async with proxied(config=settings(client_body=0.3)) as (found, origin):
        client = await found.client()
        await client.send(get(b"/", b"Content-Length: 10", method=b"POST") + b"abc")
        assert (await client.answer()).status == 408
        await eventually(lambda: origin.open == 0)


@on_both_transports
async def test_a_slow_body_that_moves_is_not_cut() -> None:
    async with proxied(config=settings(client_body=0.5)) as (found, _origin):
        client = await found.client()
        await client.send(get(b"/", b"Content-Length: 10", method=b"POST"))
        for _ in range(10):
            await client.send(b"x")
            await asyncio.sleep(0.1)
        assert (await client.answer()).status == 200


@on_both_transports
async def test_what_carries_no_bytes_of_a_body_gets_it_no_more_time() -> None:
    async with proxied(config=settings(client_body=0.3)) as (found, origin):
        head = get(b"/", b"Transfer-Encoding: chunked", method=b"POST") + b"1\r\na\r\n"
        for begun in (b"5;", b"0\r\nX-A: "):
            client = await found.client()
            await client.send(head + begun)
            end = asyncio.get_running_loop().time() + 3.0
            answer = asyncio.ensure_future(client.read_head())
            while not answer.done():
                assert asyncio.get_running_loop().time() < end
                await client.send(b"x")
                await asyncio.sleep(0.05)
            assert (await answer).status == 408
        await eventually(lambda: origin.open == 0)


@on_both_transports
async def test_idle_connections_are_closed() -> None:
    async with proxied(config=settings(client_idle=0.3)) as (found, _origin):
        silent = await found.client()
        used = await found.client()
        assert (await used.ask(get())).status == 200
        assert await silent.closed() == b""
        assert await used.closed() == b""
        await eventually(lambda: found.dataplane.open_connections == 0)


@on_both_transports
async def test_an_empty_line_behind_a_body_is_no_request_that_gets_a_408() -> None:
    async with proxied(config=settings(client_header=0.1, client_idle=0.4)) as (found, _origin):
        silent = await found.client()
        await silent.send(b"\r\n")
        used = await found.client()
        assert (await used.ask(post(b"hello") + b"\r\n")).status == 200
        assert (await used.ask(get(b"/next") + b"\r\n\r")).body.endswith(b" /next ")
        assert await silent.closed() == b""
        assert await used.closed() == b""


@on_both_transports
async def test_oversized_heads_and_bodies_are_refused_by_their_status() -> None:
    config = limited(settings(), head_bytes=4096, headers=16, body_bytes=100)
    async with proxied(config=config) as (found, origin):
        for request, status in (
            (get(b"/" + b"a" * 5000), 414),
            (get(b"/", b"X-A: " + b"a" * 5000), 431),
            (get(b"/", *[b"X-%d: 1" % n for n in range(20)]), 431),
            (post(b"x" * 101), 413),
            (chunked(b"x" * 60, b"x" * 60), 413),
            (b"\x16\x03\x01garbage\r\n\r\n", 400),
        ):
            client = await found.client()
            assert (await client.ask(request)).status == status
        client = await found.client()
        assert (await client.ask(post(b"x" * 100))).status == 200
        await eventually(lambda: origin.open <= 1)


@on_both_transports
async def test_at_the_connection_limit_accepting_waits_and_nobody_is_dropped() -> None:
    async with proxied(config=limited(settings(), connections=2)) as (found, _origin):
        first, second = await found.client(), await found.client()
        assert (await first.ask(get())).status == 200
        assert (await second.ask(get())).status == 200
        third = await found.client()
        await third.send(get())
        await asyncio.sleep(0.05)
        assert found.dataplane.open_connections == 2
        health = await found.client("health")
        assert (await health.ask(get(b"/healthz"))).status == 200
        first.close()
        assert (await third.answer()).status == 200


@on_both_transports
async def test_large_bodies_stay_out_of_memory_while_a_peer_stalls() -> None:
    size = 64 << 20
    block = bytes(range(256)) * 256

    async def stalls(peer: Peer) -> None:
        await peer.read_head()
        await asyncio.sleep(0.3)
        digest = hashlib.sha256()
        left = size
        while left:
            data = await peer.reader.read(1 << 16)
            digest.update(data)
            left -= len(data)
        body = digest.hexdigest().encode()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    async with proxied(stalls) as (found, _origin):
        client = await found.client()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        await client.send(get(b"/", b"Content-Length: %d" % size, method=b"POST"))
        digest = hashlib.sha256()
        for _ in range(size // len(block)):
            digest.update(block)
            await client.send(block)
        answer = await client.answer()
        assert answer.body == digest.hexdigest().encode()
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        assert grown < 16 << 10  # kB


@on_both_transports
async def test_a_reader_that_stalls_holds_back_the_origin_not_the_memory() -> None:
    size = 64 << 20
    sent = 0

    async def pours(peer: Peer) -> None:
        nonlocal sent
        await peer.read_head()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        block = b"x" * 65536
        for _ in range(size // len(block)):
            await peer.send(block)
            sent += len(block)

    async with proxied(pours, idle_stream_s=10) as (found, _origin):
        client = await found.client()
        transport = client.writer.transport
        await client.send(get())
        transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.sleep(0.3)
        assert sent < 32 << 20  # kernel buffers on loopback hold some
        transport.resume_reading()  # type: ignore[attr-defined]
        answer = await client.answer()
        assert len(answer.body) == size


@on_both_transports
async def test_a_client_that_reads_slowly_is_waited_for_and_one_that_stops_is_not() -> None:
    size = 4 << 20
    loop = asyncio.get_running_loop()

    async def pours(peer: Peer) -> None:
        while True:
            await peer.read_head()
            head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size
            await peer.send(head + b"x" * size)

    async def ask(found: Plane, sock: socket.socket, *fields: bytes) -> ClientConnection:
        """Until the gateway can write no more; deadlines are called by hand from then on."""
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        await loop.sock_connect(sock, ("127.0.0.1", found.port))
        await eventually(lambda: any(c.transport for c in found.dataplane._clients))
        (served,) = found.dataplane._clients
        assert served.transport is not None
        small = (socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 16)
        served.transport.get_extra_info("socket").setsockopt(*small)
        await loop.sock_sendall(sock, get(b"/", *fields))
        await eventually(lambda: not served.writable)
        return served

    for fields in ((), (b"Connection: close",)):
        async with proxied(pours, idle_stream_s=60) as (found, _origin):
            with socket.socket() as slow:
                served = await ask(found, slow, *fields)
                got = 0
                while served.exchange is not None:
                    if not served.writable:
                        served.expire()
                        assert served.exchange is not None
                    step = got + (256 << 10)
                    while got < step and served.exchange is not None:
                        got += len(await asyncio.wait_for(loop.sock_recv(slow, 1 << 16), 5))
                served.expire()  # all is written, not all is taken
                while got < size:
                    data = await asyncio.wait_for(loop.sock_recv(slow, 1 << 16), 5)
                    assert data
                    got += len(data)
            await eventually(lambda found=found: found.dataplane.open_connections == 0)  # type: ignore[misc]
            with socket.socket() as stopped:
                served = await ask(found, stopped, *fields)
                for _ in range(3):  # the first look may be just before the last byte that fits
                    served.expire()
                    await asyncio.sleep(0)
                assert served.exchange is None


@on_both_transports
async def test_a_tunnel_passes_bytes_both_ways_and_half_closes() -> None:
    async with proxied(echo) as (found, origin):
        client = await tunnel(found)
        big = bytes(range(256)) * 4096
        sending = asyncio.create_task(client.send(big))
        assert await client.reader.readexactly(len(big)) == big
        await sending
        client.writer.write_eof()
        assert await client.closed() == b""
        await eventually(lambda: origin.open == 0)
        await eventually(lambda: found.dataplane.open_connections == 0)


@on_both_transports
async def test_a_tunnels_connection_is_never_used_again() -> None:
    async with proxied(echo) as (found, origin):
        for number in range(3):
            client = await tunnel(found)
            client.reset()
            await eventually(lambda: origin.open == 0)
            assert origin.connections == number + 1


@on_both_transports
async def test_a_refused_upgrade_goes_on_as_http() -> None:
    async def refuses(peer: Peer) -> None:
        while True:
            request = await peer.request()
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n" + request.target)

    async with proxied(refuses) as (found, _origin):
        client = await found.client()
        await client.send(get(b"/a", *UPGRADE) + get(b"/b"))
        assert (await client.answer()).body == b"/a"
        assert (await client.answer()).body == b"/b"


@on_both_transports
async def test_draining_lets_open_requests_end_and_closes_the_idle() -> None:
    gate = asyncio.Event()

    async def waits(peer: Peer) -> None:
        await peer.request()
        await gate.wait()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone")

    async with proxied(waits) as (found, _origin):
        idle, busy = await found.client(), await found.client()
        await busy.send(get())
        await asyncio.sleep(0.05)
        draining = asyncio.create_task(found.dataplane.drain(5))
        assert await idle.closed() == b""
        gate.set()
        answer = await busy.answer()
        assert answer.body == b"done"
        assert answer.get(b"connection") == b"close"
        assert await draining == 0


@on_both_transports
async def test_at_the_drain_deadline_what_is_left_is_cut() -> None:
    async with proxied(echo) as (found, _origin):
        await tunnel(found)
        assert await found.dataplane.drain(0.2) == 1


@on_both_transports
async def test_a_lame_duck_serves_and_says_goodbye() -> None:
    async with proxied() as (found, _origin):
        client = await found.client()
        found.dataplane.begin_lame_duck()
        answer = await client.ask(get())
        assert answer.status == 200
        assert answer.get(b"connection") == b"close"
        late = await found.client()
        assert (await late.ask(get())).status == 200


@on_both_transports
async def test_who_reads_no_answers_is_not_read_either() -> None:
    block = get(host=b"unknown.test") * 4000
    async with proxied() as (found, _origin):
        client = await found.client()
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        sent = 0
        try:
            while sent < 64 << 20:
                await asyncio.wait_for(client.send(block), 1)
                sent += len(block)
        except TimeoutError:
            pass
        assert sent < 32 << 20  # kernel buffers on loopback hold some
        (served,) = found.dataplane._clients
        assert len(served.pending) < 1 << 20
        other = await found.client()
        assert (await other.ask(get())).status == 200
        client.writer.transport.resume_reading()  # type: ignore[attr-defined]
        for _ in range(5000):
            assert (await client.answer()).status == 404


@on_both_transports
async def test_a_flood_of_small_requests_leaves_turns_to_others() -> None:
    async with proxied() as (found, _origin):
        client = await found.client()
        turns = 0
        over = False

        def turn() -> None:
            nonlocal turns
            turns += 1
            if not over:
                asyncio.get_running_loop().call_soon(turn)

        turn()
        await client.send(get(host=b"unknown.test") * 3200 + get())
        for _ in range(3200):
            assert (await client.answer()).status == 404
        assert (await client.answer()).status == 200
        over = True
        assert turns >= 3200 // REQUESTS_A_TURN
