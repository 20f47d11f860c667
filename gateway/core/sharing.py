"""How weights move between the old and the new side of a release, on one route.

A route may hold more than the release's two sides: unchanged services and those
of other applications. Their shares stay what they are, exactly; the release only
divides its own *part*, the sum of its two sides. Weights are whole numbers, so
all of a route's weights are rescaled where that is needed to be exact. Inside a
side the ratios stay. Where no whole numbers up to `WEIGHT_MAX` are exact, the
division of the part is the nearest one; the others' shares still stay.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from fractions import Fraction
from functools import reduce
from math import gcd, lcm

from .model import WEIGHT_MAX, ServiceId

Weights = Mapping[ServiceId, int]

FULL = 100
"""What a whole route is worth when there is nothing to keep in proportion to."""


def part(weights: Weights, side: Collection[ServiceId]) -> int:
    """What a set of services has together."""
    return sum(weights.get(sid, 0) for sid in side)


def moved(
    weights: Weights,
    old: Collection[ServiceId],
    new: Collection[ServiceId],
    share: Fraction,
    ratios: Weights,
) -> dict[ServiceId, int]:
    """The weights after `new` was given `share` (0..1) of the release's part.

    A side that has no weight now is divided as `ratios` says, equally where that
    says nothing. A release without any part on a route that others serve stays
    without; on a route where nobody has weight its part is all of it.
    """
    whole = part(weights, old) + part(weights, new)
    if not whole:
        if any(weights.values()):
            return dict(weights)
        whole = FULL
    exact = {sid: Fraction(weight) for sid, weight in weights.items()}
    exact |= _divided(whole * (1 - share), old, weights, ratios)
    exact |= _divided(whole * share, new, weights, ratios)
    others = {sid: w for sid, w in weights.items() if sid not in old and sid not in new}
    return rounded(exact, others) if any(others.values()) else _familiar(rounded(exact))


def given_back(
    weights: Weights, old: Collection[ServiceId], new: Collection[ServiceId], before: Weights
) -> dict[ServiceId, int]:
    """The weights after `new` has left and `old` has the release's part as `before` had it."""
    others = {sid: w for sid, w in weights.items() if sid not in old and sid not in new}
    had = {sid: before.get(sid, 0) for sid in old}
    if not any(others.values()) or not any(had.values()):
        return others | had
    whole = part(weights, old) + part(weights, new)
    if not whole:
        return others | dict.fromkeys(old, 0)  # an operator gave all of it to the others
    exact = {sid: Fraction(weight) for sid, weight in others.items()}
    exact |= _divided(Fraction(whole), old, {}, had)
    return rounded(exact, others)


def rounded(
    exact: Mapping[ServiceId, Fraction], others: Weights | None = None
) -> dict[ServiceId, int]:
    """Whole numbers in the very same proportions, unchanged where they are whole already.

    Only where that would take numbers above `WEIGHT_MAX` they are the nearest ones,
    of `others` still in the very same proportions to each other and to all the rest.
    """
    scale = lcm(*(weight.denominator for weight in exact.values()))
    whole = {sid: int(weight * scale) for sid, weight in exact.items()}
    total = sum(whole.values())
    if not total:
        return whole
    if scale > 1:
        whole = _familiar(whole)
    if max(whole.values()) > WEIGHT_MAX:
        whole = _nearest_beside(exact, others or {}) or _nearest(whole)
    return whole


def _divided(
    whole: Fraction, side: Collection[ServiceId], weights: Weights, ratios: Weights
) -> dict[ServiceId, Fraction]:
    if not side:
        return {}
    now = {sid: weights.get(sid, 0) for sid in side}
    if not any(now.values()):
        now = {sid: ratios.get(sid, 0) for sid in side}
    if not any(now.values()):
        now = dict.fromkeys(side, 1)
    total = sum(now.values())
    return {sid: whole * weight / total for sid, weight in now.items()}


def _familiar(whole: Mapping[ServiceId, int]) -> dict[ServiceId, int]:
    """The same proportions in numbers that sum up to 100 or 1000 and so on, if they can."""
    common = reduce(gcd, whole.values())
    small = {sid: weight // common for sid, weight in whole.items()}
    total = sum(small.values())
    for sum_up_to in (100, 1_000, 10_000, 100_000, WEIGHT_MAX):
        if sum_up_to % total == 0:
            return {sid: weight * (sum_up_to // total) for sid, weight in small.items()}
    return small


def _nearest_beside(
    exact: Mapping[ServiceId, Fraction], others: Weights
) -> dict[ServiceId, int] | None:
    """The nearest division of what is not the others'; None: it cannot be said beside theirs."""
    if not others:
        return None
    mine = {sid: weight for sid, weight in exact.items() if sid not in others}
    whole = int(sum(mine.values()))
    common = gcd(whole, *others.values())
    times = WEIGHT_MAX // (max(whole, *others.values()) // common)
    if not times:
        return None
    unit = Fraction(times, common)
    split = {sid: max(1, int(weight * unit)) if weight else 0 for sid, weight in mine.items()}
    largest = max(split, key=lambda sid: split[sid])
    split[largest] += int(whole * unit) - sum(split.values())
    if split[largest] < 1:
        return None
    return {sid: split[sid] if sid in split else int(others[sid] * unit) for sid in exact}


def _nearest(whole: Mapping[ServiceId, int]) -> dict[ServiceId, int]:
    """The nearest proportions below `WEIGHT_MAX`; what has weight keeps some."""
    most = max(whole.values())
    return {
        sid: max(1, round(Fraction(weight * WEIGHT_MAX, most))) if weight else 0
        for sid, weight in whole.items()
    }
