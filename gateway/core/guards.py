"""What must be so before traffic moves in a release: every refusal says the way out.

Pure; raises `Refused` or says what to warn of.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from fractions import Fraction

from .commands import ShiftRelease
from .decided import has_healthy
from .errors import Code, FieldError, Refused
from .model import Route, RouteId, ServiceId, split_service_id
from .names import quote, weights_by_name
from .observed import Observed
from .phases import illegal
from .planning import Sides, sides
from .readiness import readiness
from .release import Colour, Phase, Release, Strategy
from .sharing import FULL, Weights, part
from .state import State

CANARY_MOST = Fraction(1, 2)


def heirs(release: Release, route: Route, side: Sides) -> tuple[ServiceId, ...]:
    """Unchanged services of the application that have a route to themselves when others leave."""
    kept = set(release.ids(Colour.YELLOW))
    return tuple(sid for sid in route.weights if sid in kept and sid not in side.old)


# --- weights ---------------------------------------------------------------------------


def check_weights(state: State, route: Route, weights: Weights, *, force: bool) -> tuple[str, ...]:
    """May the weights of a route become these, as far as releases in flight are concerned?"""
    warnings: list[str] = []
    for name in dict.fromkeys(split_service_id(sid)[0] for sid in route.weights):
        application = state.applications.get(name)
        if application is None or application.release is None:
            continue
        release = state.releases[application.release]
        if release.phase not in (Phase.RELEASING, Phase.PENDING_CONFIRMATION):
            continue  # it is decided: no strategy says any more what stays may have
        side = sides(release).get(route.id)
        if side is not None and side.new:
            warnings += _check_route(release, route, weights, side, force=force)
    return tuple(warnings)


def check_shift(
    state: State,
    release: Release,
    routes: Mapping[RouteId, Route],
    observed: Observed,
    command: ShiftRelease,
) -> tuple[str, ...]:
    """May a release move traffic like this?"""
    warnings: list[str] = []
    touched = sides(release)
    for rid, after in routes.items():
        before, side = state.routes[rid], touched[rid]
        if before.is_held and not after.is_held:
            _check_phase(release, rid, force=command.force)
        warnings += _check_route(release, before, after.weights, side, force=command.force)
        if command.percent and not part(after.weights, (*side.old, *side.new)):
            warnings.append(f"{release.id} has no part of {rid}: set weights there by hand")
        if part(after.weights, side.new) <= part(before.weights, side.new) or command.force:
            continue
        dead = [sid for sid in side.new if not has_healthy(state, observed, sid)]
        if dead:
            raise Refused(
                Code.NO_HEALTHY_INSTANCE,
                f"{', '.join(dead)} would get traffic on {quote(rid)} and has no healthy "
                "instance; see what its instances say, or use force",
            )
    return tuple(warnings)


def _check_route(
    release: Release, route: Route, weights: Weights, side: Sides, *, force: bool
) -> list[str]:
    was, becomes = _share(route.weights, side), _share(weights, side)
    if part(weights, side.new) > part(route.weights, side.new):
        _check_phase(release, route.id, force=force)
    members = (*side.old, *side.new)
    if all(weights.get(sid) == route.weights.get(sid) for sid in members) or becomes < was:
        return []  # taking traffic off the new services is always allowed
    match release.strategy:
        case Strategy.BLUE_GREEN:
            return _check_all_or_nothing(release, route, weights, side)
        case Strategy.CANARY if side.old and becomes > CANARY_MOST and not force:
            raise Refused(
                Code.STRATEGY_FORBIDS_WEIGHT,
                f"{release.id} is a canary release: its new services get at most 50 % of its part "
                f"of {quote(route.id)}. `confirm` with `smooth` moves the rest when you are sure; "
                "force overrides",
                extra={"weights": weights_by_name(route.weights)},
            )
        case _:
            return []


def _check_all_or_nothing(
    release: Release, route: Route, weights: Weights, side: Sides
) -> list[str]:
    members = (*side.old, *side.new)
    now = {sid: weights.get(sid, 0) for sid in members}
    usual = release.before.get(route.id, {})
    is_exact = all(w in (0, FULL, usual.get(sid)) for sid, w in now.items())
    is_one_sided = _share(weights, side) in (0, 1)
    has_others = any(weights[sid] for sid in weights if sid not in members)
    is_shared = has_others or len(side.old) > 1 or len(side.new) > 1
    if not is_exact and not (is_one_sided and is_shared):
        raise Refused(
            Code.STRATEGY_FORBIDS_WEIGHT,
            f"{release.id} is a blue-green release: a version's weight on {quote(route.id)} is "
            "either 0 or 100. For shares in between release with the strategy gray, canary or ab",
            extra={"weights": weights_by_name(route.weights)},
        )
    if part(weights, side.old) and part(weights, side.new):
        return [f"old and new services share {route.id} now; blue-green ends with one of them at 0"]
    return []


def _check_phase(release: Release, route: RouteId, *, force: bool) -> None:
    if release.phase is Phase.RELEASING and not force:
        raise illegal(
            release.id,
            release.phase,
            f"its new services are not all healthy, they get no traffic on {quote(route)} yet",
            "wait for pending_confirmation, or use force",
        )


def _share(weights: Weights, side: Sides) -> Fraction:
    new, whole = part(weights, side.new), part(weights, (*side.old, *side.new))
    return Fraction(new, whole) if whole else Fraction(0)


# --- confirming ------------------------------------------------------------------------


def check_ready(state: State, observed: Observed, release: Release) -> None:
    """All instances of the new services are there and healthy."""
    if problems := unready(state, observed, release):
        raise Refused(
            Code.NO_HEALTHY_INSTANCE,
            f"{'; '.join(problems)}. Wait until they are, roll back, or use force",
            tuple(FieldError("services", text) for text in problems),
        )


def unready(state: State, observed: Observed, release: Release) -> tuple[str, ...]:
    """Which new services lack healthy instances, in words."""
    return tuple(
        f"{r.ready} of {r.scale} instances of {r.name} healthy"
        for r in readiness(state, observed, release)
        if r.colour is Colour.GREEN and not r.is_ready
    )


def check_traffic(state: State, release: Release, *, is_moved: bool = False) -> None:
    """All of the release's traffic is on its new services already.

    `is_moved`: so it is after all of it was moved, as a smooth confirmation does.
    """
    idle: dict[RouteId, list[str]] = {}
    busy: dict[RouteId, list[str]] = {}
    for rid, side in sides(release).items():
        route = state.routes.get(rid)
        if route is None or not (stay := side.new or heirs(release, route, side)):
            continue  # nobody could take the traffic over: the plan warned of it
        if part(release.before.get(rid, {}), side.old):
            _note(idle, rid, [sid for sid in stay if not route.weights.get(sid)])
        _note(busy, rid, [sid for sid in side.old if route.weights.get(sid)])
    if idle:
        way_out = (
            "moving all traffic of the release would give it none; set its weight first"
            if is_moved
            else "shift traffic to the new services and look at them first, confirm with `smooth` "
            "to have it moved"
        )
        raise Refused(
            Code.NO_TRAFFIC_ON_NEW,
            f"{_words(idle)} has weight 0: {way_out}, or use force",
            extra={"routes": idle},
        )
    if busy:
        raise Refused(
            Code.OLD_HAS_TRAFFIC,
            f"{_words(busy)} still has traffic: shift all of it to the new services, confirm "
            "with `smooth` to have it moved, or use force",
            extra={"routes": busy},
        )


def _note(found: dict[RouteId, list[str]], rid: RouteId, services: Collection[ServiceId]) -> None:
    if services:
        found[rid] = [split_service_id(sid)[1] for sid in services]


def _words(found: Mapping[RouteId, list[str]]) -> str:
    return "; ".join(f"{', '.join(names)} on {quote(rid)}" for rid, names in found.items())


# --- rolling back ----------------------------------------------------------------------


def check_way_back(state: State, observed: Observed, release: Release) -> None:
    """On no route would healthy new services be left for old ones of which none is healthy."""
    for rid, side in sides(release).items():
        if not side.old or not side.new or not any(release.before.get(rid, {}).values()):
            continue
        if any(has_healthy(state, observed, sid) for sid in side.old):
            continue
        if any(has_healthy(state, observed, sid) for sid in side.new):
            raise Refused(
                Code.NO_HEALTHY_INSTANCE,
                f"no old service on {quote(rid)} has a healthy instance, the new ones have: "
                "rolling back would take the route down. Mend the old ones first, or use force",
            )
