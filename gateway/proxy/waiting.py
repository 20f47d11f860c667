"""Requests that wait because every instance they may go to has its fill of work.

There is one queue for each service, first come first served: as long as
anybody waits for a service, who comes later waits behind him. A request whose session
belongs to an instance waits for that one and lets others pass.

Level-triggered: whenever work ends, instances change or the sweep comes by, the
queues are looked at as they are. Nobody waits without a deadline, and that
is the one of his connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.routing.service import InstanceState, ServiceState
    from gateway.runtime.settings import LimitSettings

    from .routed import Routed


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a request waits for."""

    pin: InstanceState | None
    """Only this one, as long as it is usable."""
    fresh: bool
    """Then over a connection of its own."""


class WaitingRoom:
    """The queues of a worker, and the limits that make them: each service's own, or the common one."""

    __slots__ = ("_is_woken", "_limit", "_loop", "_of", "_places", "_queues", "_workers")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._limit: int | None = None
        self._places = 0
        self._workers = 1
        self._queues: dict[ServiceState, dict[Routed, Ticket]] = {}
        self._of: dict[Routed, ServiceState] = {}
        self._is_woken = False

    def configure(self, limits: LimitSettings, workers: int) -> None:
        """Take over the limits, this worker's part of each; who waits by now stays."""
        self._limit = None if limits.in_flight is None else -(-limits.in_flight // workers)
        self._places = -(-limits.queue // workers)
        self._workers = workers
        self.wake()

    @property
    def is_needed(self) -> bool:
        """Are there a common limit or requests that wait?

        If so, or if a service has a limit of its own, it has to be asked before a request
        goes to an instance.
        """
        return self._limit is not None or bool(self._of)

    def may_go(self, service: ServiceState, instance: InstanceState) -> bool:
        """May a request that comes now go to this instance at once?"""
        return service not in self._queues and self._has_room(instance)

    def find(self, service: ServiceState, tried: Collection[InstanceState]) -> InstanceState | None:
        """An instance with room for a request that comes now; None: it has to wait."""
        return None if service in self._queues else self._pick(service, tried)

    def wait(self, exchange: Routed, service: ServiceState, ticket: Ticket) -> bool:
        """Take a place at the end of the queue; False: there is none.

        `exchange.go_on` follows, unless it leaves before.
        """
        queue = self._queues.setdefault(service, {})
        if len(queue) >= self._places:
            if not queue:
                del self._queues[service]
            return False
        queue[exchange] = ticket
        self._of[exchange] = service
        self.wake()  # others may have left room that was kept for those in front
        return True

    def has(self, exchange: Routed) -> bool:
        """Does it wait?"""
        return exchange in self._of

    def leave(self, exchange: Routed) -> bool:
        """Give up the place; False: it had none."""
        service = self._of.pop(exchange, None)
        if service is None:
            return False
        queue = self._queues[service]
        del queue[exchange]
        if not queue:
            del self._queues[service]
        return True

    def wake(self) -> None:
        """Something has changed: look at the queues soon."""
        if self._of and not self._is_woken:
            self._is_woken = True
            self._loop.call_soon(self._look)

    def _look(self) -> None:
        self._is_woken = False
        for service, queue in list(self._queues.items()):
            for exchange, ticket in list(queue.items()):
                if service.candidates and not any(map(self._has_room, service.candidates)):
                    break
                pin = ticket.pin
                if pin is not None and pin.usable:
                    instance = pin if self._has_room(pin) else None
                    if instance is None:
                        continue
                else:
                    instance = self._pick(service, exchange.tried) or self._pick(service, ())
                if self.leave(exchange):
                    exchange.go_on(instance, ticket)

    def _has_room(self, instance: InstanceState) -> bool:
        own = instance.service.in_flight_limit
        limit = self._limit if own is None else -(-own // self._workers)
        return limit is None or instance.in_flight - instance.tunnels < limit

    def _pick(
        self, service: ServiceState, tried: Collection[InstanceState]
    ) -> InstanceState | None:
        instance = service.pick(tried)
        if instance is None or self._has_room(instance):
            return instance
        full = [i for i in service.candidates if not self._has_room(i)]
        return service.pick([*tried, *full])
