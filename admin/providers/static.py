"""The provider of services registered by hand: their instances are the endpoints given.

A projection of desired state, hence known at once and never out of date.
"""

from __future__ import annotations

from collections.abc import Mapping

from gateway.core.differences import changed, gone
from gateway.core.model import Instance, Service, ServiceId
from gateway.core.observed import instances_by_hand


class StaticProvider:
    """Turns endpoints into instances; those of an unchanged service stay the same objects."""

    def __init__(self) -> None:
        self._services: Mapping[ServiceId, Service] = {}
        self._instances: Mapping[ServiceId, tuple[Instance, ...]] = {}

    @property
    def services(self) -> Mapping[ServiceId, Service]:
        """What `instances` was last asked for."""
        return self._services

    def instances(
        self, services: Mapping[ServiceId, Service]
    ) -> Mapping[ServiceId, tuple[Instance, ...]]:
        """The instances of all services with endpoints; the last answer if nothing changed."""
        old = self._services
        if services is old:
            return self._instances
        self._services = services
        found = dict(self._instances)
        for sid in gone(old, services):
            found.pop(sid, None)
        for sid in changed(old, services):
            service = services[sid]
            before = old.get(sid)
            if before is not None and _are_the_same(before, service):
                continue
            if service.endpoints:
                found[sid] = instances_by_hand(service)
            else:
                found.pop(sid, None)
        self._instances = found
        return found


def _are_the_same(before: Service, service: Service) -> bool:
    """Do both mean the same instances?"""
    return before.endpoints == service.endpoints and before.tls == service.tls
