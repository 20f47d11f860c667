"""WebSockets through the gateway: nothing changes on the way, and who has to go is told so."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
from collections.abc import AsyncIterator, Awaitable, Callable

from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from gateway.core.snapshot import Condition, SnapshotService
from gateway.proxy.frames import CLOSE_TO_CLIENT
from gateway.runtime.settings import TimeoutSettings
from tests.support.plane import (
    HOST,
    Plane,
    get,
    on_both_transports,
    plane,
    route,
    service,
    settings,
    snapshot,
)
from tests.support.wire import Origin, Peer, eventually

BIG = 16 << 20
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
Handler = Callable[[ServerConnection], Awaitable[None]]
ENDS: list[tuple[int | None, str]] = []
"""How the connections of the origin ended: code and reason as the client gave them."""


async def echo(socket: ServerConnection) -> None:
    try:
        while True:
            message = await socket.recv()
            await socket.send(message)
    except ConnectionClosed as end:
        ENDS.append((end.rcvd.code, end.rcvd.reason) if end.rcvd else (None, ""))


def port_of(server: Server) -> int:
    port: int = next(iter(server.sockets)).getsockname()[1]
    return port


@dataclasses.dataclass
class World:
    """One service of WebSockets behind a data plane."""

    plane: Plane
    port: int

    def connect(self, **options: object) -> connect:
        return connect(
            f"ws://{HOST.decode()}/ws",
            host="127.0.0.1",
            port=self.plane.port,
            max_size=2 * BIG,
            proxy=None,
            **options,  # type: ignore[arg-type]
        )

    def apply(self, *services: SnapshotService, weight: int = 1) -> None:
        self.plane.dataplane.apply(snapshot([route({"v1": weight, "v2": 1})], services, 2))

    def put(self, condition: Condition, drain_s: float | None = None) -> None:
        mine = service("v1", self.port, condition=condition)
        self.apply(dataclasses.replace(mine, drain_s=drain_s))

    async def peer(self) -> Peer:
        """A client that writes its frames itself."""
        client = await self.plane.client()
        await client.send(get(b"/ws", *UPGRADE))
        assert (await client.read_head()).status == 101
        return client


@contextlib.asynccontextmanager
async def world_of(port: int, **timeouts: float) -> AsyncIterator[World]:
    start = snapshot([route({"v1": 1})], [service("v1", port)])
    async with plane(start, settings(**timeouts)) as found:
        yield World(found, port)


@contextlib.asynccontextmanager
async def serving(handler: Handler = echo, **timeouts: float) -> AsyncIterator[World]:
    ENDS.clear()
    async with (
        serve(handler, "127.0.0.1", 0, max_size=2 * BIG) as server,
        world_of(port_of(server), **timeouts) as world,
    ):
        yield world


async def end_of(socket: ClientConnection) -> int | None:
    """The code of the Close frame that ends the connection; what came before is read."""
    with contextlib.suppress(ConnectionClosed):
        while True:
            await asyncio.wait_for(socket.recv(), 5)
    await socket.wait_closed()
    return socket.protocol.close_rcvd.code if socket.protocol.close_rcvd else None


# -- nothing changes on the way


@on_both_transports
async def test_text_and_binary_messages_come_back_as_they_were() -> None:
    async with serving() as world, world.connect() as socket:
        for message in ("", "é€😀", b"", bytes(range(256)), "x" * 125, b"y" * 126, b"z" * 65536):
            await socket.send(message)
            assert await socket.recv() == message


@on_both_transports
async def test_messages_of_16_mb_pass_in_one_frame_and_in_fragments() -> None:
    message = os.urandom(1 << 20) * (BIG >> 20)
    async with serving() as world, world.connect(compression=None) as socket:
        await socket.send(message)
        assert await socket.recv() == message
        step = 1 << 20
        await socket.send(message[at : at + step] for at in range(0, BIG, step))
        assert await socket.recv() == message


@on_both_transports
async def test_fragments_pass_as_fragments() -> None:
    async def fragments(socket: ServerConnection) -> None:
        got = [piece async for piece in socket.recv_streaming()]
        await socket.send(piece for piece in got)

    async with serving(fragments) as world, world.connect(compression=None) as socket:
        await socket.send(["one", "two", "three"])
        # The library adds an empty last fragment.
        assert [p async for p in socket.recv_streaming() if p] == ["one", "two", "three"]


@on_both_transports
async def test_pings_are_answered_by_the_other_end_both_ways() -> None:
    async def pings(socket: ServerConnection) -> None:
        await asyncio.wait_for(await socket.ping(b"from the instance"), 5)
        await socket.send("answered")
        await echo(socket)

    async with serving(pings) as world, world.connect() as socket:
        assert await socket.recv() == "answered"
        await asyncio.wait_for(await socket.ping(b"from the client"), 5)
        await socket.send("still")
        assert await socket.recv() == "still"


@on_both_transports
async def test_codes_and_reasons_of_closing_pass_both_ways() -> None:
    async def closes(socket: ServerConnection) -> None:
        if await socket.recv() == "you first":
            await socket.close(4321, "so be it")
        else:
            await echo(socket)

    async with serving(closes) as world:
        async with world.connect() as socket:
            await socket.send("you first")
            assert await end_of(socket) == 4321
            assert socket.close_reason == "so be it"
        async with world.connect() as socket:
            await socket.send("me first")
            await socket.close(3999, "bye")
        await eventually(lambda: ENDS == [(3999, "bye")])
        await eventually(lambda: world.plane.dataplane.open_connections == 0)


@on_both_transports
async def test_compression_is_agreed_on_by_the_ends() -> None:
    async with serving() as world:
        async with world.connect(compression="deflate") as socket:
            assert [e.name for e in socket.protocol.extensions] == ["permessage-deflate"]
            message = "again and again " * 100_000
            await socket.send(message)
            assert await socket.recv() == message
        async with world.connect(compression=None) as socket:
            assert not socket.protocol.extensions


@on_both_transports
async def test_subprotocols_are_agreed_on_by_the_ends() -> None:
    async with (
        serve(echo, "127.0.0.1", 0, subprotocols=["b", "c"]) as server,  # type: ignore[list-item]
        world_of(port_of(server)) as world,
        world.connect(subprotocols=["a", "b"]) as socket,
    ):
        assert socket.subprotocol == "b"


@on_both_transports
async def test_a_client_that_ended_its_side_still_gets_what_the_instance_has_to_say() -> None:
    async def says_later(peer: Peer) -> None:
        await peer.read_head()
        await peer.send(SWITCHING)
        assert await peer.reader.read() == b"\x81\x80\0\0\0\0"
        for _ in range(3):
            await asyncio.sleep(0.01)
            await peer.send(b"\x81\x05hello")

    origin = await Origin(says_later).start()
    async with world_of(origin.port) as world:
        client = await world.peer()
        await client.send(b"\x81\x80\0\0\0\0")
        client.writer.write_eof()
        assert await client.closed() == b"\x81\x05hello" * 3
    await origin.stop()
    assert not origin.errors


# -- who has to go is told so


@on_both_transports
async def test_a_worker_that_leaves_tells_both_ends_1001_and_cuts_nothing() -> None:
    async with serving() as world, world.connect() as first, world.connect() as second:
        for socket in (first, second):
            await socket.send("hello")
            assert await socket.recv() == "hello"
        draining = asyncio.create_task(world.plane.dataplane.drain(20))
        assert await end_of(first) == await end_of(second) == 1001
        assert await asyncio.wait_for(draining, 5) == 0
        await eventually(lambda: [code for code, _ in ENDS] == [1001, 1001])


@on_both_transports
async def test_a_drained_instance_tells_its_own_websockets_and_no_others() -> None:
    async with (
        serve(echo, "127.0.0.1", 0) as other,
        serving() as world,
        world.connect() as mine,
    ):
        new = service("v2", port_of(other))
        world.apply(service("v1", world.port), new, weight=0)
        async with world.connect() as its:
            for socket in (mine, its):
                await socket.send("here")
                assert await socket.recv() == "here"
            world.apply(service("v1", world.port, condition=Condition.DRAINING), new)
            assert await end_of(mine) == 1001
            await its.send("still here")
            assert await its.recv() == "still here"


@on_both_transports
async def test_changes_that_do_not_concern_it_leave_a_websocket_alone() -> None:
    async with serving() as world, world.connect() as socket:
        mine = service("v1", world.port)
        for services in (
            (mine, service("v2", 9)),
            (mine, service("v2", 9, condition=Condition.DRAINING)),
            (mine,),
            (service("v1", world.port, 9),),
            (service("v1", world.port, condition=Condition.EJECTED),),
            (service("v1", world.port, condition=Condition.DOWN),),
        ):
            for weight in (1, 0):
                world.apply(*services, weight=weight)
                await socket.send("still here")
                assert await socket.recv() == "still here"
        world.plane.dataplane.apply(snapshot([], [mine], 3))
        world.plane.dataplane.configure(settings(tunnel=100.0))
        world.plane.dataplane.begin_lame_duck()
        await socket.send("still here")
        assert await socket.recv() == "still here"


@on_both_transports
async def test_a_service_that_is_gone_at_once_tells_its_websockets() -> None:
    async with serving() as world, world.connect() as socket:
        world.apply(service("v2", 9))
        assert await end_of(socket) == 1001


@on_both_transports
async def test_an_upgrade_that_succeeds_while_its_instance_drains_is_told_at_once() -> None:
    gate = asyncio.Event()

    async def late(peer: Peer) -> None:
        await peer.read_head()
        await gate.wait()
        await peer.send(SWITCHING + b"\x81\x02hi")
        await peer.reader.read()

    origin = await Origin(late).start()
    async with world_of(origin.port) as world:
        client = await world.plane.client()
        await client.send(get(b"/ws", *UPGRADE))
        await eventually(lambda: origin.open == 1)
        world.put(Condition.DRAINING)
        gate.set()
        assert (await client.read_head()).status == 101
        got = b""
        while CLOSE_TO_CLIENT not in got:
            got += await asyncio.wait_for(client.reader.read(100), 5)
        assert got in (CLOSE_TO_CLIENT, b"\x81\x02hi" + CLOSE_TO_CLIENT)
    await origin.stop()


@on_both_transports
async def test_a_message_under_way_comes_whole_before_the_close_frame() -> None:
    gate = asyncio.Event()

    async def slowly(socket: ServerConnection) -> None:
        async def pieces() -> AsyncIterator[bytes]:
            yield b"a" * 100_000
            await gate.wait()
            yield b"b" * 100_000

        await socket.send(pieces())
        await echo(socket)

    async with serving(slowly) as world, world.connect(compression=None) as socket:
        stream = socket.recv_streaming(decode=False)
        assert await anext(stream) == b"a" * 100_000
        world.put(Condition.DRAINING)
        await asyncio.sleep(0.02)
        gate.set()
        assert b"".join([p async for p in stream]) == b"b" * 100_000
        assert await end_of(socket) == 1001


@on_both_transports
async def test_a_stream_of_messages_ends_with_a_whole_one() -> None:
    async def pours(socket: ServerConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            for number in range(1 << 30):
                await socket.send(f"{number}:" + "x" * (number % 3000))
                await asyncio.sleep(0)  # both ends live in one loop

    async with serving(pours) as world, world.connect(compression=None) as socket:
        for number in range(100):
            assert str(await socket.recv()).startswith(f"{number}:")
        world.put(Condition.DRAINING)
        number = 100
        with contextlib.suppress(ConnectionClosed):
            while True:
                message = str(await asyncio.wait_for(socket.recv(), 5))
                assert message == f"{number}:" + "x" * (number % 3000)
                number += 1
        assert socket.close_code == 1001


@on_both_transports
async def test_what_the_client_sent_before_it_knew_reaches_the_instance() -> None:
    got: list[object] = []

    async def collects(socket: ServerConnection) -> None:
        await socket.recv()
        with contextlib.suppress(ConnectionClosed):
            while True:
                got.append(await socket.recv())

    async with serving(collects) as world, world.connect() as socket:
        await socket.send("begin")
        await eventually(lambda: world.plane.dataplane.open_connections == 1)
        world.put(Condition.DRAINING)
        for number in range(50):  # the Close frame is on its way, but nobody has looked at it
            await socket.send(str(number))
            if socket.protocol.close_rcvd is not None:
                break
        assert await end_of(socket) == 1001
        await eventually(lambda: len(got) > 0)
        assert got == [str(n) for n in range(len(got))]


@on_both_transports
async def test_a_message_that_does_not_end_is_broken_between_two_frames_after_half_of_the_time() -> (
    None
):
    async def never(peer: Peer) -> None:
        await peer.read_head()
        await peer.send(SWITCHING + b"\x01\x03one\x00\x05tw")
        await asyncio.sleep(0.05)
        await peer.send(b"o..\x00\x05th")
        await peer.reader.read()

    origin = await Origin(never).start()
    async with world_of(origin.port) as world:
        client = await world.peer()
        world.put(Condition.DRAINING, drain_s=0.4)
        started = asyncio.get_running_loop().time()
        got = await client.closed()
        # It was in the middle of a frame all the time, so nothing could be said to it.
        assert got == b"\x01\x03one\x00\x05two..\x00\x05th"
        assert asyncio.get_running_loop().time() - started >= 0.35
    await origin.stop()

    async def between(peer: Peer) -> None:
        await peer.read_head()
        await peer.send(SWITCHING + b"\x01\x03one\x00\x03two")
        await peer.reader.read()

    origin = await Origin(between).start()
    async with world_of(origin.port) as world:
        client = await world.peer()
        world.put(Condition.DRAINING, drain_s=0.6)
        assert await client.reader.readexactly(10) == b"\x01\x03one\x00\x03two"
        started = asyncio.get_running_loop().time()
        assert await client.reader.readexactly(4) == CLOSE_TO_CLIENT
        assert asyncio.get_running_loop().time() - started >= 0.2
        assert await client.closed() == b""
    await origin.stop()


@on_both_transports
async def test_a_client_that_does_not_answer_is_cut_at_the_deadline_and_the_instance_is_told() -> (
    None
):
    async with serving() as world:
        deaf = await world.peer()
        await deaf.send(b"\x81\x82\0\0\0\0hi")
        assert await deaf.reader.readexactly(4) == b"\x81\x02hi"
        started = asyncio.get_running_loop().time()
        world.put(Condition.DRAINING, drain_s=0.4)
        assert await deaf.closed() == CLOSE_TO_CLIENT
        assert 0.3 <= asyncio.get_running_loop().time() - started < 3
        await eventually(lambda: ENDS == [(1001, "")])


@on_both_transports
async def test_at_a_workers_deadline_both_ends_are_told_before_the_cut() -> None:
    async with serving() as world:
        deaf = await world.peer()
        await deaf.send(b"\x81\x82\0\0\0\0hi")
        assert await deaf.reader.readexactly(4) == b"\x81\x02hi"
        assert await world.plane.dataplane.drain(0.2) == 1
        assert await deaf.closed() == CLOSE_TO_CLIENT
        await eventually(lambda: ENDS == [(1001, "")])


@on_both_transports
async def test_a_worker_without_any_time_says_goodbye_too() -> None:
    async with serving() as world, world.connect() as socket:
        await world.plane.dataplane.drain(0.0)
        assert await end_of(socket) == 1001
        await eventually(lambda: [code for code, _ in ENDS] == [1001])


@on_both_transports
async def test_a_closing_handshake_under_way_is_left_to_its_ends() -> None:
    closing = asyncio.Event()

    async def closes_late(peer: Peer) -> None:
        await peer.read_head()
        await peer.send(SWITCHING)
        assert await peer.reader.readexactly(8) == b"\x88\x82\0\0\0\0\x0f\xa0"
        closing.set()
        await asyncio.sleep(0.1)
        await peer.send(b"\x81\x03end\x88\x02\x0f\xa0")

    origin = await Origin(closes_late).start()
    async with world_of(origin.port) as world:
        client = await world.peer()
        await client.send(b"\x88\x82\0\0\0\0\x0f\xa0")
        await closing.wait()
        world.put(Condition.DRAINING)
        assert await client.closed() == b"\x81\x03end\x88\x02\x0f\xa0"
    await origin.stop()


@on_both_transports
async def test_a_tunnel_half_closed_by_the_instance_ends_without_a_word_at_the_deadline() -> None:
    async def ends(peer: Peer) -> None:
        await peer.read_head()
        await peer.send(SWITCHING + b"\x81\x02hi")
        peer.writer.write_eof()
        await peer.reader.read()

    origin = await Origin(ends).start()
    async with world_of(origin.port) as world:
        client = await world.peer()
        assert await client.closed() == b"\x81\x02hi"
        world.put(Condition.DRAINING, drain_s=0.3)
        await eventually(lambda: world.plane.dataplane.open_connections == 0)
    await origin.stop()


def test_the_default_time_to_go_is_that_of_every_drain() -> None:
    assert TimeoutSettings().drain == settings().timeouts.drain == 30.0
