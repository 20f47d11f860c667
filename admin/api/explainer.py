"""A world to draw explanations in, kept beside the published snapshot."""

from __future__ import annotations

import random

from gateway.core.snapshot import Snapshot
from gateway.routing.world import World


class Explainer:
    """The world that explanations are drawn in."""

    def __init__(self) -> None:
        self._world = World(0, random.random)
        self._applied: Snapshot | None = None

    def at(self, snapshot: Snapshot) -> World:
        """The world of `snapshot`."""
        if snapshot is not self._applied:
            self._world.apply(snapshot)
            self._applied = snapshot
        return self._world
