"""The Docker provider as the control process sees it: one Engine, who looks at it, who uses it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

from admin.clock import Clock
from admin.controller import Controller
from admin.probes import Inside
from gateway.core.model import InstanceId

from .discovery import STOPPING_S, Discovery
from .engine import Engine
from .execs import Execs
from .launcher import DockerLauncher
from .ownership import owner_of

FIRST_LOOK_S = 2.0
"""How long a start waits for an Engine that does not answer."""


class DockerProvider:
    """See the module. `url` is that of the configuration, `folder` the gateway's state."""

    def __init__(self, url: str, world: Controller, clock: Clock, folder: Path) -> None:
        self.engine = Engine(url, clock)
        self.discovery = Discovery(self.engine, world, clock)
        self.launcher = DockerLauncher(world, self.engine, clock, folder, owner_of(folder))
        self._execs = Execs(self.engine)

    def surroundings(self, instance: InstanceId) -> Inside | None:
        """What a command that checks an instance is run in; None: it is no container."""
        container = self.discovery.container_of(instance) or self.launcher.container_of(instance)
        if container is None:
            return None
        return Inside(lambda command: self._execs.run(container.id, command))

    def settings_have_changed(self) -> None:
        """Look again: what is found may mean something else now."""
        self.discovery.look_again()
        self.launcher.settings_have_changed()

    async def look_first(self) -> None:
        """Before the controller's start: report what runs, if the Engine says it in time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(FIRST_LOOK_S):
                await self.discovery.look_first()

    async def run(self) -> None:
        """Follow the Engine for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.engine.run(STOPPING_S))
            group.create_task(self.discovery.run())

    async def close(self) -> None:
        """Give up all connections."""
        await self.engine.close()
