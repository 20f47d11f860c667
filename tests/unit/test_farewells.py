"""Who is told to go, when, and how many at once."""

from __future__ import annotations

import dataclasses
import itertools
from typing import cast

from gateway.core.model import BalancerName
from gateway.core.snapshot import Condition
from gateway.proxy.farewells import A_TICK, TICK_S, Farewells
from gateway.proxy.tunnel import Tunnel
from gateway.routing.balancers import BALANCERS, Balancer
from gateway.routing.service import InstanceState, ServiceState
from tests.support.plane import service

DRAIN_S = 30.0


class Told:
    """Stands for a tunnel: remembers by when it has to be gone."""

    def __init__(self, instance: InstanceState) -> None:
        self.instance = instance
        self.deadline: float | None = None
        self.is_cut = False

    def leave(self, deadline: float) -> None:
        self.deadline = deadline

    def cut(self) -> None:
        self.is_cut = True


def balancer(name: BalancerName) -> Balancer:
    return BALANCERS[name](0, lambda: 0.5)


class World:
    """One service with two instances, and tunnels to them."""

    def __init__(self) -> None:
        self.state = ServiceState(service("one").id, balancer)
        self.known = True
        self.put(Condition.UP)
        self.farewells = Farewells(lambda _: self.known)
        self.first, self.second = self.state.instances

    def put(self, first: Condition, drain_s: float | None = None) -> None:
        wanted = service("one", 1, 2)
        instances = (dataclasses.replace(wanted.instances[0], condition=first), wanted.instances[1])
        self.state.update(dataclasses.replace(wanted, instances=instances, drain_s=drain_s))

    def open(self, instance: InstanceState, count: int = 1) -> list[Told]:
        tunnels = [Told(instance) for _ in range(count)]
        for tunnel in tunnels:
            self.farewells.opened(cast(Tunnel, tunnel), 100.0, DRAIN_S)
        return tunnels


def test_only_tunnels_of_the_instance_that_leaves_are_told() -> None:
    world = World()
    (mine,), (other,) = world.open(world.first), world.open(world.second)
    for condition in (Condition.DOWN, Condition.EJECTED, Condition.UP):
        world.put(condition)
        world.farewells.look(5.0, DRAIN_S)
        world.farewells.tick()
    assert mine.deadline is None
    world.put(Condition.DRAINING)
    world.farewells.look(10.0, DRAIN_S)
    assert [t.deadline for t in (mine, other)] == [10.0 + DRAIN_S, None]


def test_a_service_that_leaves_by_a_time_of_its_own_gives_it_to_its_tunnels() -> None:
    world = World()
    (tunnel,) = world.open(world.first)
    world.put(Condition.DRAINING, drain_s=600.0)
    world.farewells.look(10.0, DRAIN_S)
    assert tunnel.deadline == 610.0


def test_tunnels_of_an_instance_that_is_gone_are_told() -> None:
    world = World()
    (tunnel,) = world.open(world.first)
    world.known = False
    world.farewells.look(1.0, DRAIN_S)
    assert tunnel.deadline == 1.0 + DRAIN_S


def test_a_tunnel_that_begins_on_an_instance_that_leaves_already_is_told() -> None:
    world = World()
    world.put(Condition.DRAINING)
    world.farewells.look(1.0, DRAIN_S)
    (tunnel,) = world.open(world.first)
    assert tunnel.deadline == 100.0 + DRAIN_S


def test_the_deadline_begins_once_and_later_snapshots_do_not_move_it() -> None:
    world = World()
    world.open(world.first)
    world.put(Condition.DRAINING)
    world.farewells.look(10.0, DRAIN_S)
    world.farewells.look(20.0, DRAIN_S)
    (late,) = world.open(world.first)
    world.farewells.tick()
    assert late.deadline == 10.0 + DRAIN_S


def test_many_are_told_at_a_pace_and_all_in_half_of_the_time() -> None:
    world = World()
    tunnels = world.open(world.first, 100 * A_TICK)
    world.put(Condition.DRAINING)
    world.farewells.look(0.0, 4.0)
    told = [sum(t.deadline is not None for t in tunnels)]
    while told[-1] < len(tunnels):
        world.farewells.tick()
        told.append(sum(t.deadline is not None for t in tunnels))
    assert max(b - a for a, b in itertools.pairwise(told)) <= 5 * A_TICK
    assert len(told) * TICK_S <= 2.0 + TICK_S


def test_what_is_resumed_or_over_before_its_turn_is_left_alone() -> None:
    world = World()
    tunnels = world.open(world.first, 3 * A_TICK)
    world.put(Condition.DRAINING)
    world.farewells.look(0.0, DRAIN_S)
    for tunnel in tunnels[A_TICK : 2 * A_TICK]:
        world.farewells.closed(cast(Tunnel, tunnel))
    world.farewells.tick()
    world.put(Condition.UP)
    world.farewells.look(1.0, DRAIN_S)
    world.farewells.tick()
    assert [t.deadline is None for t in tunnels] == [False] * A_TICK + [True] * (2 * A_TICK)


def test_a_worker_that_leaves_tells_all_by_the_nearer_deadline() -> None:
    world = World()
    (mine,), (other,) = world.open(world.first), world.open(world.second)
    world.put(Condition.DRAINING)
    world.farewells.look(0.0, DRAIN_S)
    world.farewells.all(0.0, 7.0)
    assert (mine.deadline, other.deadline) == (7.0, 7.0)
    (late,) = world.open(world.second)
    world.farewells.tick()
    assert late.deadline == 7.0


def test_at_the_end_whatever_is_open_is_cut_and_counted() -> None:
    world = World()
    tunnels = world.open(world.first, 2) + world.open(world.second)
    assert world.farewells.cut() == 3
    assert all(t.is_cut for t in tunnels)
