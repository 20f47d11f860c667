"""What operators can ask for, as values. `decide.py` says what comes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .model import AffinityKey, InstanceId, RouteId, RoutePolicy, Service, ServiceId, Token


@dataclass(frozen=True, slots=True)
class SetWeights:
    """Set the weights of a route, by short name or full id of the services.

    `whole`: every member must be named (PUT); else only those named change (PATCH).
    `force` allows a route on which nothing has weight.
    """

    route: RouteId
    weights: Mapping[str, int]
    whole: bool
    force: bool = False


@dataclass(frozen=True, slots=True)
class SetRoutePolicy:
    """Replace the operator's policy of a route; makes the route if there is none."""

    host: str
    path: str
    policy: RoutePolicy


@dataclass(frozen=True, slots=True)
class DeleteRoute:
    """Delete a route that has no members."""

    route: RouteId


@dataclass(frozen=True, slots=True)
class PutService:
    """Register a service by hand, or replace its registration.

    Weights of routes it stays on are untouched; a route it newly claims gets it
    with 100 (first holder) or 0 (coexisting).
    """

    service: Service


@dataclass(frozen=True, slots=True)
class MarkCoexist:
    """Set or clear the mark that lets a service join a route another holds."""

    service: str
    coexist: bool


@dataclass(frozen=True, slots=True)
class RemoveService:
    """Begin the removal of a service: it takes no new work from now on.

    Its open work may take `drain_s` seconds (None: the configuration's drain timeout).
    """

    service: str
    force: bool = False
    drain_s: float | None = None


@dataclass(frozen=True, slots=True)
class FinishRemoval:
    """The leaving service's work has ended (or its deadline passed): forget it."""

    service: ServiceId


@dataclass(frozen=True, slots=True)
class DrainInstance:
    """Give an instance no new work. `instance` must exist now."""

    instance: InstanceId


@dataclass(frozen=True, slots=True)
class ResumeInstance:
    """Undo `DrainInstance`."""

    instance: InstanceId


@dataclass(frozen=True, slots=True)
class AddAffinityKey:
    """A new signing key.

    A key that stopped signing more than `keep_s` before `key.created` is dropped:
    no cookie made with it can still be in use.
    """

    key: AffinityKey
    keep_s: float


@dataclass(frozen=True, slots=True)
class AddToken:
    """A new API token; its name must be free."""

    token: Token


@dataclass(frozen=True, slots=True)
class RemoveToken:
    """Withdraw an API token."""

    name: str


Command = (
    SetWeights
    | SetRoutePolicy
    | DeleteRoute
    | PutService
    | MarkCoexist
    | RemoveService
    | FinishRemoval
    | DrainInstance
    | ResumeInstance
    | AddAffinityKey
    | AddToken
    | RemoveToken
)
