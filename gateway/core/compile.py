"""From desired and observed state to the snapshot that workers serve from.

Pure, but with a memory: `Compiler` keeps the last inputs and outputs, works on
what differs by identity and hands back the same objects for the rest. One
change among 10,000 routes costs a loop of identity comparisons (well under a
millisecond) and one route.

Invariants: the result depends on the arguments only, never on what was compiled
before; a leaving service is on no route but keeps its (draining) instances; an
instance whose host name was never resolved is `DOWN`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from .differences import differences
from .model import (
    Claim,
    Health,
    Instance,
    InstanceId,
    Route,
    RouteId,
    Service,
    ServiceId,
)
from .observed import Observed
from .snapshot import (
    Affinity,
    Condition,
    Member,
    Snapshot,
    SnapshotInstance,
    SnapshotRoute,
    SnapshotService,
    Timeouts,
)
from .state import State

K = TypeVar("K")
V = TypeVar("V")

UNRESOLVED = "0.0.0.0"  # noqa: S104 - a placeholder, nothing listens or connects there
"""The address of an instance whose host name was never resolved; such a one is `DOWN`."""

_VERSION = re.compile(r"-(v?\d[\w.]*)$")


@dataclass(frozen=True, slots=True)
class Defaults:
    """What routes do whose policy does not say otherwise."""

    affinity: Affinity
    timeouts: Timeouts


def version_of(name: str) -> str:
    """The version label of a service: `serviceA-v2` -> `v2`, `db` -> `db`."""
    found = _VERSION.search(name)
    return found[1] if found else name


def condition(
    state: State, observed: Observed, service: Service | None, instance: Instance
) -> Condition:
    """May this instance be given a request? Draining wins over every verdict of checks."""
    if service is None or service.leaving or instance.id in state.drained:
        return Condition.DRAINING
    if instance.id in observed.retiring:
        return Condition.DRAINING
    if observed.health_of(instance.id) is not Health.HEALTHY:
        return Condition.DOWN
    if observed.address_of(instance) is None:
        return Condition.DOWN
    return Condition.EJECTED if instance.id in observed.ejected else Condition.UP


def is_internal(route: Route) -> bool:
    """Is the route served by internal entrypoints only?"""
    internal = route.policy.internal
    return route.host.endswith(".local") if internal is None else internal


def compile_route(
    route: Route, claim_of: Callable[[ServiceId, RouteId], Claim | None], defaults: Defaults
) -> SnapshotRoute:
    """One route with its policy resolved; `claim_of` says how a member joins it."""
    policy, internal = route.policy, is_internal(route)
    a, t = policy.affinity, policy.timeouts
    claims = {sid: claim_of(sid, route.id) for sid in route.weights}
    return SnapshotRoute(
        id=route.id,
        host=route.host.lower(),
        path=route.path,
        internal=internal,
        members=tuple(
            Member(sid, weight, claim.port if (claim := claims[sid]) is not None else None)
            for sid, weight in route.weights.items()
        ),
        affinity=Affinity(
            enabled=_or(a.enabled, defaults.affinity.enabled and _is_sticky(route, claims)),
            cookie=_or(a.cookie, defaults.affinity.cookie),
            max_age_s=_or(a.max_age_s, defaults.affinity.max_age_s),
            at_zero=_or(a.at_zero, defaults.affinity.at_zero),
        ),
        timeouts=Timeouts(
            connect_s=_or(t.connect_s, defaults.timeouts.connect_s),
            response_header_s=_or(t.response_header_s, defaults.timeouts.response_header_s),
            idle_stream_s=_or(t.idle_stream_s, defaults.timeouts.idle_stream_s),
        ),
        selectors=_or(policy.selectors, internal),
        spill=policy.spill,
        held=route.is_held,
    )


def _is_sticky(route: Route, claims: Mapping[ServiceId, Claim | None]) -> bool:
    """Do the members want sessions to be kept? One that does not decides for all.

    Those with weight are asked, all of them when none has any: a version that joins
    at 0 changes nothing for the clients of the others before it gets traffic.
    """
    asked = [sid for sid, weight in route.weights.items() if weight] or route.weights
    return all(claim is None or claim.sticky for claim in map(claims.get, asked))


def compile_service(state: State, observed: Observed, service: Service) -> SnapshotService:
    """One service with the addresses and conditions of its instances."""
    return SnapshotService(
        id=service.id,
        application=service.application,
        name=service.name,
        version=version_of(service.name),
        balancer=service.balancer,
        instances=tuple(
            SnapshotInstance(
                id=i.id,
                host=observed.address_of(i) or UNRESOLVED,
                port=i.port,
                condition=condition(state, observed, service, i),
                ports=i.ports,
                tls=i.tls,
            )
            for i in observed.instances.get(service.id, ())
        ),
        drain_s=service.drain_s if service.leaving else None,
        in_flight_limit=service.in_flight_limit,
    )


@dataclass(slots=True)
class Compiler:
    """`compile_route` and `compile_service` over everything that differs from the last time."""

    _state: State = field(default_factory=State)
    _observed: Observed = field(default_factory=Observed)
    _defaults: Defaults | None = None
    _routes: Mapping[RouteId, SnapshotRoute] = field(default_factory=dict)
    _services: Mapping[ServiceId, SnapshotService] = field(default_factory=dict)
    _service_of: dict[InstanceId, ServiceId] = field(default_factory=dict)
    _claims: dict[ServiceId, dict[RouteId, Claim]] = field(default_factory=dict)
    """The claims of each service, made when first asked for: one may have thousands."""

    def compile(
        self, state: State, observed: Observed, defaults: Defaults, generation: int, created: float
    ) -> Snapshot:
        """The snapshot of these inputs; equal parts are the same objects as in the last one."""
        old = self._state
        stale = _changed(old.services, state.services)
        stale_routes = set(_changed(old.routes, state.routes))
        for sid in stale:
            self._claims.pop(sid, None)
            for service in (old.services.get(sid), state.services.get(sid)):
                stale_routes.update(c.route for c in (service.claims if service else ()))
        if defaults != self._defaults:
            stale_routes.update(state.routes)
        stale_services = stale | self._seen_changes(state, observed)

        routes, services = dict(self._routes), dict(self._services)

        def claim_of(sid: ServiceId, rid: RouteId) -> Claim | None:
            claims = self._claims.get(sid)
            if claims is None:
                service = state.services.get(sid)
                claims = {c.route: c for c in service.claims} if service else {}
                self._claims[sid] = claims
            return claims.get(rid)

        for rid in stale_routes:
            if (route := state.routes.get(rid)) is None:
                routes.pop(rid, None)
            else:
                _put(routes, rid, compile_route(route, claim_of, defaults))
        for sid in stale_services:
            if (wanted := state.services.get(sid)) is None:
                services.pop(sid, None)
            else:
                _put(services, sid, compile_service(state, observed, wanted))
        self._state, self._observed, self._defaults = state, observed, defaults
        self._routes = routes if stale_routes else self._routes
        self._services = services if stale_services else self._services
        return Snapshot(
            generation=generation,
            revision=state.revision,
            created=created,
            routes=self._routes,
            services=self._services,
            keys=state.keys,
        )

    def _seen_changes(self, state: State, observed: Observed) -> set[ServiceId]:
        """Services whose instances, or what is known of them, differ from the last time."""
        old = self._observed
        stale = _changed(old.instances, observed.instances)
        for sid in stale:
            for i in old.instances.get(sid, ()):
                self._service_of.pop(i.id, None)
        for sid in stale:
            for i in observed.instances.get(sid, ()):
                self._service_of[i.id] = sid
        touched = (
            _changed(old.health, observed.health)
            | _changed(old.addresses, observed.addresses)
            | (old.ejected ^ observed.ejected)
            | (old.retiring ^ observed.retiring)
            | _changed(old.ailing, observed.ailing)
            | (self._state.drained ^ state.drained)
        )
        stale.update(self._service_of[i] for i in touched if i in self._service_of)
        return stale


def _changed(old: Mapping[K, V], new: Mapping[K, V]) -> set[K]:
    """Keys whose values are not the same object; those of one side only included."""
    others, gone = differences(old, new)
    return {*others, *gone}


def _put(into: dict[K, V], key: K, value: V) -> None:
    if into.get(key) != value:
        into[key] = value


def _or(chosen: V | None, default: V) -> V:
    return default if chosen is None else chosen
