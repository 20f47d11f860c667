"""Stored moments whose end is to come so many seconds later, whatever the wall clock does.

A release is stored with wall time, as it outlives every process. While a process lives it
counts with the monotonic clock: from when it first looked, what was left then. So a wall
clock that jumps ends nothing early and holds nothing up; only over a restart is it believed,
and never for more than the whole length.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable

from .clock import Clock


class Deadlines:
    """When things end that began at a stored moment; `key` names one of them."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ends: dict[Hashable, float] = {}

    def has_passed(self, key: Hashable, began: float, length_s: float) -> bool:
        """Is it over, having begun at `began` (epoch seconds)? The first look sets the end."""
        now = self._clock.monotonic()
        end = self._ends.get(key)
        if end is None:
            left_s = began + length_s - self._clock.time()
            end = self._ends[key] = now + min(max(left_s, 0.0), length_s)
        return now >= end

    def keep(self, keys: Iterable[Hashable]) -> None:
        """Forget all others."""
        wanted = set(keys)
        self._ends = {key: end for key, end in self._ends.items() if key in wanted}
