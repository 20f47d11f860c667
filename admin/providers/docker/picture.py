"""All that was found, from one list of containers: services, instances, problems. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from gateway.core.model import Instance, InstanceId, Service, ServiceId
from gateway.core.observed import RouteProblem, Trouble

from .addresses import Place, Way, reached
from .containers import Attachment, Container, DockerHealth, Run
from .labels import Described, Descriptions, differences, together

_AILING = {
    DockerHealth.STARTING: "Docker's own health check has not passed yet",
    DockerHealth.UNHEALTHY: "Docker's own health check fails (docker inspect tells why)",
}


@dataclass(frozen=True, slots=True)
class Picture:
    """See the module. `services` are in the order of their age."""

    services: tuple[Service, ...] = ()
    instances: Mapping[ServiceId, tuple[Instance, ...]] = field(default_factory=dict)
    containers: Mapping[InstanceId, Container] = field(default_factory=dict)
    """The container that an instance is."""
    retiring: frozenset[InstanceId] = frozenset()
    ailing: Mapping[InstanceId, str] = field(default_factory=dict)
    problems: tuple[RouteProblem, ...] = ()


def instance_id(name: str, container: Container) -> InstanceId:
    """`web@5f3c9ab2d4e5`: a container that is made anew is another instance."""
    return InstanceId(f"{name}@{container.short_id}")


def picture(
    containers: Sequence[Container],
    stopping: Collection[str],
    domain: str,
    way: Way,
    is_near: Callable[[Attachment], bool],
    descriptions: Descriptions | None = None,
) -> Picture:
    """What these containers are. `stopping` are the ids of those that were told to end.

    `descriptions` are those of the picture before.
    """
    by_id = {c.id: c for c in containers}
    near: dict[tuple[str, bool], bool] = {}

    def is_near_once(at: Attachment) -> bool:
        """Of all containers on a network one is asked for."""
        key = at.network, ":" in at.address
        if key not in near:
            near[key] = is_near(at)
        return near[key]

    descriptions = descriptions or Descriptions()
    running = (c for c in containers if c.run in (Run.RUNNING, Run.PAUSED))
    described = descriptions.of(running, domain)
    services: list[Service] = []
    instances: dict[ServiceId, tuple[Instance, ...]] = {}
    known: dict[InstanceId, Container] = {}
    problems: list[RouteProblem] = []
    for service, group in together(described):
        problems += (problem for one in group for problem in one.problems)
        if not all(one.is_named for one in group):
            continue
        problems += differences(service, group)
        places = {
            one.container.id: reached(one.container, group[-1].ports, way, is_near_once, by_id)
            for one in group
        }
        problems += _unreached(service, group, places)
        service = _servable(service, places.values())
        services.append(service)
        if not service.claims:
            continue
        own = list(_instances(service, group, places))
        instances[service.id] = tuple(instance for instance, _ in own)
        known.update((instance.id, container) for instance, container in own)
    return Picture(
        tuple(services),
        instances,
        known,
        frozenset(i for i, c in known.items() if c.id in stopping or c.run is Run.PAUSED),
        {i: _AILING[c.health] for i, c in known.items() if c.health in _AILING},
        tuple(problems),
    )


def _servable(service: Service, places: Collection[Place | str]) -> Service:
    """The service without the claims of ports that no container can be reached at."""
    met = [place for place in places if isinstance(place, Place)]
    if not met:
        return service  # it keeps its routes for the time when it can be reached
    missing = set.intersection(*(set(place.missing) for place in met))
    if not missing:
        return service
    return replace(service, claims=tuple(c for c in service.claims if c.port not in missing))


def _instances(
    service: Service, group: Sequence[Described], places: Mapping[str, Place | str]
) -> Iterator[tuple[Instance, Container]]:
    ports = [c.port for c in service.claims if c.port is not None]
    for one in group:
        place = places[one.container.id]
        if isinstance(place, str) or place.missing.keys() & set(ports):
            continue  # what it cannot be reached at would be somebody else's port
        id = instance_id(service.name, one.container)
        port = place.ports.get(ports[0], ports[0])
        yield Instance(id, service.id, place.host, port, place.ports), one.container


def _unreached(
    service: Service, group: Sequence[Described], places: Mapping[str, Place | str]
) -> Iterator[RouteProblem]:
    for one in group:
        place = places[one.container.id]
        for claim in service.claims:
            why = place if isinstance(place, str) else place.missing.get(claim.port or 0)
            if why is not None:
                yield RouteProblem(
                    claim.route, service.id, Trouble.NO_ADDRESS, why, one.container.name
                )
