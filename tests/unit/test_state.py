"""`changes` is what a store has to write: applied to the old state it gives the new one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.model import (
    AffinityKey,
    InstanceId,
    Role,
    Route,
    RouteId,
    RoutePolicy,
    Service,
    ServiceId,
    Token,
)
from gateway.core.state import Changes, State, changes

K = TypeVar("K")
V = TypeVar("V")

names = st.sampled_from("abcd")
states = st.builds(
    lambda services, routes, drained, keys, tokens: State(
        services={s.id: s for s in services},
        routes={r.id: r for r in routes},
        drained=frozenset(map(InstanceId, drained)),
        keys=tuple(AffinityKey(k, "00" * 32, 1.0) for k in keys),
        tokens={t: Token(t, Role.VIEWER, "00" * 32, 1.0) for t in tokens},
    ),
    st.lists(st.builds(Service, st.just("-"), names, st.just(()), st.booleans())),
    st.lists(
        st.builds(
            lambda host, weight, spill: Route(
                host, "/", {ServiceId("-/a"): weight}, RoutePolicy(spill=spill)
            ),
            names,
            st.integers(0, 2),
            st.booleans(),
        )
    ),
    st.sets(names),
    st.lists(names, unique=True),
    st.sets(names),
)


def applied(state: State, change: Changes) -> State:
    def merged(old: Mapping[K, V], new: Mapping[K, V | None]) -> dict[K, V]:
        both = {**old, **new}
        return {k: v for k, v in both.items() if v is not None}

    return State(
        services=merged(state.services, change.services),
        routes=merged(state.routes, change.routes),
        drained=state.drained if change.drained is None else change.drained,
        keys=state.keys if change.keys is None else change.keys,
        tokens=merged(state.tokens, change.tokens),
    )


@settings(deadline=None, max_examples=100)
@given(states, states)
def test_changes_lead_from_the_old_state_to_the_new_one(old: State, new: State) -> None:
    change = changes(old, new)
    assert applied(old, change) == new
    assert change.is_empty == (old == new)


def test_equal_entities_are_not_written_again() -> None:
    old = State(
        services={ServiceId("-/a"): Service("-", "a", ())},
        routes={RouteId("x"): Route("x", "/"), RouteId("y"): Route("y", "/")},
    )
    new = replace(
        old,
        services={ServiceId("-/a"): Service("-", "a", ())},
        routes={RouteId("x"): Route("x", "/", {ServiceId("-/a"): 1})},
    )
    change = changes(old, new)
    assert not change.services
    assert change.routes == {"x": new.routes[RouteId("x")], "y": None}


def test_secrets_do_not_show_in_logs() -> None:
    text = repr(
        State(
            keys=(AffinityKey("a", "5ec7e7" * 10, 1.0),),
            tokens={"t": Token("t", Role.ADMIN, "d19e57" * 10, 1.0)},
        )
    )
    assert "5ec7e7" not in text
    assert "d19e57" not in text
