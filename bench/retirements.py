"""Which requests a version served that was retired already, and how long it served at all. Pure.

Times as in `records`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .records import Outcome, Records, Request


@dataclass(frozen=True, slots=True)
class Retirement:
    """A confirm or rollback took a service off its routes."""

    asked: float
    answered: float
    service: int
    until: float = float("inf")
    """From here on the number means another service."""


@dataclass(frozen=True, slots=True)
class Farewell:
    """How a service went."""

    last_s: float
    """From the call to the end of the last request it served; 0: there was none."""
    late: int
    """Requests it served that were sent after the call's answer."""


def farewells(
    requests: Iterable[Request] | Records, retirements: Sequence[Retirement]
) -> list[Farewell]:
    """One for each retirement, in their order."""
    served = _served(requests, retirements)
    return [
        Farewell(
            max((request.ended - one.asked for request in served[one]), default=0.0),
            sum(request.sent > one.answered for request in served[one]),
        )
        for one in retirements
    ]


def _served(
    requests: Iterable[Request] | Records, retirements: Sequence[Retirement]
) -> dict[Retirement, list[Request]]:
    """For each retirement, what its service served from the call on."""
    found: dict[Retirement, list[Request]] = {one: [] for one in retirements}
    of: dict[int, list[Retirement]] = {}
    for one in retirements:
        of.setdefault(one.service, []).append(one)
    for request in requests:
        if request.outcome is not Outcome.ANSWERED:
            continue
        for one in of.get(request.service, ()):
            if one.asked <= request.ended < one.until:
                found[one].append(request)
    return found
