"""Traffic moved between the old and the new services of a release.

Part of `releasing` and as pure: which routes change, how a new route that was held back
opens, and when it is held again.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from . import guards
from .commands import (
    ShiftRelease,
)
from .decided import Decided, with_routes
from .errors import invalid
from .flight import (
    find_release,
    green_services,
    noted,
    opened,
    put,
    reweighed,
)
from .model import Claim, Route, RouteId
from .observed import Observed
from .phases import Event, step
from .planning import captured, sides
from .release import Colour, Release
from .sharing import moved
from .state import State


def shift(state: State, command: ShiftRelease, observed: Observed) -> Decided:
    """See `ShiftRelease`; raises `Refused`."""
    release = find_release(state, command.release)
    step(release.id, release.phase, Event.SHIFT)
    if not 0 <= command.percent <= 100:
        raise invalid("the share of the new services is a number from 0 to 100", ("new", "range"))
    share = Fraction(str(command.percent)) / 100
    routes = _shifted(state, release, share)
    if not routes and not any(s.old and s.new for s in sides(release).values()):
        raise invalid(
            f"{release.id} has no route with both old and new services: there is nothing to shift",
            ("new", "no route has both sides"),
        )
    warnings = guards.check_shift(state, release, routes, observed, command)
    changed = {rid: r for rid, r in routes.items() if r != state.routes[rid]}
    if not changed:
        return Decided(state, warnings)
    text = f"shift to {command.percent:g} %" + (f": {command.reason}" if command.reason else "")
    after = noted(release, command.now, command.by, text)
    return Decided(put(with_routes(state, changed), after), warnings)


def _shifted(state: State, release: Release, share: Fraction) -> dict[RouteId, Route]:
    """The routes of a release with `share` of its part on the new side."""
    routes: dict[RouteId, Route] = {}
    green = green_services(release)
    others = without_new(state, release)
    for rid, side in sides(release).items():
        route = state.routes.get(rid)
        if route is None or not side.new:
            continue
        if side.old:
            ratios = release.before.get(rid, {})
            weights = moved(route.weights, side.old, side.new, share, ratios)
            routes[rid] = reweighed(route, weights)
        elif share and route.is_held:
            routes[rid] = opened(route, green)
        elif not share and set(route.weights) <= green.keys() and takes_over(others, route):
            routes[rid] = replace(route, weights=dict.fromkeys(route.weights, 0), is_held=True)
    return routes


def without_new(state: State, release: Release) -> State:
    """The state with those routes only that somebody else is on."""
    new = set(release.ids(Colour.GREEN))
    return replace(
        state, routes={rid: r for rid, r in state.routes.items() if not new.issuperset(r.weights)}
    )


def takes_over(others: State, route: Route) -> bool:
    """Is this new route in front of one that would serve without the release?"""
    return captured(others, Claim(route.host, route.path)) is not None
