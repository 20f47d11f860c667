"""Finds the containers that others started, and tells the controller what they are.

    list of containers, containers being stopped -> picture.py (pure) -> report, command

Level-triggered: every look is at all containers. Events say only that it is time to look,
but for one thing that no list shows: a container that was told to stop. Such a one gets
no new work from that moment on. However many things happen, half of the time is left to
others, the Engine included: after a look that took long the next one waits as long. The Engine remembers its last events and is asked for
those of the past minutes, so that this too survives a restart of the gateway.

While the Engine is gone the last report stands. Knows nothing of releases and of
containers that the gateway started itself.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress

from admin.audit import GATEWAY
from admin.clock import Clock, wait_until
from admin.observing import LaunchReport, Source
from gateway.core.commands import TakeDiscovered
from gateway.core.discovering import conflicts, take_discovered
from gateway.core.errors import Refused
from gateway.core.model import InstanceId
from gateway.core.state import State
from gateway.runtime.settings import DockerSettings

from .addresses import Way, is_near, published_host
from .containers import Attachment, Container, Event
from .engine import Engine, EngineError
from .labels import Descriptions
from .picture import Picture, picture
from .ports import ClosedPorts, Connect, connect
from .world import World

log = logging.getLogger(__name__)

NAME = "docker"
STOPPING_S = 600.0
"""How long a container that was told to stop, and runs on, counts as one that is about to end."""
AGAIN_S = 0.5
"""After an event the list is looked at twice, at once and a little later: the Engine tells that a
container has ended, or is paused, up to 0.1 s before its list shows it."""
CLEAR_UP_S = 2.0
"""So long the next list waits for what the Engine says of containers that got a signal."""
CALM_MAX_S = 2.0
"""The longest pause after a look that took long."""
DEAD_S = 5.0
"""How long a container of which the end was told is not believed to run, whatever the list says."""
RETRY_S = 2.0
"""The pause after a refusal, e.g. by a store without room."""
PORTS_S = 1.0
"""The least time between two looks at ports."""
PROBLEMS_MAX = 1000
_TERM, _KILL = 15, 9
_ENDS = frozenset({"die", "start", "restart", "destroy"})
"""After these a container is not one that is being stopped any more."""


class Discovery:
    """See the module. `is_near` and `connect` are the machine's network, for tests to play."""

    def __init__(
        self,
        engine: Engine,
        world: World,
        clock: Clock,
        *,
        is_near: Callable[[Attachment], bool] = is_near,
        connect: Connect = connect,
    ) -> None:
        self._engine = engine
        self._world = world
        self._clock = clock
        self._is_near = is_near
        self._containers: Sequence[Container] | None = None
        """The last list; None: there has been none."""
        self._stopping: dict[str, float] = {}
        """Containers that were told to stop, and when we heard of it (monotonic)."""
        self._dead: dict[str, float] = {}
        """Containers that have ended, and when (monotonic)."""
        self._must_look_again = False
        self._unclear: dict[tuple[str, int | None], Event] = {}
        """Signals of which it must be asked whether they are the container's own to stop."""
        self._picture = Picture()
        self._descriptions = Descriptions()
        self._calm_until = 0.0
        """Until then (monotonic) others have their turn."""
        self._settling: asyncio.Task[None] | None = None
        self._reported: LaunchReport | None = None
        self._closed = ClosedPorts(world, connect)
        self._deciding: asyncio.Task[None] | None = None
        self._must_list = asyncio.Event()
        self._must_look_at_ports = asyncio.Event()
        engine.on_open(self._must_list.set)
        engine.on_change(lambda: world.report_provider(NAME, engine.problem))
        engine.on_event(self._take)
        world.on_change(self._follow)
        world.on_observed(self._must_look_at_ports.set)
        self._is_running = False

    # --- what others want to know -------------------------------------------------------------

    def container_of(self, instance: InstanceId) -> Container | None:
        """The container that an instance is."""
        return self._picture.containers.get(instance)

    def look_again(self) -> None:
        """At all containers, soon."""
        self._must_list.set()

    # --- running --------------------------------------------------------------------------------

    async def look_first(self) -> None:
        """Before the controller's start: report what runs, if the Engine says it."""
        with suppress(EngineError):
            self._containers = await self._engine.containers()
            self._settle()

    async def run(self) -> None:
        """Look whenever something happens, and from time to time, for ever."""
        self._is_running = True
        self._settle()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._list_always())
                group.create_task(self._look_at_ports_always())
        finally:
            for task in (self._deciding, self._settling):
                if task is not None:
                    task.cancel()

    async def _list_always(self) -> None:
        while True:
            self._must_look_again = self._must_list.is_set()
            self._must_list.clear()
            begun = self._clock.monotonic()
            try:
                listed = await self._engine.containers()
                await self._clear_up()
            except EngineError as error:
                # Said already, once, by the Engine's edge; it tells as well when it is back.
                log.debug("containers could not be listed: %s", error)
            else:
                self._containers = self._living(listed)
                running = {c.id for c in self._containers}
                oldest = self._clock.monotonic() - STOPPING_S
                self._stopping = {
                    id: at for id, at in self._stopping.items() if id in running and at > oldest
                }
                self._settle_soon()
            longest_s = AGAIN_S if self._must_look_again else self._docker.refresh
            if (took_s := self._clock.monotonic() - begun) > 0:
                await self._clock.sleep(min(took_s, CALM_MAX_S))
            await self._wait(self._must_list, longest_s)

    def _living(self, listed: Sequence[Container]) -> list[Container]:
        now = self._clock.monotonic()
        self._dead = {id: at for id, at in self._dead.items() if now < at + DEAD_S}
        return [c for c in listed if c.id not in self._dead]

    async def _look_at_ports_always(self) -> None:
        while True:
            self._must_look_at_ports.clear()
            now = self._clock.monotonic()
            if await self._closed.look(self._picture, now, self._docker.refresh):
                self._follow()
            await self._clock.sleep(PORTS_S)
            await self._wait(self._must_look_at_ports, self._docker.refresh)

    async def _wait(self, event: asyncio.Event, longest_s: float) -> None:
        await wait_until(self._clock, event, self._clock.monotonic() + longest_s)

    # --- events ---------------------------------------------------------------------------------

    def _take(self, event: Event) -> None:
        if event.kind == "container":
            if event.action == "kill":
                self._note_signal(event)
            elif event.action in _ENDS:
                self._stopping.pop(event.id, None)
                self._dead.pop(event.id, None)
            if event.action == "die":
                self._dead[event.id] = self._clock.monotonic()
                self._containers = self._containers and self._living(self._containers)
                self._settle_soon()
        self._must_list.set()

    def _note_signal(self, event: Event) -> None:
        if event.signal in (_TERM, _KILL):
            self._note_stopping(event)
        else:
            self._unclear[event.id, event.signal] = event

    def _note_stopping(self, event: Event) -> None:
        self._stopping[event.id] = self._clock.monotonic()  # the Engine's clock may be another
        self._settle_soon()

    async def _clear_up(self) -> None:
        """Is a signal other than TERM the one by which its container is stopped?"""
        unclear, self._unclear = self._unclear, {}
        with suppress(TimeoutError):
            async with asyncio.timeout(CLEAR_UP_S):
                for event in unclear.values():
                    await self._clear_up_one(event)

    async def _clear_up_one(self, event: Event) -> None:
        with suppress(EngineError):
            config = (await self._engine.inspect(event.id)).get("Config")
            name = config.get("StopSignal") if isinstance(config, dict) else None
            if event.signal == signal_number(name):
                self._note_stopping(event)

    # --- from what is there to what is told -----------------------------------------------------

    @property
    def _docker(self) -> DockerSettings:
        return self._world.settings.providers.docker or DockerSettings()

    def _settle(self) -> None:
        """Tell what is there; have the desired state follow it."""
        settling, self._settling = self._settling, None
        if settling is not None:
            settling.cancel()  # what it was to tell is told now
        begun = self._clock.monotonic()
        self._look_at_all()
        self._follow()
        now = self._clock.monotonic()
        self._calm_until = now + min(now - begun, CALM_MAX_S)

    def _settle_soon(self) -> None:
        """At once, unless that was done just now."""
        if self._clock.monotonic() >= self._calm_until:
            self._settle()
        elif self._settling is None:
            self._settling = asyncio.create_task(self._settle_later(), name="discovered containers")

    async def _settle_later(self) -> None:
        await self._clock.sleep(self._calm_until - self._clock.monotonic())
        self._settling = None
        self._settle()

    def _look_at_all(self) -> None:
        if self._containers is None:
            return
        docker = self._docker
        self._picture = picture(
            self._containers,
            self._stopping.keys(),
            self._world.settings.domain,
            Way(docker.reach, docker.network, published_host(docker)),
            self._is_near,
            self._descriptions,
        )

    def _follow(self) -> None:
        """The same, when it is not the containers that have changed."""
        if self._containers is None:
            return
        command = TakeDiscovered(self._picture.services, self._clock.time(), self._docker.forget)
        before = self._world.state
        after = take_discovered(before, command).state if self._is_running else before
        self._report(after)
        if after is not before and self._deciding is None:
            self._deciding = asyncio.create_task(self._decide(command), name="discovered services")

    def _report(self, state: State) -> None:
        found = self._picture
        problems = (
            *found.problems,
            *conflicts(state, found.services),
            *self._closed.problems(found),
        )
        report = LaunchReport(
            instances=found.instances,
            retiring=found.retiring,
            ailing=found.ailing,
            problems=problems[:PROBLEMS_MAX],
        )
        if report != self._reported:
            self._reported = report
            for problem in {p.message: p for p in problems}.values():
                log.debug("%s on %s: %s", problem.service, problem.route, problem.message)
            self._world.report_launched(report, Source.DISCOVERED)

    async def _decide(self, command: TakeDiscovered) -> None:
        try:
            await self._world.execute(command, GATEWAY, reason="containers came or went")
        except Refused as refusal:
            log.error("what was found running is not taken in yet: %s", refusal.detail)
            await self._clock.sleep(RETRY_S)
        except Exception:
            log.exception("what was found running could not be taken in")
            await self._clock.sleep(RETRY_S)
        self._deciding = None
        self._follow()


def signal_number(name: object) -> int:
    """The number of a signal as images name it (`SIGQUIT`, `QUIT`, `3`, `SIGRTMIN+3`); else TERM."""
    text = name.upper() if isinstance(name, str) else ""
    if text.isascii() and text.isdigit():
        return int(text[:4])
    word, plus, more = text.removeprefix("SIG").partition("+")
    found = signal.Signals.__members__.get(f"SIG{word}")
    if found is None or (plus and not (more.isascii() and more.isdigit())):
        return _TERM
    return int(found) + int(more[:4] or 0)
