"""Parts around a control process under test: workers on a socket pair, a loop, small snapshots."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from typing import Any, TypeVar

import uvloop

from admin.health import Target
from admin.publisher import Publisher
from gateway.core.model import Health, InstanceId, ServiceId
from gateway.core.snapshot import (
    EMPTY,
    Condition,
    Snapshot,
    SnapshotRoute,
    SnapshotService,
    delta_from_wire,
    patch,
)
from gateway.runtime import messages
from gateway.runtime.link import BrokenLink
from gateway.runtime.link_async import AsyncLink
from gateway.runtime.messages import WorkerState
from tests.support.worlds import a_route, a_service

T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run under the loop of the control process."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


async def soon(condition: Callable[[], object], seconds: float = 5.0) -> None:
    """Wait until something is so; real sockets and threads need a moment."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.001)


def a_snapshot(generation: int, **weights: int) -> Snapshot:
    """One route `shop.example` with these weights, one instance for each service."""
    services: list[SnapshotService] = [a_service(name, Condition.UP) for name in weights]
    route: SnapshotRoute = a_route(weights)
    return Snapshot(generation, 1, 1.0, {route.id: route}, {s.id: s for s in services}, ())


class NoChecks:
    """Checks nothing, remembers what it should."""

    def __init__(self) -> None:
        self.watched: dict[ServiceId, tuple[Target, ...]] = {}

    def watch(
        self,
        service: ServiceId,
        targets: tuple[Target, ...],
        known: Mapping[InstanceId, Health],
        addresses: Mapping[InstanceId, str],
    ) -> None:
        if targets:
            self.watched[service] = targets
        else:
            self.watched.pop(service, None)


class FakeWorker:
    """Applies what it is sent, as a worker does, unless `is_hung`."""

    def __init__(self, slot: int, pid: int) -> None:
        self.slot, self.pid = slot, pid
        self.snapshot = self.recalled = EMPTY
        self.received: list[int] = []
        self.sizes: list[int] = []
        """Routes and services in each message."""
        self.session = ""
        self.may_apply = asyncio.Event()
        self.may_apply.set()
        self._has_applied = asyncio.Event()
        self.link: AsyncLink | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def connect(self, publisher: Publisher) -> FakeWorker:
        """Over a socket pair, past the listening socket."""
        ours, theirs = socket.socketpair()
        self._tasks.append(asyncio.create_task(publisher.attend(theirs)))
        await self.attach(await AsyncLink.attach(ours))
        return self

    def recall(self, session: str, snapshot: Snapshot) -> None:
        """Begin with what the snapshot file holds."""
        self.session, self.recalled = session, snapshot

    async def attach(self, link: AsyncLink) -> None:
        self.link = link
        self.snapshot = self.recalled
        link.send(messages.hello(self.slot, self.pid, self.snapshot.generation, self.session))
        self._tasks.append(asyncio.create_task(self._work(link)))

    async def _work(self, link: AsyncLink) -> None:
        with suppress(BrokenLink):
            while True:
                message = await link.receive()
                delta = delta_from_wire(message["delta"])
                self.received.append(delta.generation)
                self.sizes.append(len(delta.routes) + len(delta.services))
                await self.may_apply.wait()
                if delta.base == EMPTY.generation:
                    self.snapshot = EMPTY
                assert delta.base == self.snapshot.generation
                self.snapshot = patch(self.snapshot, delta)
                self.session = message["session"]
                link.send(messages.applied(delta.generation, self.session))
                self._has_applied.set()

    async def wait_for(self, generation: int) -> Snapshot:
        async with asyncio.timeout(5):
            while self.snapshot.generation < generation:
                self._has_applied.clear()
                await self._has_applied.wait()
        return self.snapshot

    async def close(self) -> None:
        if self.link is not None:
            self.link.close()
        await asyncio.gather(*self._tasks)


def roster(publisher: Publisher, **states: str) -> None:
    """`roster(p, w0="serving")`: the worker of slot 0 has pid 100, and so on."""
    rows: list[messages.Json] = [
        {
            "slot": int(name[1:]),
            "region": int(name[1:]),
            "pid": 100 + int(name[1:]),
            "state": WorkerState(state),
            "restarts": 0,
            "started": 1.0,
        }
        for name, state in states.items()
    ]
    publisher.take_roster(messages.roster(rows, 0))
