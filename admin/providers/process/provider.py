"""The process provider: has the supervisor run what services want, and says what runs.

    desired state, table of the supervisor -> plan (reconcile.py) -> launch, halt
    table -> report to the controller

Level-triggered: every pass looks at all of it. The table is the record of what runs;
what was asked for since is remembered until the table, or an end, tells of it. A
control process that comes anew is told the table before anything else, and starts
nothing before it is.

Knows nothing of routes and weights. Processes are never touched here: the supervisor
starts and ends them.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from admin.clock import Clock, wait_until
from admin.observing import LaunchReport
from admin.probes import Surroundings
from admin.providers.launching import logs
from admin.providers.launching.dependencies import missing
from admin.providers.launching.failures import Failure, FailureLog, words_of_end
from admin.providers.launching.progress import Stage, Step, all_steps
from admin.providers.launching.reconcile import Plan, Process, Wanted, plan
from admin.providers.launching.retirements import Retirements
from admin.providers.launching.turns import Turns
from admin.providers.launching.world import World
from gateway.core.model import Health, Instance, InstanceId, Service, ServiceId
from gateway.runtime import marks, messages
from gateway.runtime.link import Message
from gateway.runtime.messages import Json

from .ports import NoFreePort, PortPool
from .problems import is_process
from .programs import (
    NO_CONTAINER_PORT,
    NoProgram,
    container_ports,
    definition_of,
    program_of,
)
from .table import End, Note, Row, ends_of, rows_of

log = logging.getLogger(__name__)

HOST = "127.0.0.1"
POLL_S = 0.1
"""How often open work is asked for while something retires."""
LOGS_S = 1.0
"""How often output files are looked at."""
OUTPUT_LINES = 20
"""Lines of output remembered with a failure."""


class ProcessProvider:
    """See the module. `send` takes messages for the supervisor.

    `environment` is the gateway's own, of which a small part is passed on.
    """

    def __init__(
        self,
        world: World,
        send: Callable[[Json], None],
        clock: Clock,
        folder: Path,
        environment: Mapping[str, str] = os.environ,
        ports: PortPool | None = None,
    ) -> None:
        self._world = world
        self._send = send
        self._clock = clock
        self._folder = folder
        self._logs = folder / logs.FOLDER
        self._environment = environment
        self._ports = ports or PortPool()
        self._rows: dict[InstanceId, Row] = {}
        self._asked: dict[InstanceId, Row] = {}
        """Launches that the table does not show yet."""
        self._halted: set[InstanceId] = set()
        self._retirements = Retirements(world, clock)
        self._turns = Turns(clock)
        self._begun: set[ServiceId] = set()
        """Services that had a process: their dependencies are not waited for again."""
        self._failures = FailureLog()
        self._definitions: dict[ServiceId, tuple[object, str]] = {}
        self.open_work: Callable[[], Collection[InstanceId]] = frozenset
        """Instances with something open."""
        self._reported: LaunchReport | None = None
        self._has_table = asyncio.Event()
        self._must_look = asyncio.Event()
        world.on_change(self._must_look.set)
        world.on_observed(self._must_look.set)

    # --- what the supervisor and the configuration say --------------------------------------

    def take(self, message: Message) -> None:
        """A `processes` message: the whole table, and what has ended."""
        self._rows = rows_of(message)
        if not self._has_table.is_set() and self._rows:
            newest = max(self._rows.values(), key=lambda row: row.process.started)
            self._ports.go_on_after(newest.note.ports[-1][1])
        for end in ends_of(message):
            self._take_end(end)
        for known in self._rows:
            self._asked.pop(known, None)
        self._halted &= self._rows.keys() | self._asked.keys()
        self._begun.update(row.process.service for row in self._rows.values())
        self._has_table.set()
        self._must_look.set()

    def settings_have_changed(self) -> None:
        """Try at once what failed before: it may work now."""
        self._turns.end_waits()
        self._must_look.set()

    async def wait_table(self) -> None:
        """Until the supervisor has told what runs."""
        await self._has_table.wait()

    # --- what others want to know -----------------------------------------------------------

    def failures(self, service: ServiceId) -> tuple[Failure, ...]:
        """What went wrong lately, newest first, at most 5."""
        return self._failures.of(service)

    def last_output(self, instance: InstanceId) -> tuple[str, ...]:
        """The last lines that a running instance wrote."""
        row = self._rows.get(instance)
        return () if row is None else logs.tail(row.note.log, OUTPUT_LINES)

    def why_not_started(self, service: ServiceId) -> str | None:
        """What a service waits for before its next process is started; None: for nothing."""
        found = self._world.state.services.get(service)
        if found is None or not is_process(found):
            return None
        if needed := self._missing(found):
            return f"waits for {', '.join(needed)} to be healthy"
        now = self._clock.monotonic()
        due = self._turns.next_due(now, service)
        return None if due is None else f"is started again in {due - now:.1f} s"

    @property
    def log_folder(self) -> Path:
        """Where the output of all its processes is."""
        return self._logs

    def steps(self, service: ServiceId) -> tuple[Step, ...]:
        """How far each instance of a service is."""
        found = self._world.state.services.get(service)
        if found is None or not is_process(found) or found.leaving:
            return ()
        observed, steps = self._world.observed, []
        for row in self._known():
            process = row.process
            if process.service != service or process.is_stopping or process.id in self._halted:
                continue
            stage = Stage.STARTING if process.id in self._asked else Stage.PROBING
            if observed.health_of(process.id) is Health.HEALTHY:
                stage = Stage.READY
            steps.append(Step(process.slot, stage, "", process.id))
        return all_steps(steps, found.scale, self.why_not_started(service) or "")

    def surroundings(self, instance: InstanceId) -> Surroundings | str:
        """Environment and folder of an instance, for a command that checks it, or why not."""
        row = self._rows.get(instance)
        service = self._world.state.services.get(row.process.service) if row else None
        if row is None or service is None or service.launch is None:
            return "it is no process of this gateway"
        image = self._world.settings.providers.process.images.get(service.launch.image)
        if image is None or not image.allow_command:
            return "the configuration does not let its template bring commands (allow_command)"
        try:
            program = program_of(
                service, dict(row.note.ports), self._world.settings, self._environment
            )
        except NoProgram as missing:
            return str(missing)
        mark = marks.mark(marks.home_of(self._folder), marks.check_id(os.getpid()))
        return Surroundings({**program.environment, **mark}, program.folder)

    # --- running ----------------------------------------------------------------------------

    def report(self) -> None:
        """Tell the controller what runs. Before its start: all of the table."""
        services = self._world.state.services
        instances: dict[ServiceId, list[Instance]] = {}
        for row in sorted(self._rows.values(), key=lambda r: (r.process.started, r.process.id)):
            process = row.process
            if process.is_stopping or process.id in self._halted:
                continue
            service = services.get(process.service)
            instances.setdefault(process.service, []).append(_instance(row, service))
        report = LaunchReport(
            instances={sid: tuple(found) for sid, found in instances.items()},
            retiring=self._retirements.instances & self._rows.keys(),
            running=frozenset(row.process.service for row in self._known()),
        )
        if report != self._reported:
            self._reported = report
            self._world.report_launched(report)

    async def run(self, open_work: Callable[[], Collection[InstanceId]]) -> None:
        """Have what is wanted run, for ever. `open_work`: instances with something open."""
        self.open_work = open_work
        async with asyncio.TaskGroup() as group:
            group.create_task(self._look_always())
            group.create_task(self._keep_logs())

    async def _look_always(self) -> None:
        await self.wait_table()
        while True:
            self._must_look.clear()
            # One time for the whole pass: what is not due in it is still to come after it.
            now = self._clock.monotonic()
            self.look(now)
            due = now + POLL_S if self._retirements.instances else self._turns.next_due(now)
            await wait_until(self._clock, self._must_look, due)

    def look(self, now: float) -> None:
        """One pass at the monotonic time `now`: plan, ask the supervisor, report."""
        services = {sid: s for sid, s in self._world.state.services.items() if is_process(s)}
        self._forget(services)
        todo = self._plan(services, now)
        for instance in todo.halts - self._halted:
            self._halt(instance)
        self._retirements.set(todo.retiring)
        for sid, slot in todo.starts:
            self._start(services[sid], slot)
        self.report()

    def _plan(self, services: Mapping[ServiceId, Service], now: float) -> Plan:
        wanted = {
            sid: Wanted(self._definition(service), service.scale, service.leaving)
            for sid, service in services.items()
        }
        waiting = {sid for sid, service in services.items() if self._missing(service)}
        processes = [
            replace(p, is_stopping=True) if p.id in self._halted else p
            for p in (row.process for row in self._known())
        ]
        finished = self._retirements.finished(self.open_work)
        return plan(
            wanted,
            processes,
            lambda sid, slot: sid not in waiting and self._turns.may_start(sid, slot, now),
            finished.__contains__,
        )

    def _missing(self, service: Service) -> list[str]:
        """Services it depends on that are not healthy, unless it was started before."""
        if service.id in self._begun:
            return []
        return missing(service, self._world.state.services, self._world.observed)

    # --- starting and ending ----------------------------------------------------------------

    def _start(self, service: Service, slot: int) -> None:
        settings = self._world.settings
        process = settings.providers.process
        assert service.launch is not None
        containers = container_ports(service)
        try:
            found = self._ports.take(len(containers), process.ports, self._ports_taken())
            ports = dict(zip(containers, found, strict=True))
            program = program_of(service, ports, settings, self._environment)
        except (NoProgram, NoFreePort) as why:
            self._fail(service.id, slot, _id(service, 0), f"cannot be started: {why}")
            return
        port, grace_s = found[0], service.launch.stop_grace_s
        instance = _id(service, port)
        now = self._clock.time()
        live = {row.note.log for row in self._known()}
        logs.prune_files(self._logs, service.application, service.name, live)
        note = Note(
            definition=self._definition(service),
            slot=slot,
            log=logs.new_file(self._logs, service.application, service.name, port, now).absolute(),
            grace_s=process.stop_grace if grace_s is None else grace_s,
            ports=tuple(ports.items()),
        )
        message = messages.launch(
            instance,
            service.id,
            note=note.to_json(),
            command=program.command,
            env=program.environment,
            cwd=program.folder,
            log=str(note.log),
            grace_s=note.grace_s,
        )
        try:
            self._send(message)
        except (TypeError, ValueError) as error:
            self._fail(service.id, slot, instance, f"cannot be started: {error}")
            return
        self._begun.add(service.id)
        self._asked[instance] = Row(Process(instance, service.id, note.definition, slot, now), note)

    def _halt(self, instance: InstanceId) -> None:
        row = self._rows.get(instance) or self._asked[instance]
        self._halted.add(instance)
        self._send(messages.halt(instance, row.note.grace_s))

    def _take_end(self, end: End) -> None:
        self._asked.pop(end.id, None)
        if end.is_halted or end.id in self._halted:
            return
        output = logs.tail(end.note.log, OUTPUT_LINES) if end.error is None else ()
        what = end.error or words_of_end(end.code, end.lived_s)
        self._fail(end.service, end.note.slot, end.id, what, end.lived_s, output)

    def _fail(
        self,
        service: ServiceId,
        slot: int,
        instance: InstanceId,
        what: str,
        lived_s: float = 0.0,
        output: tuple[str, ...] = (),
    ) -> None:
        delay_s = self._turns.failed(service, slot, lived_s)
        self._failures.add(service, Failure(instance, what, self._clock.time(), output))
        log.warning("%s of %s: %s; again in %.1f s", instance, service, what, delay_s)

    # --- small things -----------------------------------------------------------------------

    def _known(self) -> Iterator[Row]:
        """What runs and what was asked for."""
        yield from self._rows.values()
        yield from self._asked.values()

    def _ports_taken(self) -> set[int]:
        taken = {port for row in self._known() for _, port in row.note.ports}
        for instances in self._world.observed.instances.values():
            taken.update(i.port for i in instances)
        return taken

    def _definition(self, service: Service) -> str:
        known = self._definitions.get(service.id)
        if known is None or known[0] is not service.launch:
            assert service.launch is not None
            known = service.launch, definition_of(service.launch)
            self._definitions[service.id] = known
        return known[1]

    def _forget(self, services: Collection[ServiceId]) -> None:
        """What is remembered of services that are gone."""
        self._failures.keep_only(services)
        self._begun = {sid for sid in self._begun if sid in services}
        self._turns.keep_only(services)
        for sid in [sid for sid in self._definitions if sid not in services]:
            del self._definitions[sid]

    async def _keep_logs(self) -> None:
        """Keep files short and folders few."""
        while True:
            await self._clock.sleep(LOGS_S)
            longest = self._world.settings.providers.process.log_bytes
            files = {row.note.log for row in self._known()}
            with suppress(OSError):
                await asyncio.to_thread(logs.keep_small, self._logs, files, longest)


def _id(service: Service, port: int) -> InstanceId:
    return InstanceId(f"{service.name}@{HOST}:{port}")


def _instance(row: Row, service: Service | None) -> Instance:
    """A container port that was routed after the start leads to the instance's own port."""
    ports = dict.fromkeys(container_ports(service), row.port) if service is not None else {}
    ports.update(row.note.ports)
    ports.pop(NO_CONTAINER_PORT, None)
    return Instance(row.process.id, row.process.service, HOST, row.port, ports)
