"""What goes to the audit trail."""

from __future__ import annotations

from admin.audit import is_noted
from gateway.core.commands import SetWeights, TakeDiscovered
from gateway.core.decide import decide
from gateway.core.model import Claim, RouteId, Service
from gateway.core.observed import Observed
from gateway.core.state import State

FORGET_S = 100.0


def found(*hosts: str) -> Service:
    return Service("shop", "web", tuple(Claim(host, port=80) for host in hosts))


def take(state: State, *services: Service, now: float = 0.0) -> tuple[State, bool]:
    """The state after it, and whether it is noted."""
    command = TakeDiscovered(services, now, FORGET_S)
    after = decide(state, command, Observed()).state
    return after, is_noted(command, state, after)


def test_containers_that_end_and_start_over_and_over_leave_the_trail_to_people() -> None:
    state, is_in = take(State(), found("a.local"))
    assert is_in  # there is a new service on a route
    for now in (1.0, 2.0, 3.0):
        gone, is_in = take(state, now=now)
        assert gone is not state
        assert not is_in
        state, is_in = take(gone, found("a.local"), now=now)
        assert not is_in
    assert not take(state, found("a.local"))[1]  # nothing at all


def test_what_containers_change_of_routes_is_noted() -> None:
    state, _ = take(State(), found("a.local"))
    state, is_in = take(state, found("a.local", "b.local"))
    assert is_in
    gone, _ = take(state, now=1.0)
    forgotten, is_in = take(gone, now=1.0 + FORGET_S)
    assert forgotten.services == {}
    assert is_in


def test_what_people_do_is_noted_even_if_it_changes_nothing() -> None:
    state, _ = take(State(), found("a.local"))
    command = SetWeights(RouteId("a.local"), {"web": 100}, whole=True)
    assert is_noted(command, state, state)
