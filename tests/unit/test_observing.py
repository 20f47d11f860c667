"""Reports become the observed world: verdicts, addresses, ejections and the panic rule."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from admin.observing import EjectionReport, HealthReport, Observing
from admin.providers.static import StaticProvider
from gateway.core.compile import UNRESOLVED, Compiler, condition
from gateway.core.model import Endpoint, Health, InstanceId, Service, ServiceId
from gateway.core.snapshot import Condition
from gateway.core.state import State
from tests.unit.test_compile import DEFAULTS

A = ServiceId("-/a")


def world(count: int, host: str = "10.0.0.1") -> State:
    endpoints = tuple(Endpoint(host, port) for port in range(1, count + 1))
    return State(services={A: Service("-", "a", (), endpoints=endpoints)})


def instance(port: int, host: str = "10.0.0.1") -> InstanceId:
    return InstanceId(f"a@{host}:{port}")


def observing(state: State, health: Health = Health.HEALTHY) -> Observing:
    made = Observing()
    made.take_instances(StaticProvider().instances(state.services))
    ids = [i.id for i in made.observed.instances[A]]
    made.take_reports([HealthReport(i, health) for i in ids], state)
    return made


def conditions(made: Observing, state: State) -> list[Condition]:
    service = state.services[A]
    return [condition(state, made.observed, service, i) for i in made.observed.instances[A]]


@pytest.mark.parametrize(("count", "most"), [(1, 0), (2, 1), (3, 1), (4, 2), (5, 2)])
def test_at_most_half_of_a_service_is_ejected_and_never_the_last(count: int, most: int) -> None:
    state = world(count)
    made = observing(state)
    made.take_reports([EjectionReport(instance(p), 50.0) for p in range(1, count + 1)], state)
    assert conditions(made, state).count(Condition.EJECTED) == most


def test_only_instances_that_pass_their_checks_count_for_the_panic_rule() -> None:
    state = world(4)
    made = observing(state)
    made.take_reports([HealthReport(instance(p), Health.UNHEALTHY) for p in (1, 2, 3)], state)
    made.take_reports([EjectionReport(instance(4), 50.0)], state)
    assert made.observed.ejected == frozenset()
    drained = replace(state, drained=frozenset({instance(2), instance(3), instance(4)}))
    made = observing(state)
    made.take_reports([EjectionReport(instance(1), 50.0)], drained)
    assert made.observed.ejected == frozenset()


def test_an_ejection_ends_when_its_time_is_over_and_a_longer_one_prolongs_it() -> None:
    state = world(2)
    assert observing(state).next_change is None
    made = observing(state)
    made.take_reports([EjectionReport(instance(1), 50.0)], state)
    made.take_reports([EjectionReport(instance(1), 60.0)], state)
    made.take_reports([EjectionReport(instance(1), 55.0)], state)
    assert made.next_change == 60.0
    made.pass_time(59.9)
    assert made.observed.ejected == {instance(1)}
    made.pass_time(60.0)
    assert made.observed.ejected == frozenset()


def test_a_passing_check_does_not_end_an_ejection() -> None:
    state = world(2)
    made = observing(state)
    made.take_reports([EjectionReport(instance(1), 50.0)], state)
    made.take_reports([HealthReport(instance(1), Health.HEALTHY)], state)
    assert conditions(made, state)[0] is Condition.EJECTED


def test_reports_about_what_does_not_exist_leave_no_trace() -> None:
    state = world(2)
    made = observing(state)
    before = made.observed
    made.take_reports(
        [HealthReport(instance(9), Health.HEALTHY), EjectionReport(instance(9), 5.0)], state
    )
    assert made.observed == before


def test_an_instance_that_is_gone_is_forgotten_and_comes_back_unknown() -> None:
    two, one = world(2), world(1)
    made, provider = observing(two), StaticProvider()
    made.take_instances(provider.instances(two.services))
    made.take_reports([EjectionReport(instance(2), 5.0)], two)
    made.take_instances(provider.instances(one.services))
    assert made.observed.health == {instance(1): Health.HEALTHY}
    assert made.next_change is None
    made.take_instances(provider.instances(two.services))
    assert conditions(made, two) == [Condition.UP, Condition.DOWN]


def test_what_was_published_last_is_recalled() -> None:
    state = world(4, host="host.example")
    made = observing(state)
    ids = [instance(p, "host.example") for p in range(1, 5)]
    made.take_reports(
        [
            HealthReport(ids[0], Health.HEALTHY, "10.0.0.1"),
            HealthReport(ids[1], Health.UNHEALTHY, "10.0.0.2"),
            HealthReport(ids[2], Health.HEALTHY, "10.0.0.3"),
        ],
        state,
    )
    made.take_reports([HealthReport(ids[3], Health.UNHEALTHY)], state)
    made.take_reports([EjectionReport(ids[2], 5.0)], state)
    snapshot = Compiler().compile(state, made.observed, DEFAULTS, 1, 1.0)
    assert snapshot.services[A].instances[3].host == UNRESOLVED

    later = Observing()
    later.recall(snapshot)
    later.take_instances(StaticProvider().instances(world(3, "host.example").services))
    later.forget_unknown()
    assert later.observed.health == {
        ids[0]: Health.HEALTHY,
        ids[1]: Health.UNHEALTHY,
        ids[2]: Health.HEALTHY,
    }
    assert later.observed.addresses[ids[1]] == "10.0.0.2"
    assert ids[3] not in later.observed.addresses


def test_the_static_provider_keeps_what_did_not_change() -> None:
    provider, state = StaticProvider(), world(2)
    other = Service("-", "b", (), endpoints=(Endpoint("::1", 80), Endpoint("::1", 80)))
    first = provider.instances(state.services)
    second = provider.instances({**state.services, other.id: other})
    assert second[A] is first[A]
    assert [i.id for i in second[other.id]] == ["b@[::1]:80"]
    marked = replace(state.services[A], coexist=True)
    assert provider.instances({A: marked})[A] is first[A]
    assert dict(provider.instances({A: replace(marked, endpoints=())})) == {}


@settings(deadline=None, max_examples=100)
@given(
    st.integers(1, 6),
    st.lists(
        st.one_of(
            st.builds(
                HealthReport, st.integers(1, 7).map(instance), st.sampled_from(list(Health)[1:])
            ),
            st.builds(EjectionReport, st.integers(1, 7).map(instance), st.floats(1, 100)),
            st.floats(1, 100),
        ),
        max_size=20,
    ),
)
def test_a_report_of_a_failure_never_takes_the_last_usable_instance(
    count: int, steps: list[HealthReport | EjectionReport | float]
) -> None:
    state = world(count)
    made = observing(state)
    now = 0.0
    for step in steps:
        usable = conditions(made, state).count(Condition.UP)
        if isinstance(step, float):
            now = max(now, step)
            made.pass_time(now)
            assert all(until > now for until in [made.next_change or now + 1])
        else:
            made.take_reports([step], state)
        if isinstance(step, EjectionReport) and usable:
            found = conditions(made, state)
            assert found.count(Condition.UP) >= 1
            if found.count(Condition.UP) < usable:
                assert found.count(Condition.EJECTED) <= found.count(Condition.UP)
