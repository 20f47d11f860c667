"""Desired state: everything that survives a restart, as one immutable value.

Only the control process holds it; workers see the compiled `Snapshot`. A
change makes a new `State` that shares all untouched entities with the old one,
so that "what changed" is a comparison by identity (`changes`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from .differences import differences
from .model import AffinityKey, InstanceId, Route, RouteId, Service, ServiceId, Token
from .release import Application, Release

K = TypeVar("K")
V = TypeVar("V")


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
    tokens: Mapping[str, Token] = field(default_factory=dict)
    """API tokens by name."""
    applications: Mapping[str, Application] = field(default_factory=dict)
    """By name."""
    releases: Mapping[str, Release] = field(default_factory=dict)
    """By id, oldest first: those in flight and the history."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What a save writes: entities put and deleted since the last revision."""

    services: Mapping[ServiceId, Service | None]
    """None: deleted."""
    routes: Mapping[RouteId, Route | None]
    drained: frozenset[InstanceId] | None
    """None: as before; likewise `keys`."""
    keys: tuple[AffinityKey, ...] | None
    tokens: Mapping[str, Token | None]
    applications: Mapping[str, Application | None]
    releases: Mapping[str, Release | None]

    @property
    def is_empty(self) -> bool:
        """Nothing to write."""
        return not (
            self.services
            or self.routes
            or self.drained is not None
            or self.keys is not None
            or self.tokens
            or self.applications
            or self.releases
        )


def changes(old: State, new: State) -> Changes:
    """What has to be written to get from `old` to `new`."""
    return Changes(
        services=_written(old.services, new.services),
        routes=_written(old.routes, new.routes),
        drained=None if old.drained == new.drained else new.drained,
        keys=None if old.keys == new.keys else new.keys,
        tokens=_written(old.tokens, new.tokens),
        applications=_written(old.applications, new.applications),
        releases=_written(old.releases, new.releases),
    )


def _written(old: Mapping[K, V], new: Mapping[K, V]) -> dict[K, V | None]:
    others, gone = differences(old, new)
    found: dict[K, V | None] = {k: v for k in others if (v := new[k]) != old.get(k)}
    found.update(dict.fromkeys(gone))
    return found
