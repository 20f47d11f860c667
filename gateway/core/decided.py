"""The answer of a decision, and how new states are made from old ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from .model import Health, Route, RouteId, Service, ServiceId
from .observed import Observed
from .state import State


@dataclass(frozen=True, slots=True)
class Decided:
    """The state after a command, and what the operator should know about it."""

    state: State
    """The very same object when the command changes nothing."""
    warnings: tuple[str, ...] = ()


def with_service(state: State, service: Service) -> State:
    """The state with one service put, all else shared."""
    return replace(state, services={**state.services, service.id: service})


def with_routes(state: State, changed: Mapping[RouteId, Route | None]) -> State:
    """The state with some routes replaced (None: deleted), all others shared."""
    if not changed:
        return state
    routes = dict(state.routes)
    for rid, route in changed.items():
        if route is None:
            routes.pop(rid, None)
        else:
            routes[rid] = route
    return replace(state, routes=routes)


def has_healthy(state: State, observed: Observed, sid: ServiceId) -> bool:
    """Has the service an instance that passes its checks and is not drained?"""
    return any(
        observed.health_of(i.id) is Health.HEALTHY and i.id not in state.drained
        for i in observed.instances.get(sid, ())
    )


def normal_path(path: str) -> str:
    """A path prefix without a trailing slash; `/` for all paths."""
    return path.rstrip("/") or "/"
