"""Containers that run and cannot be reached: since when, and whether that is too long. Pure.

The Engine gives a container its addresses when it starts it. One that has none a while later was
taken off its networks by somebody, or an Engine that was killed has lost them: waiting does not help,
a new container does.
"""

from __future__ import annotations

from collections.abc import Collection

PATIENCE_S = 5.0
"""A list may be older than the address of a container that was just started."""


class Unreachable:
    """See the module. Times are monotonic, containers are known by their ids."""

    def __init__(self) -> None:
        self._since: dict[str, float] = {}

    def note(self, containers: Collection[str], now: float) -> frozenset[str]:
        """Exactly these cannot be reached; gives those for which that is so for too long."""
        self._since = {one: self._since.get(one, now) for one in containers}
        return frozenset(one for one, at in self._since.items() if now >= at + PATIENCE_S)

    @property
    def next_due(self) -> float | None:
        """When it is too long for the next one; None: all can be reached."""
        return min(self._since.values()) + PATIENCE_S if self._since else None
