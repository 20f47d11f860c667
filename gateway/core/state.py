"""Desired state: everything that survives a restart, as one immutable value.

Only the control process holds it; workers see the compiled `Snapshot`. A
change makes a new `State` that shares all untouched entities with the old one,
so that "what changed" is a comparison by identity (`changes`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .model import AffinityKey, InstanceId, Route, RouteId, Service, ServiceId


@dataclass(frozen=True, slots=True)
class State:
    """Desired state at one revision of the store."""

    revision: int = 0
    services: Mapping[ServiceId, Service] = field(default_factory=dict)
    routes: Mapping[RouteId, Route] = field(default_factory=dict)
    drained: frozenset[InstanceId] = frozenset()
    """Instances an operator drains."""
    keys: tuple[AffinityKey, ...] = ()
    """Affinity keys, newest first."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What a save writes: entities put and deleted since the last revision."""

    services: Mapping[ServiceId, Service | None]
    """None: deleted."""
    routes: Mapping[RouteId, Route | None]
    drained: frozenset[InstanceId] | None
    """None: as before; likewise `keys`."""
    keys: tuple[AffinityKey, ...] | None

    @property
    def is_empty(self) -> bool:
        """Nothing to write."""
        return not (
            self.services or self.routes or self.drained is not None or self.keys is not None
        )


def changes(old: State, new: State) -> Changes:
    """What has to be written to get from `old` to `new`."""
    services: dict[ServiceId, Service | None] = {
        k: s for k, s in new.services.items() if (o := old.services.get(k)) is not s and o != s
    }
    services.update((k, None) for k in old.services if k not in new.services)
    routes: dict[RouteId, Route | None] = {
        k: r for k, r in new.routes.items() if (q := old.routes.get(k)) is not r and q != r
    }
    routes.update((k, None) for k in old.routes if k not in new.routes)
    return Changes(
        services=services,
        routes=routes,
        drained=None if old.drained == new.drained else new.drained,
        keys=None if old.keys == new.keys else new.keys,
    )
