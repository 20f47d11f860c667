"""When a process that failed may be started again: its slot waits for its back-off."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from admin.clock import Clock
from gateway.core.model import ServiceId
from gateway.runtime.backoff import Backoff


@dataclass(slots=True)
class _Turn:
    backoff: Backoff = field(default_factory=Backoff)
    due_s: float = 0.0


class Turns:
    """The back-off of each slot that failed: at once, then 0.1 s doubling to 10 s."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._of: dict[tuple[ServiceId, int], _Turn] = {}

    def failed(self, service: ServiceId, slot: int, lived_s: float) -> float:
        """A process ended or was not started; gives the wait, seconds."""
        turn = self._of.setdefault((service, slot), _Turn())
        delay_s = turn.backoff.next_delay_s(lived_s)
        turn.due_s = self._clock.monotonic() + delay_s
        return delay_s

    def may_start(self, service: ServiceId, slot: int, now: float) -> bool:
        """Has its wait ended?"""
        turn = self._of.get((service, slot))
        return turn is None or turn.due_s <= now

    def next_due(self, now: float, service: ServiceId | None = None) -> float | None:
        """When the next wait (of a service) ends that had not ended `now`; None: none."""
        dues = (t.due_s for (sid, _), t in self._of.items() if service in (None, sid))
        return min((due for due in dues if due > now), default=None)

    def end_waits(self) -> None:
        """Let everybody try at once."""
        for turn in self._of.values():
            turn.due_s = 0.0

    def keep_only(self, services: Collection[ServiceId]) -> None:
        """Forget all other services."""
        for key in [key for key in self._of if key[0] not in services]:
            del self._of[key]
