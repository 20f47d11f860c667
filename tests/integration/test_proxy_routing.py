"""Requests go where weights, pins, selectors and health say."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack

from gateway.core.model import AtZero, BalancerName
from gateway.core.snapshot import Condition
from tests.support.plane import (
    Plane,
    get,
    on_both_transports,
    plane,
    route,
    service,
    snapshot,
)
from tests.support.wire import Origin, Peer, serve_plain


class Origins:
    """Named origins that tell their name."""

    def __init__(self) -> None:
        self.ports: dict[str, int] = {}
        self._all: list[Origin] = []

    async def add(self, *names: str) -> None:
        for name in names:

            async def script(peer: Peer, name: str = name) -> None:
                await serve_plain(peer, name.encode())

            origin = await Origin(script).start()
            self.ports[name] = origin.port
            self._all.append(origin)

    async def stop(self) -> None:
        for origin in self._all:
            await origin.stop()


async def origins(stack: AsyncExitStack, *names: str) -> dict[str, int]:
    found = Origins()
    await found.add(*names)
    stack.push_async_callback(found.stop)
    return found.ports


async def served_by(found: Plane, count: int, *fields: bytes) -> Counter[str]:
    """Who serves `count` requests of as many clients' first requests."""
    client = await found.client()
    answers: Counter[str] = Counter()
    for _ in range(count):
        answer = await client.ask(get(b"/", *fields))
        answers[
            answer.body.split()[0].decode() if answer.status == 200 else str(answer.status)
        ] += 1
    client.close()
    return answers


def cookie_of(answer: object) -> bytes:
    value = answer.get(b"set-cookie")  # type: ignore[attr-defined]
    assert value is not None
    return b"Cookie: " + bytes(value.split(b";")[0])


@on_both_transports
async def test_weights_are_exact_over_a_round() -> None:
    async with AsyncExitStack() as stack:
        ports = await origins(stack, "v1", "v2")
        world = snapshot(
            [route({"v1": 90, "v2": 10})],
            [service("v1", ports["v1"]), service("v2", ports["v2"])],
        )
        async with plane(world) as found:
            assert await served_by(found, 50) == {"v1": 45, "v2": 5}


@on_both_transports
async def test_new_weights_hold_from_the_next_request_on() -> None:
    async with AsyncExitStack() as stack:
        ports = await origins(stack, "v1", "v2")
        services = [service("v1", ports["v1"]), service("v2", ports["v2"])]
        async with plane(snapshot([route({"v1": 1, "v2": 0})], services)) as found:
            assert await served_by(found, 10) == {"v1": 10}
            found.dataplane.apply(snapshot([route({"v1": 0, "v2": 1})], services, 2))
            assert await served_by(found, 10) == {"v2": 10}


@on_both_transports
async def test_a_session_stays_at_weight_zero_and_a_new_one_does_not_come() -> None:
    async with AsyncExitStack() as stack:
        ports = await origins(stack, "v1", "v2")
        services = [service("v1", ports["v1"]), service("v2", ports["v2"])]
        async with plane(snapshot([route({"v1": 1, "v2": 0}, affinity=True)], services)) as found:
            client = await found.client()
            first = await client.ask(get())
            cookie = cookie_of(first)
            text = first.get(b"set-cookie")
            assert text is not None
            assert b"HttpOnly" in text
            assert b"SameSite=Lax" in text
            assert b"Path=/" in text
            found.dataplane.apply(snapshot([route({"v1": 0, "v2": 1}, affinity=True)], services, 2))
            stays = await client.ask(get(b"/", cookie))
            assert stays.body.startswith(b"v1")
            assert stays.get(b"set-cookie") is None
            assert (await client.ask(get())).body.startswith(b"v2")
            evict = route({"v1": 0, "v2": 1}, affinity=True, at_zero=AtZero.EVICT)
            found.dataplane.apply(snapshot([evict], services, 3))
            assert (await client.ask(get(b"/", cookie))).body.startswith(b"v2")


@on_both_transports
async def test_the_gateways_cookie_is_not_shown_to_the_origin() -> None:
    heads: list[bytes] = []

    async def keeps(peer: Peer) -> None:
        while True:
            heads.append((await peer.request()).head)
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    async with AsyncExitStack() as stack:
        origin = await Origin(keeps).start()
        stack.push_async_callback(origin.stop)
        world = snapshot([route({"v1": 1}, affinity=True)], [service("v1", origin.port)])
        async with plane(world) as found:
            client = await found.client()
            cookie = cookie_of(await client.ask(get()))
            await client.ask(get(b"/", cookie + b"; theirs=1"))
            await client.ask(get(b"/", cookie))
    assert b"GATEWAYSESSION" not in heads[1]
    assert b"theirs=1" in heads[1]
    assert b"cookie" not in heads[2].lower()


@on_both_transports
async def test_a_pin_to_a_draining_instance_moves_within_its_service() -> None:
    async with AsyncExitStack() as stack:
        ports = await origins(stack, "a", "b", "other")
        one = service("v1", ports["a"])
        both = service("v1", ports["a"], ports["b"])
        other = service("v2", ports["other"])
        weights = route({"v1": 1, "v2": 99}, affinity=True)
        async with plane(snapshot([route({"v1": 1}, affinity=True)], [one])) as found:
            client = await found.client()
            cookie = cookie_of(await client.ask(get()))
            found.dataplane.apply(snapshot([weights], [both, other], 2))
            assert (await client.ask(get(b"/", cookie))).body.startswith(b"a")
            draining = service("v1", ports["a"], condition=Condition.DRAINING).instances
            moved = service("v1", ports["b"])
            object.__setattr__(moved, "instances", draining + moved.instances)
            found.dataplane.apply(snapshot([weights], [moved, other], 3))
            answer = await client.ask(get(b"/", cookie))
            assert answer.body.startswith(b"b")
            again = await client.ask(get(b"/", cookie_of(answer)))
            assert again.body.startswith(b"b")
            assert again.get(b"set-cookie") is None


@on_both_transports
async def test_a_service_without_instances_spills_or_fails_as_the_route_says() -> None:
    async with AsyncExitStack() as stack:
        ports = await origins(stack, "v1", "v2")
        services = [
            service("v1", ports["v1"]),
            service("v2", ports["v2"], condition=Condition.DOWN),
        ]
        weights = {"v1": 50, "v2": 50}
        async with plane(snapshot([route(weights)], services)) as found:
            assert await served_by(found, 10) == {"v1": 10}
            strict = route(weights, spill=False)
            found.dataplane.apply(snapshot([strict], services, 2))
            assert await served_by(found, 10) == {"v1": 5, "503": 5}


@on_both_transports
async def test_nothing_healthy_is_503_with_retry_after_not_404() -> None:
    down = service("v1", 9, condition=Condition.DOWN)
    async with plane(snapshot([route({"v1": 1})], [down])) as found:
        client = await found.client()
        answer = await client.ask(get())
        assert answer.status == 503
        assert answer.get(b"retry-after") is not None


@on_both_transports
async def test_a_selector_reaches_a_service_at_weight_zero_where_previews_are_on() -> None:
    async with AsyncExitStack() as stack:
        ports = await origins(stack, "v1", "v2")
        services = [service("v1", ports["v1"]), service("v2", ports["v2"])]
        weights = {"v1": 1, "v2": 0}
        on = route(weights, selectors=True, affinity=True)
        async with plane(snapshot([on], services)) as found:
            assert await served_by(found, 3, b"X-Gateway-Service: v2") == {"v2": 3}
            assert await served_by(found, 3, b"Cookie: X-Gateway-Service=v2") == {"v2": 3}
            assert await served_by(found, 3, b"X-Gateway-Service: v3") == {"404": 3}
            found.dataplane.apply(snapshot([route(weights)], services, 2))
            assert await served_by(found, 3, b"X-Gateway-Service: v2") == {"v1": 3}


@on_both_transports
async def test_internal_hosts_are_for_internal_entrypoints() -> None:
    async with AsyncExitStack() as stack:
        ports = await origins(stack, "v1")
        inside = route({"v1": 1}, host="x.local", internal=True)
        public = route({"v1": 1})
        async with plane(snapshot([inside, public], [service("v1", ports["v1"])])) as found:
            outside = await found.client()
            answer = await outside.ask(get(host=b"x.local"))
            assert answer.status == 404
            assert b"internal" in answer.body
            within = await found.client("internal")
            assert (await within.ask(get(host=b"x.local"))).status == 200
            assert (await within.ask(get())).status == 200


@on_both_transports
async def test_the_longest_prefix_wins_on_path_borders() -> None:
    async with AsyncExitStack() as stack:
        ports = await origins(stack, "root", "api")
        world = snapshot(
            [route({"root": 1}), route({"api": 1}, path="/api")],
            [service("root", ports["root"]), service("api", ports["api"])],
        )
        async with plane(world) as found:
            client = await found.client()
            for target, name in (
                (b"/", b"root"),
                (b"/apiary", b"root"),
                (b"/api", b"api"),
                (b"/api/x", b"api"),
                (b"/api?x", b"api"),
            ):
                answer = await client.ask(get(target))
                assert answer.body.split()[:3] == [name, b"GET", target]


@on_both_transports
async def test_health_is_answered_on_its_own_listener() -> None:
    async with plane(None) as found:
        client = await found.client("health")
        assert (await client.ask(get(b"/healthz"))).status == 200
        assert (await client.ask(get(b"/readyz"))).status == 503
        found.dataplane.ready = True
        assert (await client.ask(get(b"/readyz"))).status == 200
        assert (await client.ask(get(b"/else"))).status == 404
        found.dataplane.begin_lame_duck()
        answer = await client.ask(get(b"/readyz"))
        assert answer.status == 503
        assert answer.get(b"connection") == b"close"


@on_both_transports
async def test_a_busy_instance_is_left_alone_by_balancers_that_look() -> None:
    busy = asyncio.Event()
    done = asyncio.Event()

    async def first(peer: Peer) -> None:
        while True:
            await peer.request()
            busy.set()
            await done.wait()
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst")

    for balancer in (BalancerName.LEAST_REQUESTS, BalancerName.TWO_RANDOM_CHOICES):
        busy.clear()
        done.clear()
        async with AsyncExitStack() as stack:
            slow = await Origin(first).start()
            stack.push_async_callback(slow.stop)
            ports = await origins(stack, "second")
            one = service("v1", slow.port, balancer=balancer)
            both = service("v1", slow.port, ports["second"], balancer=balancer)
            async with plane(snapshot([route({"v1": 1})], [one])) as found:
                waiting = await found.client()
                await waiting.send(get())
                await asyncio.wait_for(busy.wait(), 5)
                found.dataplane.apply(snapshot([route({"v1": 1})], [both], 2))
                assert await served_by(found, 20) == {"second": 20}
                done.set()
                assert (await waiting.answer()).body == b"first"
