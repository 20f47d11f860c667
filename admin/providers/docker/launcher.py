"""The Docker launcher: has the containers run that services want, and says what runs.

    desired state, the Engine's list -> plan (launching/reconcile.py) -> start, end
    list -> report to the controller

Level-triggered: every pass looks at all of it. The list of containers with this
gateway's labels (`ownership.py`) is the record of what runs, and the only one: what is
under way is remembered until its task has ended, and a control process that comes anew
finds a container that was made but not started, or told to end and not removed, in the
list, and goes on from there.

Knows nothing of routes and weights. While the Engine is gone nothing is planned and what
it said last stands: checks decide about traffic.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from admin.clock import Clock, wait_until
from admin.observing import LaunchReport, Source
from admin.providers.launching import logs
from admin.providers.launching.dependencies import missing
from admin.providers.launching.failures import Failure, FailureLog
from admin.providers.launching.progress import Stage, Step, all_steps
from admin.providers.launching.reconcile import Plan, Process, Wanted, plan
from admin.providers.launching.retirements import Retirements
from admin.providers.launching.turns import Turns
from admin.providers.launching.world import World
from gateway.core.model import Health, Instance, InstanceId, Service, ServiceId
from gateway.runtime.settings import DockerSettings

from . import placing
from .carrying import Work
from .containers import Container, Run
from .engine import Engine, EngineError, Presence
from .listing import Listing
from .making import Maker
from .outputs import Outputs
from .ownership import Owned, container_name, definition_of
from .unreachable import Unreachable

log = logging.getLogger(__name__)

POLL_S = 0.1
"""How often open work is asked for while something retires."""


class DockerLauncher:
    """See the module. `owner` is this gateway's id (`ownership.owner_of`)."""

    def __init__(
        self,
        world: World,
        engine: Engine,
        clock: Clock,
        folder: Path,
        owner: str,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        self._world = world
        self._engine = engine
        self._clock = clock
        self._owner = owner
        self._must_look = asyncio.Event()
        self._listing = Listing(engine, clock, owner, self._must_look.set)
        self._maker = Maker(engine, owner, lambda: self._docker, environment)
        self._outputs = Outputs(engine, clock, folder / logs.CONTAINERS)
        self._work = Work(
            engine,
            clock,
            owner,
            self._listing,
            self._maker,
            self._outputs,
            self._fail,
        )
        self._turns = Turns(clock)
        self._retirements = Retirements(world, clock)
        self._unreachable = Unreachable()
        self._begun: set[ServiceId] = set()
        self._failures = FailureLog()
        self._definitions: dict[ServiceId, tuple[object, str]] = {}
        self._reported: LaunchReport | None = None
        self.open_work: Callable[[], Collection[InstanceId]] = frozenset
        """Instances with something open."""
        world.on_change(self._must_look.set)
        world.on_observed(self._must_look.set)

    # --- what others want to know -----------------------------------------------------------

    def failures(self, service: ServiceId) -> tuple[Failure, ...]:
        """What went wrong lately, newest first, at most 5; an Engine that is gone comes first."""
        known = self._failures.of(service)
        found = self._world.state.services.get(service)
        problem = self._engine.problem
        if problem is None or found is None or not is_container(found):
            return known
        what = f"waits for the Docker Engine at {self._engine.url}: {problem}"
        return (Failure(InstanceId(f"{found.name}@docker"), what, self._clock.time()), *known)

    def last_output(self, instance: InstanceId) -> tuple[str, ...]:
        """The last lines that a container wrote."""
        found = self._listing.by_instance(instance)
        return () if found is None else self._outputs.tail(found)

    @property
    def log_folder(self) -> Path:
        """Where the output of all its containers is."""
        return self._outputs.folder

    def why_not_started(self, service: ServiceId) -> str | None:
        """What a service waits for before its next container is started; None: for nothing."""
        found = self._world.state.services.get(service)
        if found is None or not is_container(found):
            return None
        if self._engine.problem is not None:
            return f"waits for the Docker Engine: {self._engine.problem}"
        if needed := self._missing(found):
            return f"waits for {', '.join(needed)} to be healthy"
        now = self._clock.monotonic()
        due = self._turns.next_due(now, service)
        return None if due is None else f"is started again in {due - now:.1f} s"

    def steps(self, service: ServiceId) -> tuple[Step, ...]:
        """How far each of its instances is."""
        found = self._world.state.services.get(service)
        if found is None or not is_container(found) or found.leaving:
            return ()
        why_not = self.why_not_started(service) or ""
        return all_steps(self._steps(found), found.scale, why_not)

    def _steps(self, service: Service) -> Iterator[Step]:
        observed = self._world.observed
        for one in self._listing.owned.values():
            if one.service == service.id and one.is_up and one.id not in self._work.ended:
                is_ready = observed.health_of(one.instance) is Health.HEALTHY
                stage = Stage.READY if is_ready else Stage.PROBING
                yield Step(one.slot, stage, "", one.instance)
        up = {o.slot for o in self._listing.owned.values() if o.service == service.id and o.is_up}
        pulled = self._maker.pulled(service)
        for task in self._work.tasks.values():
            if task.service == service.id and not task.is_end and task.slot not in up:
                is_pulling = task.stage is Stage.PULLING
                yield Step(task.slot, task.stage, pulled if is_pulling else "")

    # --- running ----------------------------------------------------------------------------

    def container_of(self, instance: InstanceId) -> Container | None:
        """The container that an instance is; None: it is none of ours."""
        found = self._listing.by_instance(instance)
        return None if found is None else found.container

    def settings_have_changed(self) -> None:
        """Try at once what failed before: it may work now."""
        self._turns.end_waits()
        self._must_look.set()

    async def run(self, open_work: Callable[[], Collection[InstanceId]]) -> None:
        """Have what is wanted run, for ever. `open_work`: instances with something open."""
        self.open_work = open_work
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._look_always())
                group.create_task(
                    self._outputs.keep_small(
                        lambda: self._listing.owned.values(), lambda: self._docker.log_bytes
                    )
                )
        finally:
            await self._close()

    async def _look_always(self) -> None:
        while True:
            self._must_look.clear()
            if self._clock.monotonic() >= self._listing.due:
                with suppress(EngineError):
                    self._take(await self._listing.refresh(self._docker.refresh))
            # One time for the whole pass: what is not due in it is still to come after it.
            now = self._clock.monotonic()
            if self._listing.is_known and self._engine.presence is not Presence.GONE:
                self.look(now)
            await wait_until(self._clock, self._must_look, self._next_due(now))

    def _next_due(self, now: float) -> float:
        dues = [self._listing.due, self._turns.next_due(now)]
        dues.append(now + POLL_S if self._retirements.instances else None)
        dues.append(self._unreachable.next_due)
        return min(due for due in dues if due is not None)

    def look(self, now: float) -> None:
        """One pass at the monotonic time `now`: plan, have it done, report."""
        services = {sid: s for sid, s in self._world.state.services.items() if is_container(s)}
        self._forget(services)
        todo = self._plan(services, now)
        by_instance = {one.instance: one for one in self._listing.owned.values()}
        for instance in todo.halts:
            if (one := by_instance.get(instance)) is not None:
                self._work.end(one)
        self._work.keep_only({sid for sid, s in services.items() if not s.leaving})
        self._retirements.set(todo.retiring)
        self._end_unreachable(services, now)
        for one in self._listing.owned.values():
            self._go_on(one, services.get(one.service), todo)
        for sid, slot in todo.starts:
            service = services[sid]
            is_first = sid not in self._begun
            self._work.make(service, slot, self._definition(service), is_first)
        self.report()

    def report(self) -> None:
        """Tell the controller what runs."""
        services = self._world.state.services
        instances: dict[ServiceId, tuple[Instance, ...]] = {}
        ailing: dict[InstanceId, str] = {}
        alive = self._alive()
        for one in sorted(alive, key=lambda o: (o.container.created, o.slot, o.id)):
            service = services.get(one.service)
            found = placing.instance_of(one, service, self._docker) if service else None
            if found is not None:
                instances[one.service] = (*instances.get(one.service, ()), found)
                if (why := placing.ailment(one.container)) is not None:
                    ailing[one.instance] = why
        report = LaunchReport(
            instances=instances,
            retiring=(self._retirements.instances & {o.instance for o in alive})
            | {o.instance for o in alive if self._listing.is_dying(o)},
            running=frozenset(o.service for o in self._listing.owned.values())
            | {task.service for task in self._work.tasks.values()},
            ailing=ailing,
        )
        if report != self._reported:
            self._reported = report
            self._world.report_launched(report, Source.CONTAINERS)

    def _take(self, gone: Sequence[Owned]) -> None:
        """There is a new list; these are not in it any more."""
        for one in gone:
            self._outputs.forget(one)
            service = self._world.state.services.get(one.service)
            is_missed = service is not None and not service.leaving
            is_told = one.id in self._work.ended or one.container.name in self._work.tasks
            if is_missed and not is_told:
                what = "is gone: somebody removed its container"
                self._fail(one.service, one.slot, one.instance, what, self._lived_s(one.container))
        self._work.ended &= self._listing.owned.keys()
        for one in self._listing.owned.values():
            self._begun.add(one.service)
            if one.is_up:
                self._outputs.follow(one)

    # --- planning ---------------------------------------------------------------------------

    def _plan(self, services: Mapping[ServiceId, Service], now: float) -> Plan:
        wanted = {
            sid: Wanted(self._definition(service), service.scale, service.leaving)
            for sid, service in services.items()
        }
        waiting = {sid for sid, service in services.items() if self._missing(service)}
        finished = self._retirements.finished(self.open_work)
        names = self._listing.names

        def may_start(sid: ServiceId, slot: int) -> bool:
            name = container_name(self._owner, sid, slot, wanted[sid].definition)
            is_free = name not in names and name not in self._work.tasks
            return is_free and sid not in waiting and self._turns.may_start(sid, slot, now)

        return plan(wanted, self._processes(wanted), may_start, finished.__contains__)

    def _processes(self, wanted: Mapping[ServiceId, Wanted]) -> list[Process]:
        """Containers that run or will, and those that are being made."""
        found = [
            Process(
                one.instance,
                one.service,
                one.definition,
                one.slot,
                one.container.created,
                is_stopping=self._work.is_ending(one),
            )
            for one in self._listing.owned.values()
            if not one.is_over
        ]
        names = self._listing.names
        found += [
            Process(
                InstanceId(name),
                task.service,
                wanted[task.service].definition,
                task.slot,
                task.began,
            )
            for name, task in self._work.tasks.items()
            if name not in names and not task.is_end and task.service in wanted
        ]
        return found

    def _missing(self, service: Service) -> list[str]:
        """Services it depends on that are not healthy, unless it was started before."""
        if service.id in self._begun:
            return []
        return missing(service, self._world.state.services, self._world.observed)

    # --- doing ------------------------------------------------------------------------------

    def _alive(self) -> list[Owned]:
        """Those that run and are to go on running."""
        return [o for o in self._listing.owned.values() if o.is_up and not self._work.is_ending(o)]

    def _end_unreachable(self, services: Mapping[ServiceId, Service], now: float) -> None:
        """Those that run without an address; others are started in their place.

        While something is done with one it may still get one, and nothing else can be begun.
        """
        found = {
            one.id: one
            for one in self._alive()
            if one.container.name not in self._work.tasks
            and (service := services.get(one.service)) is not None
            and placing.instance_of(one, service, self._docker) is None
        }
        for id in self._unreachable.note(found, now):
            one = found[id]
            what = "runs, but has no address: it is on none of its networks any more"
            self._fail(one.service, one.slot, one.instance, what, self._lived_s(one.container))
            self._work.end(one)

    def _go_on(self, one: Owned, service: Service | None, todo: Plan) -> None:
        """With a container that was made and not started, or has ended."""
        if one.container.name in self._work.tasks or one.instance in todo.halts:
            return
        if one.container.run is Run.REMOVING:
            return  # that goes on by itself
        if one.is_over:
            is_wanted = service is not None and not service.leaving
            is_current = is_wanted and one.definition == self._definition_of(service)
            self._work.bury(one, is_failure=is_current)
        elif one.id in self._work.ended:  # the Engine was gone when it was to end it
            self._work.end(one)
        elif service is not None and one.container.run is Run.CREATED:
            self._work.start(one, service)

    def _fail(
        self,
        service: ServiceId,
        slot: int,
        instance: InstanceId,
        what: str,
        lived_s: float,
        output: tuple[str, ...] = (),
    ) -> None:
        delay_s = self._turns.failed(service, slot, lived_s)
        self._failures.add(service, Failure(instance, what, self._clock.time(), output))
        log.warning("%s of %s: %s; again in %.1f s", instance, service, what, delay_s)

    # --- small things -----------------------------------------------------------------------

    @property
    def _docker(self) -> DockerSettings:
        return self._world.settings.providers.docker or DockerSettings()

    def _lived_s(self, container: Container) -> float:
        return max(0.0, self._clock.time() - container.created)

    def _definition(self, service: Service) -> str:
        known = self._definitions.get(service.id)
        if known is None or known[0] is not service.launch:
            assert service.launch is not None
            known = service.launch, definition_of(service.launch)
            self._definitions[service.id] = known
        return known[1]

    def _definition_of(self, service: Service | None) -> str | None:
        return None if service is None or not is_container(service) else self._definition(service)

    def _forget(self, services: Collection[ServiceId]) -> None:
        """What is remembered of services that are gone."""
        self._failures.keep_only(services)
        self._begun = {sid for sid in self._begun if sid in services}
        self._turns.keep_only(services)
        for sid in [sid for sid in self._definitions if sid not in services]:
            del self._definitions[sid]

    async def _close(self) -> None:
        self._listing.close()
        await self._work.close()
        await self._outputs.close()
        await self._maker.close()


def is_container(service: Service) -> bool:
    """Are its instances started in containers?"""
    return service.launch is not None and service.launch.container is not None
