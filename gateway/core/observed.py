"""Observed state: what providers, checks and workers report, as one immutable value.

Never stored: after a restart it is rebuilt from the providers, the first checks
and the last published snapshot. Desired state knows nothing of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address

from .model import Endpoint, Health, Instance, InstanceId, Service, ServiceId


@dataclass(frozen=True, slots=True)
class Observed:
    """Where instances are and how they are."""

    instances: Mapping[ServiceId, tuple[Instance, ...]] = field(default_factory=dict)
    health: Mapping[InstanceId, Health] = field(default_factory=dict)
    """The verdicts of active checks; absent: unknown."""
    ejected: frozenset[InstanceId] = frozenset()
    """Instances out of rotation because real requests failed on them."""
    addresses: Mapping[str, str] = field(default_factory=dict)
    """Host names as last resolved: name -> IP address."""

    def health_of(self, instance: InstanceId) -> Health:
        """The verdict of the active checks of an instance."""
        return self.health.get(instance, Health.UNKNOWN)

    def address_of(self, host: str) -> str | None:
        """The IP address behind the host of an endpoint; None: never resolved."""
        return host if is_ip(host) else self.addresses.get(host)


def is_ip(host: str) -> bool:
    """Is this an IP address rather than a name?"""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def instance_id(service_name: str, endpoint: Endpoint) -> InstanceId:
    """The identity of a hand-registered service's instance: `name@host:port`."""
    return InstanceId(f"{service_name}@{endpoint}")


def instances_by_hand(service: Service) -> tuple[Instance, ...]:
    """The instances that a service's own endpoints make."""
    return tuple(
        Instance(instance_id(service.name, e), service.id, e.host, e.port)
        for e in service.endpoints
    )
