"""Observed state: what providers, checks and workers report, as one immutable value.

Never stored: after a restart it is rebuilt from the providers, the first checks
and the last published snapshot. Desired state knows nothing of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from .hosts import is_ip
from .model import (
    BY_HAND,
    Endpoint,
    Health,
    Instance,
    InstanceId,
    InstanceTls,
    Service,
    ServiceId,
    UpstreamTls,
)


class Trouble(StrEnum):
    """Why a route that was asked for is not served as its labels say; the metric's `reason`."""

    INVALID_LABEL = "invalid_label"
    INVALID_NAME = "invalid_name"
    """The application or the service cannot be called so."""
    ROUTE_CONFLICT = "route_conflict"
    """Another service has the route."""
    SERVICE_EXISTS = "service_exists"
    """The gateway was told of a service, or an application, of this name."""
    LABELS_DIFFER = "labels_differ"
    """Containers of one service say different things."""
    NO_ADDRESS = "no_address"
    """The container, or this port of it, cannot be reached from here."""
    PORT_CLOSED = "port_closed"
    """Nothing listens on this port of the container."""


@dataclass(frozen=True, slots=True)
class RouteProblem:
    """Something wrong with one route of one service that was found.

    `route` is its id, or what stands in its place where that is no route.
    """

    route: str
    service: ServiceId
    reason: Trouble
    message: str
    where: str = ""
    """The container and label."""


@dataclass(frozen=True, slots=True)
class Observed:
    """Where instances are and how they are."""

    instances: Mapping[ServiceId, tuple[Instance, ...]] = field(default_factory=dict)
    health: Mapping[InstanceId, Health] = field(default_factory=dict)
    """The verdicts of active checks; absent: unknown."""
    ejected: frozenset[InstanceId] = frozenset()
    """Instances out of rotation because real requests failed on them."""
    addresses: Mapping[InstanceId, str] = field(default_factory=dict)
    """The IP address behind an instance's host name, as a check last reached it."""
    retiring: frozenset[InstanceId] = frozenset()
    """Instances their launcher is about to stop: no new work, open work goes on."""
    running: frozenset[ServiceId] | None = None
    """Services with a process of a launcher, stopping ones included; None: not known yet."""
    ailing: Mapping[InstanceId, str] = field(default_factory=dict)
    """Instances that their provider does not call healthy, whatever our checks say, and why."""
    problems: tuple[RouteProblem, ...] = ()
    """What keeps services that were found running from their routes."""
    providers: Mapping[str, str | None] = field(default_factory=dict)
    """Those that can be lost, by name: why one cannot be asked; None: it can."""

    def health_of(self, instance: InstanceId) -> Health:
        """The verdict of the active checks of an instance; its provider can only worsen it."""
        found = self.health.get(instance, Health.UNKNOWN)
        if found is Health.HEALTHY and instance in self.ailing:
            return Health.UNHEALTHY
        return found

    def address_of(self, instance: Instance) -> str | None:
        """The IP address of an instance; None: its host name never led to it."""
        return instance.host if is_ip(instance.host) else self.addresses.get(instance.id)


def instance_id(service_name: str, endpoint: Endpoint) -> InstanceId:
    """The identity of a hand-registered service's instance: `name@host:port`."""
    return InstanceId(f"{service_name}@{endpoint}")


def instances_by_hand(service: Service) -> tuple[Instance, ...]:
    """The instances that a service's own endpoints make.

    Those of an application's service carry its full id: two applications may well
    name the same service at the same address.
    """
    name = service.name if service.application == BY_HAND else service.id
    tls = service.tls or UpstreamTls()
    return tuple(
        Instance(
            instance_id(name, e),
            service.id,
            e.host,
            e.port,
            tls=InstanceTls(tls.server_name or e.host, tls.verify) if e.is_https else None,
        )
        for e in dict.fromkeys(service.endpoints)
    )
