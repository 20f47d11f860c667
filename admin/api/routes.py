"""Routes: what is published where, and the operator's policy of it."""

from __future__ import annotations

from gateway.core.commands import DeleteRoute, SetRoutePolicy
from gateway.core.errors import Code
from gateway.core.model import Role, Route, RouteId, route_id
from gateway.core.names import find_route, published_host
from gateway.core.state import State

from . import answers, names
from .etag import TagOf, etag
from .operation import BASE, Call, Operation, Reply
from .payload import invalid_path
from .queries import NoQuery, PageQuery, WriteQuery
from .schemas import PolicyBody
from .views import page, view
from .writes import execute, fields, written


async def list_routes(call: Call[PageQuery, None]) -> Reply:
    """All routes with weights, shares and the traffic of the last minute, by name."""
    now = view(call.context)
    shown, more = page(now.state.routes, call.query.limit, call.query.after)
    return Reply(answers.RouteList([now.route(r) for r in shown], more))


async def get_route(call: Call[NoQuery, None]) -> Reply:
    """One route."""
    now = view(call.context)
    route = find_route(now.state, named(call.path["route"], now.state, _domain(call)))
    return Reply(now.route(route), etag=_tag(route))


async def put_route(call: Call[WriteQuery, PolicyBody]) -> Reply:
    """Replace the policy of a route; makes the route if there is none yet."""
    try:
        host, path = names.route_parts(call.path["route"])
    except ValueError as error:
        raise invalid_path("route", error) from None
    host = published_host(host, _domain(call))
    wanted = route_id(host, path)
    outcome = await execute(
        call, SetRoutePolicy(host, path, call.body.to_core()), tag_of_route(wanted)
    )
    after = view(call.context, outcome.after).route(find_route(outcome.after, wanted))
    return written(
        call,
        outcome,
        lambda base: answers.RouteWritten(**fields(base), route=after),
        tag_of_route(wanted),
    )


async def delete_route(call: Call[WriteQuery, None]) -> Reply:
    """Delete a route that no service is on, with its policy."""
    state = call.context.controller.state
    wanted = named(call.path["route"], state, _domain(call))
    outcome = await execute(call, DeleteRoute(wanted), tag_of_route(wanted))
    return written(
        call,
        outcome,
        lambda base: answers.RouteWritten(**fields(base), route=None),
        tag_of_route(wanted),
    )


def named(text: str, state: State, domain: str) -> RouteId:
    """The route a client means: case and a final slash do not matter, nor does the domain."""
    if RouteId(text) in state.routes:
        return RouteId(text)
    try:
        host, path = names.route_parts(text)
    except ValueError:
        return RouteId(text)  # no such route can exist; the look-up says so
    return route_id(published_host(host, domain), path)


def tag_of_route(route: RouteId) -> TagOf:
    """The tag of a route: its weights and its policy."""

    def tag(state: State) -> str | None:
        found = state.routes.get(route)
        return None if found is None else _tag(found)

    return tag


def _tag(route: Route) -> str:
    return etag(route)


def _domain(
    call: Call[NoQuery, None] | Call[WriteQuery, None] | Call[WriteQuery, PolicyBody],
) -> str:
    return call.context.controller.settings.domain


OPERATIONS = (
    Operation(
        "GET",
        f"{BASE}/routes",
        list_routes,
        "List routes with services, weights, shares and traffic",
        Role.VIEWER,
        answers.RouteList,
        "Routes",
        query=PageQuery,
    ),
    Operation(
        "GET",
        f"{BASE}/routes/{{route}}",
        get_route,
        "Show one route",
        Role.VIEWER,
        answers.RouteAnswer,
        "Routes",
        codes=(Code.NOT_FOUND,),
    ),
    Operation(
        "PUT",
        f"{BASE}/routes/{{route}}",
        put_route,
        "Replace a route's policy",
        Role.ADMIN,
        answers.RouteWritten,
        "Routes",
        query=WriteQuery,
        body=PolicyBody,
        statuses=(200, 202),
        command=SetRoutePolicy,
    ),
    Operation(
        "DELETE",
        f"{BASE}/routes/{{route}}",
        delete_route,
        "Delete a route without services",
        Role.ADMIN,
        answers.RouteWritten,
        "Routes",
        query=WriteQuery,
        codes=(Code.NOT_FOUND, Code.IN_USE),
        statuses=(200, 202),
        command=DeleteRoute,
    ),
)
