"""What a worker knows of a service and its instances at run time.

A state lives as long as its id (and, for an instance, its address) is in the
snapshot: it outlives every generation in between, and with it go the counts of
open work, the failures in a row and the pooled connections. It is changed by
`World` only, but for the fields marked *data plane*.

Knows nothing of routes: weights and pins are the business of `Pool`.

Invariant: `instance.usable` is true for exactly the instances in its service's
`candidates`. These are the ones that are up and not ejected; if there is none
but some are ejected, it is the ejected ones (panic rule: a guess that an
instance is bad must not empty a service, only failed checks may).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any

from gateway.core.model import BalancerName, InstanceId, ServiceId, split_service_id
from gateway.core.snapshot import Condition, SnapshotInstance, SnapshotService

from .balancers import BALANCERS, Balancer

if TYPE_CHECKING:
    from .pool import Pool


class InstanceState:
    """A running copy of a service, as one worker sees it.

    `ejected_until` is on the clock that `World.eject` is given; it keeps its
    value after the ejection has ended.
    """

    __slots__ = (
        "condition",
        "ejected",
        "ejected_until",
        "ejections",
        "failures",
        "host",
        "id",
        "in_flight",
        "port",
        "ports",
        "service",
        "upstreams",
        "usable",
    )

    def __init__(self, service: ServiceState, instance: SnapshotInstance) -> None:
        self.id: InstanceId = instance.id
        self.service = service
        self.host = instance.host
        self.port = instance.port
        self.ports: Mapping[int, int] = instance.ports
        self.condition = instance.condition
        self.usable = False
        """May be given a new request now (panic rule included)."""
        self.ejected = False
        """This worker ejected it; whether others did is in `condition`."""
        self.ejected_until = 0.0
        self.ejections = 0
        """Ejections in close succession, see `outlier`."""
        self.failures = 0
        """Failed requests in a row; kept by `outlier`."""
        self.in_flight = 0
        """Requests of this worker it is busy with. Counted by the data plane."""
        self.upstreams: dict[int, Any] = {}
        """The data plane's connection pools, by port."""

    @property
    def healthy(self) -> bool:
        """Up, and not ejected by this worker."""
        return self.condition is Condition.UP and not self.ejected

    def port_for(self, port: int | None) -> int:
        """The port to connect to for a route that asks for container port `port`."""
        return self.port if port is None else self.ports.get(port, port)

    def is_at(self, instance: SnapshotInstance) -> bool:
        """Is `instance` (of the same id) still at this address?"""
        return (
            self.host == instance.host
            and self.port == instance.port
            and self.ports == instance.ports
        )

    def __repr__(self) -> str:
        return f"<InstanceState {self.id} {self.condition}>"


class ServiceState:
    """A service as one worker sees it: its instances and how to choose among them."""

    __slots__ = (
        "_balancer",
        "_balancer_name",
        "_new_balancer",
        "application",
        "candidates",
        "id",
        "instances",
        "name",
        "pools",
        "usable",
        "version",
    )

    def __init__(
        self, id: ServiceId, new_balancer: Callable[[BalancerName], Balancer] | None = None
    ) -> None:
        self.id = id
        self.application, self.name = split_service_id(id)
        self.version = self.name
        self.instances: tuple[InstanceState, ...] = ()
        self.candidates: tuple[InstanceState, ...] = ()
        self.usable = False
        """Has an instance that may be given a request."""
        self.pools: set[Pool] = set()
        """The routes it is a member of."""

    def pick(self, tried: Collection[InstanceState] = ()) -> InstanceState | None:
        """The instance for a request, by the service's balancer.

        Never one of `tried`; None when no other usable one is left.
        """
        raise NotImplementedError
