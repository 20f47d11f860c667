"""Finding containers: from events and lists to reports and commands, on a fake Engine and clock."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from admin.audit import Actor
from admin.controller import Applied, Outcome
from admin.observing import LaunchReport, Source
from admin.providers.docker import discovery as module
from admin.providers.docker.containers import Attachment, Container, Event, Run
from admin.providers.docker.discovery import Discovery, signal_number
from admin.providers.docker.engine import Engine, EngineGone
from gateway.core.commands import Command
from gateway.core.decide import decide
from gateway.core.errors import Code, Refused
from gateway.core.model import Health, InstanceId, RouteId, ServiceId
from gateway.core.observed import Observed, Trouble
from gateway.core.state import State
from gateway.runtime.settings import DockerSettings, ProviderSettings, Settings
from tests.support.clocks import FakeClock, settle

WEB = ServiceId("shop/web")
SHOP = RouteId("shop.local")
ONE, TWO = "1" * 64, "2" * 64
REFRESH_S = 10.0


def container(id: str, **labels: str) -> Container:
    given = {
        "com.docker.compose.project": "shop",
        "com.docker.compose.service": "web",
        **{f"gateway.{k}": v for k, v in (labels or {"routing.port_80": "shop.local"}).items()},
    }
    return Container(id, f"c{id[0]}", "x", Run.RUNNING, labels=given, network_mode="host")


class FakeEngine(Engine):
    """Lists what a test says, and tells the events it is told."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__("unix:///engine.sock", clock)
        self.listed: Sequence[Container] = ()
        self.is_gone = False
        self.lists = 0
        self.stop_signal = "SIGQUIT"
        self.hangs = False

    async def containers(
        self, *, include_stopped: bool = False, labels: Sequence[str] = ()
    ) -> tuple[Container, ...]:
        self.lists += 1
        if self.is_gone:
            raise EngineGone("gone")
        return tuple(self.listed)

    async def inspect(self, container: str) -> Mapping[str, Any]:
        if self.hangs:
            await asyncio.Event().wait()
        return {"Config": {"StopSignal": self.stop_signal}}

    def tell(self, action: str, id: str, **attributes: str) -> None:
        self._tell(Event("container", action, id, self._clock.time(), attributes))

    def open(self) -> None:
        self._tell(None)


class FakeWorld:
    """The controller: decides at once, and keeps what was reported."""

    def __init__(self) -> None:
        self.state = State()
        self.observed = Observed()
        self.settings = Settings(providers=ProviderSettings(docker=DockerSettings()))
        self.reports: list[LaunchReport] = []
        self.commands: list[Command] = []
        self.refuse = False
        self._watchers: list[Callable[[], None]] = []
        self._observers: list[Callable[[], None]] = []

    async def execute(
        self, command: Command, actor: Actor, *, reason: str | None = None
    ) -> Outcome:
        await asyncio.sleep(0)
        self.commands.append(command)
        if self.refuse:
            raise Refused(Code.STORE_UNAVAILABLE, "no room")
        before = self.state
        self.change(decide(before, command, self.observed).state)
        return Outcome(before, self.state, 1, Applied(1, 1, ()))

    def change(self, state: State) -> None:
        self.state = state
        for watcher in self._watchers:
            watcher()

    def judge(self, instance: InstanceId, health: Health) -> None:
        self.observed = replace(self.observed, health={instance: health})
        for watcher in self._observers:
            watcher()

    def report_launched(self, report: LaunchReport, source: Source) -> None:
        assert source is Source.DISCOVERED
        self.reports.append(report)

    def report_provider(self, name: str, problem: str | None) -> None:
        pass

    def on_change(self, watcher: Callable[[], None]) -> None:
        self._watchers.append(watcher)

    def on_observed(self, watcher: Callable[[], None]) -> None:
        self._observers.append(watcher)

    @property
    def instances(self) -> list[str]:
        """What was last reported, by the first character of the container's id."""
        if not self.reports:
            return []
        found = self.reports[-1].instances.get(WEB, ())
        marks = {i.id: "-" if i.id in self.reports[-1].retiring else "" for i in found}
        return [f"{i.id[4]}{marks[i.id]}" for i in found]


class Stage:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.engine = FakeEngine(self.clock)
        self.world = FakeWorld()
        self.closed: dict[int, str] = {}
        self.connects = 0
        self.discovery = Discovery(
            self.engine, self.world, self.clock, is_near=lambda _: True, connect=self.connect
        )

    async def connect(self, host: str, port: int) -> str | None:
        self.connects += 1
        return self.closed.get(port)


def on_stage(
    play: Callable[[Stage], Awaitable[None]], *listed: Container, begin: bool = True
) -> None:
    async def main() -> None:
        stage = Stage()
        stage.engine.listed = listed
        running = asyncio.create_task(stage.discovery.run()) if begin else None
        await settle()
        await play(stage)
        if running is not None:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    asyncio.run(main())


def test_what_runs_is_reported_and_taken_into_the_desired_state() -> None:
    async def play(stage: Stage) -> None:
        assert stage.world.instances == ["1"]
        assert stage.world.state.routes[SHOP].weights == {WEB: 100}
        assert len(stage.world.commands) == 1
        await stage.clock.advance(5 * REFRESH_S)
        assert len(stage.world.commands) == 1  # nothing has changed
        assert len(stage.world.reports) == 1

    on_stage(play, container(ONE))


def test_before_the_start_instances_are_reported_and_nothing_is_decided() -> None:
    async def play(stage: Stage) -> None:
        await stage.discovery.look_first()
        assert stage.world.instances == ["1"]
        await settle()
        assert stage.world.commands == []

    on_stage(play, container(ONE), begin=False)


def test_an_engine_that_does_not_answer_leaves_no_report() -> None:
    async def play(stage: Stage) -> None:
        stage.engine.is_gone = True
        await stage.discovery.look_first()
        assert stage.world.reports == []

    on_stage(play, container(ONE), begin=False)


def test_while_the_engine_is_gone_the_last_report_stands_and_an_empty_one_is_real() -> None:
    async def play(stage: Stage) -> None:
        stage.engine.is_gone, stage.engine.listed = True, ()
        stage.engine.tell("start", TWO)
        await stage.clock.advance(10 * REFRESH_S)
        assert stage.world.instances == ["1"]
        stage.engine.is_gone = False
        stage.engine.open()
        await settle()
        assert stage.world.instances == []
        discovery = stage.world.state.services[WEB].discovery
        assert discovery is not None
        assert discovery.gone_since == stage.clock.time()

    on_stage(play, container(ONE))


def test_an_event_is_a_reason_to_look_at_all_now_and_once_more_soon() -> None:
    async def play(stage: Stage) -> None:
        await stage.clock.advance(1.0)
        lists = stage.engine.lists
        stage.engine.tell("start", TWO)
        await settle()
        assert stage.engine.lists == lists + 1
        assert stage.world.instances == ["1"]
        stage.engine.listed = (container(ONE), container(TWO))  # the list comes late
        await stage.clock.advance(module.AGAIN_S)
        assert stage.world.instances == ["1", "2"]
        lists = stage.engine.lists
        await stage.clock.advance(REFRESH_S - 0.1)
        assert stage.engine.lists == lists

    on_stage(play, container(ONE))


def test_what_no_event_told_of_is_found_at_the_next_refresh() -> None:
    async def play(stage: Stage) -> None:
        stage.engine.listed = (container(TWO),)
        await stage.clock.advance(REFRESH_S)
        assert stage.world.instances == ["2"]

    on_stage(play, container(ONE))


def test_a_container_that_is_told_to_stop_drains_at_once_and_the_mark_ends_with_it() -> None:
    async def play(stage: Stage) -> None:
        stage.engine.tell("kill", ONE, signal="15")
        assert stage.world.instances == ["1-", "2"]
        await stage.clock.advance(3 * REFRESH_S)
        assert stage.world.instances == ["1-", "2"]
        stage.engine.tell("die", ONE)
        assert stage.world.instances == ["2"]
        await settle()
        assert stage.world.instances == ["2"]  # though the list has it still
        stage.engine.tell("start", ONE)
        await settle()
        assert stage.world.instances == ["1", "2"]

    on_stage(play, container(ONE), container(TWO))


def test_one_that_does_not_stop_counts_again_after_a_long_while() -> None:
    async def play(stage: Stage) -> None:
        stage.engine.tell("kill", ONE, signal="15")
        await stage.clock.advance(module.STOPPING_S + REFRESH_S)
        assert stage.world.instances == ["1"]

    on_stage(play, container(ONE))


def test_one_that_ended_before_it_was_listed_is_not_believed_to_run() -> None:
    async def play(stage: Stage) -> None:
        stage.engine.tell("start", TWO)
        stage.engine.tell("die", TWO)
        stage.engine.listed = (container(ONE), container(TWO))
        await settle()
        assert stage.world.instances == ["1"]

    on_stage(play, container(ONE))


def test_a_lost_start_leaves_nobody_dead_for_long() -> None:
    async def play(stage: Stage) -> None:
        stage.engine.tell("die", ONE)
        await settle()
        assert stage.world.instances == []
        await stage.clock.advance(REFRESH_S + module.DEAD_S)
        assert stage.world.instances == ["1"]

    on_stage(play, container(ONE))


def test_other_signals_stop_only_those_that_are_stopped_by_them() -> None:
    async def play(stage: Stage) -> None:
        stage.engine.tell("kill", ONE, signal="1")
        await settle()
        assert stage.world.instances == ["1"]
        stage.engine.tell("kill", ONE, signal="3")  # QUIT
        await settle()
        assert stage.world.instances == ["1-"]

    on_stage(play, container(ONE))


def test_a_container_of_which_the_engine_says_nothing_holds_up_no_list(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "CLEAR_UP_S", 0.01)

    async def play(stage: Stage) -> None:
        stage.engine.hangs = True
        for _ in range(1000):
            stage.engine.tell("kill", ONE, signal="1")
        stage.engine.listed = (container(TWO),)
        async with asyncio.timeout(5):
            while stage.world.instances != ["2"]:
                await asyncio.sleep(0.005)

    on_stage(play, container(ONE))


def test_a_store_without_room_is_tried_again() -> None:
    async def play(stage: Stage) -> None:
        stage.world.refuse = True
        stage.engine.listed = (container(ONE),)
        stage.engine.tell("start", ONE)
        await settle()
        await stage.clock.advance(3 * module.RETRY_S)
        assert stage.world.state.services == {}
        assert len(stage.world.commands) >= 3
        stage.world.refuse = False
        await stage.clock.advance(module.RETRY_S)
        assert WEB in stage.world.state.services

    on_stage(play)


def test_a_change_of_the_desired_state_is_a_reason_to_look_what_is_to_be_had() -> None:
    async def play(stage: Stage) -> None:
        other = container(TWO, **{"routing.port_80": "shop.local", "application": "other"})
        stage.engine.listed = (container(ONE), other)
        stage.engine.tell("start", TWO)
        await settle()
        (problem,) = stage.world.reports[-1].problems
        assert (problem.route, problem.reason) == ("shop.local", Trouble.ROUTE_CONFLICT)
        stage.world.change(State())  # whoever held it is forgotten
        await settle()
        stage.engine.listed = (other,)
        stage.engine.tell("die", ONE)
        await settle()
        assert stage.world.state.routes[SHOP].weights == {ServiceId("other/web"): 100}
        assert stage.world.reports[-1].problems == ()

    on_stage(play, container(ONE))


def test_ports_that_nothing_listens_on_are_told_once_there_is_a_verdict() -> None:
    both = container(ONE, **{"routing.port_80": "shop.local", "routing.port_81": "more.local"})

    async def play(stage: Stage) -> None:
        stage.closed[81] = "Connection refused"
        await stage.clock.advance(REFRESH_S)
        assert not stage.world.reports[-1].problems  # it is starting
        stage.world.judge(InstanceId("web@111111111111"), Health.HEALTHY)
        await stage.clock.advance(2 * module.PORTS_S)
        (problem,) = stage.world.reports[-1].problems
        assert (problem.route, problem.reason) == ("more.local", Trouble.PORT_CLOSED)
        assert "Connection refused" in problem.message
        stage.closed.clear()
        await stage.clock.advance(REFRESH_S + module.PORTS_S)
        assert not stage.world.reports[-1].problems

    on_stage(play, both)


def test_ports_are_tried_now_and_then_however_much_happens_to_others() -> None:
    both = container(ONE, **{"routing.port_80": "shop.local", "routing.port_81": "more.local"})

    async def play(stage: Stage) -> None:
        stage.world.judge(InstanceId("web@111111111111"), Health.HEALTHY)
        await stage.clock.advance(2 * module.PORTS_S)
        assert stage.connects == 1
        for _ in range(100):
            stage.world.judge(InstanceId("web@111111111111"), Health.HEALTHY)
            await stage.clock.advance(0.5)
        assert 5 <= stage.connects <= 7  # in 50 s

    on_stage(play, both)


def test_settings_are_followed() -> None:
    async def play(stage: Stage) -> None:
        docker = DockerSettings(published_host="10.0.0.9")
        stage.world.settings = Settings(providers=ProviderSettings(docker=docker))
        stage.discovery.look_again()
        await settle()
        (instance,) = stage.world.reports[-1].instances[WEB]
        assert instance.host == "10.0.0.9"

    on_stage(play, container(ONE))


def test_however_much_happens_half_of_the_time_is_left_to_others() -> None:
    """A container that ends as soon as it starts, among very many."""
    bridge = replace(
        container(ONE), network_mode="bridge", attachments=(Attachment("web", "10.0.0.2", 24),)
    )

    async def play(stage: Stage) -> None:
        looks: list[float] = []

        def look(_: Attachment) -> bool:
            looks.append(stage.clock.now)
            stage.clock.now += 0.1  # so long it takes
            return True

        stage.discovery = Discovery(
            stage.engine, stage.world, stage.clock, is_near=look, connect=stage.connect
        )
        running = asyncio.create_task(stage.discovery.run())
        await settle()
        looks.clear()
        end = stage.clock.now + 10.0
        while stage.clock.now < end:
            for _ in range(10):
                stage.engine.tell("start", TWO)
                stage.engine.tell("die", TWO)
            await stage.clock.advance(0.1)
        assert 10 <= len(looks) <= 55  # of 100 in 10 s if nothing else were done
        stage.engine.tell("kill", ONE, signal="15")
        await stage.clock.advance(0.1)
        assert stage.world.instances == ["1-"]  # and nothing waits for long
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    on_stage(play, bridge, begin=False)


def test_signals_are_read_as_images_name_them() -> None:
    names = ("SIGQUIT", "QUIT", "3", "quit", "SIGRTMIN+3", "", None, "no such", "SIGRTMIN+x")
    assert [signal_number(n) for n in names] == [3, 3, 3, 3, 37, 15, 15, 15, 15]
