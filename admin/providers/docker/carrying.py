"""Carrying out what the launcher planned: one task for each container at a time, by its name.

While a task is under way it stands for the container, so that none is made twice; it ends
with a list that shows what came of it. An Engine that is gone ends a task without a word:
the plan that is made from the next list begins it again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Coroutine
from contextlib import suppress
from dataclasses import dataclass

from admin.clock import Clock
from admin.providers.launching.progress import Stage
from gateway.core.model import InstanceId, Service, ServiceId
from gateway.core.names import quote

from . import endings
from .actions import NameTaken
from .containers import SHORT, Run
from .engine import Engine, EngineError, EngineGone, NoSuchThing
from .listing import Listing
from .making import Maker
from .outputs import Outputs
from .ownership import Owned, container_name

log = logging.getLogger(__name__)

AGAIN_S = 1.0
"""After something that the Engine refuses to do with a container."""
AT_ONCE = 8
"""Containers that are made or started at a time: an Engine does it one after the other anyway."""

Fail = Callable[[ServiceId, int, InstanceId, str, float, tuple[str, ...]], None]
"""An instance did not come up, or ended: what, after how many seconds, its last lines."""


@dataclass(slots=True)
class Task:
    """What is being done with a container. `began`: seconds since the epoch."""

    service: ServiceId
    slot: int
    stage: Stage
    began: float
    is_end: bool = False
    is_given_up: bool = False
    task: asyncio.Task[None] | None = None

    def note(self, stage: Stage) -> None:
        """It is so far."""
        self.stage = stage


class Work:
    """See the module."""

    def __init__(
        self,
        engine: Engine,
        clock: Clock,
        owner: str,
        listing: Listing,
        maker: Maker,
        outputs: Outputs,
        fail: Fail,
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._owner = owner
        self._listing = listing
        self._maker = maker
        self._outputs = outputs
        self._fail = fail
        self._room = asyncio.Semaphore(AT_ONCE)
        self.tasks: dict[str, Task] = {}
        """By the container's name."""
        self.ended: set[str] = set()
        """Ids of containers that were told to end; by themselves they did not."""

    def is_ending(self, one: Owned) -> bool:
        """Was it told to end, or is it being removed?"""
        task = self.tasks.get(one.container.name)
        is_told = task is not None and task.is_end
        return is_told or one.container.run is Run.REMOVING or one.id in self.ended

    def make(self, service: Service, slot: int, definition: str, is_first: bool) -> None:
        """Begin to pull, create and start. `is_first`: see `Maker.have_image`."""
        name = container_name(self._owner, service.id, slot, definition)
        task = Task(service.id, slot, Stage.CREATING, self._clock.time())
        self._begin(name, task, self._make(name, task, service, definition, is_first))

    def start(self, one: Owned, service: Service) -> None:
        """Begin to start one that somebody made and did not come to start."""
        task = Task(one.service, one.slot, Stage.STARTING, self._clock.time())
        self._begin(one.container.name, task, self._start(one, service))

    def end(self, one: Owned) -> None:
        """Begin to stop and remove it. Nothing of it is a failure of the instance."""
        task = Task(one.service, one.slot, Stage.WAITING, self._clock.time(), is_end=True)
        self._begin(one.container.name, task, self._end(one))

    def bury(self, one: Owned, is_failure: bool) -> None:
        """Begin to remove one whose program ended; if that was none of our doing, read why."""
        task = Task(one.service, one.slot, Stage.WAITING, self._clock.time(), is_end=True)
        self._begin(one.container.name, task, self._bury(one, is_failure))

    def keep_only(self, services: Collection[ServiceId]) -> None:
        """Give up what is being made for others; a pull may take long."""
        for task in self.tasks.values():
            is_free = task.is_end or task.is_given_up or task.service in services
            if not is_free and task.task is not None:
                task.is_given_up = True
                task.task.cancel()

    async def close(self) -> None:
        """End all of it where it is."""
        tasks = [t.task for t in self.tasks.values() if t.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _begin(self, name: str, task: Task, work: Coroutine[None, None, None]) -> None:
        if name in self.tasks:
            work.close()
            return
        self.tasks[name] = task
        task.task = asyncio.create_task(self._carry_out(name, work), name=f"container {name}")
        # Also of one that was given up before it began, or while it waited for the list.
        task.task.add_done_callback(lambda _: self._note_end(name, work))

    def _note_end(self, name: str, work: Coroutine[None, None, None]) -> None:
        work.close()
        del self.tasks[name]
        self._listing.changed()

    async def _carry_out(self, name: str, work: Coroutine[None, None, None]) -> None:
        try:
            await work
        except EngineGone:
            pass  # it is seen again in the list, when there is one
        except EngineError as error:
            log.warning("the container %s: %s", name, error)
            await asyncio.sleep(AGAIN_S)
        except Exception:
            log.exception("what is done with the container %s broke", name)
            await asyncio.sleep(AGAIN_S)
        finally:
            # The list after it shows what it did; until then it counts as under way.
            await self._listing.wait_next()

    async def _make(
        self, name: str, task: Task, service: Service, definition: str, is_first: bool
    ) -> None:
        instance = InstanceId(f"{service.name}@{task.slot}")
        try:
            await self._maker.have_image(service, is_first, task.note)
            async with self._room:
                task.note(Stage.CREATING)
                container = await self._maker.create(service, task.slot, name, definition)
                instance = InstanceId(f"{service.name}@{container[:SHORT]}")
                task.note(Stage.STARTING)
                await self._maker.start(container, service)
        except EngineGone:
            raise
        except NameTaken:
            await self._understand(name, task, instance)
        except EngineError as error:
            await self._not_started(name, task, instance, error)

    async def _start(self, one: Owned, service: Service) -> None:
        name = one.container.name
        try:
            await self._maker.start(one.id, service)
        except EngineGone:
            raise
        except EngineError as error:
            await self._not_started(name, self.tasks[name], one.instance, error)

    async def _not_started(
        self, name: str, task: Task, instance: InstanceId, error: EngineError
    ) -> None:
        """The Engine refuses: say so, and leave nothing behind."""
        what = f"cannot be started: {endings.advice(error)}"
        self._fail(task.service, task.slot, instance, what, 0.0, ())
        with suppress(EngineError):
            if (container := await self._maker.id_of_ours(name)) is not None:
                self.ended.add(container)
                await self._maker.remove(container)

    async def _understand(self, name: str, task: Task, instance: InstanceId) -> None:
        """There is a container of that name: ours, and then the list shows it, or not."""
        await self._listing.wait_next()
        if name in self._listing.names:
            return
        try:
            if await self._maker.id_of_ours(name) is not None:
                return
        except NoSuchThing:
            # The name is taken before there is a container: the Engine is still making it.
            await asyncio.sleep(AGAIN_S)
            return
        what = (
            f"cannot be started: the name {quote(name)} is taken by a container that is not the "
            "gateway's; rename or remove it"
        )
        self._fail(task.service, task.slot, instance, what, 0.0, ())

    async def _end(self, one: Owned) -> None:
        self.ended.add(one.id)
        if one.is_up:
            await self._maker.stop(one.id, one.grace_s)
            await self._outputs.finish(one)
        await self._maker.remove(one.id)

    async def _bury(self, one: Owned, is_failure: bool) -> None:
        if is_failure and one.id not in self.ended:
            inspected = await self._engine.inspect(one.id)
            with self._engine.reading():
                ended = endings.ending_of(inspected)
            await self._outputs.finish(one)
            output = self._outputs.tail(one)
            self._fail(one.service, one.slot, one.instance, ended.words, ended.lived_s, output)
        self.ended.add(one.id)
        await self._maker.remove(one.id)
