# cython: language_level=3, annotation_typing=False
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

from gateway.core.snapshot import Condition, SnapshotInstance, SnapshotService
from gateway.core.vocabulary import BalancerName, InstanceId, ServiceId, split_service_id

from .balancers import Balancer

if TYPE_CHECKING:
    from .decision import Decision, Sticky, Verdict
    from .pool import Pool


class InstanceState:
    """A running copy of a service, as one worker sees it.

    `ejected_until` is on the clock that `World.eject` is given; it keeps its
    value after the ejection has ended.
    """

    __slots__ = (
        "condition",
        "decisions",
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
        "tls",
        "tunnels",
        "upstreams",
        "usable",
    )

    def __init__(self, service: ServiceState, instance: SnapshotInstance) -> None:
        self.id: InstanceId = instance.id
        self.service = service
        self.host = instance.host
        self.port = instance.port
        self.ports: Mapping[int, int] = instance.ports
        self.tls = instance.tls
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
        self.tunnels = 0
        """How many of these are open tunnels. Counted by the data plane."""
        self.upstreams: dict[int, Any] = {}
        """The data plane's connection pools, by port."""
        self.decisions: dict[bool, Decision] = {}
        """Made once for all routes, see `decision.held`."""

    @property
    def healthy(self) -> bool:
        """Up, and not ejected by this worker."""
        return self.condition is Condition.UP and not self.ejected

    @property
    def in_play(self) -> bool:
        """Passes its checks and is not being drained: healthy, or ejected by anybody."""
        return self.condition is Condition.UP or self.condition is Condition.EJECTED

    def become(self, condition: Condition) -> None:
        """Take over the condition of a newer snapshot.

        Back from checks that failed, an instance starts with a clean slate: it is most
        likely another process.
        """
        if condition is self.condition:
            return
        self.condition = condition
        self.failures = 0
        if condition is Condition.DOWN:
            self.ejected = False
            self.ejections = 0

    def port_for(self, port: int | None) -> int:
        """The port to connect to for a route that asks for container port `port`."""
        return self.port if port is None else self.ports.get(port, port)

    def is_at(self, instance: SnapshotInstance) -> bool:
        """Is `instance` (of the same id) still at this address, and spoken to as before?"""
        return (
            self.host == instance.host
            and self.port == instance.port
            and self.ports == instance.ports
            and self.tls == instance.tls
        )

    def __repr__(self) -> str:
        return f"<InstanceState {self.id} {self.condition}>"


class ServiceState:
    """A service as one worker sees it: its instances and how to choose among them.

    One that is a member of a route but not in the snapshot has no instances.
    """

    __slots__ = (
        "_balancer",
        "_balancer_name",
        "_new_balancer",
        "application",
        "candidates",
        "decisions",
        "drain_s",
        "id",
        "in_flight_limit",
        "instances",
        "name",
        "pools",
        "usable",
        "version",
    )

    def __init__(self, id: ServiceId, new_balancer: Callable[[BalancerName], Balancer]) -> None:
        self.id = id
        self.application, self.name = split_service_id(id)
        self.version = self.name
        self.drain_s: float | None = None
        """How long its open work may take now that it is leaving; None: as long as any."""
        self.in_flight_limit: int | None = None
        """Requests all workers together give an instance at a time; None: the configuration's."""
        self.instances: tuple[InstanceState, ...] = ()
        self.candidates: tuple[InstanceState, ...] = ()
        """Those that a request may be given to."""
        self.usable = False
        """Has candidates."""
        self.pools: set[Pool] = set()
        """The routes it is a member of; told when `usable` or `instances` change."""
        self.decisions: dict[tuple[Verdict, Sticky, bool], Decision] = {}
        """Made once for all routes, see `decision.drawn`."""
        self._new_balancer = new_balancer
        self._balancer_name = BalancerName.ROUND_ROBIN
        self._balancer = new_balancer(BalancerName.ROUND_ROBIN)

    def pick(self, tried: Collection[InstanceState] = ()) -> InstanceState | None:
        """The instance for a request, by the service's balancer.

        Never one of `tried`; None when no other usable one is left.
        """
        candidates = self.candidates
        if len(candidates) == 1 and not tried:
            return candidates[0]
        return self._balancer.pick(candidates, tried)

    def update(self, service: SnapshotService | None) -> list[InstanceState]:
        """Take over what a snapshot says (None: the service is gone); gives the retired instances.

        An instance whose address is another one is another instance: nothing that was
        learnt of the old one holds for it.
        """
        before = {i.id: i for i in self.instances}
        instances = []
        if service is not None:
            self.application, self.name, self.version = (
                service.application,
                service.name,
                service.version,
            )
            self.drain_s = service.drain_s
            self.in_flight_limit = service.in_flight_limit
            if service.balancer is not self._balancer_name:
                self._balancer_name = service.balancer
                self._balancer = self._new_balancer(service.balancer)
            for seen in service.instances:
                state = before.get(seen.id)
                if state is None or not state.is_at(seen):
                    state = InstanceState(self, seen)
                else:
                    del before[seen.id]
                    state.become(seen.condition)
                instances.append(state)
        changed = tuple(instances) != self.instances
        if changed:
            self.instances = tuple(instances)
        self.refresh(changed)
        return list(before.values())

    def refresh(self, changed: bool = False) -> None:
        """Find the candidates again; marks the routes that have to notice.

        Routes look at `instance.usable` themselves; what they have to be told is that
        the service as a whole became usable or unusable, or that its set of instances
        `changed`.
        """
        candidates = [i for i in self.instances if i.healthy]
        if not candidates:
            candidates = [i for i in self.instances if i.in_play]
        for instance in self.instances:
            instance.usable = False
        for instance in candidates:
            instance.usable = True
        self.candidates = tuple(candidates)
        usable = bool(candidates)
        if changed or usable is not self.usable:
            self.usable = usable
            for pool in self.pools:
                pool.stale = True

    def may_eject_one(self) -> bool:
        """The panic rule: may one more healthy instance be ejected?

        Counted among those in play, since one that is down or draining helps nobody;
        at most half of them may be ejected. So the last healthy one never is.
        """
        in_play = sum(i.in_play for i in self.instances)
        healthy = sum(i.healthy for i in self.instances)
        return 2 * (in_play - healthy + 1) <= in_play

    def __repr__(self) -> str:
        return f"<ServiceState {self.id}>"
