"""What is under way with containers ends, however it is interrupted, and stands for them until then."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

from admin.providers.docker.actions import NameTaken
from admin.providers.docker.carrying import Work
from admin.providers.docker.engine import Engine, EngineError, EngineGone, NoSuchThing
from admin.providers.docker.listing import Listing
from admin.providers.docker.making import Maker
from admin.providers.docker.outputs import Outputs
from admin.providers.launching.progress import Stage
from gateway.core.container import Container
from gateway.core.model import InstanceId, Launch, Service, ServiceId
from tests.support.clocks import FakeClock

SERVICE = Service("app", "web", (), launch=Launch("shop:1", container=Container()))


class StandIn:
    """Maker, list and Engine: does what is put in, and notes what was told."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.hangs = False
        self.is_being_made = False
        self.is_listed = asyncio.Event()
        self.made: list[str] = []
        self.told: list[str] = []
        self.names: frozenset[str] = frozenset()

    async def have_image(
        self, service: Service, is_first: bool, note: Callable[[Stage], None]
    ) -> None:
        if self.error is not None:
            raise self.error
        if self.hangs:
            note(Stage.PULLING)
            await asyncio.Event().wait()

    async def create(self, service: Service, slot: int, name: str, definition: str) -> str:
        self.made.append(name)
        return "0123456789abcdef"

    async def start(self, container: str, service: Service) -> None:
        self.made.append("started")

    async def id_of_ours(self, name: str) -> str | None:
        if self.is_being_made:
            raise NoSuchThing(404, "no such container")
        return None

    async def wait_next(self) -> None:
        await self.is_listed.wait()

    def changed(self) -> None:
        pass

    def fail(
        self,
        service: ServiceId,
        slot: int,
        instance: InstanceId,
        what: str,
        lived_s: float,
        output: tuple[str, ...],
    ) -> None:
        self.told.append(f"{instance} {what}")

    def work(self) -> Work:
        every: Any = self
        return Work(
            cast(Engine, every),
            FakeClock(),
            "me",
            cast(Listing, every),
            cast(Maker, every),
            cast(Outputs, every),
            self.fail,
        )


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def test_a_task_stands_for_its_container_until_a_list_shows_it() -> None:
    async def play() -> None:
        stand_in = StandIn()
        work = stand_in.work()
        work.make(SERVICE, 0, "d", is_first=True)
        work.make(SERVICE, 0, "d", is_first=True)  # once is enough
        await settle()
        assert len(stand_in.made) == 2
        assert len(work.tasks) == 1
        stand_in.is_listed.set()
        await settle()
        assert not work.tasks

    asyncio.run(play())


def test_what_nobody_wants_any_more_is_given_up_wherever_it_is() -> None:
    async def play(hangs: bool, error: Exception | None, has_begun: bool) -> None:
        stand_in = StandIn()
        stand_in.hangs, stand_in.error = hangs, error
        work = stand_in.work()
        work.make(SERVICE, 0, "d", is_first=True)
        if has_begun:
            await settle()
        work.keep_only({SERVICE.id})
        await settle()
        assert len(work.tasks) == 1
        work.keep_only(())
        stand_in.is_listed.set()
        await settle()
        assert not work.tasks

    asyncio.run(play(hangs=True, error=None, has_begun=True))
    asyncio.run(play(hangs=False, error=None, has_begun=False))
    asyncio.run(play(hangs=False, error=EngineGone("away"), has_begun=True))


def test_an_engine_that_is_gone_is_no_failure_of_the_instance() -> None:
    async def play(error: Exception) -> list[str]:
        stand_in = StandIn()
        stand_in.error = error
        work = stand_in.work()
        work.make(SERVICE, 1, "d", is_first=True)
        stand_in.is_listed.set()
        await settle()
        assert not work.tasks
        return stand_in.told

    assert asyncio.run(play(EngineGone("away"))) == []
    assert asyncio.run(play(EngineError("no"))) == ["web@1 cannot be started: no"]


def test_a_name_that_the_engine_has_taken_for_what_it_is_still_making_is_nobody_elses() -> None:
    async def play(is_being_made: bool) -> list[str]:
        stage = StandIn()
        stage.error, stage.is_being_made = NameTaken(409, "in use"), is_being_made
        stage.is_listed.set()
        work = stage.work()
        work.make(SERVICE, 0, "d", is_first=True)
        await settle()
        await work.close()
        return stage.told

    assert asyncio.run(play(is_being_made=True)) == []
    (told,) = asyncio.run(play(is_being_made=False))
    assert "taken by a container that is not the gateway's" in told


def test_the_end_of_the_gateway_ends_what_is_under_way() -> None:
    async def play() -> None:
        stand_in = StandIn()
        stand_in.hangs = True
        work = stand_in.work()
        work.make(SERVICE, 0, "d", is_first=True)
        await settle()
        stand_in.is_listed.set()
        await work.close()
        await settle()
        assert not work.tasks
        assert stand_in.made == []

    asyncio.run(play())
