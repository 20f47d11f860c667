"""Least requests: the instance with the fewest requests of this worker under way."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from .base import Balancer, T


class LeastRequests(Balancer):
    """The least busy instance; equally busy ones in turn."""

    __slots__ = ("_turn",)

    def __init__(self, slot: int, random: Callable[[], float]) -> None:
        self._turn = slot

    def pick(self, candidates: Sequence[T], tried: Collection[T]) -> T | None:
        """The least busy one that was not tried.

        The search begins behind the last pick: a fixed beginning would send all
        requests of a quiet service to its first instance.
        """
        count = len(candidates)
        best: T | None = None
        for turn in range(self._turn, self._turn + count):
            candidate = candidates[turn % count]
            if (best is None or candidate.in_flight < best.in_flight) and candidate not in tried:
                best = candidate
                self._turn = (turn + 1) % count
                if not candidate.in_flight:
                    break
        return best
