"""The Docker provider as the control process sees it: one Engine, and who looks at it."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from admin.clock import Clock
from admin.probes import Inside
from gateway.core.model import InstanceId

from .discovery import STOPPING_S, Discovery
from .engine import Engine
from .execs import Execs
from .world import World

FIRST_LOOK_S = 2.0
"""How long a start waits for an Engine that does not answer."""


class DockerProvider:
    """See the module. `url` is that of the configuration."""

    def __init__(self, url: str, world: World, clock: Clock) -> None:
        self.engine = Engine(url, clock)
        self.discovery = Discovery(self.engine, world, clock)
        self._execs = Execs(self.engine)

    def surroundings(self, instance: InstanceId) -> Inside | None:
        """What a command that checks an instance is run in; None: it is no container."""
        container = self.discovery.container_of(instance)
        if container is None:
            return None
        return Inside(lambda command: self._execs.run(container.id, command))

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
