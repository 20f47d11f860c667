"""Releases begin, shift, are confirmed or rolled back: what each does to the state.

Part of `decide` and as pure. `phases.py` says which phase may follow, `planning.py`
what a template means for the services, `guards.py` what must be so before,
`sharing.py` how weights move.

Invariants, beside those of `decide`:

* an application has one release in flight at most, and names it;
* a phase, the weights and the services that belong to it change in one value;
* shares of services that are no part of a release stay what they are;
* what was observed is looked at again here: a report that is out of date is nothing.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from . import guards
from .applications import remove_application, scale_service
from .commands import (
    AdvanceRelease,
    ConfirmRelease,
    EndSmooth,
    ReleaseCommand,
    RemoveApplication,
    RollbackRelease,
    ScaleService,
    ShiftRelease,
    StartRelease,
)
from .decided import Decided, with_routes
from .errors import invalid
from .flight import (
    entered,
    find_release,
    green_services,
    noted,
    opened,
    put,
    reweighed,
    without,
)
from .gone import drop_if_gone
from .model import Claim, Route, RouteId, ServiceId
from .observed import Observed
from .phases import Event, illegal, step, verbs
from .planning import Sides, captured, sides
from .readiness import is_ready
from .release import Colour, ConfirmMode, OnDeadline, Phase, Release, SmoothConfirm, Strategy
from .sharing import Weights, given_back, moved, part
from .starting import start_release
from .state import State
from .unchanged import joined, joining, with_changes, with_claims

KEYS_MAX = 50
"""Calls on a release that are known again, the newest."""


def decide_release(state: State, command: ReleaseCommand, observed: Observed) -> Decided:
    """Carry out a release command; raises `Refused`."""
    match command:
        case StartRelease():
            return start_release(state, command)
        case ShiftRelease() | ConfirmRelease() | RollbackRelease():
            return _once(state, command, observed)
        case AdvanceRelease():
            return _advance(state, command, observed)
        case EndSmooth():
            return _end_smooth(state, command)
        case ScaleService():
            return scale_service(state, command)
        case RemoveApplication():
            return remove_application(state, command)


def _once(
    state: State, command: ShiftRelease | ConfirmRelease | RollbackRelease, observed: Observed
) -> Decided:
    """Carry out what an operator asks for, the same call only the first time."""
    release = find_release(state, command.release)
    if command.key is not None and command.key in release.keys:
        return Decided(state)
    match command:
        case ShiftRelease():
            decided = _shift(state, command, observed)
        case ConfirmRelease():
            decided = _confirm(state, command, observed)
        case RollbackRelease():
            decided = _roll_back(state, command, observed)
    if command.key is None:
        return decided
    after = decided.state.releases[release.id]
    known = replace(after, keys=(*after.keys, command.key)[-KEYS_MAX:])
    return Decided(put(decided.state, known), decided.warnings)


# --- moving traffic --------------------------------------------------------------------


def _shift(state: State, command: ShiftRelease, observed: Observed) -> Decided:
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
    others = _without_new(state, release)
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
        elif not share and set(route.weights) <= green.keys() and _takes_over(others, route):
            routes[rid] = replace(route, weights=dict.fromkeys(route.weights, 0), is_held=True)
    return routes


def _without_new(state: State, release: Release) -> State:
    """The state with those routes only that somebody else is on."""
    new = set(release.ids(Colour.GREEN))
    return replace(
        state, routes={rid: r for rid, r in state.routes.items() if not new.issuperset(r.weights)}
    )


def _takes_over(others: State, route: Route) -> bool:
    """Is this new route in front of one that would serve without the release?"""
    return captured(others, Claim(route.host, route.path)) is not None


# --- confirming ------------------------------------------------------------------------


def _confirm(state: State, command: ConfirmRelease, observed: Observed) -> Decided:
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


def _end_smooth(state: State, command: EndSmooth) -> Decided:
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


# --- rolling back ----------------------------------------------------------------------


def _roll_back(state: State, command: RollbackRelease, observed: Observed) -> Decided:
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
        _rolled_back(state, release, Event.ROLLBACK, command.now, command.by, command.reason)
    )


def has_no_way_back(state: State, release: Release) -> bool:
    """Was the first old service stopped already, so that nothing is left to roll back to?"""
    return release.phase is Phase.CONFIRMING and any(
        sid not in state.services for sid in release.ids(Colour.BLUE)
    )


def legal_verbs(state: State, release: Release) -> tuple[Event, ...]:
    """What an operator may ask of a release as it is now."""
    return () if has_no_way_back(state, release) else verbs(release.phase)


def _rolled_back(
    state: State, release: Release, event: Event, now: float, by: str, reason: str
) -> State:
    """The old services have the release's part again, the new ones are leaving."""
    touched = sides(release)
    others = _without_new(state, release)
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
            if left is not None and not left.weights and _takes_over(others, left):
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


# --- what is observed ------------------------------------------------------------------


def _advance(state: State, command: AdvanceRelease, observed: Observed) -> Decided:
    release = state.releases.get(command.release)
    if release is None or not has_happened(state, observed, release, command.event, command.now):
        return Decided(state)
    after = step(release.id, release.phase, command.event)
    if after is release.phase:
        return Decided(state)
    now, by, reason = command.now, command.by, command.reason
    match command.event:
        case Event.EXPIRED:
            return Decided(_rolled_back(state, release, Event.EXPIRED, now, by, reason))
        case Event.HEALTHY:
            return Decided(put(state, entered(release, Event.HEALTHY, now, by, reason)))
        case _:
            return Decided(_over(state, entered(release, command.event, now, by, reason)))


def has_happened(
    state: State, observed: Observed, release: Release, event: Event, now: float
) -> bool:
    """Does the state show this at `now` (epoch seconds)? Of verbs: no, operators ask for them."""
    match event:
        case Event.HEALTHY | Event.DEPLOYED:
            is_first = release.previous is None
            return is_first is (event is Event.DEPLOYED) and is_ready(state, observed, release)
        case Event.EXPIRED:
            return release.on_deadline is OnDeadline.ROLLBACK and now >= release.deadline
        case Event.OLD_GONE:
            return _are_gone(state, observed, release.ids(Colour.BLUE))
        case Event.NEW_GONE:
            return _are_gone(state, observed, release.ids(Colour.GREEN))
        case _:
            return False


def _are_gone(state: State, observed: Observed, services: tuple[ServiceId, ...]) -> bool:
    """Removed, and without any process? Unknown is no."""
    if observed.running is None and services:
        return False
    running = observed.running or frozenset()
    return not any(sid in state.services or sid in running for sid in services)


def _over(state: State, release: Release) -> State:
    """The end of a release."""
    application = state.applications[release.application]
    if release.phase is Phase.CONFIRMED:
        state = _all_open(with_changes(state, release), release)
        application = replace(
            application, template=release.template, previous=release.previous, release=None
        )
    else:
        application = replace(application, release=None)
    return drop_if_gone(
        replace(
            put(state, release),
            applications={**state.applications, application.name: application},
        ),
        application.name,
    )


def _all_open(state: State, release: Release) -> State:
    """What a first deployment held back opens with its end."""
    if release.previous is not None:
        return state  # it did so when it was confirmed
    found = {rid: state.routes[rid] for rid in sides(release) if rid in state.routes}
    green = green_services(release)
    return with_routes(state, {rid: opened(r, green) for rid, r in found.items() if r.is_held})
