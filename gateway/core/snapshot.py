"""The compiled world of one data plane, and the difference between two of them.

A snapshot is all a worker knows: it has resolved policies, addresses and
usability, and nothing that only operators need. Values that did not change
between two snapshots are the *same objects*, so that a diff and the worker's
own compilation cost what changed, not what exists.

Wire and file form are plain JSON objects (`to_wire`, `from_wire`); they are
written and read by the same version of the program, a file of another version
is ignored by the reader (`FORMAT`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeVar

from .differences import differences
from .vocabulary import (
    AffinityKey,
    AtZero,
    BalancerName,
    InstanceId,
    InstanceTls,
    RouteId,
    ServiceId,
)

K = TypeVar("K")
V = TypeVar("V")

FORMAT = 6


class Condition(StrEnum):
    """May an instance be given a request?"""

    UP = "up"
    DRAINING = "draining"
    """No new request, pinned clients move to a sibling; open work goes on."""
    EJECTED = "ejected"
    """Passed its checks but failed real requests lately."""
    DOWN = "down"
    """Failed its checks, or never passed one."""


@dataclass(frozen=True, slots=True)
class SnapshotInstance:
    """An instance as the data plane sees it; `host` is an IP address."""

    id: InstanceId
    host: str
    port: int
    condition: Condition
    ports: Mapping[int, int] = field(default_factory=dict)
    tls: InstanceTls | None = None

    def port_for(self, port: int | None) -> int:
        """The port to connect to for a member that asked for container port `port`."""
        return self.port if port is None else self.ports.get(port, port)


@dataclass(frozen=True, slots=True)
class SnapshotService:
    """A service and its instances. `version` is the metrics label."""

    id: ServiceId
    application: str
    name: str
    version: str
    balancer: BalancerName
    instances: tuple[SnapshotInstance, ...]
    drain_s: float | None = None
    """How long its open work may take while it is leaving; None: the configuration's."""
    in_flight_limit: int | None = None
    """Requests an instance is given at a time by all workers; None: the configuration's."""


@dataclass(frozen=True, slots=True)
class Member:
    """A service's place on a route."""

    service: ServiceId
    weight: int
    port: int | None = None


@dataclass(frozen=True, slots=True)
class Affinity:
    """Resolved affinity of a route; `max_age_s` is the cookie's Max-Age."""

    enabled: bool
    cookie: str
    max_age_s: int
    at_zero: AtZero


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Resolved upstream timeouts of a route, seconds."""

    connect_s: float
    response_header_s: float
    idle_stream_s: float


@dataclass(frozen=True, slots=True)
class SnapshotRoute:
    """A route ready to serve. `host` is lower case, exact or `*.suffix`; `path` starts with `/`."""

    id: RouteId
    host: str
    path: str
    internal: bool
    members: tuple[Member, ...]
    affinity: Affinity
    timeouts: Timeouts
    selectors: bool
    spill: bool
    held: bool = False
    """Answers selectors that name a member; every other request is matched as if it were not there."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything a worker serves from. `created` is seconds since the epoch."""

    generation: int
    revision: int
    created: float
    routes: Mapping[RouteId, SnapshotRoute]
    services: Mapping[ServiceId, SnapshotService]
    keys: tuple[AffinityKey, ...]
    """Affinity keys, the signing one first."""


EMPTY = Snapshot(0, 0, 0.0, {}, {}, ())


@dataclass(frozen=True, slots=True)
class Delta:
    """What turns the snapshot of generation `base` into that of `generation`."""

    base: int
    generation: int
    revision: int
    created: float
    routes: tuple[SnapshotRoute, ...]
    removed_routes: tuple[RouteId, ...]
    services: tuple[SnapshotService, ...]
    removed_services: tuple[ServiceId, ...]
    keys: tuple[AffinityKey, ...] | None
    """None: as before."""

    @property
    def is_empty(self) -> bool:
        """Nothing a data plane would notice."""
        return not (
            self.routes
            or self.removed_routes
            or self.services
            or self.removed_services
            or self.keys is not None
        )


def diff(old: Snapshot, new: Snapshot) -> Delta:
    """The delta from `old` to `new`; unchanged objects are recognised by identity first."""
    routes, gone_routes = differences(old.routes, new.routes)
    services, gone_services = differences(old.services, new.services)
    return Delta(
        base=old.generation,
        generation=new.generation,
        revision=new.revision,
        created=new.created,
        routes=_new_values(old.routes, new.routes, routes),
        removed_routes=tuple(gone_routes),
        services=_new_values(old.services, new.services, services),
        removed_services=tuple(gone_services),
        keys=None if old.keys == new.keys else new.keys,
    )


def _new_values(old: Mapping[K, V], new: Mapping[K, V], others: Iterable[K]) -> tuple[V, ...]:
    return tuple(v for k in others if (v := new[k]) != old.get(k))


def patch(old: Snapshot, *deltas: Delta) -> Snapshot:
    """`patch(old, diff(old, new)) == new`, with unchanged objects shared with `old`.

    Of several deltas each is on top of the one before. A table that none of them
    touches is the very same object.
    """
    if not deltas:
        return old
    last, keys = deltas[-1], old.keys
    for delta in deltas:
        keys = keys if delta.keys is None else delta.keys
    return Snapshot(
        generation=last.generation,
        revision=last.revision,
        created=last.created,
        routes=_patched(
            old.routes, [(d.removed_routes, [(r.id, r) for r in d.routes]) for d in deltas]
        ),
        services=_patched(
            old.services, [(d.removed_services, [(s.id, s) for s in d.services]) for d in deltas]
        ),
        keys=keys,
    )


def _patched(
    old: Mapping[K, V], steps: Iterable[tuple[Iterable[K], Iterable[tuple[K, V]]]]
) -> Mapping[K, V]:
    new: dict[K, V] | None = None
    for removed, put in steps:
        if removed or put:
            new = dict(old) if new is None else new
            for key in removed:
                new.pop(key, None)
            new.update(put)
    return old if new is None else new


def route_to_wire(route: SnapshotRoute) -> dict[str, Any]:
    """A route as a JSON object."""
    a, t = route.affinity, route.timeouts
    return {
        "id": route.id,
        "host": route.host,
        "path": route.path,
        "internal": route.internal,
        "members": [[m.service, m.weight, m.port] for m in route.members],
        "affinity": [a.enabled, a.cookie, a.max_age_s, a.at_zero],
        "timeouts": [t.connect_s, t.response_header_s, t.idle_stream_s],
        "selectors": route.selectors,
        "spill": route.spill,
        "held": route.held,
    }


def route_from_wire(w: Mapping[str, Any]) -> SnapshotRoute:
    """The inverse of `route_to_wire`."""
    enabled, cookie, max_age, at_zero = w["affinity"]
    return SnapshotRoute(
        id=w["id"],
        host=w["host"],
        path=w["path"],
        internal=w["internal"],
        members=tuple(Member(s, n, p) for s, n, p in w["members"]),
        affinity=Affinity(enabled, cookie, max_age, AtZero(at_zero)),
        timeouts=Timeouts(*w["timeouts"]),
        selectors=w["selectors"],
        spill=w["spill"],
        held=w["held"],
    )


def service_to_wire(service: SnapshotService) -> dict[str, Any]:
    """A service as a JSON object."""
    return {
        "id": service.id,
        "application": service.application,
        "name": service.name,
        "version": service.version,
        "balancer": service.balancer,
        "drain_s": service.drain_s,
        "in_flight_limit": service.in_flight_limit,
        "instances": [
            [i.id, i.host, i.port, i.condition, list(i.ports.items()), _tls_to_wire(i.tls)]
            for i in service.instances
        ],
    }


def service_from_wire(w: Mapping[str, Any]) -> SnapshotService:
    """The inverse of `service_to_wire`."""
    return SnapshotService(
        id=w["id"],
        application=w["application"],
        name=w["name"],
        version=w["version"],
        balancer=BalancerName(w["balancer"]),
        drain_s=w["drain_s"],
        in_flight_limit=w["in_flight_limit"],
        instances=tuple(
            SnapshotInstance(
                i,
                h,
                p,
                Condition(c),
                {int(a): b for a, b in ports},
                None if tls is None else InstanceTls(*tls),
            )
            for i, h, p, c, ports, tls in w["instances"]
        ),
    )


def _tls_to_wire(tls: InstanceTls | None) -> list[Any] | None:
    return None if tls is None else [tls.name, tls.verify]


def _key_to_wire(key: AffinityKey) -> list[Any]:
    return [key.id, key.secret, key.created]


def delta_to_wire(delta: Delta) -> dict[str, Any]:
    """A delta as a JSON object."""
    return {
        "base": delta.base,
        "generation": delta.generation,
        "revision": delta.revision,
        "created": delta.created,
        "routes": [route_to_wire(r) for r in delta.routes],
        "removed_routes": list(delta.removed_routes),
        "services": [service_to_wire(s) for s in delta.services],
        "removed_services": list(delta.removed_services),
        "keys": None if delta.keys is None else [_key_to_wire(k) for k in delta.keys],
    }


def delta_from_wire(w: Mapping[str, Any]) -> Delta:
    """The inverse of `delta_to_wire`."""
    return Delta(
        base=w["base"],
        generation=w["generation"],
        revision=w["revision"],
        created=w["created"],
        routes=tuple(route_from_wire(r) for r in w["routes"]),
        removed_routes=tuple(w["removed_routes"]),
        services=tuple(service_from_wire(s) for s in w["services"]),
        removed_services=tuple(w["removed_services"]),
        keys=None if w["keys"] is None else tuple(AffinityKey(*k) for k in w["keys"]),
    )


def whole(snapshot: Snapshot) -> Delta:
    """A delta that needs no base: the whole snapshot on top of `EMPTY`."""
    return Delta(
        base=EMPTY.generation,
        generation=snapshot.generation,
        revision=snapshot.revision,
        created=snapshot.created,
        routes=tuple(snapshot.routes.values()),
        removed_routes=(),
        services=tuple(snapshot.services.values()),
        removed_services=(),
        keys=snapshot.keys,
    )
