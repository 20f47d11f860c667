"""Work in flight is limited: who finds no room waits in order, for a while, or is told to come back."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from msgspec import structs

from gateway.core.snapshot import Condition
from gateway.runtime.settings import LimitSettings, Settings
from tests.support.plane import (
    Plane,
    get,
    on_both_transports,
    plane,
    post,
    route,
    service,
    settings,
    snapshot,
)
from tests.support.wire import Message, Origin, Peer, eventually

UPGRADE = (b"Upgrade: websocket", b"Connection: Upgrade", b"Sec-WebSocket-Version: 13")
SWITCHING = b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"


@dataclass
class Busy:
    """An origin that answers one request after the other, each when it is told to."""

    name: str
    got: list[bytes] = field(default_factory=list)
    most: int = 0
    resets: bool = False
    _open: deque[asyncio.Event] = field(default_factory=deque)
    _busy: int = 0
    origin: Origin = field(init=False)

    def __post_init__(self) -> None:
        self.origin = Origin(self.serve)

    async def serve(self, peer: Peer) -> None:
        while True:
            request = await peer.request()
            if request.get(b"upgrade") is not None:
                await peer.send(SWITCHING)
                await peer.reader.read()
                return
            gate = asyncio.Event()
            self.got.append(request.target)
            self._open.append(gate)
            self._busy += 1
            self.most = max(self.most, self._busy)
            try:
                await gate.wait()
            finally:
                self._busy -= 1
            if self.resets:
                peer.reset()
                return
            body = self.name.encode() + request.body
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

    def answer(self) -> None:
        """Answer the request that came first."""
        self._open.popleft().set()

    async def has(self, requests: int) -> None:
        await eventually(lambda: len(self.got) >= requests)


@dataclass
class World:
    """A service `one` with two instances, and `two` with none yet, in front of them a limit."""

    plane: Plane
    first: Busy
    second: Busy

    async def ask(self, target: bytes, *fields: bytes) -> Peer:
        client = await self.plane.client()
        await client.send(get(target, *fields))
        return client

    def apply(self, weights: dict[str, int], **ports: tuple[int, ...]) -> None:
        services = [service(name, *own) for name, own in ports.items()]
        self.plane.dataplane.apply(snapshot([route(weights)], services, 2))

    @property
    def waiting(self) -> int:
        """As the metric says."""
        targets = [t for p in self.plane.dataplane.world.pools.values() for t in p.series.values()]
        return sum(t.series.waiting.value for t in targets)

    async def has_waiting(self, count: int) -> None:
        await eventually(lambda: self.waiting == count)


def limited(in_flight: int = 1, queue: int = 10, wait_s: float = 5.0) -> Settings:
    return structs.replace(
        settings(queue=wait_s), limits=LimitSettings(in_flight=in_flight, queue=queue)
    )


@asynccontextmanager
async def busy(
    config: Settings, *, instances: int = 1, affinity: bool = False
) -> AsyncIterator[World]:
    first, second = Busy("first"), Busy("second")
    for one in (first, second):
        await one.origin.start()
    ports = [first.origin.port, second.origin.port][:instances]
    start = snapshot([route({"one": 1}, affinity=affinity)], [service("one", *ports)])
    async with plane(start, config) as found:
        yield World(found, first, second)
    for one in (first, second):
        await one.origin.stop()


def body(answer: Message) -> bytes:
    assert answer.status == 200, answer
    return answer.body


@on_both_transports
async def test_requests_over_the_limit_wait_and_go_in_the_order_in_which_they_came() -> None:
    async with busy(limited(in_flight=2)) as world:
        clients = []
        for number in range(6):
            clients.append(await world.ask(b"/%d" % number))
            await eventually(lambda n=number: len(world.first.got) + world.waiting == n + 1)  # type: ignore[misc]
        await world.has_waiting(4)
        for number, client in enumerate(clients):
            world.first.answer()
            assert body(await client.answer()) == b"first"
            await world.first.has(min(number + 3, 6))
        assert world.first.got == [b"/%d" % n for n in range(6)]
        assert world.first.most == 2
        assert world.waiting == 0


@on_both_transports
async def test_an_instance_with_room_is_asked_before_anybody_waits() -> None:
    async with busy(limited(), instances=2) as world:
        clients = [await world.ask(b"/%d" % n) for n in range(2)]
        await world.first.has(1)
        await world.second.has(1)
        clients.append(await world.ask(b"/2"))
        await world.has_waiting(1)
        world.second.answer()
        await world.second.has(2)
        world.second.answer()
        world.first.answer()
        for client in clients:
            assert (await client.answer()).status == 200


@on_both_transports
async def test_who_finds_no_place_in_the_queue_is_told_to_come_back() -> None:
    async with busy(limited(queue=1)) as world:
        first = await world.ask(b"/1")
        await world.first.has(1)
        second = await world.ask(b"/2")
        await world.has_waiting(1)
        third = await world.ask(b"/3")
        answer = await third.answer()
        assert (answer.status, answer.get(b"retry-after")) == (503, b"1")
        world.first.answer()
        assert (await first.answer()).status == 200
        await world.first.has(2)
        world.first.answer()
        assert (await second.answer()).status == 200
        # Its connection goes on, and so does the service.
        await third.send(get(b"/4"))
        await world.first.has(3)
        world.first.answer()
        assert (await third.answer()).status == 200


@on_both_transports
async def test_without_a_queue_nobody_waits() -> None:
    async with busy(limited(queue=0)) as world:
        first = await world.ask(b"/1")
        await world.first.has(1)
        assert (await (await world.ask(b"/2")).answer()).status == 503
        world.first.answer()
        assert (await first.answer()).status == 200


@on_both_transports
async def test_waiting_has_an_end() -> None:
    async with busy(limited(wait_s=0.2)) as world:
        first = await world.ask(b"/1")
        await world.first.has(1)
        late = await world.plane.client()
        await late.send(post(b"x" * 100_000))
        answer = await late.answer()
        assert (answer.status, answer.get(b"retry-after")) == (503, b"1")
        assert world.waiting == 0
        world.first.answer()
        assert (await first.answer()).status == 200
        assert world.first.got == [b"/1"]


@on_both_transports
async def test_a_client_that_goes_away_leaves_its_place_to_others() -> None:
    async with busy(limited(queue=1)) as world:
        first = await world.ask(b"/1")
        await world.first.has(1)
        gone = await world.ask(b"/gone")
        await world.has_waiting(1)
        gone.reset()
        await world.has_waiting(0)
        third = await world.ask(b"/3")
        await world.has_waiting(1)
        world.first.answer()
        assert (await first.answer()).status == 200
        await world.first.has(2)
        world.first.answer()
        assert (await third.answer()).status == 200
        assert world.first.got == [b"/1", b"/3"]


@on_both_transports
async def test_a_body_that_comes_while_its_request_waits_arrives_whole() -> None:
    async with busy(limited()) as world:
        first = await world.ask(b"/1")
        await world.first.has(1)
        second = await world.plane.client()
        content = bytes(range(256)) * 2000
        sending = asyncio.create_task(second.send(post(content)))
        await world.has_waiting(1)
        world.first.answer()
        assert (await first.answer()).status == 200
        await world.first.has(2)
        world.first.answer()
        assert body(await second.answer()) == b"first" + content
        await sending


@on_both_transports
async def test_a_session_waits_for_its_instance_and_lets_others_pass() -> None:
    async with busy(limited(), instances=2, affinity=True) as world:
        opening = await world.ask(b"/open")
        await eventually(lambda: bool(world.first.got or world.second.got))
        mine, other = world.first, world.second
        if other.got:
            mine, other = other, mine
        mine.answer()
        cookie = (await opening.answer()).get(b"set-cookie")
        assert cookie is not None
        pin = b"Cookie: " + cookie.split(b";")[0]
        busy_one = await world.ask(b"/busy", pin)
        await mine.has(2)
        waits = await world.ask(b"/waits", pin)
        await world.has_waiting(1)
        passes = await world.ask(b"/passes")
        await other.has(1)
        assert world.waiting == 1
        other.answer()
        assert (await passes.answer()).status == 200
        mine.answer()
        assert (await busy_one.answer()).status == 200
        await mine.has(3)
        mine.answer()
        assert body(await waits.answer()) == mine.name.encode()


@on_both_transports
async def test_who_waits_for_a_service_that_leaves_goes_where_new_requests_go() -> None:
    async with busy(limited()) as world:
        first = await world.ask(b"/1")
        await world.first.has(1)
        second = await world.ask(b"/2")
        await world.has_waiting(1)
        old = service("one", world.first.origin.port, condition=Condition.DRAINING)
        new = service("two", world.second.origin.port)
        world.plane.dataplane.apply(snapshot([route({"two": 1})], [old, new], 2))
        await world.second.has(1)
        world.second.answer()
        assert body(await second.answer()) == b"second"
        world.first.answer()
        assert body(await first.answer()) == b"first"


@on_both_transports
async def test_who_waits_for_a_service_that_is_down_is_told_at_once() -> None:
    async with busy(limited()) as world:
        first = await world.ask(b"/1")
        await world.first.has(1)
        second = await world.ask(b"/2")
        await world.has_waiting(1)
        down = service("one", world.first.origin.port, condition=Condition.DOWN)
        world.plane.dataplane.apply(snapshot([route({"one": 1})], [down], 2))
        assert (await second.answer()).status == 503
        world.first.answer()
        assert (await first.answer()).status == 200


@on_both_transports
async def test_a_new_instance_takes_those_who_wait() -> None:
    async with busy(limited()) as world:
        first = await world.ask(b"/1")
        await world.first.has(1)
        second = await world.ask(b"/2")
        await world.has_waiting(1)
        world.apply({"one": 1}, one=(world.first.origin.port, world.second.origin.port))
        await world.second.has(1)
        world.second.answer()
        assert body(await second.answer()) == b"second"
        world.first.answer()
        assert (await first.answer()).status == 200


@on_both_transports
async def test_a_limit_that_is_lifted_lets_all_go() -> None:
    async with busy(limited()) as world:
        clients = [await world.ask(b"/%d" % n) for n in range(4)]
        await world.has_waiting(3)
        world.plane.dataplane.configure(settings())
        await world.first.has(4)
        for _ in range(4):
            world.first.answer()
        for client in clients:
            assert (await client.answer()).status == 200
        assert world.first.most == 4


@on_both_transports
async def test_open_websockets_take_no_room() -> None:
    async with busy(limited()) as world:
        for _ in range(3):
            socket = await world.ask(b"/ws", *UPGRADE)
            assert (await socket.read_head()).status == 101
        first = await world.ask(b"/1")
        await world.first.has(1)
        world.first.answer()
        assert (await first.answer()).status == 200


@on_both_transports
async def test_a_second_try_waits_for_room_like_a_first() -> None:
    async with busy(limited(), instances=2) as world:
        clients = [await world.ask(b"/1"), await world.ask(b"/2")]
        await world.first.has(1)
        await world.second.has(1)
        lost = await world.ask(b"/3")
        await world.has_waiting(1)
        world.first.resets = True
        world.first.answer()  # resets: its request is tried again, behind the one that waits
        await world.first.has(2)
        world.first.resets = False
        await world.has_waiting(1)
        for _ in range(3):
            for one in (world.first, world.second):
                if one._open:
                    one.answer()
            await asyncio.sleep(0.02)
        for client in (*clients, lost):
            assert (await client.answer()).status == 200
        assert world.first.most == world.second.most == 1


@on_both_transports
async def test_pipelined_requests_wait_one_after_the_other() -> None:
    async with busy(limited()) as world:
        first = await world.ask(b"/1")
        await world.first.has(1)
        piped = await world.plane.client()
        await piped.send(get(b"/2") + get(b"/3"))
        await world.has_waiting(1)
        for number in (2, 3):
            world.first.answer()
            await world.first.has(number)
        world.first.answer()
        assert (await first.answer()).status == 200
        for _ in range(2):
            assert (await piped.answer()).status == 200
        assert world.first.got == [b"/1", b"/2", b"/3"]


async def fill(world: World, requests: int, at_work: int) -> list[Peer]:
    """Ask so many times; so many of them get to the instance."""
    clients = [await world.ask(b"/%d" % n) for n in range(requests)]
    await world.first.has(at_work)
    await world.has_waiting(requests - at_work)
    return clients


async def finish(world: World, clients: list[Peer]) -> None:
    for _ in clients:
        await world.first.has(1)
        world.first.answer()
        world.first.got.pop(0)
    for client in clients:
        assert (await client.answer()).status == 200


@on_both_transports
async def test_the_limit_of_a_service_holds_where_there_is_no_common_one() -> None:
    async with busy(settings()) as world:
        assert world.plane.dataplane.waiting is None
        one = service("one", world.first.origin.port, in_flight_limit=2)
        two = service("two", world.second.origin.port)
        other = route({"two": 1}, path="/two")
        world.plane.dataplane.apply(snapshot([route({"one": 1}), other], [one, two], 2))
        clients = await fill(world, requests=4, at_work=2)
        free = [await world.ask(b"/two/%d" % n) for n in range(5)]
        await world.second.has(5)
        for _ in free:
            world.second.answer()
        for client in free:
            assert (await client.answer()).status == 200
        await finish(world, clients)
        assert world.first.most == 2


@on_both_transports
async def test_the_limit_of_a_service_takes_the_place_of_the_common_one() -> None:
    async with busy(limited(in_flight=1)) as world:
        more = service("one", world.first.origin.port, in_flight_limit=3)
        world.plane.dataplane.apply(snapshot([route({"one": 1})], [more], 2))
        await finish(world, await fill(world, requests=4, at_work=3))


@on_both_transports
async def test_the_last_limit_that_is_lifted_lets_all_go_and_costs_nobody_anything_more() -> None:
    async with busy(settings()) as world:
        less = service("one", world.first.origin.port, in_flight_limit=1)
        world.plane.dataplane.apply(snapshot([route({"one": 1})], [less], 2))
        clients = await fill(world, requests=3, at_work=1)
        assert world.plane.dataplane.waiting is not None
        world.apply({"one": 1}, one=(world.first.origin.port,))
        await world.first.has(3)
        await finish(world, clients)
        await eventually(lambda: world.plane.dataplane.waiting is None)


@on_both_transports
async def test_a_limit_goes_with_its_service() -> None:
    async with busy(settings()) as world:
        less = service("one", world.first.origin.port, in_flight_limit=1)
        world.plane.dataplane.apply(snapshot([route({"one": 1})], [less], 2))
        world.plane.dataplane.apply(snapshot([], [], 3))
        assert world.plane.dataplane.waiting is None


@on_both_transports
async def test_each_worker_keeps_its_part_of_a_limit() -> None:
    async with busy(structs.replace(settings(), workers=2)) as world:
        three = service("one", world.first.origin.port, in_flight_limit=3)
        world.plane.dataplane.apply(snapshot([route({"one": 1})], [three], 2))
        await finish(world, await fill(world, requests=3, at_work=2))
