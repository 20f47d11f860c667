"""What went wrong with instances lately, for people who wait for them."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass

from gateway.core.model import InstanceId, ServiceId

KEPT = 5
"""Failures remembered for each service."""


@dataclass(frozen=True, slots=True)
class Failure:
    """An instance that ended though nobody told it to, or could not be started.

    `what` is in words: `ended with exit code 3 after 0.2 s`. `time` is seconds since
    the epoch, `output` the last lines it wrote (escaped, bounded).
    """

    instance: InstanceId
    what: str
    time: float
    output: tuple[str, ...] = ()


class FailureLog:
    """The newest failures of each service."""

    def __init__(self) -> None:
        self._of: dict[ServiceId, deque[Failure]] = {}

    def add(self, service: ServiceId, failure: Failure) -> None:
        """Remember one; the oldest of its service may go."""
        self._of.setdefault(service, deque(maxlen=KEPT)).appendleft(failure)

    def of(self, service: ServiceId) -> tuple[Failure, ...]:
        """Newest first."""
        return tuple(self._of.get(service, ()))

    def keep_only(self, services: Collection[ServiceId]) -> None:
        """Forget those of all other services."""
        for service in [s for s in self._of if s not in services]:
            del self._of[service]
