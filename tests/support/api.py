"""The admin API on real sockets in the test's own process.

Controller, publisher and store are the real ones; two workers of straw answer
over the real link, and checks pass at once. Time that handlers wait passes by
itself (`Clock`).
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import io
import os
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import aiohttp
import orjson
from pydantic import TypeAdapter
from yarl import URL

from admin.api.app import BOUNDED, OPERATIONS, create_runner, listen
from admin.api.auth import digest
from admin.api.connections import Bounds
from admin.api.context import Context, OpenWork, Work
from admin.api.idempotency import AGE_MAX_S
from admin.api.operation import Operation
from admin.audit import GATEWAY, AuditEntry
from admin.clock import SystemClock
from admin.controller import Controller
from admin.health import Target
from admin.observing import LaunchReport
from admin.providers.launching.progress import Step
from admin.publisher import Publisher
from admin.releases import ReleaseDriver
from admin.store.base import StoreUnavailable
from admin.store.memory import MemoryStore
from gateway.core.commands import AddToken, FinishRemoval, ForgetApplication
from gateway.core.model import (
    Health,
    Instance,
    InstanceId,
    Role,
    ServiceId,
    Token,
    split_service_id,
)
from gateway.core.state import Changes
from gateway.metrics.stats import Report, Traffic
from gateway.runtime import messages
from gateway.runtime.link import BrokenLink
from gateway.runtime.link_async import AsyncLink
from gateway.runtime.settings import (
    AdminAuth,
    AdminSettings,
    ImageSettings,
    ProcessSettings,
    ProviderSettings,
    Settings,
)
from tests.support.clocks import FakeClock

BASE = "/api/v1"
NOW = 1_800_000_000.0
SESSION = "life"


@dataclass
class Checks:
    """Every check passes at once, but those of `failing` instances."""

    controller: Controller | None = None
    failing: set[str] = field(default_factory=set)

    def fail(self, instance: str) -> None:
        """From now on the checks of an instance fail."""
        assert self.controller is not None
        self.failing.add(instance)
        self.controller.report_health(InstanceId(instance), Health.UNHEALTHY)

    def watch(
        self,
        service: ServiceId,
        targets: tuple[Target, ...],
        known: Mapping[InstanceId, Health],
        addresses: Mapping[InstanceId, str],
    ) -> None:
        for target in targets:
            verdict = Health.UNHEALTHY if target.instance in self.failing else Health.HEALTHY
            assert self.controller is not None
            self.controller.report_health(target.instance, verdict, target.host)


class BreakableStore(MemoryStore):
    """A store that can become unavailable, or break in a way nobody thought of."""

    trouble: Exception | None = None

    async def save(
        self,
        expected_revision: int,
        changes: Changes,
        entry: AuditEntry | None,
        generation: int,
    ) -> int:
        if self.trouble is not None:
            raise self.trouble
        return await super().save(expected_revision, changes, entry, generation)

    def become_unavailable(self) -> None:
        self.trouble = StoreUnavailable("the disk is full")


@dataclass
class SetFigures:
    """Figures that a test sets."""

    traffic: dict[str, Traffic] = field(default_factory=dict)
    """By route, service or `route service`."""
    open_instances: dict[str, list[OpenWork]] = field(default_factory=dict)
    """What an instance (`service instance`) has open, one entry for each look."""
    open_services: dict[str, OpenWork] = field(default_factory=dict)

    def work(self) -> Work:
        instances = {}
        for names, looks in self.open_instances.items():
            service, _, instance = names.partition(" ")
            instances[service, instance] = looks.pop(0) if len(looks) > 1 else looks[0]
        return Work(services=self.open_services, instances=instances)

    def report(self, window_s: int) -> Report:
        pairs = {}
        for names, traffic in self.traffic.items():
            route, space, service = names.partition(" ")
            if space:
                pairs[route, service] = traffic
        return Report(window_s, float(window_s), self.traffic, self.traffic, pairs)

    async def page(self, accept: str) -> tuple[bytes, str]:
        return f"# {accept}\n".encode(), "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True)
class Fell:
    """What went wrong with an instance."""

    instance: InstanceId
    what: str
    time: float = NOW
    output: tuple[str, ...] = ()


@dataclass(frozen=True)
class Lines:
    entries: tuple[tuple[str, str, str], ...]
    cursor: str


@dataclass
class StrawLauncher:
    """Has what is desired running at once, and stops it as soon as it is not."""

    controller: Controller | None = None
    fell: dict[str, list[Fell]] = field(default_factory=dict)
    """By service."""
    problems: dict[str, str] = field(default_factory=dict)
    """By instance."""
    wrote: list[tuple[str, str, str, str]] = field(default_factory=list)
    """Application, service, instance, line."""
    under_way: dict[str, tuple[Step, ...]] = field(default_factory=dict)
    """By service."""
    is_stuck: bool = False
    """Does nothing happen any more?"""
    _places: dict[ServiceId, int] = field(default_factory=dict)

    def launch(self) -> None:
        assert self.controller is not None
        if self.is_stuck:
            return
        services = [s for s in self.controller.state.services.values() if s.launch is not None]
        for s in services:
            self._places.setdefault(s.id, len(self._places))
        self.controller.report_launched(
            LaunchReport(
                {
                    s.id: tuple(
                        Instance(InstanceId(f"{s.name}@127.0.0.1:{port}"), s.id, "127.0.0.1", port)
                        for port in range(first, first + s.scale)
                    )
                    for s in services
                    for first in (20000 + 100 * self._places[s.id],)
                },
                running=frozenset(s.id for s in services),
            )
        )

    def failures(self, service: ServiceId) -> list[Fell]:
        return self.fell.get(service, [])

    def steps(self, service: ServiceId) -> tuple[Step, ...]:
        return self.under_way.get(service, ())

    def why_not(self, instance: InstanceId) -> str | None:
        return self.problems.get(instance)

    def read_logs(
        self, application: str, service: str | None, lines: int, after: str | None
    ) -> Lines:
        if after is not None and not after.isdigit():
            raise ValueError("no call gave this cursor")
        found = [
            (s, instance, line)
            for a, s, instance, line in self.wrote
            if a == application and service in (None, s)
        ]
        place = max(0, len(found) - lines) if after is None else int(after.lstrip("0") or "0")
        part = found[place : place + lines]
        return Lines(tuple(part), str(place + len(part)))


@dataclass(frozen=True)
class Answered:
    status: int
    headers: Mapping[str, str]
    raw: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.raw)

    @property
    def etag(self) -> str:
        return self.headers["ETag"]

    @property
    def code(self) -> str:
        """The problem's code."""
        assert self.headers["Content-Type"] == "application/problem+json", self
        problem = self.json
        assert problem.keys() >= {"type", "title", "status", "detail", "code"}, problem
        assert problem["status"] == self.status
        return str(problem["code"])

    @property
    def places(self) -> list[str]:
        """The places a problem names."""
        assert self.code
        return [error["field"] for error in self.json.get("errors", ())]


@dataclass
class Clock:
    """Time that passes only while somebody sleeps; `on_tick` may let things happen then."""

    time: float = 0.0
    on_tick: Callable[[], Awaitable[None]] | None = None

    def __call__(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.time += seconds
        if self.on_tick is not None:
            await self.on_tick()
        await asyncio.sleep(0)


@dataclass
class Worker:
    """Applies what it gets, unless it `hangs`."""

    slot: int
    link: AsyncLink
    hangs: bool = False

    async def run(self) -> None:
        self.link.send(messages.hello(self.slot, os.getpid() + self.slot, 0, ""))
        with contextlib.suppress(BrokenLink):
            while True:
                message = await self.link.receive()
                generation = cast(int, message["delta"]["generation"])
                if not self.hangs:
                    self.link.send(messages.applied(generation, SESSION))


@dataclass
class Api:
    """A running API; call it over the Unix socket, or over TCP with `tcp` or a token."""

    controller: Controller
    store: BreakableStore
    publisher: Publisher
    checks: Checks
    workers: list[Worker]
    figures: SetFigures
    launcher: StrawLauncher
    clock: Clock
    """What handlers wait by."""
    wall: FakeClock
    """The time of day, and what the driver of releases waits by."""
    unix: aiohttp.ClientSession
    tcp: aiohttp.ClientSession
    port: int
    removes: bool = True
    """Are services that leave gone at once?"""

    async def __call__(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        raw: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        tcp: bool = False,
        token: str | None = None,
    ) -> Answered:
        sent = dict(headers or {})
        data = orjson.dumps(body) if body is not None else raw
        if data is not None:
            sent.setdefault("Content-Type", "application/json")
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        over_tcp = tcp or token is not None
        session = self.tcp if over_tcp else self.unix
        where = path if path.startswith("/") else f"{BASE}/{path}"
        root = f"http://127.0.0.1:{self.port}" if over_tcp else "http://localhost"
        async with session.request(
            method,
            URL(root + where, encoded=True),
            data=io.BytesIO(data) if data is not None else None,
            headers=sent,
            skip_auto_headers=() if data is not None else ("Content-Type",),
            allow_redirects=False,
        ) as response:
            answer = Answered(response.status, response.headers.copy(), await response.read())
        check_described(method, where.partition("?")[0], answer)
        return answer

    async def register(
        self, name: str, *hosts: str, coexist: bool = False, port: int = 9001
    ) -> Answered:
        """Put a service by hand and wait until its instance is healthy."""
        answer = await self(
            "PUT",
            f"services/{name}",
            {
                "routes": [{"host": host} for host in hosts],
                "endpoints": [f"127.0.0.1:{port}"],
                "coexist": coexist,
            },
        )
        assert answer.status == 200, answer.json
        await self.settled()
        return answer

    async def two_versions(self) -> None:
        """`v1` with 100 and `v2` with 0 on `shop.example`."""
        await self.register("v1", "shop.example")
        await self.register("v2", "shop.example", coexist=True, port=9002)

    async def deploy(
        self, application: str, template: str, query: str = "", **more: Any
    ) -> Answered:
        """Deploy a template; `query` without its question mark."""
        return await self(
            "POST",
            f"applications/{application}/releases?{query}",
            raw=template.encode(),
            **{"headers": {"Content-Type": "application/yaml"}, **more},
        )

    def forget_answers(self) -> None:
        """Let all answers kept for an Idempotency-Key grow too old."""
        self.clock.time += AGE_MAX_S + 1

    async def reached(self, release: str, phase: str) -> Any:
        """The release once it is in a phase."""
        async with asyncio.timeout(5):
            while True:
                answer = (await self("GET", f"releases/{release}")).json
                if answer["phase"] == phase:
                    return answer
                await asyncio.sleep(0.005)

    async def weights(self, route: str = "shop.example") -> Any:
        return (await self("GET", f"routes/{route}/weights")).json

    async def token(self, role: Role, name: str | None = None) -> str:
        """A token, put without the API."""
        text = f"gw_{name or role}"
        token = Token(name or role.value, role, digest(text), NOW)
        await self.controller.execute(AddToken(token), GATEWAY)
        return text

    async def trail(self) -> list[tuple[str, str, str, str, str]]:
        """The audit's entries, oldest first, without the gateway's own."""
        found = await self.controller.audit(1000)
        return [
            (e.actor, e.action, e.target, e.result.value, e.code)
            for e in reversed(found)
            if e.actor != GATEWAY.name
        ]

    async def settled(self) -> None:
        """Wait until all that was reported has been published."""
        async with asyncio.timeout(5):
            while True:
                observed = self.controller.observed
                ids = [i.id for several in observed.instances.values() for i in several]
                published = {
                    i.id for s in self.controller.snapshot.services.values() for i in s.instances
                }
                if all(i in observed.health and i in published for i in ids):
                    break
                await asyncio.sleep(0.001)
            await self.publisher.wait_applied(self.controller.snapshot.generation)


def operation_of(method: str, path: str) -> Operation | None:
    """The operation that serves a path."""
    for operation in OPERATIONS:
        pattern = re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(operation.path))
        if operation.method == method and re.fullmatch(pattern, path):
            return operation
    return None


def check_described(method: str, path: str, answer: Answered) -> None:
    """An answer must be just what OpenAPI says of it: nothing missing, nothing more."""
    operation = operation_of(method, path)
    if operation is None or operation.answer is bytes:
        return
    kind: Any = operation.answer
    if answer.status >= 400:
        assert answer.code
        return
    assert answer.status in operation.statuses, answer
    assert answer.headers["Content-Type"] == "application/json"
    adapter = TypeAdapter(kind)
    value = adapter.validate_json(answer.raw, strict=True)
    assert adapter.dump_python(value, mode="json") == answer.json


@contextlib.asynccontextmanager
async def serving(
    tmp_path: Path,
    auth: AdminAuth = AdminAuth.TOKEN,
    listen_at: str = "127.0.0.1:8900",
    bounds: Bounds = BOUNDED,
) -> AsyncIterator[Api]:
    """An API on a Unix socket and on TCP."""
    folder = tmp_path
    images = {name: ImageSettings(("true",)) for name in ("web:1", "web:2", "page:1")}
    settings = Settings(
        admin=AdminSettings(listen=listen_at, auth=auth),
        providers=ProviderSettings(ProcessSettings(images)),
    )
    clock, checks, store, launcher = Clock(), Checks(), BreakableStore(), StrawLauncher()
    wall = FakeClock(NOW)
    publisher = Publisher(
        SESSION,
        folder / "snapshot.json",
        SystemClock(),
        lambda *ejection: None,
        apply_timeout_s=0.3,
    )
    controller = Controller(store, publisher, settings, SystemClock(), checks)
    checks.controller = launcher.controller = controller
    figures = SetFigures()
    context = Context(
        controller,
        figures,
        launched=launcher,
        now=wall.time,
        monotonic=clock,
        sleep=clock.sleep,
    )
    await controller.start()
    launcher.launch()
    controller.on_change(launcher.launch)
    driver = ReleaseDriver(controller, lambda service: 0, launcher.failures, wall)
    async with contextlib.AsyncExitStack() as stack:
        tasks = [
            asyncio.create_task(work)
            for work in (controller.run(), publisher.file.run(), driver.run())
        ]

        removals: list[asyncio.Task[None]] = []

        async def removed() -> None:
            """Time does not pass before what leaves is gone; that takes real messages."""
            if removals:
                await asyncio.wait(removals)

        async def stop() -> None:
            for task in [*tasks, *removals]:
                task.cancel()
            await asyncio.gather(*tasks, *removals, return_exceptions=True)

        stack.push_async_callback(stop)
        stack.push_async_callback(publisher.close)
        workers = [await _worker(slot, publisher, tasks) for slot in range(2)]
        publisher.take_roster(
            messages.roster(
                [
                    {
                        "slot": w.slot,
                        "region": w.slot,
                        "pid": os.getpid() + w.slot,
                        "state": "serving",
                        "restarts": 0,
                        "started": NOW,
                    }
                    for w in workers
                ],
                0,
            )
        )
        runner = create_runner(context, 1.0, bounds)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        path = str(folder / "admin.sock")
        unix_listener = socket.socket(socket.AF_UNIX)
        unix_listener.bind(path)
        await listen(runner, unix_listener)
        listener = socket.create_server(("127.0.0.1", 0))
        await listen(runner, listener)
        unix = await stack.enter_async_context(
            aiohttp.ClientSession(connector=aiohttp.UnixConnector(path))
        )
        tcp = await stack.enter_async_context(aiohttp.ClientSession())
        port = listener.getsockname()[1]
        api = Api(
            controller,
            store,
            publisher,
            checks,
            workers,
            figures,
            launcher,
            clock,
            wall,
            unix,
            tcp,
            port,
        )
        controller.on_change(lambda: _remove_leaving(api, removals))
        clock.on_tick = removed
        await api.settled()
        yield api


async def _worker(slot: int, publisher: Publisher, tasks: list[asyncio.Task[None]]) -> Worker:
    ours, theirs = socket.socketpair()
    tasks.append(asyncio.create_task(publisher.attend(theirs)))
    worker = Worker(slot, await AsyncLink.attach(ours))
    tasks.append(asyncio.create_task(worker.run()))
    return worker


def _remove_leaving(api: Api, removals: list[asyncio.Task[None]]) -> None:
    if api.removes:
        removals.extend(
            asyncio.create_task(finish_removal(api, service.id))
            for service in api.controller.state.services.values()
            if service.leaving
        )


async def finish_removal(api: Api, service: ServiceId) -> None:
    """What the control process does once nothing is open any more."""
    await api.controller.execute(FinishRemoval(service), GATEWAY)
    application = split_service_id(service)[0]
    await api.controller.execute(ForgetApplication(application), GATEWAY)


def traffic(requests: int, **more: Any) -> Traffic:
    """Some traffic of a minute."""
    base = Traffic(requests, requests / 60, 0.0, 0.01, 0.02, 0.03, 0, 0, 0.5)
    return dataclasses.replace(base, **more)


def on_an_api(
    test: Callable[[Api], Awaitable[None]],
) -> Callable[[Path], None]:
    """Run an async test with an API of its own."""

    def run(tmp_path: Path) -> None:
        async def main() -> None:
            async with serving(tmp_path) as api, asyncio.timeout(30):
                await test(api)

        asyncio.run(main())

    run.__name__ = test.__name__
    run.__doc__ = test.__doc__
    return run
