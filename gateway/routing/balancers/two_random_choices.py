"""Power of two choices: the less busy one of two instances drawn at random.

Nearly as even as looking at all of them, at a cost that does not grow with their
number, and without the herd that several workers make when each of them sends to
the same least busy instance (Mitzenmacher, 2001).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from .base import Balancer, T


class TwoRandomChoices(Balancer):
    """The less busy of two drawn at random."""

    __slots__ = ("_random",)

    def __init__(self, slot: int, random: Callable[[], float]) -> None:
        self._random = random

    def pick(self, candidates: Sequence[T], tried: Collection[T]) -> T | None:
        """Draws two different ones among those not tried; the only one if there is one."""
        if tried:
            candidates = [c for c in candidates if c not in tried]
        count = len(candidates)
        if count < 2:
            return candidates[0] if count else None
        first = int(self._random() * count)
        second = int(self._random() * (count - 1))
        if second >= first:
            second += 1
        one, other = candidates[first], candidates[second]
        return other if other.in_flight < one.in_flight else one
