"""Round robin: one after another."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from .base import Balancer, T


class RoundRobin(Balancer):
    """Every instance in turn."""

    __slots__ = ("_turn",)

    def __init__(self, slot: int, random: Callable[[], float]) -> None:
        self._turn = slot

    def pick(self, candidates: Sequence[T], tried: Collection[T]) -> T | None:
        """The next one in turn that was not tried."""
        count = len(candidates)
        for turn in range(self._turn, self._turn + count):
            candidate = candidates[turn % count]
            if candidate not in tried:
                self._turn = (turn + 1) % count
                return candidate
        return None
