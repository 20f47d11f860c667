"""Small statistics: percentiles, and how sure a median is. Pure; randomness is seeded."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

RESAMPLES = 10_000
LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Estimate:
    """A median and the interval it lies in with `LEVEL` confidence."""

    median: float
    low: float
    high: float


def percentile(values: Sequence[float], percent: float) -> float:
    """The value below which `percent` of the sorted values lie, interpolated linearly.

    Raises `ValueError` for no values.
    """
    if not values:
        raise ValueError("no values")
    ordered = sorted(values)
    place = (len(ordered) - 1) * percent / 100
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def estimate(values: Sequence[float], seed: int = 1) -> Estimate:
    """The median with its percentile bootstrap interval (Efron 1979).

    Raises `ValueError` for no values.
    """
    if not values:
        raise ValueError("no values")
    drawn = random.Random(seed)
    size = len(values)
    medians = [median(drawn.choices(values, k=size)) for _ in range(RESAMPLES)]
    tail = (1 - LEVEL) / 2 * 100
    return Estimate(median(values), percentile(medians, tail), percentile(medians, 100 - tail))
