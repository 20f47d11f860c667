"""Services that were found running: what they do to routes, and what keeps them from it.

Part of `decide` and as pure. Nobody asked for these services, so nothing is refused as a
whole: what can be had is taken, claim by claim, and the rest is a problem to be shown
(`conflicts`). Everything is computed from the present state and from all that was found;
the same again changes nothing.

* A service that was found joins the routes it claims: with 100 where nobody is, with 0
  beside others if it is marked `coexist`, else not at all: the first keeps the route.
* Weights stay. A service of which nothing runs any more keeps its place and its weight, so
  that both are there when it comes back; only after `forget_s` it is forgotten. After
  `YIELD_S`, longer than a restart takes, it gives way to one that would be alone on the route.
* A service or an application that an operator asked for is never touched.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace

from .commands import TakeDiscovered
from .decided import Decided, with_routes, with_service
from .model import (
    Claim,
    Discovery,
    Route,
    RouteId,
    RoutePolicy,
    Service,
    ServiceId,
)
from .names import quote
from .observed import RouteProblem, Trouble
from .registration import FIRST_WEIGHT, is_last_with_traffic
from .state import State

YIELD_S = 30.0
"""How long a service of which nothing runs keeps those from its routes that cannot share them."""


def take_discovered(state: State, command: TakeDiscovered) -> Decided:
    """See `TakeDiscovered`."""
    found = {s.id: s for s in command.found if not is_taken(state, s)}
    after = state
    for service in found.values():
        after = _without_what_it_gave_up(after, service)
    # From here on those that run only join, and those that do not only leave: it ends.
    before = None
    while before is not after:
        before = after
        for service in tuple(after.services.values()):
            if service.discovery is not None and service.id not in found:
                after = _missed(after, service, command)
        # Who did not ask to coexist opens a new route, whoever was there first.
        for service in sorted(found.values(), key=lambda s: s.coexist):
            after = _admitted(after, service, command.now)
    return Decided(after)


def is_taken(state: State, service: Service) -> bool:
    """Does the name belong to what an operator asked for?"""
    present = state.services.get(service.id)
    if present is not None and present.discovery is None:
        return True
    return service.application in state.applications


def conflicts(state: State, found: Iterable[Service]) -> Iterator[RouteProblem]:
    """What those that were found do not get, given the state that took them in."""
    for service in found:
        present = state.services.get(service.id)
        if is_taken(state, service):
            for claim in service.claims:
                yield RouteProblem(
                    claim.route, service.id, Trouble.SERVICE_EXISTS, _taken(state, service)
                )
        elif present is not None and not present.leaving:
            held = {c.route for c in present.claims}
            for claim in service.claims:
                if claim.route not in held:
                    yield RouteProblem(
                        claim.route,
                        service.id,
                        Trouble.ROUTE_CONFLICT,
                        _held(state, claim, service),
                    )


def _held(state: State, claim: Claim, service: Service) -> str:
    holders = _holders(state, claim.route, service.id)
    names = ", ".join(holders)
    share = (
        f"give the containers of {service.id} the label gateway.routing.coexist=true to join it "
        "with weight 0"
    )
    if holders and all(_is_gone(state.services[sid]) for sid in holders):
        return (
            f"held by {names}, of which nothing runs: it gives way {YIELD_S:.0f} s after its end, "
            f"or when it is deleted; or {share}"
        )
    return f"held by {names}, which keeps it: {share}, or stop the holder"


def _taken(state: State, service: Service) -> str:
    what = (
        f"an application {quote(service.application)} was deployed here"
        if service.application in state.applications
        else f"a service {service.id} was registered here"
    )
    return (
        f"{what}, and its name is not shared with containers that were started otherwise: give "
        "these another project name, or the label gateway.application"
    )


def _missed(state: State, service: Service, command: TakeDiscovered) -> State:
    """Nothing of it runs."""
    if service.leaving:
        return state
    assert service.discovery is not None
    since = service.discovery.gone_since
    if since is None:
        return with_service(state, replace(service, discovery=Discovery(command.now)))
    routes = [state.routes[c.route] for c in service.claims]
    if command.now - since < command.forget_s or any(
        is_last_with_traffic(r, service.id) for r in routes
    ):
        return state
    services = {sid: s for sid, s in state.services.items() if sid != service.id}
    left = {r.id: _left(r, {service.id}) for r in routes}
    return replace(with_routes(state, left), services=services)


def _without_what_it_gave_up(state: State, found: Service) -> State:
    """The service off the routes that its labels do not name any more."""
    before = state.services.get(found.id)
    if before is None or before.leaving:
        return state
    wanted = {c.route for c in found.claims}
    kept = tuple(c for c in before.claims if c.route in wanted)
    if len(kept) == len(before.claims):
        return state
    left = {
        c.route: _left(state.routes[c.route], {found.id})
        for c in before.claims
        if c.route not in wanted
    }
    return with_service(with_routes(state, left), replace(before, claims=kept))


def _admitted(state: State, found: Service, now: float) -> State:
    """It runs: on its routes, as far as they are to be had."""
    before = state.services.get(found.id)
    if before is not None and before.leaving:
        return state  # it comes anew when its removal has ended
    was = {c.route for c in before.claims} if before is not None else set[RouteId]()
    after, claims = state, list[Claim]()
    for claim in found.claims:
        joined = after if claim.route in was else _joined(after, found, claim, now)
        if joined is not None:
            after = joined
            claims.append(claim)
    service = replace(found, claims=tuple(claims), discovery=Discovery())
    return after if service == before else with_service(after, service)


def _joined(state: State, found: Service, claim: Claim, now: float) -> State | None:
    """The state with the service on a route that it newly claims; None: it is held."""
    route = state.routes.get(claim.route) or Route(claim.host, claim.path)
    holders = _holders(state, claim.route, found.id)
    if holders and not found.coexist:
        if not all(_gives_way(state.services[sid], now) for sid in holders):
            return None
        for sid in holders:
            holder = state.services[sid]
            claims = tuple(c for c in holder.claims if c.route != claim.route)
            state = with_service(state, replace(holder, claims=claims))
        route = replace(route, weights={})
    weight = 0 if route.weights else FIRST_WEIGHT
    is_held = route.is_held and bool(route.weights)
    weights = {**route.weights, found.id: weight}
    return with_routes(state, {route.id: replace(route, weights=weights, is_held=is_held)})


def _holders(state: State, rid: RouteId, service: ServiceId) -> list[ServiceId]:
    route = state.routes.get(rid)
    return [sid for sid in route.weights if sid != service] if route is not None else []


def _is_gone(service: Service) -> bool:
    return service.discovery is not None and service.discovery.gone_since is not None


def _gives_way(service: Service, now: float) -> bool:
    since = None if service.discovery is None else service.discovery.gone_since
    return since is not None and now - since >= YIELD_S


def _left(route: Route, who: Collection[ServiceId]) -> Route | None:
    """The route without them; None: nothing is left that anybody asked for."""
    weights = {sid: w for sid, w in route.weights.items() if sid not in who}
    if not weights and route.policy == RoutePolicy():
        return None
    return replace(route, weights=weights)
