"""Services join and leave routes while clients are at it: the new way begins at once, the old
one is gone to its end.

A service is taken off its route first (its instances drain), and is out of the snapshot later.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from gateway.core.model import InstanceId
from gateway.core.snapshot import Condition, SnapshotRoute, SnapshotService
from gateway.proxy.frames import CLOSE_TO_CLIENT
from gateway.routing.service import InstanceState
from tests.support.plane import (
    Plane,
    get,
    on_both_transports,
    plane,
    post,
    route,
    service,
    snapshot,
)
from tests.support.wire import Message, Origin, Peer, eventually, serve_plain

UPGRADE = (b"Upgrade: websocket", b"Connection: Upgrade", b"Sec-WebSocket-Version: 13")
SWITCHING = b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"


@dataclass
class Slow:
    """What an origin does: it takes requests at once and answers when told to, or resets."""

    name: str
    requests: list[bytes] = field(default_factory=list)
    answers: asyncio.Event = field(default_factory=asyncio.Event)
    resets: bool = False
    origin: Origin = field(init=False)

    def __post_init__(self) -> None:
        self.origin = Origin(self.serve)

    async def serve(self, peer: Peer) -> None:
        while True:
            request = await peer.request()
            self.requests.append(request.target)
            await self.answers.wait()
            if self.resets:
                peer.reset()
                return
            body = self.name.encode() + request.body
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

    def reset(self) -> None:
        """Reset whoever waits, and all that come later."""
        self.resets = True
        self.answers.set()

    def answer(self) -> None:
        """Answer whoever waits, and all that come later."""
        self.answers.set()

    async def has(self, requests: int) -> None:
        await eventually(lambda: len(self.requests) >= requests)


@dataclass
class World:
    """Old and new version, and where a release has got to."""

    plane: Plane
    old: Slow
    sibling: Slow
    new: Origin
    old_ports: list[int]
    new_port: int
    generation: int = 1

    def both(self) -> tuple[SnapshotService, SnapshotService]:
        return service("v1", *self.old_ports), service("v2", self.new_port)

    def serve(self, *routes: SnapshotRoute, services: tuple[SnapshotService, ...]) -> None:
        """The next generation."""
        self.generation += 1
        self.plane.dataplane.apply(snapshot(routes, services, self.generation))

    def take_off(self) -> None:
        """`v1` leaves its route; nothing new goes to its instances."""
        draining = service("v1", *self.old_ports, condition=Condition.DRAINING)
        self.serve(route({"v2": 100}, affinity=True), services=(draining, self.both()[1]))

    def remove(self) -> None:
        """`v1` is out of the snapshot."""
        self.serve(route({"v2": 100}, affinity=True), services=self.both()[1:])

    def instance(self) -> InstanceState:
        """The old version's first instance."""
        found = self.plane.dataplane.world.instance(InstanceId(f"v1@{self.old_ports[0]}"))
        assert found is not None
        return found


@asynccontextmanager
async def released(*, siblings: bool = False) -> AsyncIterator[World]:
    """`v1` has all traffic and `v2` none; with `siblings` `v1` has a second instance."""
    async with AsyncExitStack() as stack:
        old, sibling, new = Slow("old"), Slow("sibling"), Origin(plain_or_echo)
        ports = []
        for origin in (old.origin, sibling.origin, new):
            await origin.start()
            stack.push_async_callback(origin.stop)
            ports.append(origin.port)
        v1 = service("v1", *ports[: 2 if siblings else 1])
        world = snapshot(
            [route({"v1": 100, "v2": 0}, affinity=True)], [v1, service("v2", ports[2])]
        )
        async with plane(world) as found:
            yield World(found, old, sibling, new, ports[: 2 if siblings else 1], ports[2])


async def plain_or_echo(peer: Peer) -> None:
    await serve_plain(peer, b"new")


def cookie_of(answer: Message) -> bytes | None:
    value = answer.get(b"set-cookie")
    return None if value is None else b"Cookie: " + value.partition(b";")[0]


# -- sessions


@on_both_transports
async def test_a_session_of_a_service_that_left_the_route_gets_another_one_at_once() -> None:
    async with released() as world:
        world.old.answer()
        client = await world.plane.client()
        old = cookie_of(await client.ask(get()))
        assert old is not None
        assert (await client.ask(get(b"/", old))).body == b"old"
        world.take_off()
        moved = await client.ask(get(b"/", old))
        assert moved.get(b"x-served-by") == b"v2"
        new = cookie_of(moved)
        assert new not in (None, old)
        for _ in range(3):  # the old one is worth nothing any more, the new one is kept
            assert cookie_of(await client.ask(get(b"/", old))) == new
            stays = await client.ask(get(b"/", new or b""))
            assert (stays.get(b"x-served-by"), cookie_of(stays)) == (b"v2", None)
        assert len(world.old.requests) == 2


@on_both_transports
async def test_a_rollback_ends_the_pins_to_the_new_version_in_the_same_generation() -> None:
    async with released() as world:
        world.old.answer()
        client = await world.plane.client()
        world.serve(route({"v1": 0, "v2": 100}, affinity=True), services=world.both())
        pinned = cookie_of(await client.ask(get()))
        assert pinned is not None
        world.serve(route({"v1": 100}, affinity=True), services=world.both())
        back = await client.ask(get(b"/", pinned))
        assert (back.body, back.get(b"x-served-by")) == (b"old", b"v1")
        assert cookie_of(back) not in (None, pinned)


@on_both_transports
async def test_an_answer_begun_before_the_switch_leaves_no_session_behind() -> None:
    async with released() as world:
        client = await world.plane.client()
        await client.send(get())
        await world.old.has(1)
        world.take_off()
        world.old.answer()
        late = await client.answer()
        assert late.body == b"old"
        pin = cookie_of(late)
        assert (await client.ask(get(b"/", pin or b""))).get(b"x-served-by") == b"v2"


# -- what is open goes on


@on_both_transports
async def test_a_request_under_way_ends_well_though_its_service_is_gone() -> None:
    async with released() as world:
        waiting, uploading = await world.plane.client(), await world.plane.client()
        await waiting.send(get(b"/waits"))
        await uploading.send(post(b"0123456789")[:-5])
        await world.old.has(1)
        await eventually(lambda: world.old.origin.connections == 2)
        instance = world.instance()
        world.take_off()
        assert instance.in_flight == 2
        world.remove()
        await uploading.send(b"56789")
        await world.old.has(2)
        world.old.answer()
        assert (await waiting.answer()).body == b"old"
        assert (await uploading.answer()).body == b"old0123456789"
        assert instance.in_flight == 0
        for client in (waiting, uploading):  # and their connections are good for more
            assert (await client.ask(get())).get(b"x-served-by") == b"v2"
        assert len(world.old.requests) == 2
        await eventually(lambda: world.old.origin.open == 0)


@on_both_transports
async def test_an_answer_under_way_is_not_cut_when_its_service_goes() -> None:
    more = asyncio.Event()

    async def streams(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01234")
        await more.wait()
        await peer.send(b"56789")
        await peer.closed()

    async with AsyncExitStack() as stack:
        origin = await Origin(streams).start()
        stack.push_async_callback(origin.stop)
        old, new = service("v1", origin.port), service("v2", 9)
        async with plane(snapshot([route({"v1": 1})], [old, new])) as found:
            client = await found.client()
            await client.send(get())
            head = await client.read_head()
            assert await client.reader.readexactly(5) == b"01234"
            found.dataplane.apply(snapshot([route({"v2": 1})], [new], 2))
            more.set()
            assert head.get(b"content-length") == b"10"
            assert await client.reader.readexactly(5) == b"56789"


@on_both_transports
async def test_a_websocket_outlives_its_services_place_on_the_route_and_is_told_when_that_leaves() -> (
    None
):
    async def echo(peer: Peer) -> None:
        await peer.read_head()
        await peer.send(SWITCHING)
        while data := await peer.reader.read(65536):
            await peer.send(data)

    async with AsyncExitStack() as stack:
        origin = await Origin(echo).start()
        stack.push_async_callback(origin.stop)
        old, new = service("v1", origin.port), service("v2", 9)
        async with plane(snapshot([route({"v1": 1})], [old, new])) as found:
            client = await found.client()
            await client.send(get(b"/ws", *UPGRADE))
            assert (await client.read_head()).status == 101
            instance = found.dataplane.world.instance(InstanceId(f"v1@{origin.port}"))
            assert instance is not None
            frame = b"\x82\x84\0\0\0\0here"
            for services in ((old, new), (old,)):
                found.dataplane.apply(snapshot([route({"v2": 1})], services, 2))
                await client.send(frame)
                assert await client.reader.readexactly(len(frame)) == frame
                assert (instance.in_flight, instance.tunnels) == (1, 1)
            draining = service("v1", origin.port, condition=Condition.DRAINING)
            for services in ((draining, new), (new,)):
                found.dataplane.apply(snapshot([route({"v2": 1})], services, 3))
                await client.send(frame)  # no answer any more, but nothing is cut before its time
                assert (instance.in_flight, instance.tunnels) == (1, 1)
            client.writer.write_eof()
            assert await client.closed() == CLOSE_TO_CLIENT
            await eventually(lambda: (instance.in_flight, instance.tunnels) == (0, 0))


# -- tries that fail after the switch


@on_both_transports
async def test_a_retry_does_not_go_to_a_sibling_that_has_left_the_route() -> None:
    async with released(siblings=True) as world:
        client = await world.plane.client()
        await client.send(get(b"/x"))
        await world.old.has(1)
        world.take_off()
        world.old.reset()
        answer = await client.answer()
        assert (answer.status, answer.get(b"x-served-by")) == (200, b"v2")
        pin = cookie_of(answer)
        assert pin is not None
        assert (await client.ask(get(b"/", pin))).get(b"x-served-by") == b"v2"
        assert not world.sibling.requests


@on_both_transports
async def test_a_service_that_left_one_route_gets_no_retry_though_it_serves_another() -> None:
    async with released(siblings=True) as world:
        client = await world.plane.client()
        await client.send(get())
        await world.old.has(1)
        other = route({"v1": 1}, host="other.test")
        world.serve(route({"v2": 1}), other, services=world.both())
        world.old.reset()
        assert (await client.answer()).get(b"x-served-by") == b"v2"
        assert not world.sibling.requests


@on_both_transports
async def test_a_retry_finds_the_new_version_when_the_old_ones_instances_are_gone() -> None:
    async with released() as world:
        client, other = await world.plane.client(), await world.plane.client()
        await client.send(get())
        await other.send(post(b"once"))
        await world.old.has(2)
        world.remove()
        world.old.reset()
        assert (await client.answer()).get(b"x-served-by") == b"v2"
        assert (await other.answer()).status == 502  # what may have been done is not done again
        assert len(world.old.requests) == 2


@on_both_transports
async def test_a_stale_connection_of_a_service_that_left_leads_to_the_new_one() -> None:
    stale = asyncio.Event()
    seen = 0

    async def closes(peer: Peer) -> None:
        nonlocal seen
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await peer.request()
        seen += 1
        await stale.wait()

    async with AsyncExitStack() as stack:
        origins = [await Origin(script).start() for script in (closes, plain_or_echo)]
        for origin in origins:
            stack.push_async_callback(origin.stop)
        old, new = (service(f"v{n}", origin.port) for n, origin in enumerate(origins, 1))
        async with plane(snapshot([route({"v1": 1})], [old, new])) as found:
            client = await found.client()
            await client.ask(get())
            await client.send(get())
            await eventually(lambda: seen == 1)
            found.dataplane.apply(snapshot([route({"v2": 1})], [old, new], 2))
            stale.set()
            assert (await client.answer()).get(b"x-served-by") == b"v2"
            assert origins[0].connections == 1


@on_both_transports
async def test_a_retry_of_a_request_whose_route_is_gone_goes_where_it_would_go_now() -> None:
    async with released() as world:
        held_back = route({"v1": 1}, path="/api")
        world.serve(route({"v2": 1}), held_back, services=world.both())
        client = await world.plane.client()
        await client.send(get(b"/api/x"))
        await world.old.has(1)
        world.serve(route({"v2": 1}), services=world.both())
        world.old.reset()
        answer = await client.answer()
        assert (answer.body, answer.get(b"x-served-by")) == (b"new GET /api/x ", b"v2")


@on_both_transports
async def test_while_a_service_is_on_the_route_its_requests_are_tried_on_its_siblings() -> None:
    async with released(siblings=True) as world:
        world.sibling.answer()
        client = await world.plane.client()
        await client.send(get())
        await world.old.has(1)
        world.serve(route({"v1": 0, "v2": 100}, affinity=True), services=world.both())
        world.old.reset()
        assert (await client.answer()).body == b"sibling"


@on_both_transports
async def test_an_instance_that_failed_is_not_asked_again_on_the_route_it_would_go_to_now() -> None:
    async with released(siblings=True) as world:
        main, other = route({"v1": 1}, affinity=True), route({"v1": 1}, path="/api")
        world.serve(main, services=world.both())
        world.old.answer()
        client = await world.plane.client()
        pin = cookie_of(await client.ask(get()))
        assert pin is not None
        world.old.answers.clear()
        alone = service("v1", *world.old_ports[:1])
        world.serve(main, other, services=(alone, world.both()[1]))
        await client.send(get(b"/api", pin))
        await world.old.has(2)
        world.serve(main, services=world.both())
        world.sibling.answer()
        world.old.reset()
        answer = await client.answer()
        assert answer.body == b"sibling"
        assert cookie_of(answer) not in (None, pin)
        assert len(world.old.requests) == 2


@on_both_transports
async def test_an_instance_that_is_out_of_the_snapshot_is_not_asked_again() -> None:
    async with released() as world:
        client = await world.plane.client()
        await client.send(get())
        await world.old.has(1)
        empty = service("v1")
        world.serve(route({"v1": 1}), services=(empty, world.both()[1]))
        world.old.reset()
        assert (await client.answer()).status == 502
        assert len(world.old.requests) == 1


@on_both_transports
async def test_where_nobody_else_serves_the_failure_is_told_and_nothing_is_left() -> None:
    async with released() as world:
        client = await world.plane.client()
        await client.send(get())
        await world.old.has(1)
        instance = world.instance()
        world.serve(services=())
        world.old.reset()
        assert (await client.answer()).status == 502
        assert (await client.ask(get())).status == 404
        assert instance.in_flight == 0
        assert world.old.origin.connections == 1


# -- held routes


@on_both_transports
async def test_a_held_route_is_seen_by_those_who_select_and_by_all_once_it_is_let_go() -> None:
    async with released() as world:
        world.old.answer()
        main = route({"v1": 100}, selectors=True)
        held = route({"v2": 100}, path="/api", held=True, selectors=True)
        world.serve(main, held, services=world.both())
        client = await world.plane.client()

        async def served(*fields: bytes) -> bytes | None:
            return (await client.ask(get(b"/api", *fields))).get(b"x-served-by")

        assert await served() == b"v1"
        assert await served(b"Cookie: a=1") == b"v1"
        assert await served(b"X-Gateway-Service: v1") == b"v1"
        assert await served(b"X-Gateway-Service: v2") == b"v2"
        assert await served(b"Cookie: X-Gateway-Service=v2") == b"v2"
        let_go = route({"v2": 100}, path="/api", selectors=True)
        world.serve(main, let_go, services=world.both())
        assert await served() == b"v2"
        world.serve(main, held, services=world.both())
        assert await served() == b"v1"
