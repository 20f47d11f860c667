"""What a new template means for an application: colours, conflicts, warnings.

Pure: from two templates and the state to a plan, before anything is changed.
A service is known by its name; its definition (`launch`, `endpoints`, `tls`, `check`)
decides whether it is the same one. Routing labels and scale are no part of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields

from .container import Container
from .errors import Code, FieldError, Refused
from .model import (
    Check,
    CheckKind,
    Claim,
    Launch,
    Route,
    RouteId,
    Service,
    ServiceId,
    route_id,
    split_service_id,
)
from .names import quote
from .release import Colour, Release, Template
from .state import State


@dataclass(frozen=True, slots=True)
class Plan:
    """What a release would do."""

    colours: Mapping[str, Colour]
    changed: tuple[str, ...]
    """Unchanged services whose scale or routing differs in the new template."""
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sides:
    """Who leaves a route and who comes to it, by full id."""

    old: tuple[ServiceId, ...]
    new: tuple[ServiceId, ...]


def plan(state: State, application: str, old: Template | None, new: Template) -> Plan:
    """The plan of a release from `old` to `new`.

    Raises `Refused`: service_redefined, nothing_to_release, route_conflict.
    """
    before = _present(state, old)
    colours = _colours(before, new)
    changed = tuple(
        s.name
        for s in new.services
        if colours[s.name] is Colour.YELLOW and _markers(s) != _markers(before[s.name])
    )
    if not changed and all(c is Colour.YELLOW for c in colours.values()):
        raise Refused(
            Code.NOTHING_TO_RELEASE,
            f"{quote(application)} is just what this template says; there is nothing to release",
        )
    _refuse_conflicts(state, application, colours, new)
    warnings = [
        *_unmarked(state, colours, new),
        *_changes(before, changed, new),
        *_lost_routes(before, new),
    ]
    return Plan(colours, changed, tuple(warnings))


def sides(release: Release) -> dict[RouteId, Sides]:
    """The routes that a release changes, with who leaves and who comes.

    An unchanged service leaves a route that the new template does not name any
    more. One that only now claims a route comes to it when the release is over.
    """
    has = {(s.name, c.route) for s in release.template.services for c in s.claims}
    found: dict[RouteId, tuple[list[ServiceId], list[ServiceId]]] = {}
    for service in release.previous.services if release.previous is not None else ():
        if release.colours.get(service.name) not in (Colour.BLUE, Colour.YELLOW):
            continue  # it was removed by force, or is a new one since
        for claim in service.claims:
            if (service.name, claim.route) not in has:
                found.setdefault(claim.route, ([], []))[0].append(service.id)
    for service in release.template.services:
        if release.colours[service.name] is Colour.GREEN:
            for claim in service.claims:
                found.setdefault(claim.route, ([], []))[1].append(service.id)
    return {route: Sides(tuple(leave), tuple(come)) for route, (leave, come) in found.items()}


def captured(state: State, claim: Claim) -> RouteId | None:
    """The route that serves the requests of a new route today; None: nobody does.

    As the routing table matches: a shorter prefix of the same host first, then
    wildcards, the longest suffix first.
    """
    prefixes = list(_prefixes(claim.path))
    for host in (claim.host, *_wildcards(claim.host)):
        for path in prefixes:
            route = state.routes.get(route_id(host, path))
            is_itself = host == claim.host and path == prefixes[0]
            if route is not None and route.weights and not route.is_held and not is_itself:
                return route.id
    return None


def opening(services: Mapping[ServiceId, Service], route: Route) -> ServiceId | None:
    """Who gets all of a new route: the first member that did not ask to coexist, else the first."""
    members = [services[sid] for sid in route.weights if sid in services]
    first = next((s for s in members if not s.coexist), members[0] if members else None)
    return first.id if first is not None else None


def _present(state: State, template: Template | None) -> dict[str, Service]:
    """The services of a template that are there (one may have been removed by force)."""
    if template is None:
        return {}
    return {
        s.name: s
        for s in template.services
        if (now := state.services.get(s.id)) is not None and not now.leaving
    }


def _colours(before: Mapping[str, Service], new: Template) -> dict[str, Colour]:
    colours: dict[str, Colour] = {}
    errors: list[FieldError] = []
    for service in new.services:
        old = before.get(service.name)
        if old is None:
            colours[service.name] = Colour.GREEN
            continue
        colours[service.name] = Colour.YELLOW
        for place, change in _redefined(old, service):
            errors.append(FieldError(f"{service.name}.{place}", change))
    if errors:
        names = ", ".join(dict.fromkeys(quote(e.field.split(".")[0]) for e in errors))
        raise Refused(
            Code.SERVICE_REDEFINED,
            f"{names}: new and old version may not share a name. Give the changed service a new "
            "name, e.g. with the next version at its end, or take the change back",
            errors,
        )
    return colours | {name: Colour.BLUE for name in before if name not in colours}


def _redefined(old: Service, new: Service) -> Iterable[tuple[str, str]]:
    """What of a service's definition differs: where, and how. Values of variables stay secret."""
    if old.endpoints != new.endpoints:
        yield "x-gateway.endpoints", "differs from the running service of this name"
    if old.tls != new.tls:
        yield "x-gateway.tls", "differs from the running service of this name"
    if _check(old) != _check(new):
        yield "probe", "differs from the running service of this name"
    if old.launch == new.launch:
        return
    if old.launch is None or new.launch is None:
        yield "image", "only one of the two versions of this name is to be started"
        return
    for field in fields(Launch):
        was, now = getattr(old.launch, field.name), getattr(new.launch, field.name)
        if was == now:
            continue
        if field.name == "image":
            yield field.name, f"is {quote(now)}, the running service of this name has {quote(was)}"
        elif field.name == "environment":
            names = sorted({k for k, _ in set(was) ^ set(now)})
            yield field.name, f"differs in {', '.join(map(quote, names))}"
        elif field.name == "container":
            yield from _other_container(was, now)
        else:
            yield field.name, "differs from the running service of this name"


_KEYS = {"is_check_off": "healthcheck", "no_new_privileges": "security_opt"}
"""What templates call it, where that is something else."""


def _other_container(was: Container | None, now: Container | None) -> Iterable[tuple[str, str]]:
    if was is None or now is None:
        word = "a local process" if now is None else "a container"
        yield "image", f"would be {word} now; the running service of this name is none"
        return
    for field in fields(Container):
        had, has = getattr(was, field.name), getattr(now, field.name)
        if had == has:
            continue
        keys = [_KEYS.get(field.name, field.name)]
        if field.name == "limits":
            keys = sorted({key for key, _ in set(had) ^ set(has)})
        for key in keys:
            yield key, "differs from the running service of this name"


def _check(service: Service) -> Check | None:
    """The probe of a definition. Without one it follows from the routes, which are none of it."""
    check = service.check
    return None if check == Check(CheckKind.RUNNING) else check


def _markers(service: Service) -> object:
    """What may change under the same name."""
    claims = sorted(service.claims, key=lambda c: (c.route, c.port or 0))
    return service.scale, service.coexist, service.depends, service.in_flight_limit, claims


def _refuse_conflicts(
    state: State, application: str, colours: Mapping[str, Colour], new: Template
) -> None:
    """A route of somebody else needs the mark, for new services and for new claims alike."""
    holders: dict[RouteId, list[ServiceId]] = {}
    errors: list[FieldError] = []
    for service in new.services:
        now = state.services.get(service.id)
        is_there = now is not None and not now.leaving
        joined = {c.route for c in now.claims} if now and is_there else set[RouteId]()
        for claim in service.claims:
            route = state.routes.get(claim.route)
            if service.coexist or route is None or claim.route in joined:
                continue
            foreign = [s for s in route.weights if split_service_id(s)[0] != application]
            if foreign:
                holders[claim.route] = foreign
                errors.append(
                    FieldError(
                        f"{service.name}.labels.routing.port_{claim.port}",
                        f"{quote(claim.route)} is held by {', '.join(foreign)}",
                    )
                )
    if holders:
        words = "; ".join(f"{quote(rid)} by {', '.join(by)}" for rid, by in holders.items())
        raise Refused(
            Code.ROUTE_CONFLICT,
            f"routes of this template are held by others: {words}. Give the service the label "
            "`aliyun.routing.coexist: true` to let it join them with weight 0, or use another route",
            errors,
            {"holders": holders},
        )


def _unmarked(state: State, colours: Mapping[str, Colour], new: Template) -> Iterable[str]:
    for service in new.services:
        if colours[service.name] is not Colour.GREEN or service.coexist:
            continue
        for claim in service.claims:
            route = state.routes.get(claim.route)
            if route is not None and route.weights:
                with_whom = ", ".join(split_service_id(s)[1] for s in route.weights)
                yield (
                    f"{service.name} shares the route {claim.route} with {with_whom} without the "
                    "label aliyun.routing.coexist; accepted, they are of the same application"
                )


def _changes(before: Mapping[str, Service], changed: Iterable[str], new: Template) -> Iterable[str]:
    for name in changed:
        was, now = before[name], new.service(name)
        if now is None:
            continue
        if was.scale != now.scale:
            yield f"{name} is unchanged but for its scale: {was.scale} -> {now.scale} at confirm"
        if was.coexist != now.coexist:
            mark = "marked" if now.coexist else "no longer marked"
            yield f"{name} is unchanged but {mark} as coexisting; applied at confirm"
        if was.depends != now.depends:
            yield f"{name} is unchanged but for what it depends on; applied at confirm"
        if was.in_flight_limit != now.in_flight_limit:
            limits = (_limit(was.in_flight_limit), _limit(now.in_flight_limit))
            yield f"{name} is unchanged but for its limit in_flight: {' -> '.join(limits)} at confirm"
        had, has = _named(was.claims), _named(now.claims)
        if had != has:
            yield (
                f"{name} is unchanged but for its routes: {', '.join(had) or 'none'} -> "
                f"{', '.join(has) or 'none'} at confirm"
            )


def _limit(value: int | None) -> str:
    return "the configuration's" if value is None else str(value)


def _lost_routes(before: Mapping[str, Service], new: Template) -> Iterable[str]:
    kept = {c.route for s in new.services for c in s.claims}
    lost = {c.route: s.name for s in before.values() for c in s.claims if c.route not in kept}
    for route, name in lost.items():
        yield f"{route} is served by {name} only and by no service of the new template"


def _named(claims: Iterable[Claim]) -> list[str]:
    return sorted(f"{c.route} (port {c.port})" if c.port else c.route for c in claims)


def _prefixes(path: str) -> Iterable[str]:
    """`/a/b` -> `/a/b`, `/a`, `/`."""
    path = path.rstrip("/")
    while path:
        yield path
        path = path.rpartition("/")[0]
    yield "/"


def _wildcards(host: str) -> Iterable[str]:
    """`a.b.c` -> `*.b.c`, `*.c`; of a wildcard the shorter ones."""
    rest = host.removeprefix("*.") if host.startswith("*.") else host
    _, dot, rest = rest.partition(".")
    while dot:
        yield f"*.{rest}"
        _, dot, rest = rest.partition(".")
