"""A release in flight as part of the state: finding it, noting in it, what it does to a route.

Pure helpers that starting, releasing and applications share.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from .errors import Code, Refused
from .model import Route, RoutePolicy, Service, ServiceId
from .names import did_you_mean, quote
from .phases import Event, step
from .planning import opening
from .registration import FIRST_WEIGHT
from .release import Colour, Entry, Release
from .state import State

TIMELINE_MAX = 200
"""Lines of a timeline that are kept, the newest."""


def find_release(state: State, name: str) -> Release:
    """The release of an id, or the one in flight of an application; raises `Refused`."""
    if (exact := state.releases.get(name)) is not None:
        return exact
    application = state.applications.get(name)
    if application is None:
        known = (*state.applications, *state.releases)
        raise Refused(
            Code.NOT_FOUND,
            f"there is no release or application {quote(name)}{did_you_mean(name, known)}",
        )
    if application.release is None:
        raise Refused(
            Code.ILLEGAL_TRANSITION,
            f"no release of {quote(name)} is in flight; deploy a template first",
            extra={"phase": None, "legal": []},
        )
    return state.releases[application.release]


def put(state: State, release: Release) -> State:
    """The state with one release put, all else shared."""
    return replace(state, releases={**state.releases, release.id: release})


def entered(release: Release, event: Event, now: float, by: str, reason: str) -> Release:
    """The release in the phase that an event leads to."""
    phase = step(release.id, release.phase, event)
    return noted(replace(release, phase=phase), now, by, reason)


def noted(release: Release, now: float, by: str, reason: str) -> Release:
    """The release with one more line in its timeline, of which the last 200 stay."""
    entry = Entry(now, release.phase, by, reason)
    return replace(release, timeline=(*release.timeline, entry)[-TIMELINE_MAX:])


def green_services(release: Release) -> dict[ServiceId, Service]:
    """The new services of a release, as its template has them."""
    return {s.id: s for s in release.template.services if release.colours[s.name] is Colour.GREEN}


def reweighed(route: Route, weights: Mapping[ServiceId, int]) -> Route:
    """The route with other weights: one that has any is for everybody."""
    return replace(route, weights=weights, is_held=route.is_held and not any(weights.values()))


def opened(route: Route, services: Mapping[ServiceId, Service]) -> Route:
    """A route for everybody; if nobody has weight there, the first holder gets it all."""
    first = None if any(route.weights.values()) else opening(services, route)
    weights = route.weights if first is None else {**route.weights, first: FIRST_WEIGHT}
    return replace(route, weights=weights, is_held=False)


def without(route: Route, leaving: tuple[ServiceId, ...]) -> Route | None:
    """The route without some members; None: nothing is left that anybody asked for."""
    weights = {sid: w for sid, w in route.weights.items() if sid not in leaving}
    if not weights and route.policy == RoutePolicy():
        return None
    return replace(route, weights=weights)
