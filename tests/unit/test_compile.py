"""Compilation: what each input means, and that remembering changes nothing but the cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.compile import (
    UNRESOLVED,
    Compiler,
    Defaults,
    condition,
    version_of,
)
from gateway.core.decide import decide
from gateway.core.errors import Refused
from gateway.core.model import (
    AffinityPolicy,
    AtZero,
    Claim,
    Endpoint,
    Health,
    Instance,
    InstanceId,
    Route,
    RouteId,
    RoutePolicy,
    Service,
    ServiceId,
    TimeoutPolicy,
)
from gateway.core.observed import Observed, instances_by_hand
from gateway.core.snapshot import Affinity, Condition, Member, Snapshot, Timeouts
from gateway.core.state import State
from tests.unit.test_decide import a_command

DEFAULTS = Defaults(Affinity(True, "C", 60, AtZero.DRAIN), Timeouts(1.0, 2.0, 3.0))
A = ServiceId("-/a-v1")
NO_POLICY = RoutePolicy()


def world(policy: RoutePolicy = NO_POLICY, host: str = "x.y") -> State:
    service = Service(
        "-", "a-v1", (Claim(host, "/p", 8080),), endpoints=(Endpoint("10.0.0.1", 80),)
    )
    route = Route(host, "/p", {A: 7}, policy)
    return State(revision=4, services={A: service}, routes={route.id: route})


def seen(state: State, health: Health | None = Health.HEALTHY) -> Observed:
    instances = {sid: instances_by_hand(s) for sid, s in state.services.items()}
    known = {i.id: health for found in instances.values() for i in found if health is not None}
    return Observed(instances, known)


def compiled(state: State, observed: Observed | None = None) -> Snapshot:
    return Compiler().compile(state, observed or seen(state), DEFAULTS, 9, 1.5)


# --- routes ---------------------------------------------------------------------------------


def test_a_route_without_a_policy_has_the_defaults() -> None:
    snapshot = compiled(world())
    assert (snapshot.generation, snapshot.revision, snapshot.created) == (9, 4, 1.5)
    route = snapshot.routes[RouteId("x.y/p")]
    assert route.members == (Member(A, 7, 8080),)
    assert (route.affinity, route.timeouts) == (DEFAULTS.affinity, DEFAULTS.timeouts)
    assert (route.internal, route.selectors, route.spill) == (False, False, True)


def test_a_policy_overrides_field_by_field_and_zero_is_not_unset() -> None:
    policy = RoutePolicy(
        AffinityPolicy(enabled=False, at_zero=AtZero.EVICT),
        TimeoutPolicy(idle_stream_s=0.0),
        spill=False,
    )
    route = compiled(world(policy)).routes[RouteId("x.y/p")]
    assert route.affinity == Affinity(False, "C", 60, AtZero.EVICT)
    assert route.timeouts == Timeouts(1.0, 2.0, 0.0)
    assert not route.spill


@pytest.mark.parametrize(
    ("host", "policy", "internal", "selectors"),
    [
        ("a.local", RoutePolicy(), True, True),
        ("*.local", RoutePolicy(), True, True),
        ("local", RoutePolicy(), False, False),
        ("a.local", RoutePolicy(internal=False), False, False),
        ("a.b", RoutePolicy(internal=True), True, True),
        ("a.b", RoutePolicy(internal=True, selectors=False), True, False),
        ("a.b", RoutePolicy(selectors=True), False, True),
    ],
)
def test_local_hosts_are_internal_and_internal_routes_have_selectors(
    host: str, policy: RoutePolicy, internal: bool, selectors: bool
) -> None:
    route = compiled(world(policy, host)).routes[RouteId(f"{host}/p")]
    assert (route.internal, route.selectors) == (internal, selectors)


def test_a_held_route_is_compiled_as_one() -> None:
    state = world()
    (route,) = state.routes.values()
    held = replace(state, routes={route.id: replace(route, is_held=True)})
    assert compiled(held).routes[route.id] == replace(compiled(state).routes[route.id], held=True)


def claimed(members: Mapping[str, tuple[bool, int]], policy: RoutePolicy = NO_POLICY) -> State:
    """A route with members that say whether they are sticky, and their weights."""
    services = {
        (s := Service("-", name, (Claim("other"), Claim("x.y", "/p", sticky=sticky)))).id: s
        for name, (sticky, _) in members.items()
    }
    weights = {ServiceId(f"-/{name}"): weight for name, (_, weight) in members.items()}
    route = Route("x.y", "/p", weights, policy)
    return State(services=services, routes={route.id: route})


def keeps_sessions(state: State, defaults: Defaults = DEFAULTS) -> bool:
    snapshot = Compiler().compile(state, Observed(), defaults, 1, 1.0)
    return snapshot.routes[RouteId("x.y/p")].affinity.enabled


@pytest.mark.parametrize(
    ("members", "keeps"),
    [
        ({}, True),
        ({"a": (True, 1)}, True),
        ({"a": (False, 1)}, False),
        ({"a": (True, 1), "b": (True, 1)}, True),
        ({"a": (True, 1), "b": (False, 1)}, False),
        # who gets no traffic changes nothing for the others' clients
        ({"a": (True, 1), "b": (False, 0)}, True),
        ({"a": (False, 1), "b": (True, 0)}, False),
        ({"a": (True, 0), "b": (False, 0)}, False),
        ({"a": (True, 0), "b": (True, 0)}, True),
    ],
)
def test_a_route_keeps_sessions_unless_a_member_with_weight_does_not_want_them(
    members: dict[str, tuple[bool, int]], keeps: bool
) -> None:
    assert keeps_sessions(claimed(members)) is keeps


@pytest.mark.parametrize("sticky", [True, False])
@pytest.mark.parametrize("enabled", [True, False])
def test_what_the_operator_said_of_sessions_beats_what_templates_say(
    sticky: bool, enabled: bool
) -> None:
    policy = RoutePolicy(AffinityPolicy(enabled=enabled))
    assert keeps_sessions(claimed({"a": (sticky, 1)}, policy)) is enabled


def test_where_the_configuration_keeps_no_sessions_a_template_does_not_bring_them() -> None:
    off = replace(DEFAULTS, affinity=replace(DEFAULTS.affinity, enabled=False))
    assert not keeps_sessions(claimed({"a": (True, 1)}), off)


def test_a_member_that_is_no_service_has_no_say_in_sessions() -> None:
    state = claimed({"a": (True, 1)})
    (route,) = state.routes.values()
    stray = replace(route, weights={**route.weights, ServiceId("-/gone"): 1})
    assert keeps_sessions(replace(state, routes={route.id: stray}))


# --- services ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("serviceA-v2", "v2"),
        ("web-1.2.3", "1.2.3"),
        ("web-v1-2", "2"),
        ("web-v1.rc_1", "v1.rc_1"),
        ("db", "db"),
        ("web-beta", "web-beta"),
    ],
)
def test_the_version_is_the_end_of_the_name(name: str, version: str) -> None:
    assert version_of(name) == version


def test_only_what_passed_its_checks_is_up_and_draining_beats_every_verdict() -> None:
    state = world()
    service = state.services[A]
    instance = instances_by_hand(service)[0]
    up = seen(state)
    ejected = replace(up, ejected=frozenset({instance.id}))
    drained = replace(state, drained=frozenset({instance.id}))
    leaving = replace(service, leaving=True)
    assert condition(state, up, service, instance) is Condition.UP
    assert condition(state, seen(state, None), service, instance) is Condition.DOWN
    assert condition(state, seen(state, Health.UNKNOWN), service, instance) is Condition.DOWN
    assert condition(state, seen(state, Health.UNHEALTHY), service, instance) is Condition.DOWN
    assert condition(state, ejected, service, instance) is Condition.EJECTED
    assert condition(drained, up, service, instance) is Condition.DRAINING
    assert condition(drained, ejected, service, instance) is Condition.DRAINING
    assert condition(state, up, leaving, instance) is Condition.DRAINING
    assert condition(state, up, None, instance) is Condition.DRAINING


def test_an_instance_at_a_name_is_down_until_the_name_led_to_it() -> None:
    state = world()
    instance = Instance(InstanceId("i"), A, "host.example", 80, {8080: 18080})
    observed = Observed({A: (instance,)}, {instance.id: Health.HEALTHY})
    found = compiled(state, observed).services[A].instances[0]
    assert (found.condition, found.host) == (Condition.DOWN, UNRESOLVED)
    resolved = replace(observed, addresses={instance.id: "10.1.1.1"})
    found = compiled(state, resolved).services[A].instances[0]
    assert (found.condition, found.host, found.port_for(8080)) == (Condition.UP, "10.1.1.1", 18080)


# --- remembering ---------------------------------------------------------------------------------


def many(n: int) -> State:
    services = {
        (
            s := Service("-", f"s{i}", (Claim(f"h{i}"),), endpoints=(Endpoint("10.0.0.1", i + 1),))
        ).id: s
        for i in range(n)
    }
    routes = {(r := Route(f"h{i}", "/", {ServiceId(f"-/s{i}"): 1})).id: r for i in range(n)}
    return State(services=services, routes=routes)


def differing(old: Snapshot, new: Snapshot) -> set[str]:
    """Ids of what is not the same object in two snapshots."""
    routes = {k for k in new.routes if old.routes.get(k) is not new.routes[k]}
    services = {k for k in new.services if old.services.get(k) is not new.services[k]}
    return {*routes, *services}


def test_what_did_not_change_is_the_same_object() -> None:
    state, compiler = many(20), Compiler()
    observed = seen(state)
    first = compiler.compile(state, observed, DEFAULTS, 1, 1.0)
    again = compiler.compile(state, observed, DEFAULTS, 2, 2.0)
    assert again.routes is first.routes
    assert again.services is first.services

    route = replace(state.routes[RouteId("h3")], weights={ServiceId("-/s3"): 5})
    weighed = replace(state, routes={**state.routes, route.id: route})
    second = compiler.compile(weighed, observed, DEFAULTS, 3, 3.0)
    assert differing(first, second) == {"h3"}
    assert second.services is first.services

    sick = replace(
        observed, health={**observed.health, InstanceId("s7@10.0.0.1:8"): Health.UNHEALTHY}
    )
    third = compiler.compile(weighed, sick, DEFAULTS, 4, 4.0)
    assert differing(second, third) == {"-/s7"}
    assert third.routes is second.routes


def test_an_equal_input_that_is_another_object_gives_the_same_object() -> None:
    state, compiler = many(3), Compiler()
    first = compiler.compile(state, seen(state), DEFAULTS, 1, 1.0)
    copy = many(3)
    assert not differing(first, compiler.compile(copy, seen(copy), DEFAULTS, 2, 2.0))


def test_a_change_of_stickiness_reaches_the_routes_of_that_claim_only() -> None:
    compiler = Compiler()
    state = claimed({"a": (True, 1), "b": (True, 1)})
    other = Route("other", "/", dict.fromkeys(state.services, 1))
    state = replace(state, routes={**state.routes, other.id: other})
    first = compiler.compile(state, Observed(), DEFAULTS, 1, 1.0)
    changed = claimed({"a": (True, 1), "b": (False, 1)}).services
    second = compiler.compile(replace(state, services=changed), Observed(), DEFAULTS, 2, 2.0)
    assert not second.routes[RouteId("x.y/p")].affinity.enabled
    assert differing(first, second) == {"x.y/p"}
    third = compiler.compile(state, Observed(), DEFAULTS, 3, 3.0)
    assert third.routes[RouteId("x.y/p")].affinity.enabled


def test_other_defaults_reach_every_route() -> None:
    state, compiler = many(3), Compiler()
    compiler.compile(state, seen(state), DEFAULTS, 1, 1.0)
    other = replace(DEFAULTS, timeouts=Timeouts(9, 9, 9))
    snapshot = compiler.compile(state, seen(state), other, 2, 2.0)
    assert {r.timeouts.connect_s for r in snapshot.routes.values()} == {9}


def test_one_service_with_thousands_of_claims_compiles_in_linear_time() -> None:
    claims = tuple(Claim(f"h{i}", "/", 8000 + i % 7) for i in range(5_000))
    service = Service("-", "s", claims)
    routes = {(r := Route(c.host, "/", {service.id: 1})).id: r for c in claims}
    state = State(services={service.id: service}, routes=routes)
    snapshot = compiled(state)  # quadratic: 25 million steps, a matter of seconds
    assert snapshot.routes[RouteId("h10")].members[0].port == 8003


observations = st.builds(
    lambda health, ejected: (health, ejected),
    st.dictionaries(
        st.tuples(st.sampled_from("abc"), st.integers(80, 82)), st.sampled_from(Health), max_size=5
    ),
    st.sets(st.tuples(st.sampled_from("abc"), st.integers(80, 82)), max_size=3),
)


def instance_at(where: tuple[str, int]) -> InstanceId:
    return InstanceId(f"{where[0]}@10.0.0.1:{where[1]}")


@settings(deadline=None, max_examples=100)
@given(st.lists(st.one_of(a_command, observations), max_size=20))
def test_a_compiler_with_a_past_and_one_without_agree(steps: list[object]) -> None:
    state, observed, compiler = State(), Observed(), Compiler()
    for step in steps:
        if isinstance(step, tuple):
            health, ejected = step
            observed = replace(
                observed,
                health={instance_at(w): h for w, h in health.items()},
                ejected=frozenset(map(instance_at, ejected)),
            )
        else:
            try:
                state = decide(state, step, observed).state  # type: ignore[arg-type]
            except Refused:
                continue
            observed = replace(observed, instances=seen(state).instances)
        incremental = compiler.compile(state, observed, DEFAULTS, 1, 1.0)
        assert incremental == Compiler().compile(state, observed, DEFAULTS, 1, 1.0)
        members = {m.service for r in incremental.routes.values() for m in r.members}
        assert members <= {sid for sid, s in state.services.items() if not s.leaving}
        assert incremental.services.keys() == state.services.keys()
