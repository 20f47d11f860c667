"""Releases confirmed: the new services keep the traffic, the old ones leave.

Part of `releasing` and as pure. A smooth confirmation moves all traffic first and
remembers the weights from before, which come back when it is given up.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from . import guards
from .commands import (
    ConfirmRelease,
    EndSmooth,
)
from .decided import Decided, with_routes
from .flight import (
    find_release,
    green_services,
    noted,
    opened,
    put,
    reweighed,
    without,
)
from .model import Route, RouteId
from .observed import Observed
from .phases import Event, step
from .planning import Sides, sides
from .release import Colour, ConfirmMode, Phase, Release, SmoothConfirm, Strategy
from .sharing import Weights, moved, part
from .state import State
from .unchanged import joined, with_claims


def confirm(state: State, command: ConfirmRelease, observed: Observed) -> Decided:
    """See `ConfirmRelease`; raises `Refused`."""
    release = find_release(state, command.release)
    after = step(release.id, release.phase, Event.CONFIRM)
    if command.mode is not ConfirmMode.FORCE:
        guards.check_ready(state, observed, release)
    moved_routes = _taken_over(state, release)
    if command.mode is ConfirmMode.SMOOTH:
        if release.smooth is not None:
            return Decided(state)
        guards.check_traffic(with_routes(state, moved_routes), release, is_moved=True)
        smooth = SmoothConfirm(
            command.now,
            command.by,
            {rid: dict(state.routes[rid].weights) for rid in moved_routes},
        )
        text = "smooth confirmation: all traffic to the new services"
        asked = noted(replace(release, smooth=smooth), command.now, command.by, text)
        return Decided(put(with_routes(state, moved_routes), asked))
    warnings: tuple[str, ...] = ()
    if command.mode is ConfirmMode.FORCE:
        state = with_routes(state, moved_routes)
        warnings = guards.unready(state, observed, release)
    else:
        guards.check_traffic(state, release)
    routes: dict[RouteId, Route | None] = {}
    green = green_services(release)
    for rid, side in sides(release).items():
        if (route := state.routes.get(rid)) is None:
            continue
        shown = opened(route, green) if route.is_held else route
        routes[rid] = without(shown, side.old)
    routes |= joined(state, release, routes)
    services = dict(with_claims(state, release, release.template).services)
    for sid in release.ids(Colour.BLUE):
        services[sid] = replace(services[sid], leaving=True)
    confirmed = replace(release, phase=after, smooth=None)
    confirmed = noted(confirmed, command.now, command.by, command.reason)
    after_all = put(replace(with_routes(state, routes), services=services), confirmed)
    return Decided(after_all, warnings)


def _taken_over(state: State, release: Release) -> dict[RouteId, Route]:
    """The routes that change when all traffic of those who leave goes to those who stay."""
    routes: dict[RouteId, Route] = {}
    for rid, side in sides(release).items():
        route = state.routes.get(rid)
        if route is None:
            continue
        heirs = side.new or guards.heirs(release, route, side)
        if not side.old or not heirs:
            continue
        ratios = release.before.get(rid, {})
        weights = moved(route.weights, side.old, heirs, Fraction(1), ratios)
        if weights != route.weights:
            routes[rid] = reweighed(route, weights)
    return routes


def end_smooth(state: State, command: EndSmooth) -> Decided:
    """See `EndSmooth`."""
    release = find_release(state, command.release)
    if release.smooth is None or release.phase is not Phase.PENDING_CONFIRMATION:
        return Decided(state)
    touched = sides(release)
    routes = {
        rid: reweighed(route, _as_before(release, route, touched[rid], before))
        for rid, before in release.smooth.before.items()
        if (route := state.routes.get(rid)) is not None
        and not part(route.weights, touched[rid].old)  # nobody moved traffic meanwhile
    }
    strategy, reason = release.strategy, command.reason
    if strategy is Strategy.STANDARD and len(routes) < len(release.smooth.before):
        # Somebody takes it into their own hands: it must not move traffic against them.
        strategy, reason = Strategy.GRAY, f"{reason}. It goes on by hand, as a gray release"
    ended = replace(release, smooth=None, strategy=strategy)
    after = noted(ended, command.now, command.by, reason)
    return Decided(put(with_routes(state, routes), after))


def _as_before(release: Release, route: Route, side: Sides, before: Weights) -> Weights:
    """The weights from before a smooth confirmation; what others got meanwhile stays theirs."""
    mine = (*side.old, *(side.new or guards.heirs(release, route, side)))
    others = {sid: w for sid, w in route.weights.items() if sid not in mine}
    is_as_it_was = others == {sid: w for sid, w in before.items() if sid not in mine}
    whole = part(before, mine)
    if is_as_it_was and (part(route.weights, mine) == whole or not any(others.values())):
        return before
    if not whole:
        return {**route.weights, **dict.fromkeys(mine, 0)}
    stay = mine[len(side.old) :]
    return moved(route.weights, side.old, stay, Fraction(part(before, stay), whole), before)
