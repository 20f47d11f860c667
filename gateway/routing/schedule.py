# cython: language_level=3, annotation_typing=False
"""Weighted choice without chance: the order in which members take turns.

A round has as many turns as the weights sum up to (divided by their common
divisor). In a round every member gets exactly `weight` turns, and after any
number of turns it has had less than one more or less than its share of them.
So a weight of 1 % is 1 % of a hundred requests, not of a million.

How: the k-th turn of a member with share s is due between floor((k-1)/s) and
ceil(k/s), the whole turns that its fluid share covers; the turn goes to the
member whose time has begun and ends first. Earliest deadline first meets all
deadlines of unit jobs whenever they can be met, and they can: the fluid shares
do (Steiner and Yeomans, 1993; Balinski and Young's quota method). The well-known
"greatest credit" rule (smooth weighted round robin of nginx) is interleaved too,
but with many members its error has no such bound.

Turns are worked out when they are first needed, about 1 us each, and kept for
rounds of up to `STORED_MAX` turns; schedules are shared by all routes with the
same weights. Longer rounds are worked out as they go.

Knows nothing of services: members are indexes, weights are positive.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from heapq import heappop, heappush
from itertools import islice
from math import gcd

STORED_MAX = 10_000
"""Rounds of up to so many turns are kept in memory."""
SKIP_MAX = 1_000
"""A cursor never starts further into its round than this: skipping costs time."""
_GOLDEN = 0.6180339887498949
_CHUNK = 64


class Cursor:
    """A place in a schedule."""

    __slots__ = ("position",)

    position: int
    """Turns taken since the beginning of the round."""

    def next(self) -> int:
        """The member whose turn it is; moves on."""
        raise NotImplementedError


class Schedule:
    """The turns of members with these (positive, reduced) weights, round after round."""

    __slots__ = ("_rest", "length", "turns", "weights")

    def __init__(self, weights: tuple[int, ...]) -> None:
        if not weights or min(weights) < 1:
            raise ValueError(f"weights must be positive: {weights}")
        self.weights = weights
        self.length = sum(weights)
        self.turns: list[int] | bytearray = bytearray() if len(weights) <= 256 else []
        """The round as far as it is worked out; a byte a turn where that is enough."""
        self._rest = _round(weights)

    def cursor(self, start: int = 0) -> Cursor:
        """A cursor that begins at turn `start` of the round (modulo its length, and `SKIP_MAX`)."""
        start = start % self.length % SKIP_MAX
        if self.length > STORED_MAX:
            return _FreeCursor(self, start)
        self.work_out(start)
        return _StoredCursor(self, start)

    def start_of(self, slot: int) -> int:
        """Where worker `slot` begins its round.

        Spread over the round by the golden ratio, whatever the number of workers: else
        all of them would reach a rare member at the same time. Worker 0 begins in the
        middle, because earliest deadline first serves rare members late in the round.
        """
        return int(self.length * ((0.5 + slot * _GOLDEN) % 1.0))

    def work_out(self, turn: int) -> None:
        """Make `turns` reach beyond `turn`, which is less than `length`."""
        turns = self.turns
        while len(turns) <= turn:
            turns.extend(islice(self._rest, _CHUNK))


@lru_cache(maxsize=1024)
def _shared(weights: tuple[int, ...]) -> Schedule:
    return Schedule(weights)


def schedule(weights: tuple[int, ...]) -> Schedule:
    """The schedule of these positive weights, shared by all who ask for the same ratio."""
    divisor = gcd(*weights)
    if divisor > 1:
        weights = tuple(w // divisor for w in weights)
    return _shared(weights)


class _StoredCursor(Cursor):
    """A place in a kept round."""

    __slots__ = ("_schedule", "_turns")

    def __init__(self, schedule: Schedule, start: int) -> None:
        self._schedule = schedule
        self._turns = schedule.turns
        self.position = start

    def next(self) -> int:
        at = self.position
        if at >= len(self._turns):
            if at < self._schedule.length:
                self._schedule.work_out(at)
            else:
                at = 0
        self.position = at + 1
        return self._turns[at]


class _FreeCursor(Cursor):
    """A place in a round that is too long to be kept."""

    __slots__ = ("_length", "_turns", "_weights")

    def __init__(self, schedule: Schedule, start: int) -> None:
        self._weights = schedule.weights
        self._length = schedule.length
        self._turns = _round(self._weights)
        self.position = 0
        for _ in range(start):
            self.next()

    def next(self) -> int:
        if self.position == self._length:
            self._turns = _round(self._weights)
            self.position = 0
        self.position += 1
        return next(self._turns)


def _round(weights: tuple[int, ...]) -> Iterator[int]:
    """One round, turn by turn."""
    total = sum(weights)
    had = [0] * len(weights)
    ready = [(-(-total // w), i) for i, w in enumerate(weights)]  # (deadline, member)
    ready.sort()
    waiting: list[tuple[int, int]] = []  # (release, member)
    for turn in range(total):
        while waiting and waiting[0][0] <= turn:
            member = heappop(waiting)[1]
            heappush(ready, (-(-(had[member] + 1) * total // weights[member]), member))
        member = heappop(ready)[1]  # never empty: more turns have begun than were given
        had[member] += 1
        if had[member] < weights[member]:
            heappush(waiting, (had[member] * total // weights[member], member))
        yield member
