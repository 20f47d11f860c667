"""Instances that misbehave in every way: the right status, nobody else's answer, nothing sent twice.

And what they are used for meanwhile: left alone for ever longer times while they go on failing,
used again when they are well.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest
from msgspec import structs

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
from tests.support.wire import Message, Origin, Peer, eventually

OK = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s"
Sin = Callable[[Peer, Message], Awaitable[None]]


async def resets(peer: Peer, _: Message) -> None:
    peer.reset()


async def closes(_: Peer, __: Message) -> None:
    pass


async def hangs(peer: Peer, _: Message) -> None:
    await peer.closed(30)


async def talks_garbage(peer: Peer, _: Message) -> None:
    await peer.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 20 + b"\r\n\r\n")


async def never_ends_its_head(peer: Peer, _: Message) -> None:
    await peer.send(b"HTTP/1.1 200 OK\r\nX: ")
    while True:
        await peer.send(b"y" * 4096)


async def dies_in_its_head(peer: Peer, _: Message) -> None:
    await peer.send(b"HTTP/1.1 200 OK\r\nContent-Le")
    peer.reset()


async def dies_after_an_interim_answer(peer: Peer, _: Message) -> None:
    await peer.send(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")


async def answers_something_else(peer: Peer, _: Message) -> None:
    await peer.send(b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n")


@dataclass(frozen=True)
class Case:
    sin: Sin
    statuses: frozenset[int]
    repeats: bool
    """Whether a GET may be tried again."""


CASES = [
    Case(resets, frozenset({502}), True),
    Case(closes, frozenset({502}), True),
    Case(hangs, frozenset({504}), False),
    Case(talks_garbage, frozenset({502}), True),
    Case(never_ends_its_head, frozenset({502, 504}), True),
    Case(dies_in_its_head, frozenset({502}), True),
    Case(dies_after_an_interim_answer, frozenset({502}), True),
    Case(answers_something_else, frozenset({502}), True),
]


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.sin.__name__)
def test_a_sin_is_told_by_its_status_and_the_connection_goes_on_with_its_own_answers(
    case: Case,
) -> None:
    on_both = _on_both(case)
    for transport in ("aiofastnet", "uvloop"):
        on_both(transport)


def _on_both(case: Case) -> Callable[[str], None]:
    @on_both_transports
    async def tale() -> None:
        seen: Counter[bytes] = Counter()

        async def sometimes(peer: Peer) -> None:
            while True:
                request = await peer.request()
                seen[request.target] += 1
                if b"bad" in request.target:
                    await case.sin(peer, request)
                    return
                body = request.target + b" " + request.body
                await peer.send(OK % (len(body), body))

        config = structs.replace(settings(), ejection=EjectionSettings(failures=0))
        async with proxied(sometimes, config, response_header_s=0.25) as (found, _):
            client = await found.client()
            for number in range(3):
                good, bad = b"/good-%d" % number, b"/bad-%d" % number
                assert (await client.ask(get(good))).body == good + b" "
                assert (await client.ask(get(bad))).status in case.statuses
                assert (await client.ask(get(good + b"b"))).body == good + b"b "
                assert (await client.ask(post(b"once", target=bad + b"p"))).status in case.statuses
                assert (await client.ask(post(b"x", target=good + b"p"))).body == good + b"p x"
            for target, times in seen.items():
                if b"good" in target or target.endswith(b"p"):
                    assert times == 1, target
                else:
                    assert 1 <= times <= (3 if case.repeats else 1), target

    return tale


@on_both_transports
async def test_connections_closed_at_the_worst_moment_cost_a_get_nothing_and_send_no_post_twice() -> (
    None
):
    """After each answer the origin closes or resets at about the time of the next request."""
    chance = random.Random(12)
    seen: Counter[bytes] = Counter()

    async def leaves(peer: Peer) -> None:
        while True:
            request = await peer.request()
            seen[request.target] += 1
            await peer.send(OK % (len(request.target), request.target))
            if chance.random() < 0.7:
                await asyncio.sleep(chance.choice((0, 0, 0.0005, 0.001, 0.002)))
                if chance.random() < 0.5:
                    peer.reset()
                return

    config = structs.replace(settings(), ejection=EjectionSettings(failures=0))
    statuses: Counter[tuple[bytes, int]] = Counter()
    async with proxied(leaves, config) as (found, _):

        async def visit(number: int) -> None:
            client = await found.client()
            for turn in range(60):
                own = b"/%d-%d" % (number, turn)
                method = chance.choice((b"GET", b"POST"))
                request = get(own) if method == b"GET" else post(b"once", target=own)
                answer = await client.ask(request)
                statuses[method, answer.status] += 1
                if answer.status == 200:
                    assert answer.body == own
                await asyncio.sleep(chance.choice((0, 0, 0.0005, 0.001, 0.002)))

        await asyncio.gather(*(visit(n) for n in range(8)))
    assert {status for method, status in statuses if method == b"GET"} == {200}
    assert {status for method, status in statuses if method == b"POST"} <= {200, 502}
    assert statuses[b"POST", 200] > statuses[b"POST", 502]
    assert max(seen.values()) == 1, "nothing that was answered was sent again"


@on_both_transports
async def test_a_service_that_is_slow_costs_its_own_clients_only() -> None:
    """Slow ones wait in hundreds; the other service answers as ever."""
    gate = asyncio.Event()

    async def slow(peer: Peer) -> None:
        while True:
            await peer.request()
            await gate.wait()
            await peer.send(OK % (4, b"slow"))

    async def quick(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(OK % (5, b"quick"))

    origins = [await Origin(script).start() for script in (slow, quick)]
    world = snapshot(
        [route({"slow": 1}, host="slow.test"), route({"quick": 1})],
        [service("slow", origins[0].port), service("quick", origins[1].port)],
    )
    async with plane(world) as found:
        waiting = [await found.client() for _ in range(200)]
        for client in waiting:
            await client.send(get(host=b"slow.test"))
        await eventually(lambda: origins[0].open == 200)
        other = await found.client()
        for _ in range(100):
            async with asyncio.timeout(1):
                assert (await other.ask(get())).body == b"quick"
        gate.set()
        for client in waiting:
            assert (await client.answer()).body == b"slow"
    for origin in origins:
        await origin.stop()


@on_both_transports
async def test_a_flapping_instance_is_left_alone_longer_each_time_and_used_again_when_well() -> (
    None
):
    is_well = False
    served: Counter[str] = Counter()

    async def flaps(peer: Peer) -> None:
        while True:
            await peer.request()
            if not is_well:
                peer.reset()
                return
            served["flapping"] += 1
            await peer.send(OK % (2, b"ok"))

    async def steady(peer: Peer) -> None:
        while True:
            await peer.request()
            served["steady"] += 1
            await peer.send(OK % (2, b"ok"))

    origins = [await Origin(script).start() for script in (flaps, steady)]
    policy = EjectionSettings(failures=2, seconds=0.3, max_seconds=0.6)
    config = structs.replace(settings(), ejection=policy)
    world = snapshot([route({"one": 1})], [service("one", *(o.port for o in origins))])
    async with plane(world, config) as found:
        client = await found.client()
        loop = asyncio.get_running_loop()
        end = loop.time() + 20
        while len(found.ejections) < 3:
            assert loop.time() < end
            assert (await client.ask(get())).status == 200, "the other one takes what fails"
            await asyncio.sleep(0.002)
        lengths = [round(ejection.seconds, 1) for ejection in found.ejections]
        assert lengths == [0.3, 0.6, 0.6]
        assert {e.instance for e in found.ejections} == {f"one@{origins[0].port}"}
        is_well = True
        while not served["flapping"]:
            assert loop.time() < end
            assert (await client.ask(get())).status == 200
            await asyncio.sleep(0.002)
        served.clear()
        for _ in range(20):
            assert (await client.ask(get())).status == 200
        assert served == {"flapping": 10, "steady": 10}
    for origin in origins:
        await origin.stop()
