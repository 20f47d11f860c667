"""The driver of releases over a real controller and store: time, errors, crashes, a full disk."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path

import pytest
from msgspec import structs

from admin.audit import Actor, AuditEntry
from admin.controller import Controller, Outcome
from admin.observing import LaunchReport
from admin.publisher import Publisher
from admin.releases import CLEAN_S, RESTART_GRACE_S, RETRY_S, SMOOTH_MOST_S, ReleaseDriver
from admin.removal import Remover
from admin.store.base import StoreUnavailable
from admin.store.memory import MemoryStore
from gateway.core.commands import Command, ConfirmRelease, RollbackRelease, ShiftRelease
from gateway.core.errors import Code, Refused
from gateway.core.model import Health, Role, RouteId, ServiceId
from gateway.core.release import ConfirmMode, OnDeadline, Phase, Release, Strategy
from gateway.core.state import Changes, State
from gateway.runtime.settings import Settings, TimeoutSettings
from tests.support.clocks import FakeClock, settle
from tests.support.control import FakeWorker, NoChecks, roster, run, soon
from tests.support.releases import DEADLINE_S, instances, service, sid, start

OPERATOR = Actor("uid:7", Role.OPERATOR)
V1 = service("v1", "shop.example")
V2 = service("v2", "shop.example", coexist=True, scale=2)
SHOP = RouteId("shop.example")
DRAIN_S = 3.0


class Disk(MemoryStore):
    """A store that can be full."""

    is_full = False

    async def save(
        self, expected: int, changes: Changes, entry: AuditEntry | None, generation: int
    ) -> int:
        if self.is_full:
            raise StoreUnavailable("gateway.db: database or disk is full")
        return await super().save(expected, changes, entry, generation)


class BusyController(Controller):
    """Says whether commands are on their way: to the disk, to the worker."""

    busy = 0

    async def execute(
        self,
        command: Command,
        actor: Actor,
        *,
        dry_run: bool = False,
        check: Callable[[State], None] | None = None,
        reason: str | None = None,
    ) -> Outcome:
        self.busy += 1
        try:
            return await super().execute(
                command, actor, dry_run=dry_run, check=check, reason=reason
            )
        finally:
            self.busy -= 1


class Node:
    """A control process that can be killed, and what lives on: store, processes, a worker."""

    def __init__(self, folder: Path) -> None:
        self.clock = FakeClock()
        self.disk = Disk()
        self.folder = folder
        self.errors: dict[ServiceId, int] = {}
        self.open_work: dict[ServiceId, int] = {}
        self.sick: set[ServiceId] = set()
        self.stubborn: set[ServiceId] = set()
        """Services whose processes do not stop yet."""
        self.started = 0
        self._tasks: list[asyncio.Task[None]] = []

    async def begin(self) -> None:
        """A control process starts: it knows nothing but what is stored."""
        self.started += 1
        self.publisher = Publisher(
            f"s{self.started}", self.folder / "snapshot.json", self.clock, lambda *_: None
        )
        settings = structs.replace(Settings(), timeouts=TimeoutSettings(drain=DRAIN_S))
        self.controller = BusyController(
            self.disk, self.publisher, settings, self.clock, NoChecks()
        )
        await self.controller.start()
        self.worker = await FakeWorker(0, 100).connect(self.publisher)
        roster(self.publisher, w0="serving")
        driver = ReleaseDriver(
            self.controller, lambda s: self.errors.get(s, 0), lambda _: (), self.clock
        )
        remover = Remover(self.controller, lambda s: self.open_work.get(s, 0), self.clock)
        parts = (
            self.publisher.file.run(),
            self.controller.run(),
            driver.run(),
            remover.run(),
        )
        self._tasks = [asyncio.create_task(part) for part in parts]
        await settle()

    async def kill(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.publisher.close()
        await self.worker.close()

    async def crash(self) -> None:
        await self.kill()
        await self.begin()

    async def look(self) -> None:
        """The launcher and the checks report what there is, as they do all the time."""
        services = self.state.services.values()
        launched = {s.id: instances(s) for s in services if s.launch is not None}
        running = frozenset(launched) | self.stubborn
        self.controller.report_launched(LaunchReport(launched, frozenset(), running))
        for each, there in launched.items():
            verdict = Health.UNHEALTHY if each in self.sick else Health.HEALTHY
            for instance in there:
                self.controller.report_health(instance.id, verdict)
        await settle()

    async def pass_time(self, seconds: float, *, tick: float = 0.25, looks: bool = True) -> None:
        """Time goes by in small steps; in each everything has its turn, real sockets too."""
        end = self.clock.now + seconds - 1e-9
        while self.clock.now < end:
            if looks:
                await self.look()
            await self.clock.advance(min(tick, end + 1e-9 - self.clock.now))
            await self.rest()

    async def rest(self) -> None:
        """Until nothing is on its way any more: files and sockets know no fake clock."""
        controller = self.controller
        await soon(lambda: not controller.busy and controller.is_applied)
        await settle()
        await soon(lambda: not controller.busy and controller.is_applied)

    async def until(self, phase: Phase, seconds: float = 30.0) -> None:
        """Until the newest release is there."""
        end = self.clock.now + seconds
        while self.release.phase is not phase:
            assert self.clock.now < end, f"{self.release.phase}, {self.words()}"
            await self.pass_time(0.25)

    async def do(self, command: Command) -> None:
        async with asyncio.timeout(5):
            await self.controller.execute(command, OPERATOR)
        await self.rest()

    async def deploy(
        self,
        strategy: Strategy = Strategy.GRAY,
        on_deadline: OnDeadline = OnDeadline.ROLLBACK,
    ) -> None:
        """v1 is deployed, v2 is being released."""
        await self.do(start(V1, now=self.clock.time()))
        await self.until(Phase.CONFIRMED)
        await self.do(start(V2, now=self.clock.time(), strategy=strategy, on_deadline=on_deadline))

    async def confirm(self, mode: ConfirmMode) -> None:
        await self.do(ConfirmRelease("shop", mode, self.clock.time(), OPERATOR.name))

    @property
    def state(self) -> State:
        return self.controller.state

    @property
    def release(self) -> Release:
        return list(self.state.releases.values())[-1]

    def phase(self) -> Phase:
        return self.release.phase

    def words(self) -> list[str]:
        return [entry.reason for entry in self.release.timeline]

    def weights(self) -> dict[str, int]:
        return {s.removeprefix("shop/"): w for s, w in self.state.routes[SHOP].weights.items()}

    def names(self) -> set[str]:
        return {s.name for s in self.state.services.values()}


Tale = Callable[[Node], Coroutine[None, None, None]]


@pytest.fixture
def tell(tmp_path: Path) -> Callable[[Tale], None]:
    """Tells a tale of a node."""

    def told(tale: Tale) -> None:
        async def main() -> None:
            node = Node(tmp_path)
            await node.begin()
            try:
                await tale(node)
            finally:
                await node.kill()

        run(main())

    return told


Teller = Callable[[Tale], None]


# --- coming up, in time or not ----------------------------------------------------------------


def test_a_release_goes_on_when_the_last_instance_is_healthy(tell: Teller) -> None:
    async def tale(node: Node) -> None:
        node.sick = {sid("v2")}
        await node.deploy()
        await node.pass_time(10)
        assert node.phase() is Phase.RELEASING
        node.sick = set()
        await node.look()
        await settle()
        assert node.phase() is Phase.PENDING_CONFIRMATION, "without waiting for a timer"
        assert node.words()[-1] == "all new instances are healthy"

    tell(tale)


def test_a_release_that_is_late_goes_back_and_says_why(tell: Teller) -> None:
    async def tale(node: Node) -> None:
        node.sick = {sid("v2")}
        await node.deploy()
        await node.pass_time(DEADLINE_S - 2, tick=50)
        assert node.phase() is Phase.RELEASING
        await node.pass_time(3)
        assert "not healthy within 300 s: 0 of 2 instances of v2 healthy" in " ".join(node.words())
        await node.until(Phase.ROLLED_BACK)
        assert node.names() == {"v1"}
        assert node.weights() == {"v1": 100}

    tell(tale)


@pytest.mark.parametrize("jump_s", [86_400.0, -86_400.0])
def test_a_wall_clock_that_jumps_ends_no_release_early_and_holds_none_up(
    tell: Teller, jump_s: float
) -> None:
    async def tale(node: Node) -> None:
        node.sick = {sid("v2")}
        await node.deploy()
        node.clock.wall_ahead_s = jump_s
        await node.pass_time(DEADLINE_S - 2, tick=50)
        assert node.phase() is Phase.RELEASING
        await node.pass_time(3)
        assert "not healthy within 300 s" in " ".join(node.words())
        await node.until(Phase.ROLLED_BACK)

    tell(tale)


def test_a_wall_clock_that_jumped_before_a_restart_leaves_at_most_the_whole_deadline(
    tell: Teller,
) -> None:
    async def tale(node: Node) -> None:
        node.sick = {sid("v2")}
        await node.deploy()
        node.clock.wall_ahead_s = -86_400.0
        await node.crash()
        await node.pass_time(DEADLINE_S - 2, tick=50)
        assert node.phase() is Phase.RELEASING
        await node.pass_time(3)
        await node.until(Phase.ROLLED_BACK)

    tell(tale)


@pytest.mark.parametrize("jump_s", [86_400.0, -86_400.0])
def test_a_wall_clock_that_jumps_gives_no_smooth_confirmation_up_and_holds_none_open(
    tell: Teller, jump_s: float
) -> None:
    async def tale(node: Node) -> None:
        await node.deploy()
        await node.until(Phase.PENDING_CONFIRMATION)
        await node.confirm(ConfirmMode.SMOOTH)
        node.errors[sid("v2")] = 1
        await node.pass_time(1)
        node.clock.wall_ahead_s = jump_s
        for _ in range(int(SMOOTH_MOST_S) - 5):
            assert node.release.smooth is not None
            node.errors[sid("v2")] += 1
            await node.pass_time(1, tick=0.5)
        for _ in range(6):
            node.errors[sid("v2")] += 1
            await node.pass_time(1, tick=0.5)
        assert node.release.smooth is None
        assert "given up" in node.words()[-1]

    tell(tale)


def test_a_release_that_is_late_may_hold_and_goes_on_when_it_is_healthy(tell: Teller) -> None:
    async def tale(node: Node) -> None:
        node.sick = {sid("v2")}
        await node.deploy(on_deadline=OnDeadline.HOLD)
        await node.pass_time(3 * DEADLINE_S, tick=50)
        assert node.phase() is Phase.RELEASING
        node.sick = set()
        await node.until(Phase.PENDING_CONFIRMATION, 1)

    tell(tale)


def test_what_waits_for_the_operator_is_left_alone(tell: Teller) -> None:
    async def tale(node: Node) -> None:
        await node.deploy()
        await node.until(Phase.PENDING_CONFIRMATION)
        before = node.state
        await node.pass_time(10 * DEADLINE_S, tick=100)
        assert node.state is before

    tell(tale)


# --- ends ------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["confirm", "rollback"])
def test_an_end_waits_for_open_work_and_for_processes(tell: Teller, verb: str) -> None:
    async def tale(node: Node) -> None:
        await node.deploy()
        await node.until(Phase.PENDING_CONFIRMATION)
        goes, stays = ("v1", "v2") if verb == "confirm" else ("v2", "v1")
        node.open_work[sid(goes)] = 1
        node.stubborn = {sid(goes)}
        if verb == "confirm":
            await node.confirm(ConfirmMode.FORCE)
        else:
            await node.do(RollbackRelease("shop", node.clock.time(), OPERATOR.name))
        assert node.weights() == {stays: 100}
        await node.pass_time(DRAIN_S - 1)
        assert node.names() == {"v1", "v2"}, "its work is open"
        await node.pass_time(2)
        assert node.names() == {stays}, "the deadline of draining has passed"
        assert not node.phase().is_over, "its processes are stopping"
        node.stubborn = set()
        await node.until(Phase.CONFIRMED if verb == "confirm" else Phase.ROLLED_BACK, 1)

    tell(tale)


def test_an_application_that_never_came_up_is_forgotten_with_its_last_process(
    tell: Teller,
) -> None:
    async def tale(node: Node) -> None:
        node.sick = {sid("v1")}
        await node.do(start(V1, now=node.clock.time()))
        node.stubborn = {sid("of-an-earlier-release")}
        await node.do(RollbackRelease("shop", node.clock.time(), OPERATOR.name))
        await node.until(Phase.ROLLED_BACK)
        await node.pass_time(1)
        assert set(node.state.applications) == {"shop"}, "one of its processes is stopping"
        node.stubborn = set()
        await node.pass_time(1)
        assert not node.state.applications

    tell(tale)


# --- smooth confirmation -----------------------------------------------------------------------


def test_smooth_confirms_after_a_clean_time_only(tell: Teller) -> None:
    async def tale(node: Node) -> None:
        await node.deploy()
        await node.until(Phase.PENDING_CONFIRMATION)
        await node.confirm(ConfirmMode.SMOOTH)
        assert node.weights() == {"v1": 0, "v2": 100}
        await node.pass_time(CLEAN_S - 1)
        node.errors[sid("v2")] = 1
        await node.pass_time(CLEAN_S - 1)
        assert node.phase() is Phase.PENDING_CONFIRMATION
        node.errors[sid("v1")] = 7  # of the old: no matter
        await node.until(Phase.CONFIRMED, 3)
        entry = next(e for e in node.release.timeline if e.phase is Phase.CONFIRMING)
        assert (entry.by, entry.reason) == (OPERATOR.name, "5 s without errors on the new services")

    tell(tale)


def test_smooth_under_constant_errors_gives_the_traffic_back(tell: Teller) -> None:
    async def tale(node: Node) -> None:
        await node.deploy()
        await node.until(Phase.PENDING_CONFIRMATION)
        await node.do(ShiftRelease("shop", 20, node.clock.time(), OPERATOR.name))
        await node.confirm(ConfirmMode.SMOOTH)
        for _ in range(int(SMOOTH_MOST_S)):
            node.errors[sid("v2")] = node.errors.get(sid("v2"), 0) + 1
            await node.pass_time(1.25, tick=0.625)
        assert node.phase() is Phase.PENDING_CONFIRMATION
        assert node.weights() == {"v1": 80, "v2": 20}
        assert "given up" in node.words()[-1]

    tell(tale)


def test_smooth_asked_again_waits_its_whole_time_again(tell: Teller) -> None:
    async def tale(node: Node) -> None:
        await node.deploy()
        await node.until(Phase.PENDING_CONFIRMATION)
        await node.confirm(ConfirmMode.SMOOTH)
        await node.pass_time(CLEAN_S - 1)
        node.sick = {sid("v2")}
        await node.pass_time(3)
        assert node.release.smooth is None, "it cannot be confirmed as it is"
        assert node.weights() == {"v1": 100, "v2": 0}
        node.sick = set()
        await node.pass_time(60, tick=5)
        await node.confirm(ConfirmMode.SMOOTH)
        await node.pass_time(CLEAN_S - 1)
        assert node.phase() is Phase.PENDING_CONFIRMATION
        await node.until(Phase.CONFIRMED, 3)

    tell(tale)


def test_smooth_ends_when_an_operator_moves_traffic_meanwhile(tell: Teller) -> None:
    async def tale(node: Node) -> None:
        await node.deploy()
        await node.until(Phase.PENDING_CONFIRMATION)
        await node.confirm(ConfirmMode.SMOOTH)
        await node.do(ShiftRelease("shop", 50, node.clock.time(), OPERATOR.name))
        await node.pass_time(CLEAN_S + 1)
        assert node.phase() is Phase.PENDING_CONFIRMATION
        assert node.release.smooth is None
        assert node.weights() == {"v1": 50, "v2": 50}
        assert "still has traffic" in node.words()[-1]

    tell(tale)


# --- standard -----------------------------------------------------------------------------------


def test_standard_goes_all_the_way_by_itself(tell: Teller) -> None:
    async def tale(node: Node) -> None:
        await node.deploy(Strategy.STANDARD)
        await node.until(Phase.CONFIRMED, 10)
        assert node.names() == {"v2"}
        assert {entry.by for entry in node.release.timeline[1:]} == {"gateway"}

    tell(tale)


def test_standard_goes_back_by_itself_under_constant_errors(tell: Teller) -> None:
    async def tale(node: Node) -> None:
        await node.deploy(Strategy.STANDARD)
        await node.until(Phase.PENDING_CONFIRMATION)
        for _ in range(int(SMOOTH_MOST_S)):
            node.errors[sid("v2")] = node.errors.get(sid("v2"), 0) + 1
            await node.pass_time(1.25, tick=0.625)
        await node.until(Phase.ROLLED_BACK)
        assert node.names() == {"v1"}
        assert node.weights() == {"v1": 100}

    tell(tale)


def test_who_shifts_back_takes_a_standard_release_into_their_own_hands(tell: Teller) -> None:
    async def tale(node: Node) -> None:
        await node.deploy(Strategy.STANDARD)
        await node.until(Phase.PENDING_CONFIRMATION)
        await node.pass_time(1)
        assert node.weights() == {"v1": 0, "v2": 100}
        await node.do(ShiftRelease("shop", 0, node.clock.time(), OPERATOR.name))
        await node.pass_time(60, tick=1)
        assert node.phase() is Phase.PENDING_CONFIRMATION
        assert node.weights() == {"v1": 100, "v2": 0}, "nobody moves traffic against an operator"
        assert node.release.strategy is Strategy.GRAY
        assert any("goes on by hand" in reason for reason in node.words())

    tell(tale)


def test_standard_waits_quietly_for_what_turned_unhealthy(tell: Teller) -> None:
    async def tale(node: Node) -> None:
        await node.deploy(Strategy.STANDARD)
        await node.until(Phase.PENDING_CONFIRMATION)
        node.sick = {sid("v2")}
        await node.pass_time(10)
        assert node.weights() == {"v1": 100, "v2": 0}
        before = len(await node.controller.audit(1000))
        await node.pass_time(60, tick=1)
        assert len(await node.controller.audit(1000)) == before, "a refusal every two seconds"
        node.sick = set()
        await node.until(Phase.CONFIRMED)

    tell(tale)


# --- a store that refuses -------------------------------------------------------------------------


def test_a_full_disk_delays_a_release_and_loses_nothing(tell: Teller) -> None:
    async def tale(node: Node) -> None:
        await node.deploy()
        node.disk.is_full = True
        await node.pass_time(20)
        assert node.phase() is Phase.RELEASING
        node.disk.is_full = False
        await node.until(Phase.PENDING_CONFIRMATION, RETRY_S + 1)

    tell(tale)


def test_a_disk_that_is_full_for_a_moment_ends_no_smooth_confirmation(tell: Teller) -> None:
    async def tale(node: Node) -> None:
        await node.deploy()
        await node.until(Phase.PENDING_CONFIRMATION)
        await node.confirm(ConfirmMode.SMOOTH)
        await node.pass_time(CLEAN_S - 0.5)
        node.disk.is_full = True
        await node.pass_time(1)
        assert node.phase() is Phase.PENDING_CONFIRMATION
        node.disk.is_full = False
        await node.until(Phase.CONFIRMED, RETRY_S + 5)
        assert not any("smooth confirmation ends" in reason for reason in node.words())

    tell(tale)


# --- crashes of the control process ---------------------------------------------------------------


@pytest.mark.parametrize("verb", ["confirm", "smooth", "rollback", "standard", "late"])
def test_a_crash_after_any_step_ends_where_the_operator_wanted(tell: Teller, verb: str) -> None:
    """Killed after every quarter of a second: each release takes many crashes."""

    async def tale(node: Node) -> None:
        await node.deploy(Strategy.STANDARD if verb == "standard" else Strategy.GRAY)
        if verb == "late":
            node.sick = {sid("v2")}
        else:
            await node.crash()
            await node.until(Phase.PENDING_CONFIRMATION)
        if verb in ("confirm", "smooth"):
            await node.confirm(ConfirmMode.FORCE if verb == "confirm" else ConfirmMode.SMOOTH)
        if verb == "rollback":
            await node.do(RollbackRelease("shop", node.clock.time(), OPERATOR.name))
        if verb == "late":
            node.clock.now += DEADLINE_S
        seen = {node.phase()}
        for n in range(60):
            if node.phase().is_over:
                break
            await node.crash()
            # Times begin anew with every start: give them room now and then.
            await node.pass_time(0.25 if n % 4 else RESTART_GRACE_S + 1)
            seen.add(node.phase())
        is_back = verb in ("rollback", "late")
        assert node.phase() is (Phase.ROLLED_BACK if is_back else Phase.CONFIRMED), seen
        assert node.names() == ({"v1"} if is_back else {"v2"})
        assert node.weights() == ({"v1": 100} if is_back else {"v2": 100})
        phases = [list(Phase).index(entry.phase) for entry in node.release.timeline]
        assert phases == sorted(phases)

    tell(tale)


def test_after_a_crash_nothing_is_taken_for_gone_before_the_launcher_has_spoken(
    tell: Teller,
) -> None:
    async def tale(node: Node) -> None:
        await node.deploy()
        await node.until(Phase.PENDING_CONFIRMATION)
        await node.confirm(ConfirmMode.FORCE)
        node.stubborn = {sid("v1")}
        await node.pass_time(DRAIN_S + 1)
        assert node.names() == {"v2"}
        await node.crash()
        await node.pass_time(5, looks=False)
        assert node.phase() is Phase.CONFIRMING
        await node.look()
        assert node.phase() is Phase.CONFIRMING
        node.stubborn = set()
        await node.until(Phase.CONFIRMED, 1)

    tell(tale)


def test_a_refused_command_of_an_operator_leaves_the_release_to_the_driver(tell: Teller) -> None:
    async def tale(node: Node) -> None:
        node.sick = {sid("v2")}
        await node.deploy()
        with pytest.raises(Refused) as caught:
            await node.confirm(ConfirmMode.FORCE)
        assert caught.value.code is Code.ILLEGAL_TRANSITION
        node.sick = set()
        await node.until(Phase.PENDING_CONFIRMATION)

    tell(tale)
