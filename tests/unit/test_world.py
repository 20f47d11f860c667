"""From snapshot to snapshot: what is kept, what is rebuilt, what is let go."""

from collections import Counter
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.model import BalancerName, InstanceId, RouteId
from gateway.core.snapshot import (
    EMPTY,
    Condition,
    Snapshot,
    SnapshotService,
    delta_from_wire,
    delta_to_wire,
    diff,
    patch,
    whole,
)
from gateway.routing.decision import Verdict
from gateway.routing.pool import Pool
from gateway.routing.service import InstanceState, ServiceState
from gateway.routing.table import Miss
from gateway.routing.world import World
from tests.support.worlds import (
    DOWN,
    DRAINING,
    EJECTED,
    KEY,
    OTHER_KEY,
    UP,
    a_route,
    a_service,
    a_snapshot,
    a_world,
    an_instance,
    service_id,
    the_pool,
)


def copy_of(snapshot: Snapshot) -> Snapshot:
    """Equal, but of other objects, as when the control process sends everything again."""
    return patch(EMPTY, delta_from_wire(delta_to_wire(whole(snapshot))))


def service_of(world: World, name: str) -> ServiceState:
    return world.services[service_id(name)]


def instance_of(world: World, id: str) -> InstanceState:
    found = world.instance(InstanceId(id))
    assert found is not None
    return found


def with_service(snapshot: Snapshot, service: SnapshotService) -> Snapshot:
    return replace(snapshot, services={**snapshot.services, service.id: service})


def two_hosts() -> Snapshot:
    return a_snapshot(
        [a_route({"v1": 3, "v2": 1}, "one.example"), a_route({"v3": 1}, "two.example")],
        [a_service("v1", UP, UP), a_service("v2", UP), a_service("v3", UP)],
    )


# -- what is kept


def test_an_unchanged_route_keeps_its_pool_even_if_it_comes_as_another_object() -> None:
    first = two_hosts()
    world = a_world(first)
    pools = dict(world.pools)
    instances = {i.id: i for s in world.services.values() for i in s.instances}
    retired = world.apply(copy_of(first))
    assert not retired.instances
    assert world.pools == pools
    assert all(world.instance(id) is state for id, state in instances.items())


def test_only_the_route_that_changed_gets_a_new_pool() -> None:
    first = two_hosts()
    world = a_world(first)
    before = dict(world.pools)
    changed = a_route({"v1": 1, "v2": 1}, "one.example")
    world.apply(replace(first, routes={**first.routes, changed.id: changed}))
    assert world.pools[changed.id] is not before[changed.id]
    assert the_pool(world, "one.example").route is changed
    assert world.pools[RouteId("two.example")] is before[RouteId("two.example")]


def test_an_instance_keeps_its_counts_over_generations() -> None:
    first = two_hosts()
    world = a_world(first)
    state = instance_of(world, "v1-0")
    state.in_flight, state.failures = 3, 2
    state.upstreams[80] = "a connection"
    world.apply(with_service(first, a_service("v1", UP, DOWN, UP)))
    assert instance_of(world, "v1-0") is state
    assert (state.in_flight, state.failures, state.upstreams) == (3, 2, {80: "a connection"})


def test_a_balancer_goes_on_where_it_was_unless_it_is_another_one() -> None:
    snapshot = a_snapshot([], [a_service("v1", UP, UP, UP)])
    world = a_world(snapshot)
    picked = []
    for conditions in ((UP, UP, UP), (UP, UP, UP, DOWN), (UP, UP, UP, DRAINING)):
        world.apply(with_service(snapshot, a_service("v1", *conditions)))
        picked.append(service_of(world, "v1").pick())
    assert picked == list(service_of(world, "v1").instances[:3])

    least = a_service("v1", UP, UP, balancer=BalancerName.LEAST_REQUESTS)
    world.apply(with_service(snapshot, least))
    instance_of(world, "v1-0").in_flight = 1
    assert {service_of(world, "v1").pick() for _ in range(4)} == {instance_of(world, "v1-1")}


def test_a_delta_leads_to_the_same_world_as_a_look_at_everything() -> None:
    """Whatever came before: what is told differs from what is found in nothing."""
    routes = [
        a_route({"v1": w, "v2": 1}, host) for w in (0, 3) for host in ("a.example", "b.example")
    ]
    services = [a_service(name, *of) for name in ("v1", "v2") for of in ((UP, UP), (UP,), (DOWN,))]
    drawn = Random(5)
    told, looking = a_world(EMPTY), a_world(EMPTY)
    at = EMPTY
    for generation in range(1, 300):
        new = replace(
            a_snapshot(drawn.sample(routes, 2), drawn.sample(services, drawn.randint(0, 3))),
            generation=generation,
            keys=drawn.choice([(KEY,), (OTHER_KEY, KEY)]),
        )
        delta = diff(at, new)
        at = patch(at, delta)
        retired = [told.apply(at, delta), looking.apply(at)]
        assert retired[0].services == retired[1].services
        assert retired[0].routes == retired[1].routes
        assert sorted(i.id for i in retired[0].instances) == sorted(
            i.id for i in retired[1].instances
        )
        assert picture(told) == picture(looking)


@pytest.mark.parametrize("base", [0, 4, 6])
def test_a_delta_on_top_of_another_snapshot_is_not_believed(base: int) -> None:
    first = replace(two_hosts(), generation=5)
    world = a_world(first)
    changed = a_route({"v1": 1, "v2": 1}, "one.example")
    second = replace(first, generation=7, routes={changed.id: changed})
    world.apply(second, replace(diff(first, first), base=base, generation=7))
    assert the_pool(world, "one.example").route is changed
    assert list(world.pools) == [changed.id]


def picture(world: World) -> object:
    """All that a request or a sweep may notice."""
    return (
        {id: pool.route for id, pool in world.pools.items()},
        {
            id: (
                [(i.id, i.condition, i.usable) for i in service.instances],
                sorted(pool.route.id for pool in service.pools),
            )
            for id, service in world.services.items()
        },
        {id: the_pool(world, pool.route.host) is pool for id, pool in world.pools.items()},
        world.has_limits,
    )


# -- what is let go


def test_what_is_gone_is_told_and_forgotten() -> None:
    world = a_world(two_hosts())
    gone = instance_of(world, "v3-0")
    left = [a_route({"v1": 3, "v2": 1}, "one.example")]
    retired = world.apply(a_snapshot(left, [a_service("v1", UP), a_service("v2", UP)]))
    assert {i.id for i in retired.instances} == {"v1-1", "v3-0"}
    assert retired.services == ("-/v3",)
    assert world.table.match(b"two.example", b"/", True) is Miss.UNKNOWN_HOST
    assert world.instance(gone.id) is None
    assert not gone.usable
    assert service_id("v3") not in world.services
    assert not world.eject(gone, 10.0)


def test_everything_can_go_and_come_back() -> None:
    first = two_hosts()
    world = a_world(first, EMPTY)
    assert not world.pools
    assert not world.services
    world.apply(first)
    assert the_pool(world, "one.example").decide(None, None).verdict is Verdict.OK


def test_an_instance_at_another_address_is_another_instance() -> None:
    world = a_world(two_hosts())
    old = instance_of(world, "v3-0")
    old.failures = 4
    moved = replace(a_service("v3", UP), instances=(an_instance("v3-0", port=9999),))
    retired = world.apply(with_service(two_hosts(), moved))
    new = instance_of(world, "v3-0")
    assert retired.instances == (old,)
    assert (new.port, new.failures, new.usable, old.usable) == (9999, 0, True, False)
    assert service_of(world, "v3").pick() is new


def test_a_client_pinned_to_an_instance_that_changed_its_address_finds_it() -> None:
    world = a_world(two_hosts())
    pool = the_pool(world, "two.example")
    header = pool.set_cookie(pool.services[0], instance_of(world, "v3-0"), False)
    assert pool.decide(header.partition(b";")[0], None).pinned is instance_of(world, "v3-0")
    moved = replace(a_service("v3", UP), instances=(an_instance("v3-0", port=9999),))
    world.apply(with_service(two_hosts(), moved))
    assert the_pool(world, "two.example") is pool
    decision = the_pool(world, "two.example").decide(header.partition(b";")[0], None)
    assert decision.pinned is instance_of(world, "v3-0")


def test_metric_handles_of_a_service_go_with_it_and_with_its_route() -> None:
    first = two_hosts()
    world = a_world(first)
    pool = the_pool(world, "one.example")
    pool.series[service_id("v1")] = pool.series[service_id("v2")] = "handle"
    world.apply(replace(first, services={k: s for k, s in first.services.items() if k != "-/v2"}))
    assert the_pool(world, "one.example").series == {service_id("v1"): "handle"}


def test_a_member_may_come_to_the_snapshot_after_its_route() -> None:
    route = a_route({"v1": 1})
    world = a_world(a_snapshot([route], []))
    pool = the_pool(world)
    assert pool.decide(None, None).verdict is Verdict.NO_HEALTHY_INSTANCE
    world.apply(a_snapshot([route], [a_service("v1", UP)]))
    assert the_pool(world) is pool
    assert pool.decide(None, None).verdict is Verdict.OK
    world.apply(a_snapshot([route], []))
    assert pool.decide(None, None).verdict is Verdict.NO_HEALTHY_INSTANCE
    world.apply(a_snapshot([route], [a_service("v1", UP)]))
    assert pool.decide(None, None).verdict is Verdict.OK
    world.apply(EMPTY)
    assert not world.services


# -- what a change of a service marks


def marked(world: World) -> set[str]:
    return {id for id, pool in world.pools.items() if pool.stale}


def settle(world: World) -> None:
    for pool in world.pools.values():
        pool.decide(None, None)


@pytest.fixture
def shared() -> World:
    """v1 on 20 routes, v2 on 20 others."""
    world = a_world(
        a_snapshot(
            [a_route({"v1": 1}, f"a{n}.example") for n in range(20)]
            + [a_route({"v2": 1}, f"b{n}.example") for n in range(20)],
            [a_service("v1", UP, UP), a_service("v2", UP, UP)],
        )
    )
    settle(world)
    return world


@pytest.mark.parametrize(
    "conditions", [(DOWN, DOWN), (DRAINING, DOWN), (UP,), (UP, UP, UP)], ids=str
)
def test_only_routes_of_a_service_are_rebuilt_when_it_changes(
    shared: World, conditions: tuple[Condition, ...]
) -> None:
    shared.apply(with_service(shared.snapshot, a_service("v1", *conditions)))
    assert marked(shared) == {f"a{n}.example" for n in range(20)}


@pytest.mark.parametrize("conditions", [(UP, DOWN), (EJECTED, UP), (EJECTED, EJECTED)], ids=str)
def test_no_route_is_rebuilt_while_its_services_stay_usable(
    shared: World, conditions: tuple[Condition, ...]
) -> None:
    shared.apply(with_service(shared.snapshot, a_service("v1", *conditions)))
    assert marked(shared) == set()


def test_an_ejection_rebuilds_no_route(shared: World) -> None:
    assert shared.eject(instance_of(shared, "v1-0"), 10.0)
    shared.tick(10.0)
    assert marked(shared) == set()


def test_rotated_keys_rebuild_all_routes(shared: World) -> None:
    shared.apply(replace(shared.snapshot, keys=(OTHER_KEY, KEY)))
    assert len(marked(shared)) == 40


def test_ten_thousand_routes_with_one_change_touch_one() -> None:
    routes = {r.id: r for r in (a_route({"v1": 1}, f"h{n}.example") for n in range(10_000))}
    first = replace(a_snapshot([], [a_service("v1", UP)]), routes=routes)
    world = a_world(first)
    pools = list(world.pools.values())
    changed = a_route({"v1": 2}, "h77.example")
    world.apply(replace(first, routes={**routes, changed.id: changed}))
    others = [b for a, b in zip(pools, world.pools.values(), strict=True) if a is not b]
    assert others == [the_pool(world, "h77.example")]


# -- ejection


def test_an_ejected_instance_gets_nothing_until_its_time_is_over() -> None:
    world = a_world(a_snapshot([], [a_service("v1", UP, UP, UP)]))
    service, bad = service_of(world, "v1"), instance_of(world, "v1-1")
    assert world.eject(bad, 10.0)
    assert bad not in {service.pick() for _ in range(9)}
    world.tick(9.9)
    assert bad not in service.candidates
    world.tick(10.0)
    assert bad in service.candidates
    assert Counter(service.pick() for _ in range(9))[bad] == 3


@given(
    conditions=st.lists(st.sampled_from(list(Condition)), min_size=1, max_size=8),
    order=st.lists(st.integers(0, 7), max_size=20),
)
@settings(deadline=None, max_examples=150)
def test_the_panic_rule_leaves_at_least_half_of_what_passes_its_checks(
    conditions: list[Condition], order: list[int]
) -> None:
    world = a_world(a_snapshot([], [a_service("v1", *conditions)]))
    service = service_of(world, "v1")
    in_play = sum(c in (UP, EJECTED) for c in conditions)
    for n in order:
        instance = service.instances[n % len(service.instances)]
        healthy = [i for i in service.instances if i.healthy]
        allowed = instance in healthy and (in_play - len(healthy) + 1) * 2 <= in_play
        usable = service.candidates
        assert world.eject(instance, 10.0) is allowed
        if not allowed:
            assert service.candidates == usable
        if healthy:
            assert any(i.healthy for i in service.instances)
        assert bool(service.candidates) is bool(in_play)
        assert all(i.usable is (i in service.candidates) for i in service.instances)
        assert all(i.in_play for i in service.candidates)


@pytest.mark.parametrize(("count", "ejected"), [(1, 0), (2, 1), (3, 1), (4, 2), (5, 2)])
def test_at_most_half_of_a_service_is_ejected(count: int, ejected: int) -> None:
    world = a_world(a_snapshot([], [a_service("v1", *[UP] * count)]))
    assert sum(world.eject(i, 1.0) for i in service_of(world, "v1").instances) == ejected


def test_instances_that_are_down_do_not_count_as_the_half_that_is_left() -> None:
    world = a_world(a_snapshot([], [a_service("v1", UP, UP, DOWN, DRAINING)]))
    assert world.eject(instance_of(world, "v1-0"), 1.0)
    assert not world.eject(instance_of(world, "v1-1"), 1.0)


def test_ejected_instances_serve_again_when_the_others_fail_their_checks() -> None:
    first = a_snapshot([a_route({"v1": 1})], [a_service("v1", UP, UP)])
    world = a_world(first)
    world.eject(instance_of(world, "v1-0"), 100.0)
    world.apply(with_service(first, a_service("v1", UP, DOWN)))
    assert the_pool(world).decide(None, None).verdict is Verdict.OK
    assert service_of(world, "v1").pick() is instance_of(world, "v1-0")


def test_an_ejection_survives_generations_and_ends_in_time() -> None:
    first = a_snapshot([], [a_service("v1", UP, UP)])
    world = a_world(first)
    world.eject(instance_of(world, "v1-0"), 10.0)
    world.apply(with_service(first, a_service("v1", EJECTED, UP)))
    world.apply(with_service(first, a_service("v1", UP, UP)))
    assert not instance_of(world, "v1-0").usable
    world.tick(10.0)
    assert instance_of(world, "v1-0").usable


def test_an_instance_that_failed_its_checks_comes_back_with_a_clean_slate() -> None:
    first = a_snapshot([], [a_service("v1", UP, UP)])
    world = a_world(first)
    world.eject(instance_of(world, "v1-0"), 1000.0)
    world.apply(with_service(first, a_service("v1", DOWN, UP)))
    world.apply(with_service(first, a_service("v1", UP, UP)))
    state = instance_of(world, "v1-0")
    assert (state.usable, state.ejections, state.failures) == (True, 0, 0)
    assert world.eject(state, 2000.0)
    world.tick(1500.0)
    assert not state.usable


# -- any history


@given(
    history=st.lists(
        st.dictionaries(
            st.sampled_from(["v1", "v2", "v3"]),
            st.tuples(
                st.lists(st.sampled_from(list(Condition)), max_size=3),
                st.dictionaries(st.sampled_from(["a.example", "*.example"]), st.integers(0, 3)),
            ),
        ),
        min_size=1,
        max_size=6,
    ),
    seed=st.integers(0, 100),
)
@settings(deadline=None, max_examples=100)
def test_a_world_with_a_past_decides_what_a_new_world_could(
    history: list[dict[str, tuple[list[Condition], dict[str, int]]]], seed: int
) -> None:
    """After any history: the same routes, usable instances and possible services."""
    world, random = a_world(), Random(seed)
    for generation, content in enumerate(history):
        weights: dict[str, dict[str, int]] = {}
        for name, (_, claims) in content.items():
            for host, weight in claims.items():
                weights.setdefault(host, {})[name] = weight
        snapshot = a_snapshot(
            [a_route(w, host) for host, w in weights.items()],
            [a_service(name, *conditions) for name, (conditions, _) in content.items()],
            generation=generation,
        )
        world.apply(snapshot)
        if random.random() < 0.5:
            settle(world)
    new = a_world(snapshot)
    assert world.pools.keys() == new.pools.keys()
    assert world.services.keys() == new.services.keys()
    for sid, service in new.services.items():
        old = world.services[sid]
        assert [i.id for i in old.candidates] == [i.id for i in service.candidates]
        assert {p.route.id for p in old.pools} == {p.route.id for p in service.pools}
    for rid in new.pools:
        assert outcomes(world.pools[rid]) == outcomes(new.pools[rid])


def outcomes(pool: Pool) -> Counter[tuple[Verdict, str]]:
    """What a common multiple of all possible rounds decides (weights up to 3, 3 members)."""
    decisions = [pool.decide(None, None) for _ in range(2520)]
    return Counter((d.verdict, d.service.id if d.service else "") for d in decisions)
