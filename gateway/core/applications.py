"""Applications as a whole: scaling their services, removing them.

Part of `decide` and as pure.
"""

from __future__ import annotations

from dataclasses import replace

from .commands import RemoveApplication, ScaleService
from .decided import Decided, with_routes, with_service
from .errors import Code, Refused, invalid
from .flight import entered, put, without
from .gone import drop_if_gone
from .model import Route, RouteId
from .names import did_you_mean, find_service, quote, weights_by_name
from .observed import Observed
from .phases import Event
from .release import Phase
from .sharing import part
from .state import State

SCALE_MAX = 1_000


def scale_service(state: State, command: ScaleService) -> Decided:
    """See `ScaleService`."""
    service = find_service(state, command.service)
    if service.discovery is not None:
        raise Refused(
            Code.IN_USE,
            f"{service.id} was found running, started by somebody else, who scales it too "
            "(docker compose up --scale)",
        )
    if service.launch is None:
        raise Refused(
            Code.IN_USE,
            f"{service.id} is not started by this gateway: its instances are its endpoints",
        )
    if service.leaving:
        raise Refused(Code.IN_USE, f"{service.id} is being removed")
    if type(command.scale) is not int or not 1 <= command.scale <= SCALE_MAX:
        raise invalid(
            f"a service has from 1 to {SCALE_MAX} instances", ("scale", f"1 to {SCALE_MAX}")
        )
    if service.scale == command.scale:
        return Decided(state)
    return Decided(with_service(state, replace(service, scale=command.scale)))


def remove_application(state: State, command: RemoveApplication, observed: Observed) -> Decided:
    """See `RemoveApplication`."""
    application = state.applications.get(command.application)
    if application is None:
        hint = did_you_mean(command.application, state.applications)
        raise Refused(Code.NOT_FOUND, f"there is no application {quote(command.application)}{hint}")
    if application.leaving:
        return Decided(state)
    name = application.name
    if application.release is not None and not command.force:
        flying = state.releases[application.release]
        raise Refused(
            Code.RELEASE_IN_PROGRESS,
            f"{flying.id} is {flying.phase.value}: confirm it or roll it back first, or use force",
            extra={"release": flying.id, "phase": flying.phase.value},
        )
    mine = tuple(s.id for s in state.services.values() if s.application == name)
    routes: dict[RouteId, Route | None] = {}
    bare: list[Route] = []
    for route in state.routes.values():
        others = [sid for sid in route.weights if sid not in mine]
        if len(others) == len(route.weights):
            continue
        if others and part(route.weights, mine) and not part(route.weights, others):
            bare.append(route)
        routes[route.id] = without(route, mine)
    if bare and not command.force:
        raise Refused(
            Code.IN_USE,
            f"{quote(name)} has all the traffic of {', '.join(quote(r.id) for r in bare)}, which "
            "others share: give one of them a weight first, or use force",
            extra={"routes": {r.id: weights_by_name(r.weights) for r in bare}},
        )
    services = dict(state.services)
    for sid in mine:
        services[sid] = replace(services[sid], leaving=True, drain_s=command.drain_s)
    after = replace(with_routes(state, routes), services=services)
    if application.release is not None:
        flying = after.releases[application.release]
        if flying.phase is not Phase.ROLLING_BACK:
            text = "its application is being removed"
            flying = entered(
                replace(flying, smooth=None), Event.ROLLBACK, command.now, command.by, text
            )
            after = put(after, flying)
    gone = replace(application, leaving=True)
    after = replace(after, applications={**after.applications, name: gone})
    return Decided(
        drop_if_gone(after, name, observed),
        tuple(f"{r.id} has no service with traffic any more" for r in bare),
    )
