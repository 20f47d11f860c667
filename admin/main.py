"""The control process: puts its parts together, in the order that makes every start safe.

1. the store is opened; one that is refused ends the gateway with a message and
   exit code 2, nothing else does;
2. the last published snapshot is recalled, and the supervisor tells which processes
   of services run, so that a restart changes no traffic;
3. a new snapshot is published at once, above every generation ever seen; if there
   was one that cannot be recalled, the instances are checked before, for 3 s at most;
4. only then, and when the supervisor has told which workers there are, the API
   answers.

Every part is a task that never ends; when one does, the process ends with code 1
and the supervisor starts a new one. Workers serve on meanwhile.
"""

from __future__ import annotations

import gc

if __name__ == "__main__":
    # What is imported stays: until the API answers, looking for garbage is in vain.
    gc.disable()

import asyncio
import logging
import os
import random
import secrets
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Collection, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop

from gateway.core.commands import TakeDiscovered
from gateway.core.errors import Refused
from gateway.core.model import InstanceId, ServiceId
from gateway.metrics.merge import Merger
from gateway.runtime import boot, logs, messages, snapshot_file
from gateway.runtime.link import BrokenLink
from gateway.runtime.link_async import AsyncLink
from gateway.runtime.messages import T as Type
from gateway.runtime.settings import DockerSettings, GivenSettings, Settings
from gateway.runtime.tls_contexts import ClientContexts, be_quiet_about_handshakes

from .audit import GATEWAY
from .clock import SystemClock
from .controller import Controller
from .health import HealthChecker
from .launched import Launched, Launcher
from .observing import Source
from .providers.process import ProcessProvider
from .publisher import Publisher
from .releases import ReleaseDriver
from .removal import Remover
from .store.base import Store, StoreRefused, StoreUnavailable
from .store.factory import make_store

if TYPE_CHECKING:
    from .providers.docker.provider import DockerProvider

log = logging.getLogger("gateway.control")

BEAT_S = 0.25
SAMPLE_S = 1.0
SWITCH_S = 0.001
"""How long a thread that counts or writes may keep the loop from going on."""
ROSTER_WAIT_S = 2.0
TABLE_WAIT_S = 10.0
"""For the processes that run: it is the first thing that the supervisor says."""
FAREWELL_S = 2.0
"""How long requests under way may take when the gateway stops."""
EXIT_FAILED = 1
EXIT_REFUSED = 2


def main() -> None:
    """Run as the supervisor's child (see `gateway.runtime.boot`)."""
    given = boot.control_boot(os.environ)
    settings = boot.settings_from(given.settings_fd)
    logs.set_up("control")
    # Terminals and service managers signal every process; the supervisor says when to end.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    sys.setswitchinterval(SWITCH_S)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        code = runner.run(Control(given, settings).run())
    raise SystemExit(code)


class Control:
    """All parts of one control process."""

    def __init__(self, given: boot.ControlBoot, settings: Settings) -> None:
        self._given = given
        self._clock = SystemClock()
        self._settings = settings
        self._contexts = ClientContexts()
        self._docker: DockerProvider | None = None
        self._has_roster = asyncio.Event()
        self._is_told_to_stop = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._settling: asyncio.Task[None] | None = None

    async def run(self) -> int:
        """Live until told to stop; the exit code."""
        given, settings = self._given, self._settings
        be_quiet_about_handshakes(asyncio.get_running_loop())
        supervisor = await AsyncLink.attach(socket.socket(fileno=given.supervisor_fd))
        try:
            store = make_store(settings.store_url, settings.retention.audit, given.store_fd)
        except StoreRefused as refused:
            return await self._refuse(supervisor, refused)

        publisher = Publisher(
            secrets.token_hex(8),
            settings.snapshot_file,
            self._clock,
            lambda *report: controller.report_ejection(*report),
        )
        checker = HealthChecker(
            lambda *report: controller.report_health(*report),
            self._clock,
            random.random,
            surroundings=lambda instance: (
                (docker and docker.surroundings(instance)) or provider.surroundings(instance)
            ),
            context=lambda verify: self._tls(controller.settings).get(verify),
        )
        controller = Controller(store, publisher, settings, self._clock, checker)
        folder = Path(settings.state_dir)
        provider = ProcessProvider(controller, supervisor.send, self._clock, folder)
        self._docker = docker = self._docker_provider(controller, folder)
        self._spawn("supervisor", self._listen(supervisor, controller, publisher, provider))
        self._spawn("beat", self._beat(supervisor))

        last = snapshot_file.read(settings.snapshot_file)
        await self._wait_table(provider)
        provider.report()
        if docker is not None:
            await docker.look_first()
        try:
            await controller.start(given.floor, last[1] if last is not None else None)
        except (StoreRefused, StoreUnavailable) as refused:
            return await self._refuse(supervisor, refused)
        log.info(
            "generation %d, revision %d: %d routes, %d services",
            controller.snapshot.generation,
            controller.state.revision,
            len(controller.state.routes),
            len(controller.state.services),
        )
        self._spawn("workers", publisher.serve(socket.socket(fileno=given.link_fd)))
        self._spawn("snapshot file", publisher.file.run())
        self._spawn("inbox", controller.run())
        if docker is not None:
            self._spawn("docker", docker.run())
        else:
            self._settling = asyncio.create_task(self._find_nothing(controller))
        with suppress(TimeoutError):
            async with asyncio.timeout(ROSTER_WAIT_S):
                await self._has_roster.wait()
        end_api = await self._open_api(controller, provider, docker, checker)
        # What was loaded so far mostly lives as long as the process: keep the collector off
        # it, or a look at everything holds up one change in a hundred.
        gc.freeze()
        gc.enable()
        supervisor.send(messages.ready())

        code = await self._wait_for_end()
        controller.is_stopping = True
        await end_api()
        await self._close(store, publisher, checker, docker)
        return code

    async def _open_api(
        self,
        controller: Controller,
        provider: ProcessProvider,
        docker: DockerProvider | None,
        checker: HealthChecker,
    ) -> Callable[[], Awaitable[None]]:
        """Serve the admin API on the inherited sockets; gives what ends it."""

        from .api.app import create_runner, listen
        from .api.context import NOTHING_OPEN, Context
        from .api.figures import WorkerFigures

        clock = self._clock
        figures = WorkerFigures(
            controller, Merger(self._given.regions), clock.time, clock.monotonic
        )

        def open_work(service: ServiceId) -> int:
            work = figures.work().services.get(service, NOTHING_OPEN)
            return work.in_flight + work.websockets

        def busy() -> Collection[InstanceId]:
            work = figures.work().instances
            return {InstanceId(i) for (_, i), open_now in work.items() if not open_now.is_nothing}

        async def sample() -> None:
            while True:
                await clock.sleep(SAMPLE_S)
                await asyncio.to_thread(figures.sample)

        self._spawn("figures", sample())
        launchers: list[Launcher] = [provider]
        if docker is not None:
            launchers.append(docker.launcher)
            self._spawn("containers", docker.launcher.run(busy))
        context = Context(
            controller, figures, launched=Launched(controller, launchers, checker, clock)
        )
        self._spawn("removal", Remover(controller, open_work, clock).run())
        driver = ReleaseDriver(controller, figures.errors, context.launched.failures, clock)
        self._spawn("releases", driver.run())
        self._spawn("processes", provider.run(busy))
        runner = create_runner(context, FAREWELL_S)
        await runner.setup()
        fds = self._given.admin_fds
        for fd in (fds.unix, fds.tcp):
            if fd is not None:
                await listen(runner, socket.socket(fileno=fd))
        return runner.cleanup

    async def _listen(
        self,
        supervisor: AsyncLink,
        controller: Controller,
        publisher: Publisher,
        provider: ProcessProvider,
    ) -> None:
        """Do what the supervisor says; it knows which workers there are."""
        while True:
            try:
                message = await supervisor.receive()
            except BrokenLink:
                log.error("the supervisor is gone")
                return
            match message["t"]:
                case Type.ROSTER:
                    publisher.take_roster(message)
                    self._has_roster.set()
                case Type.PROCESSES:
                    provider.take(message)
                case Type.SETTINGS:
                    controller.configure(messages.settings_of(message))
                    provider.settings_have_changed()
                    if self._docker is not None:
                        self._docker.settings_have_changed()
                case Type.STOP:
                    self._is_told_to_stop.set()

    def _docker_provider(self, controller: Controller, folder: Path) -> DockerProvider | None:
        """The Docker provider, where the configuration asks for it; else it is not even loaded."""
        settings = self._settings.providers.docker
        if settings is None:
            return None
        from .providers.docker.provider import DockerProvider

        controller.expect(Source.DISCOVERED)
        controller.expect(Source.CONTAINERS)
        return DockerProvider(settings.socket, controller, self._clock, folder)

    async def _find_nothing(self, controller: Controller) -> None:
        """Without the provider nobody finds containers: what was found before counts as gone.

        It keeps its place for the time when the provider is back, and may be deleted.
        """
        forget_s = DockerSettings().forget
        command = TakeDiscovered((), self._clock.time(), forget_s)
        if any(s.discovery is not None for s in controller.state.services.values()):
            with suppress(Refused):  # a store without room; the next start does it
                await controller.execute(command, GATEWAY, reason="there is no providers.docker")

    def _tls(self, settings: Settings) -> ClientContexts:
        """Whom to believe, by the present settings."""
        authorities = settings.authorities if isinstance(settings, GivenSettings) else None
        if authorities != self._contexts.authorities:
            self._contexts = ClientContexts(authorities)
        return self._contexts

    async def _beat(self, supervisor: AsyncLink) -> None:
        """Tell the supervisor that the loop turns."""
        while True:
            supervisor.send(messages.beat())
            await self._clock.sleep(BEAT_S)

    def _spawn(self, name: str, work: Coroutine[None, None, None]) -> None:
        self._tasks.append(asyncio.create_task(work, name=name))

    async def _wait_table(self, provider: ProcessProvider) -> None:
        """Until it is known what runs, or nobody is left to tell it."""
        table = asyncio.create_task(provider.wait_table())
        listening = self._tasks[0]
        await asyncio.wait(
            [table, listening], timeout=TABLE_WAIT_S, return_when=asyncio.FIRST_COMPLETED
        )
        if not table.done():
            log.error("the supervisor does not say which processes run")
            table.cancel()

    async def _wait_for_end(self) -> int:
        """Until told to stop, or a part that must not end has ended."""
        stop = asyncio.create_task(self._is_told_to_stop.wait())
        await asyncio.wait([stop, *self._tasks], return_when=asyncio.FIRST_COMPLETED)
        if stop.done():
            return 0
        stop.cancel()
        for task in self._tasks:
            if task.done():
                error = None if task.cancelled() else task.exception()
                log.error("the task %r ended", task.get_name(), exc_info=error)
        return EXIT_FAILED

    async def _refuse(self, supervisor: AsyncLink, error: Exception) -> int:
        """There is no use in trying again: tell the supervisor why."""
        log.error("%s", error)
        supervisor.send(messages.fatal(str(error)))
        await self._end_tasks()
        with suppress(TimeoutError):
            async with asyncio.timeout(FAREWELL_S):
                while supervisor.is_open and supervisor.waiting_bytes:
                    await asyncio.sleep(0.01)
        return EXIT_REFUSED

    async def _close(
        self,
        store: Store,
        publisher: Publisher,
        checker: HealthChecker,
        docker: DockerProvider | None,
    ) -> None:
        await self._end_tasks()
        await checker.close()
        if docker is not None:
            await docker.close()
        await publisher.close()
        await store.close()

    async def _end_tasks(self) -> None:
        tasks = [*self._tasks, *filter(None, [self._settling])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


if __name__ == "__main__":
    main()
