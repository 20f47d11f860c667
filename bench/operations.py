"""The single operations of a request's way, each over and over: `python -m bench.operations NAME COUNT`.

For counting instructions (`instructions`). Each imports what it needs and nothing more, so that a run is
short under valgrind. `--interpreted`: as if nothing of the gateway were compiled.

What is prepared varies as requests do: 64 heads, hosts and tokens, in turn.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from gateway import compiled

from .heads import browser_heads

if TYPE_CHECKING:
    from gateway.core.snapshot import Snapshot
    from gateway.proxy.codec import RequestHead
    from gateway.routing.pool import Pool
    from gateway.routing.world import World

T = TypeVar("T")
Operation = Callable[[], object]
HOST = "shop.example"
KINDS = 64
ROOT = Path(__file__).parents[1]
INTERPRETED = "--interpreted"
ANSWER = (
    b"HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
    b"Content-Type: text/html; charset=utf-8\r\nContent-Length: 115\r\nConnection: keep-alive\r\n"
    b"Cache-Control: max-age=60\r\nETag: W/5f3a9c\r\nVary: Accept-Encoding\r\n\r\n"
)


def head_parse() -> Operation:
    """A request's head, from bytes to values."""
    from gateway.proxy.codec import HeadLimits, parse_request

    limits = HeadLimits(65536, 128)
    heads = _around(browser_heads(HOST, KINDS))
    return lambda: parse_request(next(heads), limits)


def head_render() -> Operation:
    """A request's head, from values to what goes upstream."""
    from gateway.proxy.codec import Hop, render_request

    heads = _around(_parsed())
    hop = Hop(b"192.0.2.1", b"http", b"8080", False)
    own_id = b"0123456789abcdef0123456789abcdef"
    return lambda: render_request(next(heads), hop, own_id, b"GATEWAYSESSION")


def answer_parse() -> Operation:
    """An answer's head, from bytes to values."""
    from gateway.proxy.codec import HeadLimits, parse_response

    limits = HeadLimits(65536, 128)
    return lambda: parse_response(ANSWER, b"GET", limits)


def answer_render() -> Operation:
    """An answer's head, from values to what goes to the client."""
    from gateway.proxy.codec import Framing, HeadLimits, parse_response, render_response

    head = parse_response(ANSWER, b"GET", HeadLimits(65536, 128))
    assert head is not None
    return lambda: render_response(
        head,
        framing=Framing.LENGTH,
        client_minor=1,
        close=False,
        extra=b"X-Served-By: shop-v1\r\n",
    )


def route_match(routes: int) -> Operation:
    """Host and path to their route, with that many routes."""
    table = _world(routes).table
    step = max(routes // KINDS, 1)
    asked = _around(
        [(f"r{n}.example".encode(), b"/basket/item") for n in range(0, routes, step)][:KINDS]
    )

    def match() -> object:
        host, path = next(asked)
        return table.match(host, path, False)

    return match


def pick() -> Operation:
    """A new client's service and instance, by weights."""
    pool = _pool(affinity=False)

    def decided() -> object:
        service = pool.decide(None, None).service
        assert service is not None
        return service.pick()

    return decided


def affinity() -> Operation:
    """A client's service and instance, by the token among its cookies."""
    pool = _pool(affinity=True)
    tokens = [
        pool.set_cookie(service, instance, False).partition(b";")[0].decode()
        for service in pool.services
        for instance in service.instances
    ]
    heads = _parsed(cookies=tokens)
    cookies = _around([head.cookies for head in heads])
    return lambda: pool.decide(next(cookies), None)


def finish() -> Operation:
    """Counting a request that has ended."""
    from gateway.metrics.shared import create_region
    from gateway.metrics.worker import WorkerMetrics

    metrics = WorkerMetrics(create_region("bench"))
    series = metrics.series(HOST, "-", "-/shop-v1", "shop-v1")
    ends = _around([(200, 0.0003), (200, 0.002), (304, 0.0007), (200, 0.05)])

    def counted() -> None:
        status, seconds = next(ends)
        series.finish(b"GET", status, seconds, 0, 115)
        series.sticky("hit")

    return counted


OPERATIONS: dict[str, Callable[[], Operation]] = {
    "head-parse": head_parse,
    "head-render": head_render,
    "answer-parse": answer_parse,
    "answer-render": answer_render,
    "route-match-10": lambda: route_match(10),
    "route-match-1000": lambda: route_match(1_000),
    "route-match-10000": lambda: route_match(10_000),
    "pick": pick,
    "affinity": affinity,
    "finish": finish,
}


def _around(values: Iterable[T]) -> Iterator[T]:
    return cycle(tuple(values))


def _parsed(cookies: Iterable[str] = ()) -> list[RequestHead]:
    from gateway.proxy.codec import HeadLimits, parse_request

    limits = HeadLimits(65536, 128)
    made = [parse_request(head, limits) for head in browser_heads(HOST, KINDS, cookies=[*cookies])]
    return [head for head in made if head is not None]


def _pool(*, affinity: bool) -> Pool:
    pool = _world(1, host=HOST, affinity=affinity).table.match(HOST.encode(), b"/", internal=False)
    assert not isinstance(pool, str)
    return pool


def _world(routes: int, *, host: str = "r{}.example", affinity: bool = True) -> World:
    from gateway.routing.world import World

    world = World(0, lambda: 0.5)
    world.apply(_snapshot(routes, host, affinity))
    return world


def _snapshot(routes: int, host: str, affinity: bool) -> Snapshot:
    """Two services at 90 and 10 with two instances each, on that many routes."""
    from gateway.core.model import (
        AffinityKey,
        AtZero,
        BalancerName,
        InstanceId,
        ServiceId,
        route_id,
    )
    from gateway.core.snapshot import (
        Affinity,
        Condition,
        Member,
        Snapshot,
        SnapshotInstance,
        SnapshotRoute,
        SnapshotService,
        Timeouts,
    )

    services = []
    for name in ("shop-v1", "shop-v2"):
        instances = tuple(
            SnapshotInstance(InstanceId(f"{name}-{n}"), "127.0.0.1", 9000 + n, Condition.UP)
            for n in range(2)
        )
        id = ServiceId(f"-/{name}")
        services.append(SnapshotService(id, "-", name, name, BalancerName.ROUND_ROBIN, instances))
    members = tuple(Member(s.id, weight) for s, weight in zip(services, (90, 10), strict=True))
    made = [
        SnapshotRoute(
            id=route_id(host.format(number), "/"),
            host=host.format(number),
            path="/",
            internal=False,
            members=members,
            affinity=Affinity(affinity, "GATEWAYSESSION", 3600, AtZero.DRAIN),
            timeouts=Timeouts(5.0, 60.0, 300.0),
            selectors=False,
            spill=True,
        )
        for number in range(routes)
    ]
    return Snapshot(
        generation=1,
        revision=1,
        created=0.0,
        routes={route.id: route for route in made},
        services={service.id: service for service in services},
        keys=(AffinityKey("a", "0a" * 32, 1.0),),
    )


def forgo_compiled() -> None:
    """From now on everything is imported from its sources; to be called before any of it is."""
    os.environ[compiled.SWITCH] = "1"


def is_compiled() -> bool:
    """Would a run use anything compiled?"""
    return compiled.finding().mode is compiled.Mode.COMPILED


def main(name: str, count: int) -> None:
    """Do it so often."""
    operation = OPERATIONS[name]()
    gc.disable()
    for _ in range(count):
        operation()


if __name__ == "__main__":
    if INTERPRETED in sys.argv:
        forgo_compiled()
    main(sys.argv[1], int(sys.argv[2]))
