"""The provider of services registered by hand: their instances are the endpoints given.

A projection of desired state, hence known at once and never out of date.
"""

from __future__ import annotations

from collections.abc import Mapping

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
        changed = {sid: s for sid, s in services.items() if old.get(sid) is not s}
        gone = old.keys() - services.keys()
        self._services = services
        found = {sid: i for sid, i in self._instances.items() if sid not in gone}
        for sid, service in changed.items():
            before = old.get(sid)
            if before is not None and before.endpoints == service.endpoints:
                continue
            if service.endpoints:
                found[sid] = instances_by_hand(service)
            else:
                found.pop(sid, None)
        self._instances = found
        return found
