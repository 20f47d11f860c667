"""How far the services of a release are: pure, from desired and observed state."""

from __future__ import annotations

from dataclasses import dataclass

from .model import Health, Service, ServiceId
from .observed import Observed
from .release import Colour, Release
from .state import State


@dataclass(frozen=True, slots=True)
class Readiness:
    """A service of a release: how many instances it should have, and has healthy."""

    service: ServiceId
    name: str
    colour: Colour
    scale: int
    ready: int

    @property
    def is_ready(self) -> bool:
        """All there, all healthy."""
        return self.ready >= self.scale


def instances_wanted(service: Service) -> int:
    """How many instances a service has when all is well."""
    return service.scale if service.launch is not None else len(set(service.endpoints))


def healthy(state: State, observed: Observed, service: ServiceId) -> int:
    """How many instances of a service may be given requests."""
    return sum(
        1
        for i in observed.instances.get(service, ())
        if observed.health_of(i.id) is Health.HEALTHY
        and i.id not in state.drained
        and i.id not in observed.retiring
    )


def readiness(state: State, observed: Observed, release: Release) -> tuple[Readiness, ...]:
    """All services of a release that are still there, in the release's order."""
    found: list[Readiness] = []
    for name, colour in release.colours.items():
        sid = ServiceId(f"{release.application}/{name}")
        service = state.services.get(sid)
        if service is not None:
            ready = healthy(state, observed, sid)
            found.append(Readiness(sid, name, colour, instances_wanted(service), ready))
    return tuple(found)


def is_ready(state: State, observed: Observed, release: Release) -> bool:
    """Are all new services there, with all their instances healthy?"""
    green = [r for r in readiness(state, observed, release) if r.colour is Colour.GREEN]
    return len(green) == len(release.names(Colour.GREEN)) and all(r.is_ready for r in green)
