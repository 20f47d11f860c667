"""Passive health: which instance failed so often in a row that it is left alone.

Pure bookkeeping on `InstanceState`; `World.eject` has the last word (panic rule)
and does the taking out. What counts as a failure is the caller's business
(refused, reset, timed out, ...: not an answer the service chose to give).

The n-th ejection in close succession lasts `seconds * 2**(n-1)`, at most
`max_seconds`; an instance that was left in peace for `max_seconds` after an
ejection starts at `seconds` again.
"""

from __future__ import annotations

from dataclasses import dataclass

from .service import InstanceState

_DOUBLINGS_MAX = 30


@dataclass(frozen=True, slots=True)
class EjectionPolicy:
    """`failures` in a row eject an instance; 0 switches ejection off. Times are seconds."""

    failures: int = 5
    seconds: float = 10.0
    max_seconds: float = 300.0


def record_failure(instance: InstanceState, now: float, policy: EjectionPolicy) -> float | None:
    """Count a failed request; until when to eject the instance, or None.

    Answers again at every further failure while the world refuses the ejection, so
    that it happens as soon as the panic rule allows.
    """
    if not policy.failures or instance.ejected:
        return None
    instance.failures += 1
    if instance.failures < policy.failures:
        return None
    if instance.ejections and now - instance.ejected_until > policy.max_seconds:
        instance.ejections = 0
    doublings = min(instance.ejections, _DOUBLINGS_MAX)
    return now + min(policy.seconds * 2.0**doublings, policy.max_seconds)


def record_success(instance: InstanceState) -> None:
    """Count a request that went well: failures are no longer in a row."""
    instance.failures = 0
