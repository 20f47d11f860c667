"""How every change goes: precondition, command, acknowledgement, answer."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from admin.controller import Outcome
from gateway.core.commands import Command
from gateway.core.errors import Refused
from gateway.core.state import changes

from . import answers
from .etag import TagOf, precondition
from .operation import Call, Reply
from .queries import WriteQuery
from .views import plan

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Q = TypeVar("Q", bound=WriteQuery)


class Recorded(Refused):
    """A refusal that stands in the audit trail already."""


async def execute(call: Call[Q, Any], command: Command, tag_of: TagOf) -> Outcome:
    """Carry out `command` if the resource that `tag_of` names is as the caller last saw it."""
    try:
        return await call.context.controller.execute(
            command,
            call.actor,
            dry_run=call.query.dry_run,
            check=precondition(call.if_match, call.if_none_match, tag_of),
            reason=call.query.reason,
        )
    except Refused as refused:
        raise Recorded(refused.code, refused.detail, refused.errors, refused.extra) from None


def written(
    call: Call[Q, Any],
    outcome: Outcome,
    make: Callable[[answers.Written], object],
    tag_of: TagOf,
    status: int = 200,
) -> Reply:
    """The answer to a change: 202 while a worker that serves has not applied it."""
    dry_run = call.query.dry_run
    applied = outcome.applied
    base = answers.Written(
        generation=outcome.generation,
        applied=None
        if dry_run
        else answers.Applied(applied.workers, applied.of, list(applied.late)),
        warnings=list(outcome.warnings),
        dry_run=dry_run,
        plan=plan(changes(outcome.before, outcome.after)) if dry_run else None,
    )
    if not dry_run and applied.late:
        status = 202
    elif dry_run:
        status = 200
    return Reply(make(base), status, None if dry_run else tag_of(outcome.after))


def fields(base: DataclassInstance) -> dict[str, Any]:
    """The members of `base`, to make a larger answer of."""
    return {f.name: getattr(base, f.name) for f in dataclasses.fields(base)}
