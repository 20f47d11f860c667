"""Services coming and going: what registration and removal do to routes and weights.

Part of `decide` and as pure. A service joins a route when it claims it and
leaves it when it gives the claim up or is being removed; nothing here changes
the weight of a service that stays.
"""

from __future__ import annotations

from dataclasses import replace

from .commands import FinishRemoval, MarkCoexist, PutService, RemoveService
from .decided import Decided, normal_path, with_routes, with_service
from .errors import Code, FieldError, Refused, invalid
from .gone import drop_if_gone
from .model import (
    BY_HAND,
    Claim,
    Route,
    RouteId,
    RoutePolicy,
    Service,
    ServiceId,
)
from .names import find_service, quote, weights_by_name
from .observed import Observed, instance_id
from .state import State

FIRST_WEIGHT = 100
"""What the first holder of a route joins it with."""


def put_service(state: State, command: PutService, observed: Observed) -> Decided:
    """Register or replace; see `PutService`."""
    wanted = command.service
    if wanted.application != BY_HAND:
        raise _belongs_to_application(wanted)
    service = replace(wanted, claims=_normal_claims(wanted), leaving=False, drain_s=None)
    before = state.services.get(service.id)
    if before == service:
        return Decided(state)
    was = {c.route for c in before.claims} if before is not None else set[RouteId]()
    held = set[RouteId]() if before is None or before.leaving else was
    claims = {claim.route: claim for claim in service.claims}
    routes: dict[RouteId, Route | None] = {
        rid: _without_member(route, service.id)
        for rid in was - claims.keys()
        if (route := state.routes.get(rid)) is not None
    }
    _refuse_conflicts(state, service, [c for rid, c in claims.items() if rid not in held])
    for rid, claim in claims.items():
        if rid not in held:
            route = state.routes.get(rid) or Route(claim.host, claim.path)
            weight = 0 if route.weights else FIRST_WEIGHT
            is_held = route.is_held and bool(route.weights)
            weights = {**route.weights, service.id: weight}
            routes[rid] = replace(route, weights=weights, is_held=is_held)
    kept = {instance_id(service.name, e) for e in service.endpoints}
    gone = {i.id for i in observed.instances.get(service.id, ())} - kept
    after = replace(
        with_routes(state, routes),
        services={**state.services, service.id: service},
        drained=state.drained - gone,
    )
    joined_at_0 = [rid for rid, r in routes.items() if r and r.weights.get(service.id) == 0]
    return Decided(
        after, tuple(f"{service.id} joined {rid} with weight 0" for rid in sorted(joined_at_0))
    )


def _normal_claims(service: Service) -> tuple[Claim, ...]:
    claims = tuple(Claim(c.host.lower(), normal_path(c.path), c.port) for c in service.claims)
    seen: set[RouteId] = set()
    for i, claim in enumerate(claims):
        if claim.route in seen:
            raise invalid(
                f"{service.id} claims {quote(claim.route)} twice; name every route once",
                (f"routes[{i}]", "the same route stands further up"),
            )
        seen.add(claim.route)
    return claims


def _refuse_conflicts(state: State, service: Service, joining: list[Claim]) -> None:
    if service.coexist:
        return
    conflicts = {
        claim.route: list(route.weights)
        for claim in joining
        if (route := state.routes.get(claim.route)) is not None and route.weights
    }
    if conflicts:
        words = "; ".join(f"{quote(rid)} by {', '.join(by)}" for rid, by in conflicts.items())
        raise Refused(
            Code.ROUTE_CONFLICT,
            f"{service.id} claims routes that are held: {words}. Mark it `coexist` to let it "
            "join them with weight 0, or remove the holder first",
            tuple(
                FieldError(f"routes[{i}]", f"held by {', '.join(conflicts[c.route])}")
                for i, c in enumerate(service.claims)
                if c.route in conflicts
            ),
            {"holders": conflicts},
        )


def _without_member(route: Route, sid: ServiceId) -> Route | None:
    """The route after a claim was given up; None: nothing is left that anybody asked for."""
    if is_last_with_traffic(route, sid):
        raise Refused(
            Code.IN_USE,
            f"{sid} is the last service with traffic on {quote(route.id)}, which others share: "
            "give one of them a weight first",
            extra={"weights": weights_by_name(route.weights)},
        )
    weights = {k: w for k, w in route.weights.items() if k != sid}
    if not weights and route.policy == RoutePolicy():
        return None
    return replace(route, weights=weights)


def is_last_with_traffic(route: Route, sid: ServiceId) -> bool:
    """Would the others on the route be left without any traffic?"""
    others = [w for k, w in route.weights.items() if k != sid]
    return bool(others) and not any(others) and route.weights.get(sid, 0) > 0


def _belongs_to_application(service: Service) -> Refused:
    return Refused(
        Code.IN_USE,
        f"{service.id} belongs to the application {quote(service.application)}: it is changed "
        "by that application's template",
    )


def mark_coexist(state: State, command: MarkCoexist) -> Decided:
    """See `MarkCoexist`."""
    service = find_service(state, command.service)
    if service.leaving:
        raise Refused(Code.IN_USE, f"{service.id} is being removed; register it anew instead")
    if service.coexist == command.coexist:
        return Decided(state)
    if service.discovery is not None:
        raise Refused(
            Code.IN_USE,
            f"{service.id} was found running: its containers' label gateway.routing.coexist "
            "says whether it may join others; change it there",
        )
    return Decided(with_service(state, replace(service, coexist=command.coexist)))


def remove_service(state: State, command: RemoveService) -> Decided:
    """Begin a removal; see `RemoveService`."""
    service = find_service(state, command.service)
    if service.leaving:
        return Decided(state)
    if service.discovery is not None:
        _refuse_while_it_runs(service)
    elif service.application != BY_HAND:
        _refuse_of_application(state, service, force=command.force)
    joined = [state.routes[c.route] for c in service.claims]
    bare = [r for r in joined if is_last_with_traffic(r, service.id)]
    if bare and not command.force:
        names = ", ".join(quote(r.id) for r in bare)
        raise Refused(
            Code.IN_USE,
            f"{service.id} is the last service with traffic on {names}: give one of the others "
            "a weight first, or use force",
            extra={"routes": {r.id: weights_by_name(r.weights) for r in bare}},
        )
    routes: dict[RouteId, Route | None] = {
        r.id: replace(r, weights={k: w for k, w in r.weights.items() if k != service.id})
        for r in joined
    }
    leaving = replace(service, leaving=True, drain_s=command.drain_s)
    return Decided(
        with_service(with_routes(state, routes), leaving),
        tuple(f"{r.id} has no service with traffic any more" for r in bare),
    )


def _refuse_while_it_runs(service: Service) -> None:
    assert service.discovery is not None
    if service.discovery.gone_since is None:
        raise Refused(
            Code.IN_USE,
            f"{service.id} was found running, and would be found again: stop its containers "
            "(docker compose down), or set its weight to 0",
        )


def _refuse_of_application(state: State, service: Service, *, force: bool) -> None:
    application = state.applications.get(service.application)
    if application is not None and application.release is not None:
        raise Refused(
            Code.RELEASE_IN_PROGRESS,
            f"{service.id} takes part in {application.release}: confirm it or roll it back first",
            extra={"release": application.release},
        )
    if not force:
        raise _belongs_to_application(service)


def finish_removal(state: State, command: FinishRemoval, observed: Observed) -> Decided:
    """End a removal; see `FinishRemoval`."""
    service = state.services.get(command.service)
    if service is None or not service.leaving:
        return Decided(state)  # it was registered anew meanwhile, or is gone already
    services = dict(state.services)
    del services[service.id]
    empty: dict[RouteId, Route | None] = {
        claim.route: None
        for claim in service.claims
        if (route := state.routes.get(claim.route)) is not None
        and not route.weights
        and route.policy == RoutePolicy()
    }
    mine = {i.id for i in observed.instances.get(service.id, ())}
    return Decided(
        drop_if_gone(
            replace(with_routes(state, empty), services=services, drained=state.drained - mine),
            service.application,
            observed,
        )
    )
