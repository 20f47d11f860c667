"""Whatever clients and instances do: the right status, no request twice, nothing left over."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

from msgspec import structs

from gateway.proxy.retry import CAP, EARN, MAX_ATTEMPTS
from gateway.proxy.transports import Transports
from gateway.proxy.upstream import UpstreamConnection, UpstreamPool
from gateway.proxy.users import ConnectionUser
from gateway.runtime.settings import EjectionSettings
from tests.support.plane import (
    get,
    on_both_transports,
    plane,
    post,
    proxied,
    route,
    service,
    settings,
    snapshot,
)
from tests.support.wire import Origin, Peer, eventually, serve_plain


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@on_both_transports
async def test_a_refused_connection_is_502_and_the_client_goes_on() -> None:
    world = snapshot([route({"one": 1})], [service("one", free_port())])
    async with plane(world) as found:
        client = await found.client()
        for _ in range(2):
            assert (await client.ask(get())).status == 502
        assert (await client.ask(post(b"abc"))).status == 502


@on_both_transports
async def test_a_refused_connection_goes_to_another_instance_whatever_the_method() -> None:
    origin = await Origin(serve_plain).start()
    world = snapshot([route({"one": 1})], [service("one", free_port(), origin.port)])
    async with plane(world) as found:
        client = await found.client()
        for _ in range(4):
            assert (await client.ask(post(b"abc"))).body == b"origin POST / abc"
    await origin.stop()


@on_both_transports
async def test_a_stale_connection_costs_a_get_nothing() -> None:
    async def one_each(peer: Peer) -> None:
        request = await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        del request  # and closes without having said so

    async with proxied(one_each) as (found, _origin):
        client = await found.client()
        for _ in range(50):
            assert (await client.ask(get())).status == 200


@on_both_transports
async def test_a_post_is_sent_once() -> None:
    seen: list[bytes] = []

    async def dies(peer: Peer) -> None:
        request = await peer.request()
        seen.append(request.target)
        if request.target == b"/first":
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            seen.append((await peer.request()).target)
        peer.reset()

    async with proxied(dies) as (found, _origin):
        client = await found.client()
        assert (await client.ask(get(b"/first"))).status == 200
        assert (await client.ask(post(b"x", target=b"/post"))).status == 502
        assert seen.count(b"/post") == 1
        assert (await client.ask(post(b"x", target=b"/fresh"))).status == 502
        assert seen.count(b"/fresh") == 1


@on_both_transports
async def test_a_get_that_always_fails_is_tried_a_few_times() -> None:
    async def dies(peer: Peer) -> None:
        await peer.request()

    async with proxied(dies) as (found, origin):
        client = await found.client()
        assert (await client.ask(get())).status == 502
        assert origin.connections == MAX_ATTEMPTS


@on_both_transports
async def test_a_service_that_always_fails_gets_a_fifth_more_requests_and_not_three_times_as_many() -> (
    None
):
    async def dies(peer: Peer) -> None:
        await peer.request()

    config = structs.replace(settings(), ejection=EjectionSettings(failures=0))
    requests = 100
    async with proxied(dies, config) as (found, origin):
        client = await found.client()
        for _ in range(requests):
            assert (await client.ask(get())).status == 502
        retries = origin.connections - requests
        earned = requests * EARN
        assert earned < retries <= earned + CAP / 2


@on_both_transports
async def test_a_put_is_repeated_with_its_whole_body() -> None:
    bodies: list[bytes] = []

    async def second_time(peer: Peer) -> None:
        request = await peer.request()
        bodies.append(request.body)
        if len(bodies) > 1:
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    async with proxied(second_time) as (found, _origin):
        client = await found.client()
        assert (await client.ask(post(b"payload", method=b"PUT"))).status == 200
        assert bodies == [b"payload", b"payload"]


@on_both_transports
async def test_silence_is_504_at_the_routes_time_and_not_repeated() -> None:
    async def silent(peer: Peer) -> None:
        await peer.request()
        await peer.closed(30)

    async with proxied(silent, response_header_s=0.2) as (found, origin):
        client = await found.client()
        assert (await client.ask(get())).status == 504
        assert origin.connections == 1
        await eventually(lambda: origin.open == 0)


@on_both_transports
async def test_a_stall_inside_the_answer_cuts_it_visibly() -> None:
    async def stalls(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
        await peer.closed(30)

    async with proxied(stalls, idle_stream_s=0.3) as (found, origin):
        client = await found.client()
        await client.send(get())
        raw = await client.closed()
        assert raw.endswith(b"\r\n\r\nabc")
        await eventually(lambda: origin.open == 0)


@on_both_transports
async def test_a_short_answer_is_never_completed() -> None:
    answers = {
        b"/length": b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
        b"/chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        b"/inside": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"/broken": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n",
    }

    async def short(peer: Peer) -> None:
        request = await peer.request()
        await peer.send(answers[request.target])

    async with proxied(short) as (found, _origin):
        for target in answers:
            client = await found.client()
            await client.send(get(target))
            raw = await client.closed()
            assert raw.startswith(b"HTTP/1.1 200"), target
            assert b"0\r\n\r\n" not in raw, target


@on_both_transports
async def test_a_cut_answer_to_http10_ends_in_a_reset() -> None:
    async def short(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        await asyncio.sleep(0.05)

    async with proxied(short) as (found, _origin):
        client = await found.client()
        await client.send(b"GET / HTTP/1.0\r\nHost: a.test\r\n\r\n")
        reset = False
        try:
            while await asyncio.wait_for(client.reader.read(65536), 5):
                pass
        except ConnectionResetError:
            reset = True
        assert reset


@on_both_transports
async def test_no_http_is_502() -> None:
    for garbage in (
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    ):

        async def speaks(peer: Peer, garbage: bytes = garbage) -> None:
            await peer.request()
            await peer.send(garbage)

        async with proxied(speaks) as (found, _origin):
            client = await found.client()
            assert (await client.ask(get())).status == 502, garbage


@on_both_transports
async def test_a_second_answer_is_nobodys() -> None:
    async def twice(peer: Peer) -> None:
        while True:
            request = await peer.request()
            good = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
            await peer.send(good + request.target.ljust(5) + good + b"WRONG")

    async with proxied(twice) as (found, _origin):
        client = await found.client()
        for number in range(10):
            assert (await client.ask(get(b"/%d" % number))).body.strip() == b"/%d" % number


@on_both_transports
async def test_a_client_that_goes_takes_its_request_along() -> None:
    async def waits(peer: Peer) -> None:
        await peer.request()
        await peer.closed(30)

    async with proxied(waits) as (found, origin):
        for reset in (True, False):
            client = await found.client()
            await client.send(get())
            await eventually(lambda: origin.open == 1)
            if reset:
                client.reset()
            else:
                client.close()
            await eventually(lambda: origin.open == 0)
        assert found.dataplane.open_connections == 0


@on_both_transports
async def test_an_aborted_upload_is_never_completed_upstream() -> None:
    endings: list[str] = []

    async def reads(peer: Peer) -> None:
        await peer.read_head()
        try:
            await peer.reader.readexactly(100)
            endings.append("complete")
        except (asyncio.IncompleteReadError, ConnectionError):
            endings.append("cut")

    async with proxied(reads) as (found, _origin):
        for fin in (True, False):
            client = await found.client()
            await client.send(get(b"/", b"Content-Length: 100", method=b"POST") + b"abc")
            await asyncio.sleep(0.05)
            if fin:
                client.writer.write_eof()
            else:
                client.reset()
        await eventually(lambda: len(endings) == 2)
        assert endings == ["cut", "cut"]


@on_both_transports
async def test_an_aborted_download_stops_the_origin() -> None:
    async def endless(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            await peer.send(b"4000\r\n" + b"x" * 0x4000 + b"\r\n")

    async with proxied(endless) as (found, origin):
        client = await found.client()
        await client.send(get())
        await client.read_head()
        client.reset()
        await eventually(lambda: origin.open == 0)


@on_both_transports
async def test_a_large_upload_to_a_dead_origin_still_reads_its_answer() -> None:
    world = snapshot([route({"one": 1})], [service("one", free_port())])
    async with plane(world) as found:
        client = await found.client()
        size = 2 << 20
        sending = asyncio.create_task(client.send(post(b"x" * size)))
        answer = await client.answer()
        assert answer.status == 502
        await sending


@on_both_transports
async def test_failing_instances_are_ejected_but_never_the_last() -> None:
    origin = await Origin(serve_plain).start()
    dead = free_port()
    world = snapshot([route({"one": 1})], [service("one", dead, origin.port)])
    config = structs.replace(settings(), ejection=EjectionSettings(failures=3, seconds=60))
    async with plane(world, config) as found:
        client = await found.client()
        for _ in range(20):
            assert (await client.ask(get())).status == 200
        assert [e.instance for e in found.ejections] == [f"one@{dead}"]
        await origin.stop()
        client = await found.client()
        for _ in range(10):
            assert (await client.ask(get())).status in (502, 503)
        assert len(found.ejections) == 1


@on_both_transports
async def test_broken_chunks_from_a_client_are_400_and_never_complete() -> None:
    targets: list[bytes] = []

    async def reads(peer: Peer) -> None:
        await peer.read_head()
        rest = await peer.closed(30)
        targets.append(rest)

    async with proxied(reads) as (found, _origin):
        client = await found.client()
        await client.send(
            get(b"/", b"Transfer-Encoding: chunked", method=b"POST") + b"3\r\nabc\r\n"
        )
        await asyncio.sleep(0.05)
        await client.send(b"zz\r\n")
        assert (await client.answer()).status == 400
        await eventually(lambda: len(targets) == 1)
        assert b"0\r\n\r\n" not in targets[0]


@contextlib.asynccontextmanager
async def silent() -> AsyncIterator[int]:
    """A port where connections are neither made nor refused."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        waiting = []
        for _ in range(4):  # the queue is full after one or two: the kernel drops further SYNs
            one = socket.socket()
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
            waiting.append(one)
        await asyncio.sleep(0.05)
        try:
            yield port
        finally:
            for one in waiting:
                one.close()


@on_both_transports
async def test_a_connection_that_cannot_be_made_in_time_is_504() -> None:
    async with silent() as port:
        world = snapshot([route({"one": 1}, connect_s=0.3)], [service("one", port)])
        async with plane(world) as found:
            client = await found.client()
            started = asyncio.get_running_loop().time()
            assert (await client.ask(get())).status == 504
            assert asyncio.get_running_loop().time() - started > 0.25


@on_both_transports
async def test_who_connects_to_an_instance_that_goes_meanwhile_is_served_by_another() -> None:
    origin = await Origin(serve_plain).start()
    async with silent() as port:
        routes = [route({"one": 1}, connect_s=50.0)]
        async with plane(snapshot(routes, [service("one", port)])) as found:
            client = await found.client()
            await client.send(post(b"abc"))
            await eventually(lambda: any(p.opening for p in found.dataplane.upstream_pools))
            (pool,) = found.dataplane.upstream_pools
            found.dataplane.apply(snapshot(routes, [service("one", origin.port)], generation=2))
            assert (await client.answer()).status == 200
            assert not pool.opening
    await origin.stop()


@on_both_transports
async def test_an_upstream_connection_that_was_idle_too_long_is_closed_not_used() -> None:
    async with proxied(config=settings(upstream_idle=0.3)) as (found, origin):
        client = await found.client()
        for _ in range(3):
            assert (await client.ask(get())).status == 200
        assert origin.connections == 1
        await eventually(lambda: origin.open == 0)
        assert (await client.ask(get())).status == 200
        assert origin.connections == 2


class Writer(ConnectionUser):
    """Opens a connection and writes more than the other side takes."""

    def __init__(self) -> None:
        self.ready = asyncio.Event()

    def upstream_ready(self, connection: UpstreamConnection) -> None:
        connection.write(b"x" * (32 << 20))
        self.ready.set()

    def upstream_failed(self, error: OSError) -> None:
        raise AssertionError(error)

    def upstream_data(self, data: bytes) -> None: ...

    def upstream_eof(self) -> bool:
        return False

    def upstream_lost(self, error: Exception | None) -> None: ...

    def upstream_writable(self, writable: bool) -> None: ...


@on_both_transports
async def test_an_origin_that_never_reads_does_not_keep_a_closed_connection() -> None:
    gate = asyncio.Event()

    async def never_reads(peer: Peer) -> None:
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await gate.wait()

    origin = await Origin(never_reads).start()
    transports = Transports(asyncio.get_running_loop(), "uvloop")
    pool = UpstreamPool(transports, "127.0.0.1", origin.port, close_s=0.2)
    user = Writer()
    connection = pool.connect(user)
    await asyncio.wait_for(user.ready.wait(), 5)
    connection.close()
    assert pool.open == 1
    await eventually(lambda: pool.open == 0, 3)
    gate.set()
    await origin.stop()
