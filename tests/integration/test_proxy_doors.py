"""Who may connect: limits of connections, PROXY headers, clients that only hold what they have."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
import struct
from typing import Any

from msgspec import structs

from gateway.metrics.catalogue import LAYOUTS, REFUSALS, Scope
from gateway.runtime.settings import EntrypointSettings, LimitSettings, Settings
from tests.support.plane import Plane, get, on_both_transports, proxied, settings
from tests.support.wire import Peer, eventually

LOOPBACK = ("127.0.0.0/8",)
SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
V1 = b"PROXY TCP4 192.0.2.7 192.0.2.1 40000 80\r\n"
V2 = (
    SIGNATURE
    + b"\x21\x11"
    + struct.pack("!H", 12 + 7)
    + bytes([192, 0, 2, 7, 192, 0, 2, 1])
    + struct.pack("!HH", 40000, 80)
    + b"\x04\x00\x04\0\0\0\0"
)


def configured(
    entrypoint: dict[str, Any] | None = None,
    limits: dict[str, Any] | None = None,
    trusted: tuple[str, ...] = (),
    **timeouts: float,
) -> Settings:
    config = settings(**timeouts)
    public = EntrypointSettings("127.0.0.1:0", **(entrypoint or {}))
    return structs.replace(
        config,
        entrypoints=config.entrypoints | {"public": public},
        limits=LimitSettings(**(limits or {})),
        trusted_proxies=trusted,
    )


def announced(**options: Any) -> Settings:
    return configured({"proxy_protocol": True}, trusted=LOOPBACK, **options)


def refused(found: Plane, reason: str) -> int:
    """What the metric of refused connections says."""
    cells = found.dataplane.metrics.take(Scope.ENTRYPOINT, ("public",))
    start = LAYOUTS[Scope.ENTRYPOINT].start["gateway_refused_connections_total"]
    return cells[start + REFUSALS.index(reason)]


async def forwarded_for(peer: Peer) -> None:
    """An origin that says whom a request is for."""
    while True:
        request = await peer.request()
        body = request.get(b"x-forwarded-for") or b""
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)


# -- limits


@on_both_transports
async def test_at_the_limit_of_an_entrypoint_its_clients_wait_and_others_do_not() -> None:
    async with proxied(config=configured({"connections": 1})) as (found, _origin):
        first = await found.client()
        assert (await first.ask(get())).status == 200
        second = await found.client()
        await second.send(get())
        other = await found.client("internal")
        assert (await other.ask(get())).status == 200
        await asyncio.sleep(0.05)
        assert found.dataplane.open_connections == 2
        first.close()
        assert (await second.answer()).status == 200


@on_both_transports
async def test_an_address_with_too_many_connections_gets_no_more_until_one_ends() -> None:
    config = configured(limits={"connections_per_address": 2})
    async with proxied(config=config) as (found, _origin):
        first, second = await found.client(), await found.client()
        assert (await first.ask(get())).status == 200
        assert (await second.ask(get())).status == 200
        third = await found.client()
        assert await third.closed() == b""
        assert refused(found, "address_limit") == 1
        health = await found.client("health")
        assert (await health.ask(get(b"/healthz"))).status == 200
        assert (await first.ask(get())).status == 200
        second.close()
        await eventually(lambda: found.dataplane.open_connections == 2)
        again = await found.client()
        assert (await again.ask(get())).status == 200


@on_both_transports
async def test_addresses_do_not_count_for_one_another_and_proxies_not_at_all() -> None:
    config = configured(limits={"connections_per_address": 1}, trusted=("127.0.0.1",))
    async with proxied(config=config) as (found, _origin):
        for _ in range(3):
            assert (await (await found.client()).ask(get())).status == 200
        address = ("127.0.0.1", found.port)
        for number in (2, 3):
            peer = Peer(
                *await asyncio.open_connection(*address, local_addr=(f"127.0.0.{number}", 0))
            )
            assert (await peer.ask(get())).status == 200
        peer = Peer(*await asyncio.open_connection(*address, local_addr=("127.0.0.2", 0)))
        assert await peer.closed() == b""


@on_both_transports
async def test_a_limit_that_is_set_while_clients_are_connected_counts_them() -> None:
    async with proxied(config=configured()) as (found, _origin):
        first, second = await found.client(), await found.client()
        assert (await first.ask(get())).status == 200
        assert (await second.ask(get())).status == 200
        limited = configured({"connections": 1}, {"connections_per_address": 1})
        found.dataplane.configure(limited)
        assert (await first.ask(get())).status == 200  # nobody is sent away
        third = await found.client()
        await third.send(get())
        await asyncio.sleep(0.15)
        assert found.dataplane.open_connections == 2
        found.dataplane.configure(configured())
        assert (await third.answer()).status == 200


# -- PROXY headers


@on_both_transports
async def test_the_client_is_who_the_header_says_however_it_is_split() -> None:
    async with proxied(forwarded_for, announced()) as (found, _origin):
        for header in (V1, V2):
            for cuts in ([], [1], [6, 12], [13], [len(header) - 1], list(range(1, len(header)))):
                peer = await found.client()
                peer.writer.get_extra_info("socket").setsockopt(
                    socket.IPPROTO_TCP, socket.TCP_NODELAY, 1
                )
                data = header + get()
                start = 0
                for cut in cuts:
                    await peer.send(data[start:cut])
                    await asyncio.sleep(0)
                    start = cut
                await peer.send(data[start:])
                assert (await peer.answer()).body == b"192.0.2.7"
                assert (await peer.ask(get())).body == b"192.0.2.7"
                peer.close()


@on_both_transports
async def test_a_header_that_says_nothing_leaves_the_senders_address() -> None:
    async with proxied(forwarded_for, announced()) as (found, _origin):
        for header in (b"PROXY UNKNOWN\r\n", SIGNATURE + b"\x20\x00\x00\x00"):
            peer = await found.client()
            await peer.send(header)
            assert (await peer.ask(get())).body == b"127.0.0.1"


@on_both_transports
async def test_fields_of_a_client_behind_the_load_balancer_are_not_believed() -> None:
    async with proxied(forwarded_for, announced()) as (found, _origin):
        peer = await found.client()
        await peer.send(V1)
        answer = await peer.ask(get(b"/", b"X-Forwarded-For: 203.0.113.9"))
        assert answer.body == b"192.0.2.7"


@on_both_transports
async def test_without_a_valid_header_the_connection_is_closed_without_a_word() -> None:
    async with proxied(forwarded_for, announced()) as (found, origin):
        bad = [
            get(),
            b"\x16\x03\x01\x02\x00",
            b"PROXY TCP4 192.0.2.7 192.0.2.1 40000 80\n" + get(),
            b"PROXY TCP4 x 192.0.2.1 40000 80\r\n" + get(),
            V2[:12] + b"\x31" + V2[13:] + get(),
            b"X" + V1 + get(),
        ]
        for data in bad:
            peer = await found.client()
            await peer.send(data)
            assert await peer.closed() == b""
        peer = await found.client()
        await peer.send(V1[:10])
        peer.writer.write_eof()
        assert await peer.closed() == b""
        await eventually(lambda: refused(found, "proxy_header") == len(bad) + 1)
        assert found.dataplane.open_connections == 0
        assert origin.connections == 0


@on_both_transports
async def test_a_second_header_is_no_request() -> None:
    async with proxied(forwarded_for, announced()) as (found, origin):
        peer = await found.client()
        await peer.send(V1 + V1 + get())
        assert (await peer.answer()).status == 400
        assert origin.connections == 0


@on_both_transports
async def test_who_is_not_trusted_cannot_say_that_he_is_somebody_else() -> None:
    config = configured({"proxy_protocol": True}, trusted=("192.0.2.0/24",))
    async with proxied(forwarded_for, config) as (found, origin):
        peer = await found.client()
        try:
            await peer.send(V1 + get())
        except ConnectionError:
            pass
        assert await peer.closed() == b""
        assert refused(found, "proxy_header") == 1
        assert origin.connections == 0
        # An entrypoint that does not say so takes the header for what it is there: no request.
        peer = await found.client("internal")
        assert (await peer.ask(V1 + get())).status == 400


@on_both_transports
async def test_a_header_that_does_not_come_in_time_ends_the_connection() -> None:
    async with proxied(forwarded_for, announced(client_header=0.2)) as (found, _origin):
        silent, slow = await found.client(), await found.client()
        await slow.send(V1[:20])
        assert await silent.closed() == b""
        assert await slow.closed() == b""
        assert refused(found, "proxy_header") == 2
        assert found.dataplane.open_connections == 0


@on_both_transports
async def test_the_limit_of_an_address_is_that_of_the_client_behind_the_load_balancer() -> None:
    config = announced(limits={"connections_per_address": 1})
    async with proxied(forwarded_for, config) as (found, _origin):
        first, second, other = [await found.client() for _ in range(3)]
        await first.send(V1)
        assert (await first.ask(get())).status == 200
        await second.send(V2)
        assert await second.closed() == b""
        await other.send(V1.replace(b"192.0.2.7", b"192.0.2.8"))
        assert (await other.ask(get())).status == 200
        assert refused(found, "address_limit") == 1


@on_both_transports
async def test_draining_waits_for_no_header_beyond_its_deadline() -> None:
    async with proxied(forwarded_for, announced()) as (found, _origin):
        peer = await found.client()
        await eventually(lambda: found.dataplane.open_connections == 1)
        assert await found.dataplane.drain(0.1) == 1
        assert await peer.closed() == b""


# -- clients that only hold what they have


ATTACKERS = 1000


@on_both_transports
async def test_a_thousand_slow_heads_at_once_disturb_nobody_and_end_with_408() -> None:
    _allow_descriptors(3 * ATTACKERS)
    loop = asyncio.get_running_loop()
    async with proxied(config=settings(client_header=1.5)) as (found, _origin):
        attackers = []
        for _ in range(ATTACKERS):
            sock = socket.socket()
            sock.setblocking(False)
            await loop.sock_connect(sock, ("127.0.0.1", found.port))
            sock.send(b"GET / HTTP/1.1\r\nHost: a.test\r\n")
            attackers.append(sock)
        await eventually(lambda: found.dataplane.open_connections == ATTACKERS)
        keeping = await found.client()
        slowest = 0.0
        asked = 0
        end = loop.time() + 1.0
        while loop.time() < end:
            for sock in attackers[asked::20]:
                with contextlib.suppress(OSError):
                    sock.send(b"X")
            for peer in (keeping, await found.client()):
                start = loop.time()
                assert (await peer.ask(get())).status == 200
                slowest = max(slowest, loop.time() - start)
            peer.close()
            asked += 1
            await asyncio.sleep(0.01)
        assert asked >= 10
        assert slowest < 0.5
        for sock in attackers:
            answer = await asyncio.wait_for(loop.sock_recv(sock, 1000), 5)
            assert answer.startswith(b"HTTP/1.1 408 ")
            sock.close()
        await eventually(lambda: found.dataplane.open_connections == 1)
        assert (await keeping.ask(get())).status == 200


@on_both_transports
async def test_a_client_that_does_not_read_its_answer_is_ended_and_nobody_else_waits() -> None:
    size = 64 << 20

    async def pours(peer: Peer) -> None:
        request = await peer.request()
        if request.target == b"/small":
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            return
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(size >> 16):
            await peer.send(b"x" * 65536)

    async with proxied(pours, idle_stream_s=0.3) as (found, origin):
        stalled = await found.client()
        stalled.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await stalled.send(get(b"/big"))
        await eventually(lambda: origin.open == 1)
        other = await found.client()
        assert (await other.ask(get(b"/small"))).body == b"ok"
        await eventually(lambda: origin.open == 0)


def _allow_descriptors(count: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(count, hard), hard))
