"""The controller between store and workers: what an answer promises, and what a crash leaves."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from admin.audit import GATEWAY, Actor, AuditEntry, AuditResult
from admin.controller import FIRST_VERDICTS_S, Controller, Outcome
from admin.publisher import Applied, Publisher
from admin.removal import Remover
from admin.store.base import Store, StoreUnavailable
from admin.store.memory import MemoryStore
from gateway.core.commands import (
    AddToken,
    Command,
    DrainInstance,
    MarkCoexist,
    PutService,
    RemoveService,
    SetWeights,
)
from gateway.core.errors import Code, Refused
from gateway.core.model import (
    Claim,
    Endpoint,
    Health,
    InstanceId,
    Role,
    RouteId,
    Service,
    ServiceId,
    Token,
)
from gateway.core.snapshot import Condition, Snapshot
from gateway.core.state import Changes, State, changes
from gateway.runtime import snapshot_file
from gateway.runtime.settings import CheckSettings, Settings, TimeoutSettings
from tests.support.clocks import FakeClock, settle
from tests.support.control import FakeWorker, NoChecks, roster, run

SHOP = RouteId("shop.example")
V1, V2 = ServiceId("-/v1"), ServiceId("-/v2")
OPERATOR = Actor("uid:7", Role.OPERATOR)


class FailingStore(MemoryStore):
    """A store whose disk can fill up."""

    is_full = False

    async def save(
        self, expected: int, changes: Changes, entry: AuditEntry | None, generation: int
    ) -> int:
        if self.is_full:
            raise StoreUnavailable("gateway.db: database or disk is full")
        return await super().save(expected, changes, entry, generation)


class Scene:
    """A running controller, a worker that serves, and the means to play with them."""

    def __init__(self, folder: Path, store: Store, apply_timeout_s: float) -> None:
        self.clock = FakeClock()
        self.store = store
        self.checks = NoChecks()
        self.path = folder / "snapshot.json"
        self.publisher = Publisher(
            "s1",
            self.path,
            self.clock,
            lambda *report: self.controller.report_ejection(*report),
            apply_timeout_s=apply_timeout_s,
        )
        self.controller = Controller(store, self.publisher, Settings(), self.clock, self.checks)
        self.worker = FakeWorker(0, 100)

    async def execute(self, command: Command) -> Outcome:
        return await self.controller.execute(command, OPERATOR)

    async def report(self, *instances: InstanceId, verdict: Health = Health.HEALTHY) -> Snapshot:
        """Report a verdict and wait for what comes of it."""
        for instance in instances:
            self.controller.report_health(instance, verdict)
        await settle()
        return self.controller.snapshot

    def condition(self, service: ServiceId, number: int = 0) -> Condition:
        return self.controller.snapshot.services[service].instances[number].condition

    async def actions(self) -> list[tuple[str, str, str, str]]:
        entries = await self.controller.audit()
        return [(e.actor, e.action, e.target, e.result.value) for e in entries]


@asynccontextmanager
async def scene(
    folder: Path,
    store: Store | None = None,
    *,
    floor: int = 0,
    last: Snapshot | None = None,
    apply_timeout_s: float = 5.0,
) -> AsyncIterator[Scene]:
    made = Scene(folder, store or MemoryStore(), apply_timeout_s)
    await made.controller.start(floor, last)
    tasks = [
        asyncio.create_task(made.publisher.file.run()),
        asyncio.create_task(made.controller.run()),
    ]
    await made.worker.connect(made.publisher)
    roster(made.publisher, w0="serving")
    try:
        yield made
    finally:
        made.worker.may_apply.set()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await made.publisher.close()
        await made.worker.close()


def service(name: str, *hosts: str, coexist: bool = False, instances: int = 1) -> PutService:
    endpoints = tuple(Endpoint("10.0.0.1", port) for port in range(1, instances + 1))
    claims = tuple(map(Claim, hosts))
    return PutService(Service("-", name, claims, coexist=coexist, endpoints=endpoints))


def instance(name: str, port: int = 1) -> InstanceId:
    return InstanceId(f"{name}@10.0.0.1:{port}")


TWO = (service("v1", "shop.example"), service("v2", "shop.example", coexist=True))
SHIFT = SetWeights(SHOP, {"v1": 0, "v2": 100}, whole=True)


async def refused(s: Scene, command: Command, code: Code) -> Refused:
    state, snapshot = s.controller.state, s.controller.snapshot
    with pytest.raises(Refused) as caught:
        await s.execute(command)
    assert caught.value.code is code
    assert s.controller.state is state
    assert s.controller.snapshot is snapshot
    return caught.value


# --- starting ------------------------------------------------------------------------------


def test_the_first_start_makes_a_key_that_later_ones_keep(tmp_path: Path) -> None:
    async def go() -> None:
        store = MemoryStore()
        async with scene(tmp_path, store) as s:
            (key,) = s.controller.state.keys
            assert len(bytes.fromhex(key.secret)) == 32
            assert (await s.worker.wait_for(1)).keys == (key,)
            assert await s.actions() == [("gateway", "add_affinity_key", "1", "done")]
        async with scene(tmp_path, store) as s:
            assert s.controller.state.keys == (key,)

    run(go())


def test_a_start_publishes_at_once_above_every_generation_seen(tmp_path: Path) -> None:
    async def go() -> None:
        store = MemoryStore()
        async with scene(tmp_path, store) as s:
            await s.execute(TWO[0])
            generation = s.controller.snapshot.generation
        for floor, last, expected in (
            (0, None, generation + 1),
            (50, replace(s.controller.snapshot, generation=70), 71),
        ):
            async with scene(tmp_path, store, floor=floor, last=last) as s:
                assert s.controller.snapshot.generation == expected
                await s.publisher.wait_applied(expected)
                assert s.worker.snapshot == s.controller.snapshot

    run(go())


def test_what_was_stored_but_not_published_is_published_by_the_next_start(tmp_path: Path) -> None:
    async def go() -> None:
        store = MemoryStore()
        async with scene(tmp_path, store) as s:
            await s.execute(TWO[0])
            state = s.controller.state
        shop = replace(state.routes[SHOP], weights={V1: 42})
        after = replace(state, routes={SHOP: shop})
        await store.save(state.revision, changes(state, after), None, 99)
        async with scene(tmp_path, store) as s:
            await s.publisher.wait_applied(s.controller.snapshot.generation)
            assert s.worker.snapshot.routes[SHOP].members[0].weight == 42
            assert s.worker.snapshot.generation == 100

    run(go())


def test_health_survives_a_restart_and_only_new_instances_are_unknown(tmp_path: Path) -> None:
    async def go() -> None:
        store = MemoryStore()
        async with scene(tmp_path, store) as s:
            await s.execute(service("v1", "shop.example", instances=3))
            await s.report(instance("v1", 1))
            await s.report(instance("v1", 2), verdict=Health.UNHEALTHY)
            await s.publisher.wait_applied(s.controller.snapshot.generation)
        stored = snapshot_file.read(s.path)
        assert stored is not None
        async with scene(tmp_path, store, last=stored[1]) as s:
            assert [s.condition(V1, n) for n in range(3)] == [Condition.UP, *[Condition.DOWN] * 2]
            known = s.controller.observed
            assert known.health_of(instance("v1", 2)) is Health.UNHEALTHY
            assert len(s.checks.watched[V1]) == 3

    run(go())


@asynccontextmanager
async def start_without_file(folder: Path) -> AsyncIterator[tuple[Scene, asyncio.Task[None]]]:
    """The successor of a control process that served both versions and an instance leaving."""
    store = MemoryStore()
    async with scene(folder, store) as before:
        for command in (*TWO, service("v3", "other.example")):
            await before.execute(command)
        await before.execute(RemoveService("v3", force=True))
    made = Scene(folder, store, 5.0)
    start = asyncio.create_task(made.controller.start(floor=50))
    await settle()
    try:
        yield made, start
    finally:
        start.cancel()
        await asyncio.gather(start, return_exceptions=True)
        await made.publisher.close()


def test_when_nobody_recalls_the_instances_they_are_checked_before_anything_is_published(
    tmp_path: Path,
) -> None:
    async def go() -> None:
        async with start_without_file(tmp_path) as (s, start):
            assert set(s.checks.watched) == {V1, V2}
            s.controller.report_health(instance("v1"), Health.HEALTHY)
            await settle()
            assert not start.done()
            assert s.controller.snapshot.generation == 0
            s.controller.report_health(instance("v2"), Health.UNHEALTHY)
            await start
            assert s.controller.snapshot.generation == 51
            assert [s.condition(v) for v in (V1, V2)] == [Condition.UP, Condition.DOWN]

    run(go())


def test_instances_that_cannot_be_checked_delay_a_start_for_a_bounded_time(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def go() -> None:
        async with start_without_file(tmp_path) as (s, start):
            s.controller.report_health(instance("v1"), Health.HEALTHY)
            await s.clock.advance(FIRST_VERDICTS_S - 0.1)
            assert not start.done()
            await s.clock.advance(0.1)
            await start
            assert [s.condition(v) for v in (V1, V2)] == [Condition.UP, Condition.DOWN]

    run(go())
    assert "1 instances have not been checked" in caplog.text


# --- commands --------------------------------------------------------------------------------


def test_when_the_answer_comes_the_change_is_stored_filed_and_applied(tmp_path: Path) -> None:
    async def go() -> None:
        async with scene(tmp_path) as s:
            for command in TWO:
                await s.execute(command)
            outcome = await s.execute(SHIFT)
            assert outcome.applied == Applied(1, 1)
            assert outcome.before.routes[SHOP].weights == {V1: 100, V2: 0}
            assert outcome.after is s.controller.state
            assert (await s.store.load()).routes[SHOP].weights == {V1: 0, V2: 100}
            assert s.worker.snapshot.generation == outcome.generation
            assert [m.weight for m in s.worker.snapshot.routes[SHOP].members] == [0, 100]
            stored = snapshot_file.read(s.path)
            assert stored is not None
            assert stored[1] == s.worker.snapshot

    run(go())


def test_a_refused_command_changes_nothing_and_is_in_the_audit_trail(tmp_path: Path) -> None:
    async def go() -> None:
        async with scene(tmp_path) as s:
            await s.execute(TWO[0])
            await refused(s, service("v3", "shop.example"), Code.ROUTE_CONFLICT)
            assert (await s.actions())[0] == ("uid:7", "put_service", "-/v3", "refused")
            await s.controller.refuse(
                OPERATOR, "put_weights", "x" * 10, Refused(Code.INVALID, "no"), "why"
            )
            entry = (await s.controller.audit(1))[0]
            assert (entry.code, entry.detail, entry.reason) == ("invalid", "no", "why")
            older = await s.controller.audit(10, after=entry.id)
            assert older[0].result is AuditResult.REFUSED
            assert older[1].result is AuditResult.DONE

    run(go())


def test_the_audit_trail_tells_the_weights_before_and_after(tmp_path: Path) -> None:
    async def go() -> None:
        async with scene(tmp_path) as s:
            for command in TWO:
                await s.execute(command)
            await s.controller.execute(SHIFT, OPERATOR, reason="release day")
            entry = (await s.controller.audit(1))[0]
            assert entry.detail == "v1=100, v2=0 -> v1=0, v2=100"
            assert (entry.target, entry.reason) == ("shop.example", "release day")
            assert entry.revision == s.controller.state.revision
            await s.execute(SHIFT)
            assert (await s.controller.audit(1))[0].detail == "as it was"

    run(go())


def test_a_dry_run_says_what_would_be_and_changes_nothing(tmp_path: Path) -> None:
    async def go() -> None:
        async with scene(tmp_path) as s:
            state = s.controller.state
            outcome = await s.controller.execute(TWO[0], OPERATOR, dry_run=True)
            assert outcome.after.routes[SHOP].weights == {V1: 100}
            assert s.controller.state is state is outcome.before
            assert await s.store.load() == state
            assert len(await s.controller.audit()) == 1
            with pytest.raises(Refused):
                await s.controller.execute(SHIFT, OPERATOR, dry_run=True)

    run(go())


def test_a_check_sees_the_state_the_command_is_decided_on(tmp_path: Path) -> None:
    async def go() -> None:
        async with scene(tmp_path) as s:

            def only_if_empty(state: State) -> None:
                if state.services:
                    raise Refused(Code.STALE_REVISION, "somebody was faster")

            first, second = await asyncio.gather(
                *(s.controller.execute(c, OPERATOR, check=only_if_empty) for c in TWO),
                return_exceptions=True,
            )
            assert isinstance(first, Outcome)
            assert isinstance(second, Refused)
            assert second.code is Code.STALE_REVISION
            assert set(s.controller.state.services) == {V1}

    run(go())


def test_commands_that_wait_together_are_published_together(tmp_path: Path) -> None:
    async def go() -> None:
        async with scene(tmp_path) as s:
            await s.publisher.wait_applied(1)
            many = [service(f"s{n}", f"h{n}.example") for n in range(40)]
            outcomes = await asyncio.gather(*map(s.execute, many))
            assert len(s.worker.received) == 2
            assert len({o.generation for o in outcomes}) == 1
            revisions = [o.after.revision for o in outcomes]
            assert revisions == list(range(revisions[0], revisions[0] + 40))
            assert len(s.worker.snapshot.routes) == 40

    run(go())


def test_a_hung_worker_is_named_and_the_change_stands(tmp_path: Path) -> None:
    async def go() -> None:
        async with scene(tmp_path, apply_timeout_s=0.1) as s:
            for command in TWO:
                await s.execute(command)
            s.worker.may_apply.clear()
            outcome = await s.execute(SHIFT)
            assert outcome.applied == Applied(0, 1, ("worker 0 (pid 100)",))
            assert s.controller.state.routes[SHOP].weights == {V1: 0, V2: 100}
            # Asking for the same again changes nothing, but must not claim more than is true.
            assert (await s.execute(SHIFT)).applied.late == ("worker 0 (pid 100)",)
            s.worker.may_apply.set()
            assert (await s.execute(SHIFT)).applied == Applied(1, 1)

    run(go())


def test_what_workers_would_not_notice_is_answered_without_them(tmp_path: Path) -> None:
    async def go() -> None:
        async with scene(tmp_path, apply_timeout_s=60.0) as s:
            await s.execute(TWO[0])
            s.worker.may_apply.clear()
            await s.report(instance("v1"))  # on its way to a worker that hangs
            generation = s.controller.snapshot.generation
            async with asyncio.timeout(5):
                token = AddToken(Token("ci", Role.VIEWER, "00" * 32, 1.0))
                assert (await s.execute(token)).generation == generation
                assert (await s.execute(MarkCoexist("v1", True))).generation == generation
            assert s.controller.state.tokens.keys() == {"ci"}

    run(go())


def test_a_caller_that_went_away_in_time_has_changed_nothing(tmp_path: Path) -> None:
    async def go() -> None:
        async with scene(tmp_path) as s:
            caller = asyncio.create_task(s.execute(TWO[0]))
            await asyncio.sleep(0)
            caller.cancel()
            await settle()
            assert not s.controller.state.services
            await s.execute(TWO[0])  # the inbox goes on

    run(go())


def test_without_room_in_the_store_nothing_changes_and_traffic_goes_on(tmp_path: Path) -> None:
    async def go() -> None:
        store = FailingStore()
        async with scene(tmp_path, store) as s:
            for command in TWO:
                await s.execute(command)
            store.is_full = True
            error = await refused(s, SHIFT, Code.STORE_UNAVAILABLE)
            assert "disk is full" in error.detail
            snapshot = await s.report(instance("v1"))  # health needs no store
            assert snapshot.services[V1].instances[0].condition is Condition.UP
            store.is_full = False
            assert (await s.execute(SHIFT)).applied == Applied(1, 1)

    run(go())


def test_a_store_that_moved_on_is_read_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)

    async def go() -> None:
        async with scene(tmp_path) as s:
            for command in TWO:
                await s.execute(command)
            state = s.controller.state
            moved = replace(state.routes[SHOP], weights={V1: 1, V2: 2})
            after = replace(state, routes={SHOP: moved})
            await s.store.save(state.revision, changes(state, after), None, 0)
            outcome = await s.execute(SetWeights(SHOP, {"v2": 3}, whole=False))
            assert outcome.after.routes[SHOP].weights == {V1: 1, V2: 3}
            assert s.controller.state.revision == state.revision + 2
            assert await s.store.load() == s.controller.state

    run(go())


# --- reports -----------------------------------------------------------------------------------


def test_no_traffic_before_the_first_passing_check(tmp_path: Path) -> None:
    async def go() -> None:
        async with scene(tmp_path) as s:
            await s.execute(TWO[0])
            assert s.condition(V1) is Condition.DOWN
            assert [t.instance for t in s.checks.watched[V1]] == [instance("v1")]
            await s.report(instance("v1"))
            assert s.condition(V1) is Condition.UP
            generation = s.controller.snapshot.generation
            await s.report(instance("v1"))
            assert s.controller.snapshot.generation == generation

    run(go())


def test_a_passing_check_never_revives_a_draining_instance(tmp_path: Path) -> None:
    async def go() -> None:
        async with scene(tmp_path) as s:
            await s.execute(TWO[0])
            await s.report(instance("v1"))
            outcome = await s.execute(DrainInstance(instance("v1")))
            assert outcome.warnings
            await s.report(instance("v1"), verdict=Health.UNHEALTHY)
            await s.report(instance("v1"))
            assert s.condition(V1) is Condition.DRAINING

    run(go())


def test_an_ejection_is_published_to_all_and_ends_by_itself(tmp_path: Path) -> None:
    async def go() -> None:
        async with scene(tmp_path) as s:
            await s.execute(service("v1", "shop.example", instances=2))
            await s.report(instance("v1", 1), instance("v1", 2))
            for port in (1, 2):
                s.controller.report_ejection(instance("v1", port), 10.0, "5 failures in a row")
            await settle()
            assert [s.condition(V1, n) for n in (0, 1)] == [Condition.EJECTED, Condition.UP]
            await s.clock.advance(9.9)
            assert s.condition(V1) is Condition.EJECTED
            await s.clock.advance(0.2)
            assert s.condition(V1) is Condition.UP

    run(go())


def test_an_ejection_of_any_length_is_bounded(tmp_path: Path) -> None:
    async def go() -> None:
        async with scene(tmp_path) as s:
            await s.execute(service("v1", "shop.example", instances=2))
            await s.report(instance("v1", 1), instance("v1", 2))
            s.controller.report_ejection(instance("v1"), float("nan"), "?")
            await settle()
            assert s.condition(V1) is Condition.EJECTED
            await s.clock.advance(Settings().ejection.max_seconds)
            assert s.condition(V1) is Condition.UP

    run(go())


def test_many_reports_that_wait_are_published_together(tmp_path: Path) -> None:
    async def go() -> None:
        async with scene(tmp_path) as s:
            await s.execute(service("v1", "shop.example", instances=50))
            before = s.controller.snapshot.generation
            await s.report(*(instance("v1", port) for port in range(1, 51)))
            assert s.controller.snapshot.generation == before + 1

    run(go())


def test_new_settings_reach_routes_and_checks(tmp_path: Path) -> None:
    async def go() -> None:
        async with scene(tmp_path) as s:
            await s.execute(TWO[0])
            s.controller.configure(
                Settings(timeouts=TimeoutSettings(connect=9.0), checks=CheckSettings(interval=77.0))
            )
            await settle()
            assert s.controller.snapshot.routes[SHOP].timeouts.connect_s == 9.0
            assert s.checks.watched[V1][0].interval_s == 77.0

    run(go())


def test_ready_means_a_serving_worker_with_a_snapshot(tmp_path: Path) -> None:
    async def go() -> None:
        async with scene(tmp_path) as s:
            await s.publisher.wait_applied(1)
            found = [s.controller.ready]
            roster(s.publisher, w0="draining")
            found.append(s.controller.ready)
            roster(s.publisher, w0="serving")
            s.controller.is_stopping = True
            found.append(s.controller.ready)
            assert found == [True, False, False]

    run(go())


# --- removal -----------------------------------------------------------------------------------


@asynccontextmanager
async def removing(s: Scene, open_work: dict[ServiceId, int]) -> AsyncIterator[None]:
    remover = Remover(s.controller, lambda sid: open_work.get(sid, 0), s.clock)
    task = asyncio.create_task(remover.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until_gone(s: Scene, service: ServiceId) -> None:
    async with asyncio.timeout(5):
        while service in s.controller.state.services:
            await s.clock.advance(0.2)
            await asyncio.sleep(0.001)


async def stays(s: Scene, service: ServiceId, seconds: float) -> None:
    for _ in range(int(seconds / 0.2)):
        await s.clock.advance(0.2)
    await asyncio.sleep(0.01)
    assert service in s.controller.state.services
    assert s.condition(service) is Condition.DRAINING


def test_a_removed_service_is_gone_when_its_work_has_ended(tmp_path: Path) -> None:
    async def go() -> None:
        async with scene(tmp_path) as s:
            work = {V1: 2}
            async with removing(s, work):
                await s.execute(TWO[0])
                await s.execute(RemoveService("v1"))
                assert s.worker.snapshot.routes[SHOP].members == ()
                await stays(s, V1, 5)
                work[V1] = 0
                await until_gone(s, V1)
                assert not s.controller.state.routes
                assert (await s.actions())[:2] == [
                    ("gateway", "finish_removal", "-/v1", "done"),
                    ("uid:7", "remove_service", "-/v1", "done"),
                ]
                assert V1 not in s.checks.watched

    run(go())


def test_work_that_never_ends_is_waited_for_until_the_deadline(tmp_path: Path) -> None:
    async def go() -> None:
        async with scene(tmp_path) as s, removing(s, {V1: 1}):
            await s.execute(TWO[0])
            await s.execute(RemoveService("v1", drain_s=3.0))
            await stays(s, V1, 2)
            await s.clock.advance(1.5)
            await until_gone(s, V1)

    run(go())


def test_a_worker_that_may_not_know_yet_is_waited_for(tmp_path: Path) -> None:
    async def go() -> None:
        async with scene(tmp_path, apply_timeout_s=0.05) as s, removing(s, {}):
            await s.execute(TWO[0])
            s.worker.may_apply.clear()
            await s.execute(RemoveService("v1"))
            await stays(s, V1, 5)
            s.worker.may_apply.set()
            await until_gone(s, V1)

    run(go())


def test_services_that_can_go_together_go_in_one_generation(tmp_path: Path) -> None:
    async def go() -> None:
        async with scene(tmp_path) as s:
            names = [f"many-{n}" for n in range(20)]
            for name in names:
                await s.execute(service(name, f"{name}.example"))
                await s.execute(RemoveService(name))
            before = s.controller.snapshot.generation
            async with removing(s, {}):
                for name in names:
                    await until_gone(s, ServiceId(f"-/{name}"))
            assert s.controller.snapshot.generation == before + 1

    run(go())


def test_a_removal_goes_on_after_a_crash(tmp_path: Path) -> None:
    async def go() -> None:
        store = MemoryStore()
        async with scene(tmp_path, store) as s:
            await s.execute(TWO[0])
            await s.controller.execute(RemoveService("v1"), GATEWAY)
        async with scene(tmp_path, store) as s, removing(s, {}):
            await until_gone(s, V1)

    run(go())


def test_a_removal_that_cannot_be_stored_is_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)

    async def go() -> None:
        store = FailingStore()
        async with scene(tmp_path, store) as s, removing(s, {}):
            await s.execute(TWO[0])
            await s.execute(RemoveService("v1"))
            store.is_full = True
            await stays(s, V1, 5)
            store.is_full = False
            await until_gone(s, V1)

    run(go())
