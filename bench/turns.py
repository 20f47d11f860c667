"""Taking turns: what work costs several programs in CPU time, side by side.

All do the same work in rounds, one after the other; each round begins with another one. Those of
one round make a pair, and what is told is the median of the pairs' ratios: a machine that slows
down for a while slows both.

Knows nothing of what the work is or who does it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from .generators import Volley
from .results import Figure, Scope
from .stats import estimate

WARM_S = 1


@dataclass(frozen=True, slots=True)
class Lane:
    """One program that does one kind of work."""

    work: str
    name: str
    cpu_s: Callable[[], float]
    """The CPU time of all its processes so far."""
    fire: Callable[[int], Volley]
    """Puts it to work for so many seconds."""


@dataclass(frozen=True, slots=True)
class Rounds:
    """How often, and for how many seconds each."""

    count: int
    seconds: int
    settle_s: float = 0.1
    """Between load and counting: what is still on its way belongs to it."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One program under load for a few seconds."""

    cost_us: float
    """CPU time per request."""
    volley: Volley


Samples = dict[tuple[str, str], list[Sample]]
"""By work and name, in the order of rounds."""


def take_turns(scope: Scope, lanes: Sequence[Lane], rounds: Rounds) -> Samples:
    """A round for warming up, then those that count."""
    samples: Samples = {(lane.work, lane.name): [] for lane in lanes}
    for turn in range(rounds.count + 1):
        is_warming_up = turn == 0
        scope.say("warming up" if is_warming_up else f"round {turn} of {rounds.count}")
        for lane in order(lanes, turn):
            sample = take(lane, WARM_S if is_warming_up else rounds.seconds, rounds.settle_s)
            if not is_warming_up:
                samples[lane.work, lane.name].append(sample)
    return samples


def order(lanes: Sequence[Lane], turn: int) -> Iterator[Lane]:
    """Work by work, each round beginning with another lane of it."""
    for work in dict.fromkeys(lane.work for lane in lanes):
        at_it = [lane for lane in lanes if lane.work == work]
        start = turn % len(at_it)
        yield from (*at_it[start:], *at_it[:start])


def take(lane: Lane, seconds: int, settle_s: float) -> Sample:
    """Raises `RuntimeError` when anything was not done."""
    before = lane.cpu_s()
    volley = lane.fire(seconds)
    time.sleep(settle_s)
    spent = lane.cpu_s() - before
    if volley.bad or not volley.requests:
        raise RuntimeError(f"{lane.name} failed {volley.bad} of {volley.requests} requests")
    return Sample(1e6 * spent / volley.requests, volley)


def costs(
    samples: Samples, work: str, names: Sequence[str], of: str = "requests"
) -> Iterator[Figure]:
    """What it costs each, then the ratio of the first to each of the others."""
    for name in names:
        taken = samples[work, name]
        cost = estimate([sample.cost_us for sample in taken])
        rate = median(sample.volley.requests / sample.volley.seconds for sample in taken)
        yield Figure(
            f"{work}: {name}",
            cost.median,
            "us",
            cost.low,
            cost.high,
            note=f"{rate:,.0f} {of} per second",
        )
    for name in names[1:]:
        yield ratio(samples, work, names[0], name)


def ratio(samples: Samples, work: str, name: str, other: str) -> Figure:
    """What one costs in relation to another, pair by pair."""
    found = estimate([mine / theirs for mine, theirs in pairs(samples, work, name, other)])
    return Figure(f"{work}: {name} / {other}", found.median, "", found.low, found.high)


def pairs(samples: Samples, work: str, name: str, other: str) -> Iterator[tuple[float, float]]:
    """The costs in us of those that were neighbours."""
    for mine, theirs in zip(samples[work, name], samples[work, other], strict=True):
        yield mine.cost_us, theirs.cost_us


def details(samples: Samples) -> dict[str, list[Sample]]:
    """As results keep them."""
    return {f"{name}, {work}": taken for (work, name), taken in samples.items()}
