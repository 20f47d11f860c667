"""Weights of a route: the whole set, or some of them, in one atomic step."""

from __future__ import annotations

from typing import Any

from gateway.core.commands import SetWeights
from gateway.core.errors import Code
from gateway.core.model import Role, RouteId
from gateway.core.names import find_route, weights_by_name
from gateway.core.state import State

from . import answers
from .etag import TagOf, etag
from .operation import BASE, Call, Operation, Reply
from .queries import ForceQuery, NoQuery
from .routes import named
from .schemas import WeightsBody
from .writes import execute, fields, written

PATH = f"{BASE}/routes/{{route}}/weights"
WRITE_CODES = (
    Code.NOT_FOUND,
    Code.ROUTE_WITHOUT_TRAFFIC,
    Code.STRATEGY_FORBIDS_WEIGHT,
    Code.ILLEGAL_TRANSITION,
)


async def get_weights(call: Call[NoQuery, None]) -> Reply:
    """Service to weight; full ids where two short names clash."""
    state = call.context.controller.state
    route = find_route(state, _route(call))
    return Reply(weights_by_name(route.weights), etag=etag(route.weights))


async def put_weights(call: Call[ForceQuery, WeightsBody]) -> Reply:
    """Replace the whole set: every service of the route must be named."""
    return await _set(call, whole=True)


async def patch_weights(call: Call[ForceQuery, WeightsBody]) -> Reply:
    """Change the weights of the services named, leave the others."""
    return await _set(call, whole=False)


async def _set(call: Call[ForceQuery, WeightsBody], whole: bool) -> Reply:
    route = _route(call)
    command = SetWeights(route, call.body.root, whole, call.query.force)
    outcome = await execute(call, command, tag_of_weights(route))
    weights = weights_by_name(find_route(outcome.after, route).weights)
    return written(
        call,
        outcome,
        lambda base: answers.WeightsWritten(**fields(base), weights=weights),
        tag_of_weights(route),
    )


def tag_of_weights(route: RouteId) -> TagOf:
    """The tag of a route's weights; its policy is another matter."""

    def tag(state: State) -> str | None:
        found = state.routes.get(route)
        return None if found is None else etag(found.weights)

    return tag


def _route(call: Call[Any, Any]) -> RouteId:
    controller = call.context.controller
    return named(call.path["route"], controller.state, controller.settings.domain)


OPERATIONS = (
    Operation(
        "GET",
        PATH,
        get_weights,
        "Show a route's weights",
        Role.VIEWER,
        dict[str, int],
        "Weights",
        codes=(Code.NOT_FOUND,),
    ),
    Operation(
        "PUT",
        PATH,
        put_weights,
        "Replace all weights of a route",
        Role.OPERATOR,
        answers.WeightsWritten,
        "Weights",
        query=ForceQuery,
        body=WeightsBody,
        place=("weights",),
        codes=WRITE_CODES,
        statuses=(200, 202),
        command=SetWeights,
    ),
    Operation(
        "PATCH",
        PATH,
        patch_weights,
        "Change some weights of a route",
        Role.OPERATOR,
        answers.WeightsWritten,
        "Weights",
        query=ForceQuery,
        body=WeightsBody,
        place=("weights",),
        codes=WRITE_CODES,
        statuses=(200, 202),
        command=SetWeights,
    ),
)
