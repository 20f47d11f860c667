"""All a worker routes by, carried from snapshot to snapshot.

`apply` takes over a snapshot in one synchronous step: a request is decided by
the old one or by the new one, never by a mixture. It costs a loop over the
routes and services to find those that are other objects than before, and work
for these only. What did not change keeps its place: the cursors of schedules,
the connection pools and the counts of instances.

Knows no clock and no randomness: both are arguments.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gateway.core.model import InstanceId, ServiceId
from gateway.core.snapshot import EMPTY, Snapshot

from .service import InstanceState
from .table import Table


@dataclass(frozen=True, slots=True)
class Retired:
    """What the last `apply` took out of the world.

    Requests may still be under way on these instances; nothing new goes there.
    """

    instances: tuple[InstanceState, ...] = ()
    services: tuple[ServiceId, ...] = ()


class World:
    """Routes, services and instances of one worker.

    `slot` is the worker's number (its schedules start elsewhere in their round);
    `random` gives floats in [0, 1).
    """

    def __init__(self, slot: int, random: Callable[[], float]) -> None:
        self.table = Table()
        self.snapshot: Snapshot = EMPTY

    def apply(self, snapshot: Snapshot) -> Retired:
        """Route by `snapshot` from now on; answers what is gone."""
        raise NotImplementedError

    def instance(self, id: InstanceId) -> InstanceState | None:
        """The state of an instance; None if it is not in the snapshot."""
        raise NotImplementedError

    def eject(self, instance: InstanceState, until: float) -> bool:
        """Take `instance` out of its service until `until`.

        False, and nothing has changed, if it is not healthy now, or if the panic rule
        forbids: no service loses its last usable instance, nor more than half of those
        that pass their checks.
        """
        raise NotImplementedError

    def tick(self, now: float) -> None:
        """End the ejections whose time is over. To be called about once a second."""
        raise NotImplementedError
