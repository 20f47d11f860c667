"""What a balancer is: one method that chooses an instance of a service.

A balancer knows no health, no weights and no routes: it is given the instances
that may be chosen. Contract, tested for every entry of the registry:

* it returns one of `candidates` that is not in `tried`, or None if there is none;
* it ends after a number of steps that grows with `len(candidates)` only;
* `candidates` may be another sequence at every call;
* among equally busy instances, picks are spread evenly.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from typing import Protocol, TypeVar


class Busy(Protocol):
    """What a balancer may look at."""

    in_flight: int


T = TypeVar("T", bound=Busy)


class Balancer(ABC):
    """Chooses among the usable instances of one service, in one worker.

    `slot` is the worker's number, so that workers do not move in step;
    `random` gives floats in [0, 1).
    """

    __slots__ = ()

    @abstractmethod
    def __init__(self, slot: int, random: Callable[[], float]) -> None: ...

    @abstractmethod
    def pick(self, candidates: Sequence[T], tried: Collection[T]) -> T | None:
        """One of `candidates` that is not in `tried`; None if there is none."""
