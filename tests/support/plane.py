"""A data plane in the test's own process, on both kinds of transports."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextvars import ContextVar
from typing import Any, Literal

import pytest
from msgspec import structs

from gateway.core.model import AffinityKey, AtZero, BalancerName, InstanceId, RouteId, ServiceId
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
from gateway.metrics.shared import create_region
from gateway.metrics.worker import WorkerMetrics
from gateway.proxy.dataplane import DataPlane, Ejection
from gateway.runtime.loops import loop_factory
from gateway.runtime.settings import EntrypointSettings, Settings, TimeoutSettings

from .wire import Origin, Peer, Script, client, close_all, serve_plain

HOST = b"a.test"
_transport: ContextVar[Literal["aiofastnet", "uvloop"]] = ContextVar(
    "transport", default="aiofastnet"
)
"""What the test under way runs on."""
KEY = AffinityKey("a", "00" * 32, 0.0)


def current_transport() -> Literal["aiofastnet", "uvloop"]:
    """What the test under way runs on."""
    return _transport.get()


def on_both_transports(
    test: Callable[[], Awaitable[None]],
) -> Callable[..., None]:
    """Run an async test once on aiofastnet's transports and once on plain uvloop's."""

    @pytest.mark.parametrize("transport", ["aiofastnet", "uvloop"])
    def run(transport: Literal["aiofastnet", "uvloop"]) -> None:
        _transport.set(transport)
        with asyncio.Runner(loop_factory=loop_factory(transport)) as runner:
            runner.run(within(test))

    functools.update_wrapper(run, test)
    del run.__wrapped__  # type: ignore[attr-defined]  # pytest must see `transport`
    return run


async def within(test: Callable[[], Awaitable[None]]) -> None:
    """Run a test to its end or to its time limit, and end what it left open."""
    trouble: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, said: trouble.append(said))
    try:
        async with asyncio.timeout(60):
            await test()
    finally:
        await close_all()
    for said in trouble:
        raise AssertionError(said["message"]) from said.get("exception")


def instance(service: str, port: int, condition: Condition = Condition.UP) -> SnapshotInstance:
    return SnapshotInstance(InstanceId(f"{service}@{port}"), "127.0.0.1", port, condition)


def service(
    name: str,
    *ports: int,
    balancer: BalancerName = BalancerName.ROUND_ROBIN,
    condition: Condition = Condition.UP,
    in_flight_limit: int | None = None,
) -> SnapshotService:
    return SnapshotService(
        id=ServiceId(f"-/{name}"),
        application="-",
        name=name,
        version=name,
        balancer=balancer,
        instances=tuple(instance(name, p, condition) for p in ports),
        in_flight_limit=in_flight_limit,
    )


def route(
    weights: dict[str, int],
    *,
    host: str = HOST.decode(),
    path: str = "/",
    internal: bool = False,
    affinity: bool = False,
    at_zero: AtZero = AtZero.DRAIN,
    selectors: bool = False,
    spill: bool = True,
    held: bool = False,
    connect_s: float = 2.0,
    response_header_s: float = 5.0,
    idle_stream_s: float = 5.0,
) -> SnapshotRoute:
    return SnapshotRoute(
        id=RouteId(host + path.rstrip("/")),
        host=host,
        path=path,
        internal=internal,
        members=tuple(Member(ServiceId(f"-/{n}"), w) for n, w in weights.items()),
        affinity=Affinity(affinity, "GATEWAYSESSION", 3600, at_zero),
        timeouts=Timeouts(connect_s, response_header_s, idle_stream_s),
        selectors=selectors,
        spill=spill,
        held=held,
    )


def snapshot(
    routes: Sequence[SnapshotRoute], services: Sequence[SnapshotService], generation: int = 1
) -> Snapshot:
    return Snapshot(
        generation=generation,
        revision=generation,
        created=0.0,
        routes={r.id: r for r in routes},
        services={s.id: s for s in services},
        keys=(KEY,),
    )


@dataclasses.dataclass
class Plane:
    """A data plane that listens on loopback."""

    dataplane: DataPlane
    metrics_fd: int
    ports: dict[str, int]
    ejections: list[Ejection]
    sockets: list[socket.socket]

    @property
    def port(self) -> int:
        return self.ports["public"]

    async def client(self, entrypoint: str = "public") -> Peer:
        return await client(self.ports[entrypoint])


def settings(**timeouts: float) -> Settings:
    """Settings with short timeouts."""
    short: dict[str, Any] = {"client_idle": 10.0, "client_header": 5.0, "client_body": 5.0}
    return Settings(
        entrypoints={
            "public": EntrypointSettings("127.0.0.1:0"),
            "internal": EntrypointSettings("127.0.0.1:0", internal=True),
        },
        workers=1,
        timeouts=TimeoutSettings(**(short | timeouts)),
    )


@contextlib.asynccontextmanager
async def plane(world: Snapshot | None, config: Settings | None = None) -> AsyncIterator[Plane]:
    """A data plane serving `world` on fresh ports: public, internal, health."""
    fd = create_region("test")
    ejections: list[Ejection] = []
    dataplane = DataPlane(
        asyncio.get_running_loop(),
        structs.replace(config or settings(), transport=_transport.get()),
        WorkerMetrics(fd),
        0,
        ejections.append,
    )
    if world is not None:
        dataplane.apply(world)
    found = Plane(dataplane, fd, {}, ejections, [])
    for name in ("public", "internal", "health"):
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", 0))
        sock.listen(1024)
        sock.setblocking(False)
        dataplane.listen(sock, name)
        found.ports[name] = sock.getsockname()[1]
        found.sockets.append(sock)
    try:
        yield found
    finally:
        for sock in found.sockets:
            dataplane.unlisten(sock)
        await dataplane.drain(0.0)
        for sock in found.sockets:
            sock.close()


@contextlib.asynccontextmanager
async def proxied(
    script: Script = serve_plain, config: Settings | None = None, **route_options: Any
) -> AsyncIterator[tuple[Plane, Origin]]:
    """One origin behind one route of a data plane."""
    origin = await Origin(script).start()
    world = snapshot([route({"one": 100}, **route_options)], [service("one", origin.port)])
    try:
        async with plane(world, config) as found:
            yield found, origin
    finally:
        await origin.stop()  # uvloop's loop never ends with a server that listens


def get(target: bytes = b"/", *fields: bytes, method: bytes = b"GET", host: bytes = HOST) -> bytes:
    """A request without a body."""
    lines = b"".join(f + b"\r\n" for f in fields)
    return b"%s %s HTTP/1.1\r\nHost: %s\r\n%s\r\n" % (method, target, host, lines)


def post(body: bytes, *fields: bytes, target: bytes = b"/", method: bytes = b"POST") -> bytes:
    """A request with a Content-Length."""
    return get(target, *fields, b"Content-Length: %d" % len(body), method=method) + body


def chunked(*pieces: bytes) -> bytes:
    """A chunked POST."""
    body = b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in pieces) + b"0\r\n\r\n"
    return get(b"/", b"Transfer-Encoding: chunked", method=b"POST") + body
