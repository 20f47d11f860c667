"""What comes of commands: every rule once, and random commands against an oracle."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.commands import (
    AddAffinityKey,
    AddToken,
    Command,
    DeleteRoute,
    DrainInstance,
    FinishRemoval,
    MarkCoexist,
    PutService,
    RemoveService,
    RemoveToken,
    ResumeInstance,
    SetRoutePolicy,
    SetWeights,
)
from gateway.core.decide import DRAINED_GONE_MAX, decide
from gateway.core.errors import Code, Refused
from gateway.core.model import (
    WEIGHT_MAX,
    AffinityKey,
    Claim,
    Endpoint,
    Health,
    Instance,
    InstanceId,
    Role,
    Route,
    RouteId,
    RoutePolicy,
    Service,
    ServiceId,
    Token,
)
from gateway.core.observed import Observed, instances_by_hand
from gateway.core.state import State

SHOP = RouteId("shop.example")


def service(
    name: str, *claims: str, coexist: bool = False, ports: tuple[int, ...] = (80,)
) -> Service:
    return Service(
        "-",
        name,
        tuple(Claim(c.partition("/")[0], "/" + c.partition("/")[2]) for c in claims),
        coexist=coexist,
        endpoints=tuple(Endpoint("10.0.0.1", port) for port in ports),
    )


def seen(state: State, health: Health = Health.HEALTHY) -> Observed:
    instances = {sid: instances_by_hand(s) for sid, s in state.services.items()}
    return Observed(instances, {i.id: health for found in instances.values() for i in found})


def after(state: State, *commands: Command) -> State:
    for command in commands:
        state = decide(state, command, seen(state)).state
    return state


def refusal(state: State, command: Command) -> Refused:
    before = deepcopy(state)
    with pytest.raises(Refused) as caught:
        decide(state, command, seen(state))
    assert state == before
    return caught.value


def weights(state: State, route: str = SHOP) -> dict[str, int]:
    return {str(sid): w for sid, w in state.routes[RouteId(route)].weights.items()}


V1 = PutService(service("v1", "shop.example"))
V2 = PutService(service("v2", "shop.example", coexist=True))
TWO = after(State(), V1, V2)


# --- registration --------------------------------------------------------------------------


def test_the_first_holder_gets_100_and_a_coexisting_service_joins_with_0() -> None:
    assert weights(TWO) == {"-/v1": 100, "-/v2": 0}


def test_joining_at_0_is_told() -> None:
    state = after(State(), V1)
    assert decide(state, V2, seen(state)).warnings == ("-/v2 joined shop.example with weight 0",)


def test_a_held_route_is_refused_without_coexist_naming_the_holder_and_the_place() -> None:
    newcomer = PutService(service("v3", "other.example", "shop.example"))
    refused = refusal(TWO, newcomer)
    assert refused.code is Code.ROUTE_CONFLICT
    assert "-/v1" in refused.detail
    assert [e.field for e in refused.errors] == ["routes[1]"]
    assert refused.extra == {"holders": {"shop.example": ["-/v1", "-/v2"]}}


def test_registering_again_leaves_weights_alone() -> None:
    state = after(TWO, SetWeights(SHOP, {"v1": 30, "v2": 70}, whole=True))
    again = after(state, PutService(service("v1", "shop.example", ports=(81, 82))))
    assert weights(again) == {"-/v1": 30, "-/v2": 70}
    assert len(again.services[ServiceId("-/v1")].endpoints) == 2


def test_registering_the_same_again_changes_nothing() -> None:
    assert after(TWO, V1) is TWO


def test_hosts_are_lower_case_and_paths_have_no_trailing_slash() -> None:
    state = after(State(), PutService(service("v1", "Shop.Example/api/")))
    assert list(state.routes) == ["shop.example/api"]
    assert state.services[ServiceId("-/v1")].claims == (Claim("shop.example", "/api"),)


def test_the_same_route_twice_is_invalid() -> None:
    assert refusal(State(), PutService(service("v1", "a.b/x", "A.B/x/"))).code is Code.INVALID


def test_a_claim_given_up_takes_its_weight_along() -> None:
    state = after(TWO, SetWeights(SHOP, {"v2": 1}, whole=False))
    moved = after(state, PutService(service("v1", "other.example")))
    assert weights(moved) == {"-/v2": 1}
    assert weights(moved, "other.example") == {"-/v1": 100}


def test_the_last_with_traffic_may_not_give_its_claim_up_while_others_share_the_route() -> None:
    refused = refusal(TWO, PutService(service("v1", "other.example")))
    assert refused.code is Code.IN_USE
    assert refused.extra == {"weights": {"v1": 100, "v2": 0}}


def test_a_route_that_nobody_claims_any_more_is_gone_unless_it_has_a_policy() -> None:
    state = after(State(), V1, SetRoutePolicy("kept.example", "/", RoutePolicy(spill=False)))
    state = after(state, PutService(service("v1", "shop.example", "kept.example")))
    state = after(state, PutService(service("v1", "new.example")))
    assert set(state.routes) == {"kept.example", "new.example"}
    assert weights(state, "kept.example") == {}


def test_a_service_of_an_application_is_not_changed_by_hand() -> None:
    theirs = replace(service("v1", "shop.example"), application="shop")
    assert refusal(State(), PutService(theirs)).code is Code.IN_USE
    state = State(services={theirs.id: theirs}, routes={SHOP: Route(SHOP, "/", {theirs.id: 100})})
    assert refusal(state, RemoveService("v1")).code is Code.IN_USE
    assert after(state, RemoveService("v1", force=True)).services[theirs.id].leaving


def test_a_drained_instance_that_is_registered_no_more_is_forgotten() -> None:
    state = after(TWO, DrainInstance(InstanceId("v1@10.0.0.1:80")))
    assert (
        after(state, PutService(service("v1", "shop.example", ports=(81,)))).drained == frozenset()
    )


def test_coexist_can_be_marked_later() -> None:
    state = after(State(), V1, MarkCoexist("v1", True))
    assert state.services[ServiceId("-/v1")].coexist
    assert after(state, MarkCoexist("v1", True)) is state


# --- removal ---------------------------------------------------------------------------------


def test_a_removed_service_leaves_its_routes_at_once_and_is_gone_when_finished() -> None:
    state = after(TWO, RemoveService("v2", drain_s=3))
    assert weights(state) == {"-/v1": 100}
    leaving = state.services[ServiceId("-/v2")]
    assert (leaving.leaving, leaving.drain_s) == (True, 3)
    assert after(state, RemoveService("v2")) is state
    assert set(after(state, FinishRemoval(leaving.id)).services) == {"-/v1"}


def test_the_last_with_traffic_is_in_use_while_others_remain_unless_forced() -> None:
    refused = refusal(TWO, RemoveService("v1"))
    assert refused.code is Code.IN_USE
    assert refused.extra == {"routes": {"shop.example": {"v1": 100, "v2": 0}}}
    forced = decide(TWO, RemoveService("v1", force=True), seen(TWO))
    assert weights(forced.state) == {"-/v2": 0}
    assert forced.warnings == ("shop.example has no service with traffic any more",)


def test_a_route_vanishes_with_its_last_service_when_the_removal_is_finished() -> None:
    state = after(State(), V1, RemoveService("v1"))
    assert weights(state) == {}
    assert after(state, FinishRemoval(ServiceId("-/v1"))) == State()


def test_a_policy_outlives_the_services_of_its_route() -> None:
    policy = RoutePolicy(spill=False)
    state = after(State(), V1, SetRoutePolicy("shop.example", "/", policy), RemoveService("v1"))
    state = after(state, FinishRemoval(ServiceId("-/v1")))
    assert state.routes[SHOP].policy == policy


def test_finishing_what_is_not_leaving_changes_nothing() -> None:
    assert after(TWO, FinishRemoval(ServiceId("-/v1"))) is TWO
    assert after(TWO, FinishRemoval(ServiceId("-/nobody"))) is TWO


def test_a_leaving_service_that_is_registered_again_joins_as_a_new_one() -> None:
    state = after(
        TWO,
        RemoveService("v1", force=True),
        V2,
        replace(V1, service=service("v1", "shop.example", coexist=True)),
    )
    assert weights(state) == {"-/v2": 0, "-/v1": 0}
    assert not state.services[ServiceId("-/v1")].leaving
    alone = after(State(), V1, RemoveService("v1"), PutService(service("v1", "new.example")))
    assert set(alone.routes) == {"new.example"}


def test_a_leaving_service_is_not_marked() -> None:
    assert refusal(after(TWO, RemoveService("v2")), MarkCoexist("v2", False)).code is Code.IN_USE


# --- weights ---------------------------------------------------------------------------------


def test_weights_are_set_as_a_whole_or_in_part() -> None:
    state = after(TWO, SetWeights(SHOP, {"v1": 0, "-/v2": WEIGHT_MAX}, whole=True))
    assert weights(state) == {"-/v1": 0, "-/v2": WEIGHT_MAX}
    assert weights(after(state, SetWeights(SHOP, {"v1": 5}, whole=False))) == {
        "-/v1": 5,
        "-/v2": WEIGHT_MAX,
    }


def test_setting_the_same_weights_changes_nothing() -> None:
    assert after(TWO, SetWeights(SHOP, {"v1": 100, "v2": 0}, whole=True)) is TWO


@pytest.mark.parametrize(
    "bad", [-1, WEIGHT_MAX + 1, 10**400, True, 1.0, float("nan"), "1", None, [1], {}]
)
def test_a_weight_that_is_none_is_refused_at_its_place(bad: Any) -> None:
    refused = refusal(TWO, SetWeights(SHOP, {"v1": 1, "v2": bad}, whole=True))
    assert refused.code is Code.INVALID
    assert [e.field for e in refused.errors] == ["weights.v2"]
    assert refused.extra == {"weights": {"v1": 100, "v2": 0}}


def test_all_wrong_names_are_reported_at_once() -> None:
    refused = refusal(TWO, SetWeights(SHOP, {"v1": 1, "-/v1": 2, "v22": 3}, whole=True))
    assert [(e.field, e.message) for e in refused.errors] == [
        ("weights.-/v1", "-/v1 is named twice"),
        ("weights.v22", "no service of this route; did you mean 'v2'?"),
        ("weights.v2", "missing: every service of the route must be named"),
    ]


def test_a_short_name_of_two_services_must_be_a_full_id() -> None:
    twin = replace(service("v1"), application="b")
    state = State(
        services={**TWO.services, twin.id: twin},
        routes={SHOP: Route(SHOP, "/", {**TWO.routes[SHOP].weights, twin.id: 0})},
    )
    refused = refusal(state, SetWeights(SHOP, {"v1": 1}, whole=False))
    assert "use a full id: -/v1, b/v1" in refused.errors[0].message
    assert refused.extra == {"weights": {"-/v1": 100, "v2": 0, "b/v1": 0}}
    assert weights(after(state, SetWeights(SHOP, {"b/v1": 1}, whole=False)))["b/v1"] == 1
    assert refusal(state, RemoveService("v1")).code is Code.AMBIGUOUS


def test_a_route_without_any_weight_needs_force() -> None:
    zero = SetWeights(SHOP, {"v1": 0, "v2": 0}, whole=True)
    assert refusal(TWO, zero).code is Code.ROUTE_WITHOUT_TRAFFIC
    assert weights(after(TWO, replace(zero, force=True))) == {"-/v1": 0, "-/v2": 0}


def test_weight_for_a_service_without_a_healthy_instance_is_a_warning() -> None:
    shift = SetWeights(SHOP, {"v1": 0, "v2": 1}, whole=True)
    assert decide(TWO, shift, seen(TWO)).warnings == ()
    assert len(decide(TWO, shift, seen(TWO, Health.UNHEALTHY)).warnings) == 1


@pytest.mark.parametrize(
    "command",
    [
        SetWeights(RouteId("shop.exmaple"), {}, whole=False),
        DeleteRoute(RouteId("shop.exmaple")),
        RemoveService("v12"),
        MarkCoexist("v12", True),
        DrainInstance(InstanceId("v1@10.0.0.1:8")),
        ResumeInstance(InstanceId("v1@10.0.0.1:8")),
        RemoveToken("x\r\n\x00" * 1000),
    ],
)
def test_an_unknown_name_is_not_found(command: Command) -> None:
    refused = refusal(TWO, command)
    assert refused.code is Code.NOT_FOUND
    assert refused.detail.isprintable()
    assert len(refused.detail) < 1000
    if not isinstance(command, RemoveToken):
        assert "did you mean" in refused.detail


# --- routes, instances, secrets -----------------------------------------------------------------


def test_a_route_is_deleted_only_without_members() -> None:
    assert refusal(TWO, DeleteRoute(SHOP)).code is Code.IN_USE
    state = after(TWO, SetRoutePolicy("NEW.example", "/x/", RoutePolicy()))
    assert "new.example/x" in state.routes
    assert after(state, DeleteRoute(RouteId("new.example/x"))) == TWO


def test_the_policy_changes_no_weights() -> None:
    state = after(TWO, SetRoutePolicy("shop.example", "/", RoutePolicy(internal=True)))
    assert weights(state) == weights(TWO)
    assert after(state, SetRoutePolicy("shop.example", "/", RoutePolicy(internal=True))) is state


def test_an_instance_is_drained_and_resumed() -> None:
    instance = InstanceId("v1@10.0.0.1:80")
    decided = decide(TWO, DrainInstance(instance), seen(TWO))
    assert decided.state.drained == {instance}
    assert decided.warnings == (f"{instance} was the last healthy instance of -/v1",)
    assert after(decided.state, DrainInstance(instance)) is decided.state
    assert after(decided.state, ResumeInstance(instance)) == TWO
    assert after(TWO, ResumeInstance(instance)) is TWO


def test_instances_that_were_drained_before_they_went_do_not_pile_up() -> None:
    state, most = State(), 0
    stays = Instance(InstanceId("web@stays"), ServiceId("docker/web"), "10.0.0.1", 80)
    for number in range(3 * DRAINED_GONE_MAX):
        # each time a container is drained, ended and made anew
        new = Instance(InstanceId(f"web@{number}"), stays.service, "10.0.0.2", 80)
        there = Observed(instances={stays.service: (stays, new)})
        for one in (stays, new):
            state = decide(state, DrainInstance(one.id), there).state
        most = max(most, len(state.drained))
        assert {stays.id, new.id} <= state.drained
    assert DRAINED_GONE_MAX <= most <= DRAINED_GONE_MAX + 2


def key(name: str, created: float) -> AffinityKey:
    return AffinityKey(name, "ab" * 32, created)


def test_an_old_key_is_kept_for_as_long_as_its_cookies_live() -> None:
    state = after(State(), AddAffinityKey(key("a", 0), 100), AddAffinityKey(key("b", 1000), 100))
    assert [k.id for k in state.keys] == ["b", "a"]  # a signed until b came
    state = after(state, AddAffinityKey(key("c", 1050), 100))
    assert [k.id for k in state.keys] == ["c", "b", "a"]
    assert [k.id for k in after(state, AddAffinityKey(key("d", 1120), 100)).keys] == ["d", "c", "b"]


@pytest.mark.parametrize("bad", [key("", 0), key("ab", 0), key("-", 0), AffinityKey("a", "zz", 0)])
def test_a_malformed_key_is_invalid(bad: AffinityKey) -> None:
    assert refusal(State(), AddAffinityKey(bad, 1)).code is Code.INVALID


def test_a_key_id_is_used_once() -> None:
    state = after(State(), AddAffinityKey(key("a", 0), 100))
    assert refusal(state, AddAffinityKey(key("a", 1), 100)).code is Code.IN_USE


def test_tokens_have_names_of_their_own() -> None:
    token = Token("ci", Role.OPERATOR, "ab" * 32, 1.0)
    state = after(State(), AddToken(token))
    assert state.tokens == {"ci": token}
    assert refusal(state, AddToken(replace(token, role=Role.ADMIN))).code is Code.IN_USE
    assert refusal(state, AddToken(replace(token, name="x", sha256="AB" * 32))).code is Code.INVALID
    assert after(state, RemoveToken("ci")) == State()
    assert token.sha256 not in repr(token)


# --- random commands against an oracle ------------------------------------------------------------

NAMES = ("a", "b", "c")
HOSTS = ("x.y", "x.y/p", "*.z")
number = st.one_of(st.integers(0, 5), st.sampled_from([-1, WEIGHT_MAX, WEIGHT_MAX + 1]))
a_service = st.builds(
    lambda name, claims, coexist, ports: service(name, *claims, coexist=coexist, ports=ports),
    st.sampled_from(NAMES),
    st.lists(st.sampled_from(HOSTS), unique=True, max_size=3),
    st.booleans(),
    st.lists(st.integers(80, 82), unique=True, max_size=2).map(tuple),
)
a_name = st.sampled_from((*NAMES, "-/a", "nobody"))
a_route = st.sampled_from([RouteId(h) for h in HOSTS])
an_instance = st.builds(
    lambda n, p: InstanceId(f"{n}@10.0.0.1:{p}"), st.sampled_from(NAMES), st.integers(80, 82)
)
a_command: st.SearchStrategy[Command] = st.one_of(
    st.builds(PutService, a_service),
    st.builds(
        SetWeights,
        a_route,
        st.dictionaries(a_name, number, max_size=3),
        st.booleans(),
        st.booleans(),
    ),
    st.builds(
        SetRoutePolicy,
        st.sampled_from(["x.y", "*.z"]),
        st.sampled_from(["/", "/p"]),
        st.builds(RoutePolicy, spill=st.booleans()),
    ),
    st.builds(DeleteRoute, a_route),
    st.builds(MarkCoexist, a_name, st.booleans()),
    st.builds(RemoveService, a_name, st.booleans()),
    st.builds(FinishRemoval, st.sampled_from(NAMES).map(lambda n: ServiceId(f"-/{n}"))),
    st.builds(DrainInstance, an_instance),
    st.builds(ResumeInstance, an_instance),
)

Oracle = dict[str, dict[str, int]]
"""Route -> service -> weight, of routes with members."""


def expected(oracle: Oracle, state: State, command: Command) -> Oracle:
    """What an accepted command does to weights, written down as naively as possible."""
    result = {route: dict(members) for route, members in oracle.items()}
    match command:
        case SetWeights():
            for name, weight in command.weights.items():
                result[command.route][name if "/" in name else f"-/{name}"] = weight
        case PutService():
            wanted = command.service
            for members in result.values():
                members.setdefault(wanted.id, -1)
            for claim in wanted.claims:
                members = result.setdefault(claim.route, {wanted.id: -1})
                if members[wanted.id] == -1:
                    members[wanted.id] = 0 if len(members) > 1 else 100
            claimed = {c.route for c in wanted.claims}
            for route, members in result.items():
                if route not in claimed:
                    del members[wanted.id]
        case RemoveService():
            name = command.service
            for members in result.values():
                members.pop(name if "/" in name else f"-/{name}", None)
        case _:
            pass
    return {route: members for route, members in result.items() if members}


def check_invariants(state: State) -> None:
    for sid, s in state.services.items():
        assert sid == s.id
        for claim in s.claims:
            if s.leaving:
                assert (
                    claim.route not in state.routes or sid not in state.routes[claim.route].weights
                )
            else:
                assert sid in state.routes[claim.route].weights
    for rid, route in state.routes.items():
        assert rid == route.id
        for sid, weight in route.weights.items():
            assert rid in [c.route for c in state.services[sid].claims]
            assert type(weight) is int
            assert 0 <= weight <= WEIGHT_MAX
    known: Mapping[ServiceId, Any] = seen(state).instances
    assert state.drained <= {i.id for found in known.values() for i in found}


@settings(deadline=None, max_examples=150)
@given(st.lists(a_command, max_size=25))
def test_random_commands_do_what_a_simple_oracle_says(commands: list[Command]) -> None:
    state, oracle = State(), Oracle()
    for command in commands:
        observed = seen(state)
        before, frozen = state, deepcopy((state, command, observed))
        try:
            state = decide(state, command, observed).state
        except Refused:
            state = before
        else:
            oracle = expected(oracle, state, command)
        assert (before, command, observed) == frozen
        check_invariants(state)
        assert {
            r: dict(route.weights) for r, route in state.routes.items() if route.weights
        } == oracle
