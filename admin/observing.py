"""Puts reports together into one `Observed`: instances, verdicts, ejections.

Time arrives as an argument. Reports about instances that do not exist (any
more) leave no trace. Invariants:

* an ejection never takes a service's last usable instance and never more than half
  of those that pass their checks (panic rule), whatever the workers report;
* an ejection ends by itself; checks never end it early and never cause one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum

from gateway.core.compile import UNRESOLVED, condition
from gateway.core.differences import changed, gone
from gateway.core.hosts import is_ip
from gateway.core.model import Health, Instance, InstanceId, ServiceId
from gateway.core.observed import Observed, RouteProblem
from gateway.core.snapshot import Condition, Snapshot
from gateway.core.state import State


@dataclass(frozen=True, slots=True)
class HealthReport:
    """A verdict of the checks; `address` is where they reached the instance ("": nowhere)."""

    instance: InstanceId
    verdict: Health
    address: str = ""


@dataclass(frozen=True, slots=True)
class EjectionReport:
    """A worker found an instance failing and wants it out until `until` (monotonic)."""

    instance: InstanceId
    until: float


@dataclass(frozen=True, slots=True)
class ProviderReport:
    """Can a provider be asked? `problem` None: yes; else what it said last counts."""

    name: str
    problem: str | None


Report = HealthReport | EjectionReport | ProviderReport


class Source(Enum):
    """Who says what runs. Each has its own report; no two tell of the same service."""

    PROCESSES = "processes"
    """The process provider."""
    CONTAINERS = "containers"
    """What the Docker provider started."""
    DISCOVERED = "discovered"
    """What the Docker provider found running."""

    @property
    def is_launcher(self) -> bool:
        """Does it start and stop what it reports?"""
        return self is not Source.DISCOVERED


@dataclass(frozen=True, slots=True)
class LaunchReport:
    """Everything a provider has running: a full report, the one before it is void.

    `instances` are those that run and are wanted or being retired; `running` names
    every service with a process, those included whose processes are being stopped.
    `ailing` are instances that the provider itself does not call healthy, and why;
    `problems` what keeps services from routes that they ask for.
    """

    instances: Mapping[ServiceId, tuple[Instance, ...]] = field(default_factory=dict)
    retiring: frozenset[InstanceId] = frozenset()
    running: frozenset[ServiceId] = frozenset()
    ailing: Mapping[InstanceId, str] = field(default_factory=dict)
    problems: tuple[RouteProblem, ...] = ()


@dataclass(slots=True)
class Observing:
    """The observed world, and what is remembered to keep it right."""

    observed: Observed = field(default_factory=Observed)
    _until: dict[InstanceId, float] = field(default_factory=dict)
    _at: dict[InstanceId, Instance] = field(default_factory=dict)

    def recall(self, last: Snapshot) -> None:
        """Begin with what a former control process had published.

        An instance that was up or ejected then had passed its checks. Of a draining
        one nothing is known.
        """
        health: dict[InstanceId, Health] = {}
        addresses: dict[InstanceId, str] = {}
        for service in last.services.values():
            for i in service.instances:
                if i.condition in (Condition.UP, Condition.EJECTED):
                    health[i.id] = Health.HEALTHY
                elif i.condition is Condition.DOWN:
                    health[i.id] = Health.UNHEALTHY
                if i.host != UNRESOLVED:
                    addresses[i.id] = i.host
        self.observed = replace(self.observed, health=health, addresses=addresses)

    def take_instances(
        self, instances: Mapping[ServiceId, tuple[Instance, ...]]
    ) -> tuple[ServiceId, ...]:
        """What the providers say is there, all of it; gives the services that changed."""
        old = self.observed.instances
        if instances is old:
            return ()
        stale = [*changed(old, instances), *gone(old, instances)]
        before = {i.id for sid in stale for i in old.get(sid, ())}
        for instance in before:
            self._at.pop(instance, None)
        for sid in stale:
            self._at.update((i.id, i) for i in instances.get(sid, ()))
        self.observed = replace(self.observed, instances=instances)
        self._forget(before - self._at.keys())
        return tuple(stale)

    def take_processes(
        self,
        retiring: frozenset[InstanceId],
        running: frozenset[ServiceId] | None,
        ailing: Mapping[InstanceId, str],
        problems: tuple[RouteProblem, ...],
    ) -> None:
        """What all providers say about what runs."""
        known = self.observed
        after = replace(known, retiring=retiring, running=running, ailing=ailing, problems=problems)
        if after != known:
            self.observed = after

    def forget_unknown(self) -> None:
        """Drop what was recalled of instances that nobody reports any more."""
        known = self.observed
        self._forget((known.health.keys() | known.addresses.keys()) - self._at.keys())

    def take_reports(self, reports: list[Report], state: State) -> None:
        """Take in verdicts first, then ejections, which depend on them."""
        health: dict[InstanceId, Health] = {}
        addresses: dict[InstanceId, str] = {}
        providers: dict[str, str | None] = {}
        for report in reports:
            if isinstance(report, ProviderReport):
                providers[report.name] = report.problem
            elif isinstance(report, HealthReport) and (at := self._at.get(report.instance)):
                health[report.instance] = report.verdict
                if report.address and not is_ip(at.host):
                    addresses[report.instance] = report.address
        known = self.observed
        if health:
            known = replace(known, health={**known.health, **health})
        if addresses:
            known = replace(known, addresses={**known.addresses, **addresses})
        if providers:
            known = replace(known, providers={**known.providers, **providers})
        self.observed = known
        for report in reports:
            if isinstance(report, EjectionReport):
                self._eject(report, state)

    def pass_time(self, now: float) -> None:
        """End the ejections whose time is over."""
        over = [i for i, until in self._until.items() if until <= now]
        if over:
            for instance in over:
                del self._until[instance]
            self.observed = replace(self.observed, ejected=frozenset(self._until))

    @property
    def next_change(self) -> float | None:
        """When `pass_time` will have something to do."""
        return min(self._until.values(), default=None)

    def _eject(self, report: EjectionReport, state: State) -> None:
        at = self._at.get(report.instance)
        if at is None:
            return
        if report.instance not in self._until and not self._may_eject(at, state):
            return
        self._until[at.id] = max(report.until, self._until.get(at.id, report.until))
        if at.id not in self.observed.ejected:
            self.observed = replace(self.observed, ejected=frozenset(self._until))

    def _may_eject(self, at: Instance, state: State) -> bool:
        service = state.services.get(at.service)
        passing: dict[InstanceId, Condition] = {}
        for i in self.observed.instances.get(at.service, ()):
            found = condition(state, self.observed, service, i)
            if found in (Condition.UP, Condition.EJECTED):
                passing[i.id] = found
        if passing.get(at.id) is not Condition.UP:
            return False  # it gets no traffic as it is
        ejected = sum(1 for found in passing.values() if found is Condition.EJECTED)
        return (ejected + 1) * 2 <= len(passing)

    def _forget(self, instances: set[InstanceId]) -> None:
        if not instances:
            return
        known = self.observed
        for instance in instances:
            self._until.pop(instance, None)
        self.observed = replace(
            known,
            health={i: h for i, h in known.health.items() if i not in instances},
            addresses={i: a for i, a in known.addresses.items() if i not in instances},
            ejected=frozenset(self._until),
        )
