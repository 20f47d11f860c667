"""Who is told to go: the open tunnels of instances that leave, and all of them when the worker does.

Nobody else is: changes of weights, of other services or of health end no tunnel.
They are told at a pace, since each of them is a client that connects again, and
all by half of the time they have, in the order in which they began.

An instance leaves when it is drained (its service is being removed, an operator
drains it, there are to be fewer of them) or when it is gone from the snapshot.
What is resumed before its turn came stays.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from gateway.core.snapshot import Condition

if TYPE_CHECKING:
    from gateway.routing.service import InstanceState

    from .tunnel import Tunnel

TICK_S = 0.1
"""How often `tick` is called."""
A_TICK = 100
"""How many are told at once; more if there is less time."""
NEVER = float("inf")


class Farewells:
    """The open tunnels of a worker.

    `is_known` says whether an instance is in the snapshot; times are on the caller's clock.
    """

    def __init__(self, is_known: Callable[[InstanceState], bool]) -> None:
        self._is_known = is_known
        self._open: dict[InstanceState, dict[Tunnel, None]] = {}
        self._deadlines: dict[InstanceState, float] = {}
        """When the tunnels of instances that leave are cut."""
        self._end = NEVER
        """When all of them are."""
        self._queue: deque[Tunnel] = deque()
        self._a_tick = A_TICK

    def opened(self, tunnel: Tunnel, now: float, drain_s: float) -> None:
        """A tunnel has begun; its instance, or the worker, may be leaving by now."""
        instance = tunnel.instance
        self._open.setdefault(instance, {})[tunnel] = None
        if self._deadline_of(instance) < NEVER:
            self._queue.append(tunnel)
        elif self._is_leaving(instance):
            self.look(now, drain_s)

    def closed(self, tunnel: Tunnel) -> None:
        """A tunnel has ended."""
        tunnels = self._open[tunnel.instance]
        del tunnels[tunnel]
        if not tunnels:
            del self._open[tunnel.instance]

    def look(self, now: float, drain_s: float) -> None:
        """There is another snapshot; `drain_s` is what services have that do not say otherwise."""
        deadlines = {}
        for instance, tunnels in self._open.items():
            if not self._is_leaving(instance):
                continue
            known = self._deadlines.get(instance)
            if known is None:
                own_s = instance.service.drain_s
                known = now + (drain_s if own_s is None else own_s)
                self._queue.extend(tunnels)
            deadlines[instance] = known
        self._deadlines = deadlines
        self._hurry(now)

    def all(self, now: float, deadline: float) -> None:
        """The worker leaves."""
        self._end = deadline
        for tunnels in self._open.values():
            self._queue.extend(tunnels)
        self._hurry(now)

    def tick(self) -> None:
        """Tell those whose turn it is."""
        for _ in range(min(self._a_tick, len(self._queue))):
            tunnel = self._queue.popleft()
            deadline = self._deadline_of(tunnel.instance)
            if deadline < NEVER and tunnel in self._open.get(tunnel.instance, ()):
                tunnel.leave(deadline)

    def cut(self) -> int:
        """The time is over: end what is open, with a Close frame where that fits; how many."""
        still = [tunnel for tunnels in self._open.values() for tunnel in tunnels]
        for tunnel in still:
            tunnel.cut()
        return len(still)

    def _is_leaving(self, instance: InstanceState) -> bool:
        return instance.condition is Condition.DRAINING or not self._is_known(instance)

    def _deadline_of(self, instance: InstanceState) -> float:
        return min(self._end, self._deadlines.get(instance, NEVER))

    def _hurry(self, now: float) -> None:
        if self._queue:
            first = min(self._end, *self._deadlines.values(), NEVER)
            ticks = max(1.0, (first - now) / 2 / TICK_S)
            self._a_tick = max(A_TICK, math.ceil(len(self._queue) / ticks))
            self.tick()
