"""Whom a service waits for before its first start. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.core.model import Health, Service, ServiceId
from gateway.core.observed import Observed


def missing(
    service: Service, services: Mapping[ServiceId, Service], observed: Observed
) -> list[str]:
    """Services that it depends on and that have no healthy instance."""
    return [
        name
        for name in service.depends
        if (sid := ServiceId(f"{service.application}/{name}")) in services
        and not any(
            observed.health_of(i.id) is Health.HEALTHY for i in observed.instances.get(sid, ())
        )
    ]
