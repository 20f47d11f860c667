"""A process provider between a world and a supervisor that are plain values.

The supervisor keeps a table as the real one does and starts nothing; messages wait in
both directions until a test delivers them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson

from admin.observing import LaunchReport, Source
from admin.providers.process.ports import PortPool
from admin.providers.process.provider import ProcessProvider
from gateway.core.compile import compile_service
from gateway.core.model import Claim, Health, InstanceId, Launch, Service, ServiceId
from gateway.core.observed import Observed
from gateway.core.snapshot import Snapshot
from gateway.core.state import State
from gateway.runtime import messages
from gateway.runtime.messages import Json
from gateway.runtime.settings import (
    ImageSettings,
    ProcessSettings,
    ProviderSettings,
    Settings,
)
from tests.support.clocks import FakeClock

IMAGE = "demo/web:1"
Message = dict[str, Any]


def a_service(name: str, *, scale: int = 1, image: str = IMAGE, **more: Any) -> Service:
    """A launched service of `app`, on a route of its own unless `claims` are given."""
    more.setdefault("claims", (Claim(f"{name}.example", port=80),))
    more.setdefault("launch", Launch(image))
    return Service("app", name, scale=scale, **more)


def some_settings(**process: Any) -> Settings:
    """One image, few ports."""
    process.setdefault("images", {IMAGE: ImageSettings(("web", "${PORT}"))})
    process.setdefault("ports", (20000, 20099))
    return Settings(providers=ProviderSettings(process=ProcessSettings(**process)))


class FakeWorld:
    """What the provider sees of a controller."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.state = State()
        self.settings = settings or some_settings()
        self.is_applied = True
        self.health: dict[InstanceId, Health] = {}
        self.reports: list[LaunchReport] = []
        self._watchers: list[Callable[[], None]] = []

    def want(self, *services: Service) -> None:
        """Exactly these services are desired."""
        self.state = replace(self.state, services={s.id: s for s in services})
        self._tell()

    def say(self, instance: InstanceId, health: Health = Health.HEALTHY) -> None:
        """A check's verdict."""
        self.health[instance] = health
        self._tell()

    @property
    def report(self) -> LaunchReport:
        """The last one."""
        return self.reports[-1]

    def instances(self, name: str) -> list[InstanceId]:
        """The reported instances of a service."""
        return [i.id for i in self.report.instances.get(ServiceId(f"app/{name}"), ())]

    @property
    def observed(self) -> Observed:
        if not self.reports:
            return Observed()
        last = self.reports[-1]
        return Observed(
            instances=last.instances,
            health=self.health,
            retiring=last.retiring,
            running=last.running,
        )

    @property
    def snapshot(self) -> Snapshot:
        services = {
            sid: compile_service(self.state, self.observed, service)
            for sid, service in self.state.services.items()
        }
        return Snapshot(1, 1, 1.0, {}, services, ())

    def report_launched(self, report: LaunchReport, source: Source = Source.PROCESSES) -> None:
        self.reports.append(report)

    def on_change(self, watcher: Callable[[], None]) -> None:
        self._watchers.append(watcher)

    on_observed = on_change

    def _tell(self) -> None:
        for watcher in self._watchers:
            watcher()


@dataclass
class FakeProcess:
    """A row of the fake supervisor."""

    launch: Message
    started: float
    is_halted: bool = False
    has_ended: bool = False
    """Only its group is left."""


@dataclass
class FakeSupervisor:
    """The rules of `gateway.runtime.processes`, without processes."""

    clock: FakeClock
    processes: dict[str, FakeProcess] = field(default_factory=dict)
    cannot_start: set[str] = field(default_factory=set)
    """Programs that are missing."""
    tried: list[Message] = field(default_factory=list)
    started: list[Message] = field(default_factory=list)
    halted: list[str] = field(default_factory=list)
    inbox: deque[Message] = field(default_factory=deque)
    _ended: list[Json] = field(default_factory=list)
    has_news: bool = True

    def send(self, message: Json) -> None:
        """What the control process sends; as it would arrive."""
        self.inbox.append(orjson.loads(orjson.dumps(message)))

    def hear(self, count: int | None = None) -> None:
        """Carry out what has arrived."""
        while self.inbox and count != 0:
            count = None if count is None else count - 1
            message = self.inbox.popleft()
            if message["t"] == messages.T.LAUNCH:
                self._launch(message)
            else:
                self._halt(message["id"])

    def news(self) -> Message | None:
        """The table, if it is to be told."""
        if not self.has_news:
            return None
        self.has_news = False
        rows: list[Json] = [
            {
                "id": id,
                "service": p.launch["service"],
                "note": p.launch["note"],
                "pid": 1,
                "started_unix": p.started,
                "state": "stopping" if p.is_halted or p.has_ended else "running",
            }
            for id, p in self.processes.items()
        ]
        ended, self._ended = self._ended, []
        told: Message = orjson.loads(orjson.dumps(messages.processes(rows, ended)))
        return told

    def running(self, service: str | None = None) -> list[str]:
        """Ids of those that run and were not told to end."""
        return [
            id
            for id, p in self.processes.items()
            if not (p.is_halted or p.has_ended) and service in (None, p.launch["service"])
        ]

    def end(self, id: str, code: int = 1, *, leaves_group: bool = False) -> None:
        """A process ends, by itself or because it was told to."""
        process = self.processes[id]
        if not process.has_ended:
            self._note(process.launch, code, process.started, process.is_halted, None)
        if leaves_group:
            process.has_ended = True
        else:
            del self.processes[id]
        self.has_news = True

    def end_halted(self) -> None:
        """All that were told to end do."""
        for id in [id for id, p in self.processes.items() if p.is_halted or p.has_ended]:
            self.end(id, -15)

    def _launch(self, message: Message) -> None:
        if message["id"] in self.processes:
            return
        self.has_news = True
        self.tried.append(message)
        if message["command"][0] in self.cannot_start:
            self._note(message, None, self.clock.now, False, "cannot be started: no such file")
            return
        self.started.append(message)
        self.processes[message["id"]] = FakeProcess(message, self.clock.now)

    def _halt(self, id: str) -> None:
        if id in self.processes:
            self.halted.append(id)
            self.processes[id].is_halted = True
            self.has_news = True

    def _note(
        self, launch: Message, code: int | None, started: float, halted: bool, error: str | None
    ) -> None:
        self._ended.append(
            {
                "id": launch["id"],
                "service": launch["service"],
                "note": launch["note"],
                "code": code,
                "lived_s": self.clock.now - started,
                "ended_unix": self.clock.now,
                "halted": halted,
                "error": error,
            }
        )


class Launching:
    """All three, and a control process that can be replaced."""

    def __init__(
        self, folder: Path, settings: Settings | None = None, clock: FakeClock | None = None
    ) -> None:
        self.folder = folder
        self.clock = clock or FakeClock()
        self.world = FakeWorld(settings)
        self.supervisor = FakeSupervisor(self.clock)
        self.open: set[InstanceId] = set()
        self.provider = self._new_provider()

    def _new_provider(self) -> ProcessProvider:
        provider = ProcessProvider(
            self.world,
            self.supervisor.send,
            self.clock,
            self.folder,
            environment={"PATH": "/bin", "SECRET": "s", "LC_ALL": "C"},
            ports=PortPool(lambda port: True),
        )
        provider.open_work = lambda: self.open
        return provider

    def tell(self) -> None:
        """The supervisor's news reach the provider."""
        if (news := self.supervisor.news()) is not None:
            self.provider.take(news)

    def settle(self) -> None:
        """Until nobody has anything to say."""
        for _ in range(50):
            self.supervisor.hear()
            has_news = self.supervisor.has_news
            self.tell()
            self.provider.look(self.clock.now)
            if not has_news and not self.supervisor.inbox:
                return
        raise AssertionError("it does not settle")

    def want(self, *services: Service) -> None:
        """Desire exactly these and let it settle."""
        self.world.want(*services)
        self.settle()

    def later(self, seconds: float) -> None:
        """Time passes, then it settles."""
        self.clock.now += seconds
        self.settle()

    def replace_control(self) -> None:
        """Kill -9 and a new one: what was sent has arrived, what was told to the old is lost."""
        self.supervisor.hear()
        self.supervisor.has_news = True
        self.world.reports.clear()
        self.provider = self._new_provider()
        self.tell()
