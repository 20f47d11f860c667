"""Instances that are too many: they get no new work, and end when they have none left.

Whether one has work is worth asking only when every worker knows that it shall get no
more, and a moment later, when all that was begun before has been counted.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from admin.clock import Clock
from gateway.core.model import InstanceId, ServiceId
from gateway.core.snapshot import Condition

from .world import World

log = logging.getLogger(__name__)

SETTLED_S = 0.25
"""After this, counts of open work show everything that was open before."""


@dataclass(slots=True)
class _Retirement:
    service: ServiceId
    deadline_s: float
    known_s: float | None = None
    """Since when all workers know of it."""


class Retirements:
    """Those that retire now, and since when."""

    def __init__(self, world: World, clock: Clock) -> None:
        self._world = world
        self._clock = clock
        self._of: dict[InstanceId, _Retirement] = {}

    @property
    def instances(self) -> frozenset[InstanceId]:
        """All of them."""
        return frozenset(self._of)

    def set(self, retiring: Mapping[InstanceId, ServiceId]) -> None:
        """Exactly these retire; a time runs from when one is named first."""
        until = self._clock.monotonic() + self._world.settings.timeouts.drain
        self._of = {
            instance: self._of.get(instance) or _Retirement(service, until)
            for instance, service in retiring.items()
        }

    def finished(self, open_work: Callable[[], Collection[InstanceId]]) -> frozenset[InstanceId]:
        """Those without work, and those whose time is over."""
        if not self._of:
            return frozenset()
        now, open_now = self._clock.monotonic(), open_work()
        return frozenset(i for i, r in self._of.items() if self._is_over(i, r, now, open_now))

    def _is_over(
        self, one: InstanceId, at: _Retirement, now: float, open_now: Collection[InstanceId]
    ) -> bool:
        if now >= at.deadline_s:
            if one in open_now:
                log.warning("%s is ended with work still open", one)
            return True
        if at.known_s is None and self._is_known(one, at.service):
            at.known_s = now
        return at.known_s is not None and now >= at.known_s + SETTLED_S and one not in open_now

    def _is_known(self, instance: InstanceId, service: ServiceId) -> bool:
        found = self._world.snapshot.services.get(service)
        mine = [i for i in found.instances if i.id == instance] if found is not None else []
        return self._world.is_applied and all(i.condition is Condition.DRAINING for i in mine)
