"""Releases rolled back: the old services have their part again, the new ones leave.

Part of `releasing` and as pure. A way back exists until the first old service is told
to stop.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from . import guards
from .commands import (
    RollbackRelease,
)
from .decided import Decided, with_routes
from .flight import (
    entered,
    find_release,
    put,
    reweighed,
    without,
)
from .model import Route, RouteId
from .observed import Observed
from .phases import Event, illegal, step, verbs
from .planning import Sides, sides
from .release import Colour, Phase, Release
from .sharing import Weights, given_back, moved, part
from .shifting import takes_over, without_new
from .state import State
from .unchanged import joining, with_claims


def roll_back(state: State, command: RollbackRelease, observed: Observed) -> Decided:
    """See `RollbackRelease`; raises `Refused`."""
    release = find_release(state, command.release)
    step(release.id, release.phase, Event.ROLLBACK)
    if has_no_way_back(state, release):
        raise illegal(
            release.id,
            release.phase,
            "its first old service was stopped already",
            "wait until it is confirmed, then deploy the template before it with `previous`",
        )
    if not command.force:
        guards.check_way_back(state, observed, release)
    return Decided(
        rolled_back(state, release, Event.ROLLBACK, command.now, command.by, command.reason)
    )


def has_no_way_back(state: State, release: Release) -> bool:
    """Was the first old service stopped already, so that nothing is left to roll back to?"""
    return release.phase is Phase.CONFIRMING and any(
        sid not in state.services for sid in release.ids(Colour.BLUE)
    )


def legal_verbs(state: State, release: Release) -> tuple[Event, ...]:
    """What an operator may ask of a release as it is now."""
    return () if has_no_way_back(state, release) else verbs(release.phase)


def rolled_back(
    state: State, release: Release, event: Event, now: float, by: str, reason: str
) -> State:
    """The old services have the release's part again, the new ones are leaving."""
    touched = sides(release)
    others = without_new(state, release)
    joins = joining(release) if release.phase is Phase.CONFIRMING else {}
    routes: dict[RouteId, Route | None] = {}
    for rid in {**touched, **joins}:
        side = touched.get(rid, Sides((), ()))
        come = (*side.new, *joins.get(rid, ()))
        if (route := state.routes.get(rid)) is None:
            if not side.old:
                continue
            route = _restored(release, rid)
        if side.old:
            weights = _given_back(route, Sides(side.old, come), release.before.get(rid, {}))
            routes[rid] = reweighed(route, weights)
        else:
            left = without(route, come)
            if left is not None and not left.weights and takes_over(others, left):
                left = replace(left, is_held=True)  # only its policy stays: it answers nothing
            routes[rid] = left
    if release.previous is not None:
        state = with_claims(state, release, release.previous)
    services = dict(state.services)
    for sid in release.ids(Colour.BLUE):
        if sid in services:
            services[sid] = replace(services[sid], leaving=False)
    for sid in release.ids(Colour.GREEN):
        if sid in services:
            services[sid] = replace(services[sid], leaving=True)
    after = entered(replace(release, smooth=None), event, now, by, reason)
    return put(replace(with_routes(state, routes), services=services), after)


def _given_back(route: Route, side: Sides, before: Weights) -> Weights:
    """The old ones' part, also where unchanged services (the others in `before`) have it now."""
    if not side.new and part(route.weights, side.old):
        return route.weights  # nobody took anything from them: it is what an operator set
    heirs = [sid for sid in before if sid not in side.old]
    if not heirs or not part(before, side.old):
        return given_back(route.weights, side.old, side.new, before)
    weights = {sid: w for sid, w in route.weights.items() if sid not in side.new}
    weights |= dict.fromkeys(side.old, 0)
    share = Fraction(part(before, heirs), part(before, before))
    return moved(weights, side.old, heirs, share, before)


def _restored(release: Release, rid: RouteId) -> Route:
    """A route that went with the old services and comes back with them."""
    services = release.previous.services if release.previous is not None else ()
    claim = next(c for s in services for c in s.claims if c.route == rid)
    return Route(claim.host, claim.path)
