"""Instances one by one: look at, drain, give work again."""

from __future__ import annotations

from typing import Any

from gateway.core.commands import DrainInstance, ResumeInstance
from gateway.core.errors import Code, Refused
from gateway.core.model import InstanceId, Role
from gateway.core.names import did_you_mean, quote
from gateway.core.state import State

from . import answers
from .context import SETTLED_S, Context
from .etag import TagOf, etag
from .operation import BASE, Call, Operation, Reply
from .queries import DrainQuery, NoQuery, WriteQuery
from .views import view
from .writes import execute, fields, written

PATH = f"{BASE}/instances/{{id}}"
POLL_S = 0.05


async def get_instance(call: Call[NoQuery, None]) -> Reply:
    """One instance."""
    id = _id(call)
    return Reply(_show(call.context, id), etag=_tag(call.context.controller.state, id))


async def drain_instance(call: Call[DrainQuery, None]) -> Reply:
    """Give an instance no new work; what is open goes on.

    `wait` blocks until nothing is open, or so many seconds.
    """
    id = _id(call)
    outcome = await execute(call, DrainInstance(id), tag_of_instance(call.context, id))
    if not call.query.dry_run:
        await _wait_drained(call.context, id, call.query.wait)
    return _written(call, outcome, id)


async def resume_instance(call: Call[WriteQuery, None]) -> Reply:
    """Give a drained instance work again."""
    id = _id(call)
    outcome = await execute(call, ResumeInstance(id), tag_of_instance(call.context, id))
    return _written(call, outcome, id)


def _written(call: Call[Any, Any], outcome: Any, id: InstanceId) -> Reply:
    shown = _show(call.context, id, outcome.after)
    nothing_open = not (shown.in_flight or shown.websockets)
    return written(
        call,
        outcome,
        lambda base: answers.InstanceWritten(
            **fields(base),
            instance=shown,
            in_flight=shown.in_flight,
            websockets=shown.websockets,
            drained=id in outcome.after.drained and nothing_open,
        ),
        tag_of_instance(call.context, id),
    )


async def _wait_drained(context: Context, id: InstanceId, wait_s: float) -> None:
    """Wait until nothing is open, and in any case until the counts can be believed."""
    await context.sleep(SETTLED_S)
    end = context.monotonic() + wait_s - SETTLED_S
    while context.monotonic() < end:
        now = view(context)
        found = now.find_instance(id)
        if found is None or now.work_of(found[1]).is_nothing:
            return
        await context.sleep(POLL_S)


def tag_of_instance(context: Context, id: InstanceId) -> TagOf:
    """The tag of an instance: whether an operator drains it."""

    def tag(state: State) -> str | None:
        return None if view(context).find_instance(id) is None else _tag(state, id)

    return tag


def _tag(state: State, id: InstanceId) -> str:
    return etag([id, id in state.drained])


def _id(call: Call[Any, Any]) -> InstanceId:
    return InstanceId(call.path["id"])


def _show(context: Context, id: InstanceId, state: State | None = None) -> answers.InstanceAnswer:
    now = view(context, state)
    found = now.find_instance(id)
    if found is None:
        raise Refused(
            Code.NOT_FOUND,
            f"there is no instance {quote(id)}{did_you_mean(id, now.instance_ids())}",
        )
    return now.instance(*found)


OPERATIONS = (
    Operation(
        "GET",
        PATH,
        get_instance,
        "Show one instance",
        Role.VIEWER,
        answers.InstanceAnswer,
        "Instances",
        codes=(Code.NOT_FOUND,),
    ),
    Operation(
        "POST",
        f"{PATH}/drain",
        drain_instance,
        "Drain one instance",
        Role.OPERATOR,
        answers.InstanceWritten,
        "Instances",
        query=DrainQuery,
        codes=(Code.NOT_FOUND,),
        statuses=(200, 202),
        command=DrainInstance,
    ),
    Operation(
        "POST",
        f"{PATH}/resume",
        resume_instance,
        "Give a drained instance work again",
        Role.OPERATOR,
        answers.InstanceWritten,
        "Instances",
        query=WriteQuery,
        codes=(Code.NOT_FOUND,),
        statuses=(200, 202),
        command=ResumeInstance,
    ),
)
