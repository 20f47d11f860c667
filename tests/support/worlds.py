"""Short ways to say a snapshot: services `v1` with instances `v1-0`, routes with weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from random import Random

from gateway.core.model import (
    AffinityKey,
    AtZero,
    BalancerName,
    InstanceId,
    RouteId,
    ServiceId,
    route_id,
)
from gateway.core.snapshot import (
    Affinity,
    Condition,
    Member,
    Snapshot,
    SnapshotInstance,
    SnapshotRoute,
    SnapshotService,
    Timeouts,
)
from gateway.routing.pool import Pool
from gateway.routing.world import World

KEY = AffinityKey("a", "0a" * 32, 1.0)
OTHER_KEY = AffinityKey("b", "0b" * 32, 2.0)
UP, DOWN = Condition.UP, Condition.DOWN
DRAINING, EJECTED = Condition.DRAINING, Condition.EJECTED


def an_instance(id: str, condition: Condition = UP, port: int = 9000) -> SnapshotInstance:
    return SnapshotInstance(InstanceId(id), "127.0.0.1", port, condition)


def a_service(
    name: str,
    *conditions: Condition,
    application: str = "-",
    balancer: BalancerName = BalancerName.ROUND_ROBIN,
) -> SnapshotService:
    """`name` with one instance for each condition: `name-0`, `name-1`, ..."""
    instances = tuple(an_instance(f"{name}-{n}", c) for n, c in enumerate(conditions))
    id = ServiceId(f"{application}/{name}")
    return SnapshotService(id, application, name, name, balancer, instances)


def a_route(
    weights: Mapping[str, int],
    host: str = "shop.example",
    path: str = "/",
    *,
    affinity: bool = True,
    at_zero: AtZero = AtZero.DRAIN,
    cookie: str = "GATEWAYSESSION",
    selectors: bool = False,
    spill: bool = True,
    internal: bool = False,
    held: bool = False,
    port: int | None = None,
) -> SnapshotRoute:
    """Members by short name of a service registered by hand, or by full id."""
    return SnapshotRoute(
        id=route_id(host, path),
        host=host,
        path=path,
        internal=internal,
        members=tuple(Member(service_id(name), n, port) for name, n in weights.items()),
        affinity=Affinity(affinity, cookie, 3600, at_zero),
        timeouts=Timeouts(5.0, 60.0, 300.0),
        selectors=selectors,
        spill=spill,
        held=held,
    )


def a_snapshot(
    routes: Iterable[SnapshotRoute],
    services: Iterable[SnapshotService],
    keys: tuple[AffinityKey, ...] = (KEY,),
    generation: int = 1,
) -> Snapshot:
    return Snapshot(
        generation=generation,
        revision=generation,
        created=0.0,
        routes={r.id: r for r in routes},
        services={s.id: s for s in services},
        keys=keys,
    )


def a_world(*snapshots: Snapshot, slot: int = 0, seed: int = 1) -> World:
    """A world that has been through these snapshots."""
    world = World(slot, Random(seed).random)
    for snapshot in snapshots:
        world.apply(snapshot)
    return world


def the_pool(world: World, host: str = "shop.example", path: str = "/") -> Pool:
    pool = world.table.match(host.encode(), path.encode(), internal=True)
    assert isinstance(pool, Pool)
    return pool


def service_id(name: str) -> ServiceId:
    return ServiceId(name if "/" in name else f"-/{name}")


def pool_of(route: SnapshotRoute, *services: SnapshotService, slot: int = 0) -> Pool:
    """The pool of the only route of a new world."""
    return a_world(a_snapshot([route], services), slot=slot).pools[RouteId(route.id)]
