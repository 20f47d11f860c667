"""One route's decisions: weights, spill, affinity, selectors."""

from collections import Counter
from collections.abc import Iterator
from math import gcd

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.model import AtZero
from gateway.core.snapshot import Condition, SnapshotService
from gateway.routing.decision import Decision, Sticky, Verdict
from gateway.routing.pool import Pool
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
    pool_of,
    the_pool,
)


def draws(pool: Pool, count: int, cookies: bytes | None = None) -> Iterator[Decision]:
    return (pool.decide(cookies, None) for _ in range(count))


def name(decision: Decision) -> str:
    return decision.service.name if decision.service else ""


def names(pool: Pool, count: int) -> Counter[str]:
    return Counter(name(d) for d in draws(pool, count))


def cookie(pool: Pool, service: str, instance: int = 0) -> bytes:
    (state,) = (s for s in pool.services if s.name == service)
    return pool.set_cookie(state, state.instances[instance], False).partition(b";")[0]


def one_each(*names: str, condition: Condition = UP) -> list[SnapshotService]:
    return [a_service(name, condition) for name in names]


# -- weights


@given(
    weights=st.lists(st.integers(0, 40), min_size=1, max_size=6),
    alive=st.lists(st.booleans(), min_size=6, max_size=6),
    slot=st.integers(0, 31),
    spill=st.booleans(),
)
@settings(deadline=None, max_examples=120)
def test_a_full_round_is_exact_whatever_is_down(
    weights: list[int], alive: list[bool], slot: int, spill: bool
) -> None:
    named = {f"v{n}": w for n, w in enumerate(weights)}
    up = {f"v{n}" for n in range(len(weights)) if alive[n]}
    services = [a_service(n, UP if n in up else DOWN) for n in named]
    pool = pool_of(a_route(named, spill=spill), *services, slot=slot)

    total = sum(weights)
    left = {n: w for n, w in named.items() if w and n in up}
    if not total:
        assert pool.decide(None, None).verdict is Verdict.NO_SERVICE
    elif spill and left:
        decisions = list(draws(pool, total * sum(left.values())))
        assert {d.verdict for d in decisions} == {Verdict.OK}
        assert Counter(map(name, decisions)) == {n: w * total for n, w in left.items()}
        lost = total - sum(left.values())
        assert sum(d.spilled for d in decisions[:total]) == lost
    else:
        decisions = list(draws(pool, total))
        assert Counter(map(name, decisions)) == {n: w for n, w in named.items() if w}
        assert not any(d.spilled for d in decisions)
        for decision in decisions:
            assert (decision.verdict is Verdict.OK) is (name(decision) in up)


@given(
    weights=st.lists(st.integers(0, 20), min_size=2, max_size=4),
    steps=st.lists(st.tuples(st.integers(0, 3), st.sampled_from([UP, DOWN]), st.integers(0, 9))),
    slot=st.integers(0, 7),
)
@settings(deadline=None, max_examples=60)
def test_a_schedule_rebuilt_on_health_is_exact_over_its_next_round(
    weights: list[int], steps: list[tuple[int, Condition, int]], slot: int
) -> None:
    named = {f"v{n}": w for n, w in enumerate(weights)}
    route = a_route(named)
    conditions = dict.fromkeys(named, UP)
    world = a_world(slot=slot)
    for member, condition, few in [(0, UP, 0), *steps]:
        conditions[f"v{member % len(weights)}"] = condition
        world.apply(a_snapshot([route], [a_service(n, c) for n, c in conditions.items()]))
        pool = the_pool(world)
        left = {n: w for n, w in named.items() if w and conditions[n] is UP}
        divisor = gcd(*left.values()) if left else 1
        expected = {n: w // divisor for n, w in left.items()}
        if left:
            assert names(pool, sum(expected.values())) == expected
        list(draws(pool, few))


def test_a_service_of_weight_zero_is_no_failover() -> None:
    pool = pool_of(a_route({"v1": 100, "v2": 0}), a_service("v1", DOWN), a_service("v2", UP))
    decision = pool.decide(None, None)
    assert decision.verdict is Verdict.NO_HEALTHY_INSTANCE
    assert name(decision) == "v1"


def test_a_route_without_members_has_no_service() -> None:
    assert pool_of(a_route({})).decide(None, None).verdict is Verdict.NO_SERVICE


def test_a_member_that_the_snapshot_does_not_know_has_no_instance() -> None:
    pool = pool_of(a_route({"v1": 1, "v2": 1}), a_service("v1", UP))
    assert names(pool, 10) == {"v1": 10}


@pytest.mark.parametrize("condition", [DRAINING, DOWN])
def test_a_draining_or_dead_service_gets_nothing_new(condition: Condition) -> None:
    pool = pool_of(a_route({"v1": 1, "v2": 1}), a_service("v1", condition), a_service("v2", UP))
    assert names(pool, 10) == {"v2": 10}


def test_ejected_instances_are_used_when_there_is_nothing_better() -> None:
    pool = pool_of(a_route({"v1": 1}), a_service("v1", EJECTED, DOWN, DRAINING))
    decision = pool.decide(None, None)
    assert decision.service is not None
    assert decision.service.pick() is decision.service.instances[0]


def test_huge_weights_keep_their_ratio() -> None:
    pool = pool_of(a_route({"v1": 1_000_000, "v2": 999_999}), *one_each("v1", "v2"))
    counts = names(pool, 1000)
    assert abs(counts["v1"] - counts["v2"]) <= 2


# -- keeping the place


def test_a_generation_that_leaves_the_weights_alone_goes_on_in_the_round() -> None:
    services = one_each("v1", "v2", "v3")
    weights = {"v1": 7, "v2": 2, "v3": 1}
    world = a_world(a_snapshot([a_route(weights)], services))
    counts: Counter[str] = Counter()
    for generation in range(10):
        route = a_route(weights, selectors=generation % 2 == 0)
        world.apply(a_snapshot([route], services, generation=generation + 2))
        counts += names(the_pool(world), 1)
    assert counts == weights


def test_the_place_in_a_long_round_is_kept_too() -> None:
    services = one_each("v1", "v2", "v3")
    weights = {"v1": 2503, "v2": 491, "v3": 6}
    world = a_world()
    counts: Counter[str] = Counter()
    for generation in range(6):
        world.apply(a_snapshot([a_route(weights, selectors=generation % 2 == 0)], services))
        counts += names(the_pool(world), 500)
    assert counts == weights


def test_changes_after_every_few_requests_do_not_starve_a_rare_member() -> None:
    """A schedule that began anew at every change would serve the same beginning for ever."""
    services = one_each("v1", "v2", "v3")
    world = a_world()
    counts: Counter[str] = Counter()
    for turn in range(200):
        services[2] = a_service("v3", DOWN if turn % 2 else UP)
        world.apply(a_snapshot([a_route({"v1": 95, "v2": 4, "v3": 1})], services))
        counts += names(the_pool(world), 2 + turn % 7)
    assert 0.03 <= counts["v2"] / counts.total() <= 0.06


def test_workers_do_not_serve_a_rare_member_all_at_the_same_time() -> None:
    pools = [pool_of(a_route({"v1": 99, "v2": 1}), *one_each("v1", "v2"), slot=s) for s in range(4)]
    counts = sum((names(pool, 30) for pool in pools), Counter[str]())
    assert 1 <= counts["v2"] <= 2


# -- affinity


@pytest.fixture
def world() -> World:
    return a_world(
        a_snapshot(
            [a_route({"v1": 50, "v2": 50})], [a_service("v1", UP, UP), a_service("v2", UP, UP)]
        )
    )


def change(
    world: World, weights: dict[str, int], *services: SnapshotService, **policy: object
) -> Pool:
    world.apply(a_snapshot([a_route(weights, **policy)], services))  # type: ignore[arg-type]
    return the_pool(world)


def test_a_new_client_is_drawn_and_gets_a_cookie(world: World) -> None:
    decision = the_pool(world).decide(None, None)
    assert (decision.sticky, decision.renew, decision.pinned) == (Sticky.NEW, True, None)


@pytest.mark.parametrize("service", ["v1", "v2"])
@pytest.mark.parametrize("instance", [0, 1])
def test_a_client_keeps_its_service_and_instance(world: World, service: str, instance: int) -> None:
    pool = the_pool(world)
    for decision in draws(pool, 5, cookie(pool, service, instance)):
        assert decision.sticky is Sticky.HIT
        assert decision.pinned is not None
        assert decision.pinned.id == f"{service}-{instance}"
        assert not decision.renew


def test_clients_that_stay_take_no_turns_from_the_draw(world: World) -> None:
    pool = the_pool(world)
    pinned = cookie(pool, "v1")
    got = Counter(name(pool.decide(c, None)) for c in [None, pinned] * 10)
    assert got == {"v1": 15, "v2": 5}


def test_new_weights_do_not_move_clients(world: World) -> None:
    pinned = cookie(the_pool(world), "v1", 1)
    services = a_service("v1", UP, UP), a_service("v2", UP, UP)
    pool = change(world, {"v1": 1, "v2": 999}, *services)
    assert pool.decide(pinned, None).sticky is Sticky.HIT


def test_at_weight_zero_a_service_keeps_its_clients_and_takes_no_new_ones(world: World) -> None:
    pinned = cookie(the_pool(world), "v1")
    services = a_service("v1", UP, UP), a_service("v2", UP, UP)
    pool = change(world, {"v1": 0, "v2": 1}, *services, at_zero=AtZero.DRAIN)
    decision = pool.decide(pinned, None)
    assert (name(decision), decision.sticky) == ("v1", Sticky.HIT)
    assert names(pool, 20) == {"v2": 20}


def test_a_route_without_any_weight_still_serves_the_clients_it_has(world: World) -> None:
    pinned = cookie(the_pool(world), "v1")
    services = a_service("v1", UP, UP), a_service("v2", UP, UP)
    pool = change(world, {"v1": 0, "v2": 0}, *services)
    assert pool.decide(pinned, None).verdict is Verdict.OK
    assert pool.decide(None, None).verdict is Verdict.NO_SERVICE


def test_at_weight_zero_with_evict_clients_are_drawn_anew(world: World) -> None:
    pinned = cookie(the_pool(world), "v1")
    services = a_service("v1", UP, UP), a_service("v2", UP, UP)
    pool = change(world, {"v1": 0, "v2": 1}, *services, at_zero=AtZero.EVICT)
    decision = pool.decide(pinned, None)
    assert (name(decision), decision.sticky, decision.renew) == ("v2", Sticky.NEW, True)
    pool = change(world, {"v1": 1, "v2": 1}, *services, at_zero=AtZero.EVICT)
    assert pool.decide(pinned, None).sticky is Sticky.HIT


@pytest.mark.parametrize(
    "others", [(DOWN, UP), (DRAINING, UP), (EJECTED, UP)], ids=["down", "draining", "ejected"]
)
def test_a_client_of_a_lost_instance_stays_on_its_service(
    world: World, others: tuple[Condition, ...]
) -> None:
    pinned = cookie(the_pool(world), "v1", 0)
    pool = change(world, {"v1": 1, "v2": 9}, a_service("v1", *others), a_service("v2", UP))
    for decision in draws(pool, 5, pinned):
        assert (name(decision), decision.sticky, decision.pinned) == ("v1", Sticky.MOVED, None)
        assert decision.renew
        assert decision.service is not None
        picked = decision.service.pick()
        assert picked is not None
        assert picked.id == "v1-1"


def test_a_client_of_an_instance_that_is_gone_stays_on_its_service(world: World) -> None:
    pinned = cookie(the_pool(world), "v1", 1)
    pool = change(world, {"v1": 1, "v2": 9}, a_service("v1", UP), a_service("v2", UP))
    decision = pool.decide(pinned, None)
    assert (name(decision), decision.sticky) == ("v1", Sticky.MOVED)


def test_when_all_of_a_service_is_ejected_its_clients_stay_where_they_are(world: World) -> None:
    pinned = cookie(the_pool(world), "v1", 1)
    pool = change(world, {"v1": 1, "v2": 9}, a_service("v1", EJECTED, EJECTED), a_service("v2", UP))
    decision = pool.decide(pinned, None)
    assert decision.sticky is Sticky.HIT
    assert decision.pinned is not None
    assert decision.pinned.id == "v1-1"


def test_clients_of_a_dead_service_spill_to_the_others_by_weight(world: World) -> None:
    pinned = cookie(the_pool(world), "v1")
    services = a_service("v1", DOWN, DOWN), *one_each("v2", "v3", "v4")
    pool = change(world, {"v1": 50, "v2": 3, "v3": 1, "v4": 0}, *services)
    decisions = list(draws(pool, 8, pinned))
    assert Counter(map(name, decisions)) == {"v2": 6, "v3": 2}
    assert {(d.sticky, d.spilled, d.renew) for d in decisions} == {(Sticky.MOVED, True, True)}


def test_clients_of_a_dead_service_get_a_503_where_the_route_does_not_spill(world: World) -> None:
    pinned = cookie(the_pool(world), "v1")
    services = a_service("v1", DOWN), a_service("v2", UP)
    pool = change(world, {"v1": 1, "v2": 1}, *services, spill=False)
    decision = pool.decide(pinned, None)
    assert (decision.verdict, name(decision)) == (Verdict.NO_HEALTHY_INSTANCE, "v1")


def test_clients_of_a_dead_service_that_has_no_weight_move_without_spilling(world: World) -> None:
    pinned = cookie(the_pool(world), "v1")
    for spill in (True, False):
        services = a_service("v1", DOWN), a_service("v2", UP)
        pool = change(world, {"v1": 0, "v2": 1}, *services, spill=spill)
        decision = pool.decide(pinned, None)
        assert (name(decision), decision.sticky) == ("v2", Sticky.MOVED)
        assert not decision.spilled


def test_when_everything_is_dead_a_client_gets_a_503(world: World) -> None:
    pinned = cookie(the_pool(world), "v1")
    pool = change(world, {"v1": 1, "v2": 1}, *one_each("v1", "v2", condition=DOWN))
    assert pool.decide(pinned, None).verdict is Verdict.NO_HEALTHY_INSTANCE


def test_clients_of_a_service_that_left_the_route_are_moved_and_drawn(world: World) -> None:
    pinned = cookie(the_pool(world), "v1")
    pool = change(world, {"v2": 1}, a_service("v2", UP))
    decision = pool.decide(pinned, None)
    assert (name(decision), decision.sticky, decision.spilled) == ("v2", Sticky.MOVED, False)
    pool = change(world, {"v2": 1, "v3": 0}, *one_each("v2", "v3"))
    assert pool.decide(pinned, None).sticky is Sticky.MOVED
    pool = change(world, {"v1": 0, "v2": 1}, a_service("v1", UP), a_service("v2", UP))
    assert name(pool.decide(pinned, None)) == "v1"


def test_the_services_that_left_a_route_are_not_remembered_for_ever() -> None:
    world = a_world()
    for n in range(200):
        world.apply(a_snapshot([a_route({f"v{n}": 1})], [a_service(f"v{n}", UP)]))
    assert len(the_pool(world)._former) <= 32


def test_without_affinity_nothing_is_read_or_set() -> None:
    on = pool_of(a_route({"v1": 1, "v2": 1}), *one_each("v1", "v2"))
    off = pool_of(a_route({"v1": 1, "v2": 1}, affinity=False), *one_each("v1", "v2"))
    assert off.cookie_name is None
    decisions = list(draws(off, 10, cookie(on, "v1")))
    assert Counter(map(name, decisions)) == {"v1": 5, "v2": 5}
    assert {(d.sticky, d.renew) for d in decisions} == {(Sticky.OFF, False)}


def test_a_rotation_of_keys_reaches_routes_that_did_not_change() -> None:
    route, services = a_route({"v1": 1}), one_each("v1")
    world = a_world(a_snapshot([route], services, (KEY,)))
    pool = the_pool(world)
    old = cookie(pool, "v1")
    assert pool.decide(old, None).sticky is Sticky.HIT
    world.apply(a_snapshot([route], services, (OTHER_KEY, KEY)))
    assert the_pool(world) is pool
    assert pool.decide(old, None).renew
    assert cookie(pool, "v1") != old


# -- selectors


@pytest.fixture
def previews() -> Pool:
    return pool_of(
        a_route({"v1": 1, "v2": 0, "app/web": 0, "other/web": 0}, selectors=True),
        *one_each("v1", "v2"),
        a_service("web", UP, application="app"),
        a_service("web", DOWN, application="other"),
    )


@pytest.mark.parametrize("selector", [b"v2", b"-/v2"])
def test_a_selector_chooses_a_service_of_weight_zero(previews: Pool, selector: bytes) -> None:
    for decision in (
        previews.decide(None, selector),
        previews.decide(b"a=1; X-Gateway-Service=" + selector, None),
    ):
        assert (name(decision), decision.sticky, decision.renew) == ("v2", Sticky.OFF, False)


def test_the_order_is_header_then_cookie_then_affinity_then_weights(previews: Pool) -> None:
    sticky = cookie(previews, "v1")
    both = b"X-Gateway-Service=v2; " + sticky
    assert previews.decide(both, b"app/web").service is previews.services[2]
    assert name(previews.decide(both, None)) == "v2"
    assert previews.decide(sticky, None).sticky is Sticky.HIT
    assert previews.decide(None, None).sticky is Sticky.NEW


@pytest.mark.parametrize("selector", [b"v9", b"", b"-", b"/", b"V2", b"\xff", b"v1,v2", b"web"])
def test_an_unknown_or_ambiguous_selector_is_refused_in_the_header_and_ignored_in_the_cookie(
    previews: Pool, selector: bytes
) -> None:
    assert previews.decide(None, selector).verdict is Verdict.UNKNOWN_SELECTION
    assert previews.decide(b"X-Gateway-Service=" + selector, None).sticky is Sticky.NEW


def test_a_selected_service_without_usable_instance_does_not_spill(previews: Pool) -> None:
    decision = previews.decide(None, b"other/web")
    assert decision.verdict is Verdict.NO_HEALTHY_INSTANCE
    assert decision.service is previews.services[3]


def test_selected_requests_take_no_turns_from_the_draw() -> None:
    pool = pool_of(a_route({"v1": 1, "v2": 1}, selectors=True), *one_each("v1", "v2"))
    got = Counter(name(pool.decide(None, s)) for s in [None, b"v1"] * 10)
    assert got == {"v1": 15, "v2": 5}


def test_selectors_mean_nothing_where_the_route_does_not_allow_them() -> None:
    pool = pool_of(a_route({"v1": 1, "v2": 0}), *one_each("v1", "v2"))
    assert name(pool.decide(b"X-Gateway-Service=v2", b"v2")) == "v1"
    assert pool.decide(None, b"nobody").verdict is Verdict.OK


# -- ports


def test_a_member_says_which_port_serves_the_route() -> None:
    pool = pool_of(a_route({"v1": 1}, port=8080), a_service("v1", UP))
    assert pool.port_of(pool.services[0]) == 8080
    assert pool.services[0].instances[0].port_for(8080) == 8080
    assert pool.services[0].instances[0].port_for(None) == 9000
