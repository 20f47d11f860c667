"""What a release changes of services that stay what they are: routes, mark, scale, limits.

Pure. Their routes change at confirm, in the same value in which the old services
leave theirs, so that a route that goes from one to the other is always served;
a rollback from there takes that back. All else changes when the release is over.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction

from .flight import reweighed
from .guards import heirs
from .model import Claim, Route, RouteId, Service, ServiceId
from .planning import sides
from .registration import FIRST_WEIGHT
from .release import Colour, Release, Template
from .sharing import moved
from .state import State


def joining(release: Release) -> dict[RouteId, tuple[ServiceId, ...]]:
    """The unchanged services that newly claim a route, by route."""
    found: dict[RouteId, tuple[ServiceId, ...]] = {}
    for old, new in _pairs(release):
        had = {c.route for c in old.claims}
        for claim in new.claims:
            if claim.route not in had:
                found[claim.route] = (*found.get(claim.route, ()), new.id)
    return found


def joined(
    state: State, release: Release, left: Mapping[RouteId, Route | None]
) -> dict[RouteId, Route]:
    """The routes that unchanged services join, once the old ones have `left` theirs.

    Where nobody else could, they take over what the old ones had.
    """
    touched, claims = sides(release), _claims(release.template)
    routes: dict[RouteId, Route] = {}
    for rid, who in joining(release).items():
        before, claim = state.routes.get(rid), claims[rid]
        route = left.get(rid, before) or Route(claim.host, claim.path)
        weights = {**route.weights, **dict.fromkeys(who, 0)}
        side = touched.get(rid)
        if before and side and not side.new and not heirs(release, before, side):
            all_of_it = {**before.weights, **dict.fromkeys(who, 0)}
            weights = moved(all_of_it, side.old, who, Fraction(1), {})
            weights = {sid: w for sid, w in weights.items() if sid not in side.old}
        elif not route.weights:
            weights[who[0]] = FIRST_WEIGHT
        routes[rid] = reweighed(route, weights)
    return routes


def with_claims(state: State, release: Release, template: Template) -> State:
    """The unchanged services claim what this template says; routes are the caller's.

    With the claims goes the probe where it follows from them.
    """
    services = dict(state.services)
    for old, new in _pairs(release):
        then = new if template is release.template else old
        if (now := services.get(new.id)) is not None:
            changed = replace(now, claims=then.claims, check=then.check)
            services[new.id] = now if changed == now else changed
    return replace(state, services=services)


def with_changes(state: State, release: Release) -> State:
    """What is left to change when the release is confirmed: scale, mark, limits, order of starting.

    A scale that an operator set stays unless the template changes it.
    """
    services = dict(state.services)
    for old, new in _pairs(release):
        if (now := services.get(new.id)) is not None:
            scale = new.scale if new.scale != old.scale else now.scale
            changed = replace(
                now,
                scale=scale,
                coexist=new.coexist,
                depends=new.depends,
                in_flight_limit=new.in_flight_limit,
            )
            services[new.id] = now if changed == now else changed
    return replace(state, services=services)


def _pairs(release: Release) -> list[tuple[Service, Service]]:
    """Unchanged services as the old template has them and as the new one does."""
    if release.previous is None:
        return []
    olds = {s.name: s for s in release.previous.services}
    return [
        (olds[s.name], s)
        for s in release.template.services
        if release.colours[s.name] is Colour.YELLOW
    ]


def _claims(template: Template) -> dict[RouteId, Claim]:
    return {c.route: c for s in template.services for c in s.claims}
