"""The figures of the API from the workers' counters and the controller's facts.

`sample` is to be called once a second, from a thread of its own; everything else is
asked by handlers. The metrics page is written in a thread too: at 10,000 routes both
take longer than a change of weights may wait.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from admin.controller import Controller
from gateway.core.model import ServiceId
from gateway.core.release import Phase, Release
from gateway.core.snapshot import Condition, Snapshot, SnapshotRoute
from gateway.core.state import State
from gateway.metrics.catalogue import KEYS, Scope
from gateway.metrics.merge import Collector, ControlFacts, Live, Merger
from gateway.metrics.stats import Report, StatsWindow
from gateway.runtime.settings import GivenSettings, Settings

from .context import OpenWork, Work

_USABLE = frozenset({Condition.UP, Condition.EJECTED})
"""Ejected ones are used when a service has no others."""


class WorkerFigures:
    """Figures of the workers whose regions `merger` reads.

    `now` is seconds since the epoch, `monotonic` a clock for the windows.
    """

    def __init__(
        self,
        controller: Controller,
        merger: Merger,
        now: Callable[[], float],
        monotonic: Callable[[], float],
    ) -> None:
        self._controller = controller
        self._merger = merger
        self._monotonic = monotonic
        self._window = StatsWindow(merger, monotonic())
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(Collector(merger, lambda: control_facts(controller, now())))

    def sample(self) -> None:
        """Look at the counters; once a second. From any thread, one at a time."""
        self._window.sample(self._monotonic(), live_slots(self._controller))

    def report(self, window_s: int) -> Report:
        """See `Figures`."""
        return self._window.report(window_s)

    def errors(self, service: ServiceId) -> int:
        """How many answers of a service were 5xx since the start of this process."""
        return self._window.errors(service)

    def work(self) -> Work:
        """See `Figures`."""
        self._merger.refresh()
        slots = live_slots(self._controller)
        place = KEYS[Scope.TRAFFIC].index("service")
        services: dict[str, list[int]] = {}
        instances: dict[tuple[str, str], list[int]] = {}
        for i, (traffic, instance) in enumerate(
            (("gateway_in_flight_requests", "in_flight"), ("gateway_websockets_open", "websockets"))
        ):
            for labels, value in self._merger.gauge(Scope.TRAFFIC, traffic, slots).items():
                services.setdefault(labels[place], [0, 0])[i] += value
            for labels, value in self._merger.gauge(Scope.INSTANCE, instance, slots).items():
                instances.setdefault((labels[0], labels[1]), [0, 0])[i] += value
        return Work(
            services={name: OpenWork(*counts) for name, counts in services.items()},
            instances={names: OpenWork(*counts) for names, counts in instances.items()},
        )

    async def page(self, accept: str) -> tuple[bytes, str]:
        """See `Figures`."""
        encode, content_type = choose_encoder(accept)
        return await asyncio.to_thread(encode, self._registry), content_type


def live_slots(controller: Controller) -> frozenset[int]:
    """The regions of workers that are alive: their gauges count."""
    return frozenset(
        w.region for w in controller.workers if w.state != "dead" and w.region is not None
    )


def control_facts(controller: Controller, now: float) -> ControlFacts:
    """What the control process knows, for the metrics page. `now`: seconds since the epoch."""
    snapshot = controller.snapshot
    return ControlFacts(
        live=Live(
            slots=live_slots(controller),
            services=frozenset(snapshot.services),
            routes=frozenset(snapshot.routes),
        ),
        weights={
            (route.id, member.service): member.weight
            for route in snapshot.routes.values()
            for member in route.members
        },
        invalid_routes=list(dict.fromkeys((*_invalid(snapshot), *_not_as_asked(controller)))),
        providers={name: why is None for name, why in controller.observed.providers.items()},
        instances=Counter(
            (service.id, instance.condition.value)
            for service in snapshot.services.values()
            for instance in service.instances
        ),
        release_phases=release_phases(controller.state, now),
        generation=snapshot.generation,
        snapshot_age_s=max(0.0, now - snapshot.created) if snapshot.created else 0.0,
        apply_lag_s=controller.apply_lag_s,
        worker_restarts=sum(w.restarts for w in controller.workers),
        certificates=_certificates(controller.settings),
    )


def _certificates(settings: Settings) -> dict[str, tuple[float, bool]]:
    """By file: until when it is valid, and whether a newer one could not be taken."""
    if not isinstance(settings, GivenSettings):
        return {}
    return {c.files.cert: (c.not_after, c.problem is not None) for c in settings.certificates}


def release_phases(state: State, now: float) -> dict[str, tuple[Phase, float]]:
    """The phase of each application's latest release, and for how many seconds it has been."""
    latest = {
        r.application: r for r in state.releases.values() if r.application in state.applications
    }
    return {
        application: (release.phase, max(0.0, now - _since(release)))
        for application, release in latest.items()
    }


def _since(release: Release) -> float:
    """When a release came into its phase."""
    since = release.created
    for entry in reversed(release.timeline):
        if entry.phase is not release.phase:
            break
        since = entry.time
    return since


def _invalid(snapshot: Snapshot) -> Iterator[tuple[str, str]]:
    usable = {
        service.id
        for service in snapshot.services.values()
        if any(i.condition in _USABLE for i in service.instances)
    }
    for route in snapshot.routes.values():
        reason = _reason(route, usable)
        if reason is not None:
            yield route.id, reason


def _not_as_asked(controller: Controller) -> Iterator[tuple[str, str]]:
    """Routes that are not served as the labels of containers say, with the reason."""
    return ((p.route, p.reason.value) for p in controller.observed.problems)


def _reason(route: SnapshotRoute, usable: set[ServiceId]) -> str | None:
    """Why a route cannot serve as it stands; None: it can, or is not meant to yet."""
    if route.held:
        return None
    if not route.members:
        return "no_service"
    weighed = [m.service for m in route.members if m.weight]
    if not weighed:
        return "no_weight"
    return None if usable.intersection(weighed) else "no_healthy_instance"
