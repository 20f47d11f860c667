"""Clients and origins that do anything at any moment leave nothing behind, and disturb nobody."""

from __future__ import annotations

import asyncio
import random

from msgspec import structs

from gateway.proxy.dataplane import DataPlane
from gateway.runtime.settings import EjectionSettings, LimitSettings
from tests.support.plane import (
    Plane,
    chunked,
    get,
    on_both_transports,
    plane,
    post,
    route,
    service,
    settings,
    snapshot,
)
from tests.support.wire import Origin, Peer, eventually

CLIENTS = 40
TURNS = 12
UPGRADE = (
    b"Upgrade: websocket",
    b"Connection: Upgrade",
    b"Sec-WebSocket-Version: 13",
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)


async def misbehaves(peer: Peer, chance: random.Random) -> None:
    """An origin that answers, most of the time."""
    while True:
        request = await peer.read_head()
        mood = chance.random()
        if mood < 0.05:
            peer.reset()
            return
        if mood < 0.1:
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nearly one")
            return
        if request.get(b"upgrade") is not None:
            await peer.send(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                b"Connection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n"
            )
            while data := await peer.reader.read(1000):
                await peer.send(data)
            return
        await peer.read_body(request, until_close=False)
        if mood < 0.15:
            return
        if mood < 0.2:
            await peer.send(b"nonsense\r\n\r\n")
            return
        if mood < 0.3:
            await asyncio.sleep(chance.random() * 0.02)
        body = request.target * (1 + int(mood * 300))
        if mood < 0.4:
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + body)
            peer.reset()
            return
        if mood < 0.6:
            await peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            await peer.send(b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))
        else:
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)


async def hurried(found: Plane, chance: random.Random, number: int) -> None:
    """A client that goes away at any moment; what it gets is its own."""
    for turn in range(TURNS):
        client = await found.client()
        own = b"/%d-%d." % (number, turn)
        request = chance.choice(
            [
                get(own),
                post(b"x" * chance.randrange(100_000), target=own),
                chunked(b"a" * 10, b"b" * 1000),
                get(own, *UPGRADE),
                get(own) * 3,
            ]
        )
        cut = chance.randrange(len(request)) if chance.random() < 0.3 else len(request)
        try:
            await client.send(request[:cut])
            if chance.random() < 0.5:
                await asyncio.sleep(chance.random() * 0.02)
            elif cut == len(request) and UPGRADE[0] not in request:
                answer = await client.answer()
                if answer.status == 200 and b"chunked" not in request:
                    assert answer.body.replace(own, b"") in (b"", b"early one")
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        if chance.random() < 0.5:
            client.reset()
        else:
            client.close()


def is_quiet(dataplane: DataPlane) -> bool:
    """Nobody is connected in front, and behind only what waits for the next request."""
    states = [i for s in dataplane.world.services.values() for i in s.instances]
    return (
        dataplane.open_connections == 0
        and all(i.in_flight == 0 and i.tunnels == 0 for i in states)
        and all(p.open == len(p.idle) for i in states for p in i.upstreams.values())
        and all(
            target.series.in_flight.value == 0
            and target.series.waiting.value == 0
            and target.series.websockets.value == 0
            for pool in dataplane.world.pools.values()
            for target in pool.series.values()
        )
    )


@on_both_transports
async def test_after_any_storm_nothing_is_left_and_everybody_is_served() -> None:
    await storm(LimitSettings())


@on_both_transports
async def test_after_a_storm_in_which_many_had_to_wait_nothing_is_left_either() -> None:
    await storm(LimitSettings(in_flight=2, queue=10))


async def storm(limits: LimitSettings) -> None:
    chance = random.Random(20)
    calm = False

    async def script(peer: Peer) -> None:
        if not calm:
            await misbehaves(peer, chance)
            return
        while True:
            request = await peer.request()
            body = request.target
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    origins = [await Origin(script).start() for _ in range(2)]
    config = settings()
    config = structs.replace(config, ejection=EjectionSettings(failures=0), limits=limits)
    world = snapshot([route({"one": 1})], [service("one", *(o.port for o in origins))])
    async with plane(world, config) as found:
        await asyncio.gather(
            *(hurried(found, random.Random(n), n) for n in range(CLIENTS)),
        )
        await eventually(lambda: is_quiet(found.dataplane))
        calm = True
        for origin in origins:
            await origin.stop()
            await origin.start(origin.port)
        await eventually(lambda: is_quiet(found.dataplane))
        client = await found.client()
        for number in range(40):
            answer = await client.ask(get(b"/calm-%d" % number))
            assert (answer.status, answer.body) == (200, b"/calm-%d" % number)
    for origin in origins:
        await origin.stop()
        assert not origin.errors
