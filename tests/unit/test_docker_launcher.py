"""What the Docker launcher has done with containers that it finds in the Engine's list."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from admin.providers.docker.containers import Container as Listed
from admin.providers.docker.containers import Run
from admin.providers.docker.engine import Engine
from admin.providers.docker.launcher import DockerLauncher
from admin.providers.docker.ownership import (
    Owned,
    container_name,
    definition_of,
    labels_of,
    owned,
)
from admin.providers.docker.unreachable import PATIENCE_S
from gateway.core.container import Container
from gateway.core.model import Launch, Service
from gateway.core.observed import Observed
from gateway.core.state import State
from gateway.runtime.settings import Settings
from tests.support.clocks import FakeClock

LAUNCH = Launch("shop:1", container=Container())
SERVICE = Service("app", "web", (), launch=LAUNCH)


class World:
    """A controller that wants one service."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.observed = Observed()
        self.settings = Settings()

    def report_launched(self, *_: object) -> None:
        pass

    def on_change(self, watcher: object) -> None:
        pass

    def on_observed(self, watcher: object) -> None:
        pass


@asynccontextmanager
async def beside(run: Run, folder: Path) -> AsyncIterator[tuple[DockerLauncher, Owned]]:
    """A launcher that finds a container of a service that is wanted; it has no address."""
    world: Any = World(State(services={SERVICE.id: SERVICE}))
    clock = FakeClock()
    launcher = DockerLauncher(world, Engine("unix:///none", clock), clock, folder, "me", {})
    definition = definition_of(LAUNCH)
    name = container_name("me", SERVICE.id, 0, definition)
    labels = labels_of("me", SERVICE, 0, definition, 1.0)
    one = owned(Listed("1" * 64, name, "shop:1", run, labels=labels), "me")
    assert one is not None
    launcher._listing.owned = {one.id: one}
    yield launcher, one
    launcher._listing.close()
    await launcher._work.close()


def begun_with(run: Run, folder: Path, *, is_ended: bool) -> list[bool]:
    """What one pass begins with it: is it an end?"""

    async def go() -> list[bool]:
        async with beside(run, folder) as (launcher, one):
            launcher._work.ended = {one.id} if is_ended else set()
            launcher.look(0.0)
            return [task.is_end for task in launcher._work.tasks.values()]

    return asyncio.run(go())


@pytest.mark.parametrize("is_ended", [False, True])
def test_a_container_that_is_being_removed_is_waited_for(tmp_path: Path, is_ended: bool) -> None:
    assert begun_with(Run.REMOVING, tmp_path, is_ended=is_ended) == []
    # unlike others
    assert begun_with(Run.EXITED, tmp_path, is_ended=is_ended) == [True]
    assert begun_with(Run.RUNNING, tmp_path, is_ended=is_ended) == ([True] if is_ended else [])
    assert begun_with(Run.CREATED, tmp_path, is_ended=is_ended) == [is_ended]


def test_what_runs_without_an_address_for_too_long_is_ended_once(tmp_path: Path) -> None:
    async def go() -> None:
        async with beside(Run.RUNNING, tmp_path) as (launcher, one):
            launcher.look(0.0)
            assert not launcher._work.tasks
            launcher.look(PATIENCE_S)
            launcher.look(PATIENCE_S + 1)
            assert launcher._work.tasks[one.container.name].is_end
            (failure,) = launcher._failures.of(SERVICE.id)
            assert "has no address" in failure.what

    asyncio.run(go())


def test_what_is_being_started_is_left_time_for_an_address(tmp_path: Path) -> None:
    async def go() -> None:
        async with beside(Run.RUNNING, tmp_path) as (launcher, one):
            launcher._work.start(one, SERVICE)
            launcher.look(0.0)
            launcher.look(2 * PATIENCE_S)
            assert not launcher._failures.of(SERVICE.id)
            assert launcher._unreachable.next_due is None, "nobody is woken for it"

    asyncio.run(go())
