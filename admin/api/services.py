"""Services: look at, scale; those registered by hand: put, mark, drain and remove."""

from __future__ import annotations

from dataclasses import replace

from admin.providers.process.problems import lack_of_ports
from gateway.core.commands import MarkCoexist, PutService, RemoveService, ScaleService
from gateway.core.errors import Code, FieldError, Refused
from gateway.core.model import BY_HAND, Role, Service, ServiceId
from gateway.core.names import find_service, matching, quote
from gateway.core.state import State

from . import answers, names
from .auth import require
from .context import NOTHING_OPEN, Context
from .etag import TagOf, etag
from .operation import BASE, Call, Operation, Reply
from .payload import invalid_path, refuse
from .queries import NoQuery, PageQuery, RemoveQuery, WriteQuery
from .schemas import ServiceBody, ServicePatch
from .views import page, view
from .writes import execute, fields, written

PATH = f"{BASE}/services/{{name}}"
REMOVAL_WAIT_S = 5.0
"""How long a DELETE blocks; the removal itself goes on to its own deadline."""
POLL_S = 0.05


async def list_services(call: Call[PageQuery, None]) -> Reply:
    """All services by id (`application/name`, by hand: `-/name`), with their instances."""
    now = view(call.context)
    shown, more = page(now.state.services, call.query.limit, call.query.after)
    return Reply(answers.ServiceList([now.service(s) for s in shown], more))


async def get_service(call: Call[NoQuery, None]) -> Reply:
    """One service, by its short name or `application%2Fname`."""
    now = view(call.context)
    service = find_service(now.state, call.path["name"])
    return Reply(now.service(service), etag=_tag(service))


async def list_instances(call: Call[NoQuery, None]) -> Reply:
    """The instances of a service: address, health, state, open work."""
    now = view(call.context)
    return Reply(answers.InstanceList(now.instances(find_service(now.state, call.path["name"]))))


async def put_service(call: Call[WriteQuery, ServiceBody]) -> Reply:
    """Register a service by hand, or replace its registration.

    The first holder of a route gets weight 100, one that coexists 0; weights on
    routes it stays on are untouched.
    """
    name = _name_by_hand(call.path["name"])
    service = call.body.to_core(name, call.context.controller.settings.domain)
    tag_of = tag_of_service(service.id)
    outcome = await execute(call, PutService(service), tag_of)
    after = view(call.context, outcome.after).service(outcome.after.services[service.id])
    return written(
        call, outcome, lambda base: answers.ServiceWritten(**fields(base), service=after), tag_of
    )


async def patch_service(call: Call[WriteQuery, ServicePatch]) -> Reply:
    """Scale a service that is launched here, or mark it as one that may join others' routes."""
    name, body = call.path["name"], call.body
    tag_of = tag_of_service(name)
    command: ScaleService | MarkCoexist
    if body.scale is not None:
        _check_ports(call.context, name, body.scale)
        command = ScaleService(name, body.scale)
    else:
        require(call.actor, Role.ADMIN)
        command = MarkCoexist(name, bool(body.coexist))
    outcome = await execute(call, command, tag_of)
    after = view(call.context, outcome.after).service(find_service(outcome.after, name))
    return written(
        call, outcome, lambda base: answers.ServiceWritten(**fields(base), service=after), tag_of
    )


def _check_ports(context: Context, name: str, scale: int) -> None:
    """Refuse a scale for which there are not ports enough, all services together."""
    state = context.controller.state
    found = find_service(state, name)
    if found.launch is None or scale <= found.scale:
        return
    services = {**state.services, found.id: replace(found, scale=scale)}
    message = lack_of_ports(services.values(), context.controller.settings)
    if message is not None:
        raise refuse([FieldError("scale", message)])


async def delete_service(call: Call[RemoveQuery, None]) -> Reply:
    """Take a service off its routes, let its open work end, forget it.

    Answers when it is gone, or after 5 s with 202 and what is still open; the
    removal then goes on by itself until `drain_timeout`.
    """
    name, query = call.path["name"], call.query
    outcome = await execute(
        call, RemoveService(name, query.force, query.drain_timeout), tag_of_service(name)
    )
    sid = find_service(outcome.before, name).id
    removed = False if query.dry_run else await _wait_removed(call.context, sid)
    open_work = call.context.figures.work().services
    work = NOTHING_OPEN if removed else open_work.get(sid, NOTHING_OPEN)
    return written(
        call,
        outcome,
        lambda base: answers.ServiceRemoved(
            **fields(base), removed=removed, in_flight=work.in_flight, websockets=work.websockets
        ),
        lambda state: None,
        status=200 if removed else 202,
    )


async def _wait_removed(context: Context, sid: ServiceId) -> bool:
    """Wait until a leaving service is gone, a few seconds at most."""
    end = context.monotonic() + REMOVAL_WAIT_S
    while True:
        service = context.controller.state.services.get(sid)
        if service is None or not service.leaving:
            return True  # gone, or gone and registered anew meanwhile
        if context.monotonic() >= end:
            return False
        await context.sleep(POLL_S)


def tag_of_service(name: str) -> TagOf:
    """The tag of a service: its registration."""

    def tag(state: State) -> str | None:
        found = matching(name, state.services)
        return _tag(state.services[found[0]]) if len(found) == 1 else None

    return tag


def _tag(service: Service) -> str:
    # Without what is launched: it never changes under a name, and holds secrets that
    # could be guessed by their digest.
    return etag(replace(service, launch=None))


def _name_by_hand(text: str) -> str:
    application, _, name = text.rpartition("/")
    if application not in ("", BY_HAND):
        raise Refused(
            Code.IN_USE,
            f"{quote(text)} belongs to the application {quote(application)} and is changed by its "
            "template; services registered by hand have a name of their own, without application",
        )
    try:
        return names.service_name(name)
    except ValueError as error:
        raise invalid_path("name", error) from None


OPERATIONS = (
    Operation(
        "GET",
        f"{BASE}/services",
        list_services,
        "List services with their instances",
        Role.VIEWER,
        answers.ServiceList,
        "Services",
        query=PageQuery,
    ),
    Operation(
        "GET",
        PATH,
        get_service,
        "Show one service",
        Role.VIEWER,
        answers.ServiceAnswer,
        "Services",
        codes=(Code.NOT_FOUND, Code.AMBIGUOUS),
    ),
    Operation(
        "GET",
        f"{PATH}/instances",
        list_instances,
        "List a service's instances",
        Role.VIEWER,
        answers.InstanceList,
        "Services",
        codes=(Code.NOT_FOUND, Code.AMBIGUOUS),
    ),
    Operation(
        "PUT",
        PATH,
        put_service,
        "Register a service by hand",
        Role.ADMIN,
        answers.ServiceWritten,
        "Services",
        query=WriteQuery,
        body=ServiceBody,
        codes=(Code.ROUTE_CONFLICT, Code.IN_USE),
        statuses=(200, 202),
        command=PutService,
    ),
    Operation(
        "PATCH",
        PATH,
        patch_service,
        "Scale a service, or mark it as coexisting",
        Role.OPERATOR,
        answers.ServiceWritten,
        "Services",
        query=WriteQuery,
        body=ServicePatch,
        codes=(Code.NOT_FOUND, Code.AMBIGUOUS, Code.IN_USE),
        statuses=(200, 202),
    ),
    Operation(
        "DELETE",
        PATH,
        delete_service,
        "Drain a service, then remove it",
        Role.ADMIN,
        answers.ServiceRemoved,
        "Services",
        query=RemoveQuery,
        codes=(Code.NOT_FOUND, Code.AMBIGUOUS, Code.IN_USE),
        statuses=(200, 202),
        command=RemoveService,
    ),
)
