"""From desired state, providers and reports to the snapshot that ought to be served.

The controller's eyes: it keeps what is observed, has new instances checked and
compiles. Writes nothing, publishes nothing, decides nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from gateway.core.compile import Compiler, Defaults
from gateway.core.differences import changed
from gateway.core.model import Health, Instance, InstanceId, Service, ServiceId
from gateway.core.observed import Observed
from gateway.core.snapshot import Affinity, Snapshot, SnapshotService, Timeouts
from gateway.core.state import State
from gateway.runtime.settings import Settings

from .health import Target, targets_of
from .observing import LaunchReport, Observing, Report, Source
from .providers.static import StaticProvider


class Checks(Protocol):
    """Who checks instances."""

    def watch(
        self,
        service: ServiceId,
        targets: tuple[Target, ...],
        known: Mapping[InstanceId, Health],
        addresses: Mapping[InstanceId, str],
    ) -> None:
        """Check exactly these instances of a service from now on."""


class Projection:
    """The observed world and the compiler over it."""

    def __init__(self, settings: Settings, checks: Checks) -> None:
        self._settings = settings
        self._checks = checks
        self._compiler = Compiler()
        self._observing = Observing()
        self._static = StaticProvider()
        self._services: Mapping[ServiceId, Service] = {}
        """Whose instances were last put together."""
        self._expected = {Source.PROCESSES}
        self._reports: dict[Source, LaunchReport] = {}
        self._recalled: Mapping[ServiceId, tuple[Instance, ...]] = {}
        """What ran when the last snapshot was published."""

    @property
    def observed(self) -> Observed:
        """Where instances are and how they are."""
        return self._observing.observed

    @property
    def next_change(self) -> float | None:
        """When (monotonic) the observed world changes by itself."""
        return self._observing.next_change

    def begin(
        self,
        state: State,
        last: Snapshot | None,
        launched: Mapping[Source, LaunchReport] | None = None,
    ) -> None:
        """Take up where the last control process was: `last` is what it published."""
        if last is not None:
            self._observing.recall(last)
            self._recalled = {sid: instances_of(s) for sid, s in last.services.items()}
        self.take_launched(state, launched or {})
        self.take_state(state)
        self._observing.forget_unknown()

    def unjudged(self, state: State) -> set[InstanceId]:
        """The instances that are checked and of which nothing is known yet."""
        known = self.observed
        return {
            i.id
            for sid, instances in known.instances.items()
            if not state.services[sid].leaving
            for i in instances
            if i.id not in known.health
        }

    def take_state(self, state: State) -> None:
        """Take in where the instances of this state are, and have new ones checked."""
        if self._services is not state.services:
            self._take_instances(state)

    def expect(self, source: Source) -> None:
        """This provider will report; see `Controller.expect`."""
        self._expected.add(source)

    def take_launched(self, state: State, launched: Mapping[Source, LaunchReport]) -> None:
        """Take in what those providers have running."""
        new = {s: r for s, r in launched.items() if r != self._reports.get(s)}
        if not new:
            return
        self._reports.update(new)
        reports = self._reports.values()
        missing = {s for s in self._expected - self._reports.keys() if s.is_launcher}
        self._observing.take_processes(
            frozenset().union(*(r.retiring for r in reports)),
            None if missing else frozenset().union(*(r.running for r in reports)),
            {instance: why for r in reports for instance, why in r.ailing.items()},
            tuple(problem for r in reports for problem in r.problems),
        )
        self._take_instances(state)

    def _take_instances(self, state: State) -> None:
        before, self._services = self._services, state.services
        found = self._static.instances(state.services)
        running = self._running(state)
        if running:
            known = self.observed.instances
            merged = dict(found)
            for sid, instances in running.items():
                # Equal instances stay the same objects: all else goes by identity.
                merged[sid] = old if (old := known.get(sid)) == instances else instances
            found = merged
        stale = set(changed(before, state.services))
        stale.update(self._observing.take_instances(found))
        self._watch(state, stale)

    def _running(self, state: State) -> dict[ServiceId, tuple[Instance, ...]]:
        """What providers have running of the services there are."""
        found = {
            sid: instances
            for report in self._reports.values()
            for sid, instances in report.instances.items()
            if sid in state.services
        }
        silent = self._expected - self._reports.keys()
        if silent:
            for sid, instances in self._recalled.items():
                service = state.services.get(sid)
                if service is not None and sid not in found and _source_of(service) in silent:
                    found[sid] = instances
        return found

    def take_reports(self, state: State, reports: list[Report], now: float) -> None:
        """Take in what was reported, and that it is `now` (monotonic)."""
        if reports:
            self._observing.take_reports(reports, state)
        self._observing.pass_time(now)

    def configure(self, state: State, settings: Settings) -> None:
        """Use these settings from now on."""
        has_other_checks = settings.checks != self._settings.checks
        self._settings = settings
        if has_other_checks:
            self._watch(state, state.services)

    def compile(self, state: State, generation: int, created: float) -> Snapshot:
        """What ought to be served."""
        defaults = defaults_of(self._settings)
        try:
            return self._compiler.compile(state, self.observed, defaults, generation, created)
        except BaseException:
            self._compiler = Compiler()  # its memory may be half of two states
            raise

    def _watch(self, state: State, services: Iterable[ServiceId]) -> None:
        known = self.observed
        for sid in services:
            service = state.services.get(sid)
            targets: tuple[Target, ...] = ()
            if service is not None and not service.leaving:
                instances = known.instances.get(sid, ())
                targets = targets_of(service, instances, self._settings.checks)
            self._checks.watch(sid, targets, known.health, known.addresses)


def instances_of(service: SnapshotService) -> tuple[Instance, ...]:
    """The instances of a snapshot's service, as a provider reported them."""
    return tuple(
        Instance(i.id, service.id, i.host, i.port, i.ports, i.tls) for i in service.instances
    )


def _source_of(service: Service) -> Source | None:
    """Who tells of this service but for the process provider, which always tells in time."""
    if service.discovery is not None:
        return Source.DISCOVERED
    return None if service.launch is None else Source.CONTAINERS


def defaults_of(settings: Settings) -> Defaults:
    """What the configuration says for routes that say nothing."""
    a, t = settings.affinity, settings.timeouts
    return Defaults(
        Affinity(a.enabled, a.cookie, a.max_age, a.at_zero),
        Timeouts(t.connect, t.response_header, t.idle_stream),
    )
