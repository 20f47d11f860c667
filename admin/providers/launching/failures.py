"""What went wrong with instances lately, for people who wait for them."""

from __future__ import annotations

import signal
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


def words_of_end(code: int | None, lived_s: float) -> str:
    """`ended with exit code 3 after 0.2 s`, `was killed by SIGKILL after 5 min`."""
    if code is None:
        what = "ended"
    elif code >= 0:
        what = f"ended with exit code {code}"
    else:
        what = f"was killed by {_signal(-code)}"
    return f"{what} after {_duration(lived_s)}"


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _duration(seconds: float) -> str:
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"
