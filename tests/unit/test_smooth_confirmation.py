"""When a smooth confirmation confirms: after 5 s without errors, once the traffic has moved."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import cast

from admin.audit import Actor
from admin.controller import Controller
from admin.releases import ReleaseDriver
from gateway.core.commands import Command, ConfirmRelease, EndSmooth
from gateway.core.observed import Observed
from gateway.core.release import ConfirmMode, Phase
from gateway.core.state import State
from tests.support.clocks import FakeClock, settle
from tests.support.releases_page import Paper, a_template

POLL_S = 0.25


@dataclass
class Outcome:
    after: State


@dataclass
class Desk:
    """Stands for the controller: carries commands out on paper."""

    paper: Paper
    is_applied: bool = True
    done: list[Command] = field(default_factory=list)

    @property
    def state(self) -> State:
        return self.paper.state

    @property
    def observed(self) -> Observed:
        return self.paper.observed

    def on_change(self, tell: Callable[[], None]) -> None:
        """It polls; nobody has to be told."""

    on_observed = on_change

    async def execute(
        self, command: Command, actor: Actor, *, reason: str | None = None
    ) -> Outcome:
        self.done.append(command)
        self.paper.do(command)
        return Outcome(self.paper.state)


@dataclass
class Scene:
    """A release that is being confirmed smoothly, and what drives it."""

    desk: Desk
    clock: FakeClock = field(default_factory=FakeClock)
    errors: int = 0

    async def pass_time(self, seconds: float) -> None:
        for _ in range(int(seconds / POLL_S)):
            await self.clock.advance(POLL_S)
            await settle()

    def phase(self) -> Phase:
        return self.desk.state.releases["shop-2"].phase

    def run(self, story: Callable[[Scene], Coroutine[None, None, None]]) -> None:
        async def main() -> None:
            driver = ReleaseDriver(
                cast(Controller, self.desk), lambda _: self.errors, lambda _: (), self.clock
            )
            task = asyncio.create_task(driver.run())
            await settle()
            await story(self)
            task.cancel()

        asyncio.run(main())


def a_scene() -> Scene:
    paper = Paper()
    paper.deploy(a_template("shop-v1"))
    paper.deploy(a_template("shop-v2"))
    scene = Scene(Desk(paper))
    paper.do(ConfirmRelease("shop", ConfirmMode.SMOOTH, scene.clock.time(), "me"))
    assert paper.weights == {"shop-v1": 0, "shop-v2": 100}
    return scene


def test_it_confirms_after_five_clean_seconds() -> None:
    async def story(scene: Scene) -> None:
        await scene.pass_time(4.5)
        assert scene.phase() is Phase.PENDING_CONFIRMATION
        await scene.pass_time(1)
        assert scene.phase() is Phase.CONFIRMING

    a_scene().run(story)


def test_an_error_begins_the_time_anew() -> None:
    async def story(scene: Scene) -> None:
        await scene.pass_time(4)
        scene.errors += 1
        await scene.pass_time(4.5)
        assert scene.phase() is Phase.PENDING_CONFIRMATION
        await scene.pass_time(1)
        assert scene.phase() is Phase.CONFIRMING

    a_scene().run(story)


def test_the_time_begins_when_the_workers_have_followed() -> None:
    async def story(scene: Scene) -> None:
        scene.desk.is_applied = True
        await scene.pass_time(5.5)
        assert scene.phase() is Phase.CONFIRMING

    async def late(scene: Scene) -> None:
        await scene.pass_time(10)
        assert scene.phase() is Phase.PENDING_CONFIRMATION
        await story(scene)

    scene = a_scene()
    scene.desk.is_applied = False
    scene.run(late)


def test_what_others_publish_meanwhile_delays_nothing() -> None:
    async def story(scene: Scene) -> None:
        for _ in range(11):
            scene.desk.is_applied = False
            await scene.pass_time(POLL_S)
            scene.desk.is_applied = True
            await scene.pass_time(POLL_S)
        assert scene.phase() is Phase.CONFIRMING

    a_scene().run(story)


def test_a_minute_of_errors_gives_the_traffic_back() -> None:
    async def story(scene: Scene) -> None:
        for _ in range(31):
            scene.errors += 1
            await scene.pass_time(2)
        assert isinstance(scene.desk.done[-1], EndSmooth)
        assert scene.phase() is Phase.PENDING_CONFIRMATION
        assert scene.desk.paper.weights == {"shop-v1": 100, "shop-v2": 0}

    a_scene().run(story)
