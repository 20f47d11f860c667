"""A release begins: from a template to new services beside the old ones.

Part of `decide` and as pure. `planning.py` says what the template means.
"""

from __future__ import annotations

from dataclasses import replace

from .commands import StartRelease
from .decided import Decided, with_routes
from .errors import Code, Refused, invalid
from .flight import entered, green_services, opened, put
from .guards import heirs
from .model import Route, RouteId, ServiceId
from .names import quote
from .phases import Event
from .planning import captured, plan, sides
from .release import Application, Colour, Entry, Phase, Release
from .state import State


def start_release(state: State, command: StartRelease) -> Decided:
    """See `StartRelease`."""
    name = command.application
    application = state.applications.get(name) or Application(name)
    if command.key is not None and (same := _same(state, command)) is not None:
        return Decided(state, same.warnings)
    if application.leaving:
        raise Refused(
            Code.IN_USE, f"{quote(name)} is being removed; deploy it again when it is gone"
        )
    _refuse_a_name_found_running(state, name)
    if application.release is not None:
        flying = state.releases[application.release]
        raise Refused(
            Code.RELEASE_IN_PROGRESS,
            f"{flying.id} of {quote(name)} is {flying.phase.value}: confirm it or roll it back "
            "before the next release",
            extra={"release": flying.id, "phase": flying.phase.value},
        )
    template = command.template if command.template is not None else application.previous
    if template is None:
        raise Refused(
            Code.NOT_FOUND,
            f"{quote(name)} has no template before its present one; send a template",
        )
    if not template.services:
        raise invalid("a template needs at least one service", ("services", "empty"))
    planned = plan(state, name, application.template, template)
    release = Release(
        id=f"{name}-{_number(state, name)}",
        application=name,
        strategy=command.strategy,
        phase=Phase.RELEASING,
        created=command.now,
        deadline=command.now + command.deadline_s,
        on_deadline=command.on_deadline,
        template=template,
        previous=application.template,
        colours=planned.colours,
        warnings=(*command.warnings, *planned.warnings),
        timeline=(Entry(command.now, Phase.RELEASING, command.by, command.reason),),
        key=command.key,
    )
    release = replace(release, before=_weights_before(state, release))
    after, notes = _with_green(state, release)
    release = replace(release, warnings=(*release.warnings, *notes))
    if not release.names(Colour.GREEN):
        # Nothing has to come up; at a first deployment there is always something.
        release = entered(release, Event.HEALTHY, command.now, "gateway", "nothing new to start")
    after = put(after, release)
    after = replace(
        after,
        applications={**state.applications, name: replace(application, release=release.id)},
    )
    after = replace(after, releases=_kept(after, command.keep))
    return Decided(after, release.warnings)


def _refuse_a_name_found_running(state: State, name: str) -> None:
    found = [s.id for s in state.services.values() if s.application == name and s.discovery]
    if found:
        raise Refused(
            Code.IN_USE,
            f"{', '.join(found)} of {quote(name)} was found running, started by somebody else: "
            "deploy under another name (routes can be shared by coexist), or stop those "
            "containers and remove the service first",
        )


def _same(state: State, command: StartRelease) -> Release | None:
    """The release that the same call began; its answer was lost."""
    for release in reversed(tuple(state.releases.values())):
        if release.application == command.application and release.key == command.key:
            return release
    return None


def _number(state: State, application: str) -> int:
    numbers = [
        int(r.id.rpartition("-")[2])
        for r in state.releases.values()
        if r.application == application
    ]
    return max(numbers, default=0) + 1


def _kept(state: State, keep: int) -> dict[str, Release]:
    """The history without its oldest entries.

    What is in flight stays, and of every application the newest: the next one is
    counted on from it.
    """
    newest = {r.application: r.id for r in state.releases.values()}
    over = [r.id for r in state.releases.values() if r.phase.is_over]
    gone = set(over[: max(0, len(over) - keep)])
    gone -= {newest[name] for name in state.applications if name in newest}
    return {rid: r for rid, r in state.releases.items() if rid not in gone}


def _weights_before(state: State, release: Release) -> dict[RouteId, dict[ServiceId, int]]:
    """Of the old services, and of those that take over where no new ones come."""
    found: dict[RouteId, dict[ServiceId, int]] = {}
    for rid, side in sides(release).items():
        if side.old and (route := state.routes.get(rid)) is not None:
            stay = () if side.new else heirs(release, route, side)
            found[rid] = {sid: route.weights[sid] for sid in (*side.old, *stay)}
    return found


def _with_green(state: State, release: Release) -> tuple[State, list[str]]:
    """The state with the new services on their routes, and what to tell of that."""
    notes: list[str] = []
    green = green_services(release)
    routes: dict[RouteId, Route] = {}
    fresh: dict[RouteId, RouteId | None] = {}
    for service in green.values():
        for claim in service.claims:
            rid = claim.route
            route = routes.get(rid) or state.routes.get(rid) or Route(claim.host, claim.path)
            if rid not in fresh and not route.weights:
                fresh[rid] = captured(state, claim)
            routes[rid] = replace(route, weights={**route.weights, service.id: 0})
    for rid, captures in fresh.items():
        if captures is None:
            routes[rid] = opened(routes[rid], green)
        else:
            routes[rid] = replace(routes[rid], is_held=True)
            notes.append(
                f"{rid} would take requests that {captures} serves today: until the first shift "
                "it answers selectors only"
            )
    services = {**state.services, **green}
    return replace(with_routes(state, routes), services=services), notes
