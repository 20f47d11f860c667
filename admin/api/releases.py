"""Releases: what is going on, what was; traffic moved, the end decided.

Deploying stands with the applications (`applications.py`), which have the same
verbs for the release in flight.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from admin.controller import Outcome
from gateway.core.commands import Command, ConfirmRelease, RollbackRelease, ShiftRelease
from gateway.core.errors import Code, FieldError, Refused
from gateway.core.model import Role
from gateway.core.names import did_you_mean, quote
from gateway.core.release import ConfirmMode, Release
from gateway.core.state import State

from . import answers
from . import release_answers as shown
from .etag import TagOf, etag
from .operation import BASE, Call, Operation, Reply
from .payload import refuse
from .queries import ConfirmQuery, ForceQuery, NoQuery, ReleasesQuery
from .release_views import newest_first, release_view, routes_of
from .schemas import ShiftBody
from .writes import execute, fields, written

PATH = f"{BASE}/releases/{{release}}"

REPLAYED = {"Idempotency-Replayed": "true"}
"""The core knew the key: the call came before, and its answer may have been lost."""

VERB_CODES = (Code.NOT_FOUND, Code.ILLEGAL_TRANSITION)
SHIFT_CODES = (*VERB_CODES, Code.STRATEGY_FORBIDS_WEIGHT, Code.ROUTE_WITHOUT_TRAFFIC)
CONFIRM_CODES = (
    *VERB_CODES,
    Code.NO_TRAFFIC_ON_NEW,
    Code.OLD_HAS_TRAFFIC,
    Code.NO_HEALTHY_INSTANCE,
)
ROLLBACK_CODES = (*VERB_CODES, Code.NO_HEALTHY_INSTANCE)


async def list_releases(call: Call[ReleasesQuery, None]) -> Reply:
    """Releases, newest first: those in flight and the history."""
    query, now = call.query, release_view(call.context, call.actor)
    found = [
        release
        for release in newest_first(now.view.state)
        if query.application in (None, release.application)
    ]
    start = 0
    if query.after is not None:
        places = {release.id: place for place, release in enumerate(found)}
        if query.after not in places:
            message = "no such release here (any more); begin anew without `after`"
            raise refuse([FieldError("query.after", message)], "the query")
        start = places[query.after] + 1
    part = found[start : start + query.limit]
    more = part[-1].id if part and start + len(part) < len(found) else None
    return Reply(shown.ReleaseList([now.release(release) for release in part], more))


async def get_release(call: Call[NoQuery, None]) -> Reply:
    """One release: phase, services by colour, routes, what it waits for, what happened."""
    now = release_view(call.context, call.actor)
    release = find_release(now.view.state, call.path["release"])
    return Reply(now.release(release), etag=tag_of_release(release.id)(now.view.state))


async def shift_release(call: Call[ForceQuery, ShiftBody]) -> Reply:
    """Give the new services so many percent of the release's part of every route.

    All routes change in one generation; services that are no part of the release keep
    their share exactly.
    """
    return await shift(call, _found(call))


async def confirm_release(call: Call[ConfirmQuery, None]) -> Reply:
    """Keep the new services: the old ones are drained, stopped and removed."""
    return await confirm(call, _found(call))


async def rollback_release(call: Call[ForceQuery, None]) -> Reply:
    """Keep the old services: they get all traffic back, the new ones are removed."""
    return await rollback(call, _found(call))


async def shift(call: Call[ForceQuery, ShiftBody], release: Release) -> Reply:
    """See `shift_release`."""
    query = call.query
    command = ShiftRelease(
        release.id,
        call.body.new,
        call.context.now(),
        call.actor.name,
        query.reason or "",
        query.force,
        call.key,
    )
    return await _change(call, command, release)


async def confirm(call: Call[ConfirmQuery, None], release: Release) -> Reply:
    """See `confirm_release`."""
    query = call.query
    mode = ConfirmMode.PLAIN
    if query.smooth:
        mode = ConfirmMode.SMOOTH
    elif query.force:
        mode = ConfirmMode.FORCE
    command = ConfirmRelease(
        release.id, mode, call.context.now(), call.actor.name, query.reason or "", call.key
    )
    return await _change(call, command, release)


async def rollback(call: Call[ForceQuery, None], release: Release) -> Reply:
    """See `rollback_release`."""
    query = call.query
    command = RollbackRelease(
        release.id,
        call.context.now(),
        call.actor.name,
        query.reason or "",
        query.force,
        call.key,
    )
    return await _change(call, command, release)


async def _change(call: Call[Any, Any], command: Command, release: Release) -> Reply:
    tag_of = tag_of_release(release.id)
    outcome = await execute(call, command, tag_of)
    reply = written(
        call, outcome, lambda base: release_written(call, outcome, release.id, base), tag_of
    )
    if call.key is not None and call.key in outcome.before.releases[release.id].keys:
        return replace(reply, headers=REPLAYED)  # it was carried out before a restart
    return reply


def release_written(
    call: Call[Any, Any], outcome: Outcome, id: str, base: answers.Written
) -> shown.ReleaseWritten:
    """The release of an id after a change; warnings of both."""
    before = outcome.before.releases.get(id)
    view = release_view(call.context, call.actor, outcome.after)
    members = fields(view.release(outcome.after.releases[id]))
    warnings = list(dict.fromkeys([*members["warnings"], *base.warnings]))
    known = () if before is None else view.warnings(before)
    return shown.ReleaseWritten(
        **(members | {"warnings": warnings}),
        new_warnings=[warning for warning in warnings if warning not in known],
        generation=base.generation,
        applied=base.applied,
        dry_run=base.dry_run,
        plan=base.plan,
    )


def find_release(state: State, id: str) -> Release:
    """The release of an id; raises `Refused` (not_found)."""
    found = state.releases.get(id)
    if found is None:
        hint = did_you_mean(id, (r.id for r in newest_first(state)))
        raise Refused(Code.NOT_FOUND, f"there is no release {quote(id)}{hint}")
    return found


def tag_of_release(id: str) -> TagOf:
    """The tag of a release: its phase, what happened, and the weights on its routes."""

    def tag(state: State) -> str | None:
        release = state.releases.get(id)
        if release is None:
            return None
        weights = {route.id: route.weights for route, _ in routes_of(state, release)}
        happened = [release.phase, len(release.timeline), release.smooth is not None]
        return etag([id, happened, {} if release.phase.is_over else weights])

    return tag


def _found(call: Call[Any, Any]) -> Release:
    return find_release(call.context.controller.state, call.path["release"])


OPERATIONS = (
    Operation(
        "GET",
        f"{BASE}/releases",
        list_releases,
        "List releases",
        Role.VIEWER,
        shown.ReleaseList,
        "Releases",
        query=ReleasesQuery,
    ),
    Operation(
        "GET",
        PATH,
        get_release,
        "Show one release",
        Role.VIEWER,
        shown.ReleaseAnswer,
        "Releases",
        codes=(Code.NOT_FOUND,),
    ),
    Operation(
        "POST",
        f"{PATH}/shift",
        shift_release,
        "Move traffic to the new services",
        Role.OPERATOR,
        shown.ReleaseWritten,
        "Releases",
        query=ForceQuery,
        body=ShiftBody,
        codes=SHIFT_CODES,
        statuses=(200, 202),
        command=ShiftRelease,
    ),
    Operation(
        "POST",
        f"{PATH}/confirm",
        confirm_release,
        "Keep the new services",
        Role.OPERATOR,
        shown.ReleaseWritten,
        "Releases",
        query=ConfirmQuery,
        codes=CONFIRM_CODES,
        statuses=(200, 202),
        command=ConfirmRelease,
    ),
    Operation(
        "POST",
        f"{PATH}/rollback",
        rollback_release,
        "Keep the old services",
        Role.OPERATOR,
        shown.ReleaseWritten,
        "Releases",
        query=ForceQuery,
        codes=ROLLBACK_CODES,
        statuses=(200, 202),
        command=RollbackRelease,
    ),
)
