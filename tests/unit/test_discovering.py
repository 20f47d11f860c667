"""What services that were found running do to routes, and what keeps them from it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.commands import (
    Command,
    FinishRemoval,
    MarkCoexist,
    PutService,
    RemoveService,
    ScaleService,
    SetWeights,
    StartRelease,
    TakeDiscovered,
)
from gateway.core.decide import decide
from gateway.core.discovering import YIELD_S, conflicts
from gateway.core.errors import Code, Refused
from gateway.core.model import Claim, Discovery, Endpoint, RouteId, Service, ServiceId
from gateway.core.observed import Observed, RouteProblem, Trouble
from gateway.core.release import Application, OnDeadline, Strategy, Template
from gateway.core.state import State

FORGET_S = 100.0
V1, V2 = ServiceId("one/web"), ServiceId("two/web")


def found(sid: str, *hosts: str, coexist: bool = False) -> Service:
    application, _, name = sid.partition("/")
    claims = tuple(Claim(host, port=80) for host in hosts)
    return Service(application, name, claims, coexist=coexist)


def take(state: State, *services: Service, now: float = 0.0) -> State:
    return decide(state, TakeDiscovered(services, now, FORGET_S), Observed()).state


def weights(state: State, host: str = "shop.local") -> dict[ServiceId, int]:
    return dict(state.routes[RouteId(host)].weights)


def set_weights(state: State, **given: int) -> State:
    named = {name.replace("_", "/"): weight for name, weight in given.items()}
    return decide(state, SetWeights(RouteId("shop.local"), named, whole=False), Observed()).state


def troubles(state: State, *services: Service) -> list[tuple[str, str, Trouble]]:
    return [(p.route, p.service, p.reason) for p in conflicts(state, services)]


def test_the_first_one_gets_the_route_and_one_that_coexists_joins_with_0() -> None:
    one, two = found("one/web", "shop.local"), found("two/web", "shop.local", coexist=True)
    assert weights(take(State(), one, two)) == {V1: 100, V2: 0}
    assert weights(take(take(State(), one), one, two)) == {V1: 100, V2: 0}
    # Who did not ask to coexist is meant to open the route, whoever was started first.
    assert weights(take(State(), two, one)) == {V1: 100, V2: 0}


def test_the_same_again_changes_nothing() -> None:
    both = found("one/web", "shop.local"), found("two/web", "shop.local", coexist=True)
    state = take(State(), *both)
    assert take(state, *both, now=50.0) is state
    assert troubles(state, *both) == []


def test_without_coexist_the_first_keeps_the_route_and_the_other_is_a_problem_of_it() -> None:
    one, two = found("one/web", "shop.local"), found("two/web", "shop.local", "own.local")
    state = take(State(), one, two)
    assert weights(state) == {V1: 100}
    assert weights(state, "own.local") == {V2: 100}  # its other route works
    (problem,) = conflicts(state, (one, two))
    assert isinstance(problem, RouteProblem)
    assert (problem.route, problem.service) == ("shop.local", V2)
    assert problem.reason is Trouble.ROUTE_CONFLICT
    assert "held by one/web" in problem.message
    assert "gateway.routing.coexist" in problem.message


def test_the_mark_lets_it_join_later() -> None:
    one, two = found("one/web", "shop.local"), found("two/web", "shop.local")
    state = take(State(), one, two)
    state = take(state, one, replace(two, coexist=True))
    assert weights(state) == {V1: 100, V2: 0}


def test_weights_outlive_the_containers() -> None:
    both = found("one/web", "shop.local"), found("two/web", "shop.local", coexist=True)
    state = set_weights(take(State(), *both), one_web=25, two_web=75)
    gone = take(state, both[1], now=10.0)
    assert weights(gone) == {V1: 25, V2: 75}
    assert gone.services[V1].discovery == Discovery(gone_since=10.0)
    assert take(gone, both[1], now=11.0) is gone
    back = take(gone, *both, now=20.0)
    assert weights(back) == {V1: 25, V2: 75}
    assert back.services[V1].discovery == Discovery()


def test_a_service_without_containers_is_forgotten_after_a_while() -> None:
    both = found("one/web", "shop.local"), found("two/web", "shop.local", coexist=True)
    state = take(take(State(), *both), both[0], now=10.0)
    assert V2 in take(state, both[0], now=10.0 + FORGET_S - 1).services
    later = take(state, both[0], now=10.0 + FORGET_S)
    assert V2 not in later.services
    assert weights(later) == {V1: 100}
    nobody = take(take(later, now=200.0), now=400.0)
    assert nobody.services == {}
    assert nobody.routes == {}


def test_the_last_one_with_traffic_is_not_forgotten_while_others_share_its_route() -> None:
    both = found("one/web", "shop.local"), found("two/web", "shop.local", coexist=True)
    state = take(take(State(), *both), both[1], now=10.0)
    assert weights(take(state, both[1], now=1000.0)) == {V1: 100, V2: 0}


def test_one_without_containers_gives_way_to_one_that_would_be_alone() -> None:
    one, two = found("one/web", "shop.local"), found("two/web", "shop.local")
    state = take(take(State(), one), now=10.0)
    state = take(state, two, now=11.0)
    assert weights(state) == {V1: 100}  # perhaps it is only being started again
    (problem,) = conflicts(state, (two,))
    assert "nothing runs: it gives way 30 s after its end" in problem.message
    assert weights(take(state, one, two, now=20.0)) == {V1: 100}
    state = take(state, two, now=10.0 + YIELD_S)
    assert weights(state) == {V2: 100}
    back = take(state, one, two, now=50.0)
    assert back.services[V1].claims == ()
    assert troubles(back, one, two) == [("shop.local", V1, Trouble.ROUTE_CONFLICT)]


def test_one_without_containers_does_not_give_way_to_one_that_shares() -> None:
    one, two = found("one/web", "shop.local"), found("two/web", "shop.local", coexist=True)
    state = take(take(take(State(), one), now=10.0), two, now=90.0)
    assert weights(state) == {V1: 100, V2: 0}


def test_a_changed_label_moves_the_service_and_only_that_route() -> None:
    before = take(State(), found("one/web", "a.local", "b.local"))
    after = take(before, found("one/web", "b.local", "c.local"))
    assert set(after.routes) == {"b.local", "c.local"}
    assert after.routes[RouteId("b.local")] is before.routes[RouteId("b.local")]


def test_what_an_operator_registered_is_not_touched_and_the_name_is_a_problem() -> None:
    by_hand = Service("-", "web", (Claim("shop.local"),), endpoints=(Endpoint("10.0.0.1", 80),))
    state = decide(State(), PutService(by_hand), Observed()).state
    same_name, same_route = found("-/web", "x.local"), found("one/web", "shop.local")
    after = take(state, same_name, same_route)
    assert after.services[by_hand.id] is state.services[by_hand.id]
    assert weights(after) == {by_hand.id: 100}
    assert troubles(after, same_name, same_route) == [
        ("x.local", "-/web", Trouble.SERVICE_EXISTS),
        ("shop.local", V1, Trouble.ROUTE_CONFLICT),
    ]


def test_containers_of_a_deployed_application_s_name_are_not_taken_for_its_own() -> None:
    state = State(applications={"one": Application("one")})
    one = found("one/web", "shop.local")
    assert take(state, one) is state
    assert troubles(state, one) == [("shop.local", V1, Trouble.SERVICE_EXISTS)]


def test_an_application_is_not_deployed_under_a_name_that_was_found_running() -> None:
    state = take(State(), found("one/web", "shop.local"))
    command = StartRelease(
        application="one",
        template=Template((found("one/api", "api.local"),), ""),
        strategy=Strategy.BLUE_GREEN,
        deadline_s=1.0,
        on_deadline=OnDeadline.ROLLBACK,
        now=0.0,
        by="me",
    )
    with pytest.raises(Refused) as caught:
        decide(state, command, Observed())
    assert caught.value.code is Code.IN_USE
    assert "one/web" in caught.value.detail


def test_a_removal_is_refused_while_containers_run_and_works_when_they_are_gone() -> None:
    one = found("one/web", "shop.local")
    state = take(State(), one)
    with pytest.raises(Refused) as caught:
        decide(state, RemoveService("one/web"), Observed())
    assert "docker compose down" in caught.value.detail
    state = decide(take(state, now=5.0), RemoveService("one/web"), Observed()).state
    assert state.services[V1].leaving
    assert take(state, one) is state  # it comes anew when the removal has ended
    state = decide(state, FinishRemoval(V1), Observed()).state
    assert V1 not in state.services
    assert weights(take(state, one)) == {V1: 100}


@pytest.mark.parametrize(
    ("command", "words"),
    [(MarkCoexist("one/web", True), "label"), (ScaleService("one/web", 3), "--scale")],
)
def test_mark_and_scale_are_not_the_gateway_s_to_change(command: Command, words: str) -> None:
    state = take(State(), found("one/web", "shop.local"))
    with pytest.raises(Refused) as caught:
        decide(state, command, Observed())
    assert words in caught.value.detail


HOSTS = ("a.local", "b.local", "c.local")
SERVICES = st.builds(
    lambda sid, hosts, coexist: found(sid, *hosts, coexist=coexist),
    st.sampled_from(["one/web", "two/web", "three/web", "-/hand"]),
    st.lists(st.sampled_from(HOSTS), unique=True),
    st.booleans(),
)
REPORTS = st.lists(st.lists(SERVICES, unique_by=lambda s: s.id, max_size=4), min_size=1, max_size=8)


@settings(max_examples=200)
@given(REPORTS, st.lists(st.floats(0, 80), min_size=8, max_size=8))
def test_whatever_is_found_members_are_those_that_claim_and_every_wish_is_met_or_told(
    reports: list[list[Service]], pauses: list[float]
) -> None:
    by_hand = Service("-", "hand", (Claim("a.local"),), endpoints=(Endpoint("10.0.0.1", 80),))
    state = decide(State(), PutService(by_hand), Observed()).state
    now = 0.0
    for services, pause in zip(reports, pauses, strict=False):
        now += pause
        state = take(state, *services, now=now)
        assert take(state, *services, now=now) is state
        claims = {(c.route, s.id) for s in state.services.values() for c in s.claims}
        members = {(r.id, sid) for r in state.routes.values() for sid in r.weights}
        assert claims == members
        assert all(r.weights for r in state.routes.values())
        told = {(p.route, p.service) for p in conflicts(state, services)}
        wishes = {(c.route, s.id) for s in services for c in s.claims}
        mine = {(r, sid) for r, sid in members if state.services[ServiceId(sid)].discovery}
        assert wishes == (wishes & mine) | told
        assert not mine & told
        assert state.services[by_hand.id].claims == by_hand.claims
