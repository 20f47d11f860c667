"""Applications: what is deployed as a whole. Deploy, look at, remove; decide the release in flight.

A deployment's body is the template, YAML or JSON. It is read in a thread: a
megabyte of YAML takes seconds, and others are to be answered meanwhile.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from admin.controller import Outcome
from admin.templates import read_template
from gateway.core import phases
from gateway.core.commands import (
    ConfirmRelease,
    RemoveApplication,
    RollbackRelease,
    ShiftRelease,
    StartRelease,
)
from gateway.core.errors import Code, FieldError, Refused
from gateway.core.model import Role
from gateway.core.names import did_you_mean, quote
from gateway.core.release import Application, OnDeadline, Release, Strategy
from gateway.core.state import State
from gateway.core.templates import Parsed

from . import names, releases
from . import release_answers as shown
from .context import NOTHING_OPEN, Context, OpenWork
from .etag import TagOf, etag
from .operation import BASE, Call, Operation, Reply
from .payload import merged, refuse
from .queries import ConfirmQuery, DeployQuery, ForceQuery, NoQuery, PageQuery, RemoveQuery
from .redaction import redacted_template
from .release_views import latest, newest_first, release_view, sees_secrets
from .schemas import ShiftBody
from .views import page
from .writes import execute, fields, written

PATH = f"{BASE}/applications/{{app}}"
TEMPLATE_TYPES = ("application/yaml", "application/x-yaml", "text/yaml", "application/json")
REMOVAL_WAIT_S = 5.0
"""How long a DELETE blocks; the removal itself goes on to its own deadline."""
POLL_S = 0.05


async def list_applications(call: Call[PageQuery, None]) -> Reply:
    """All applications by name, with their services and the release in flight."""
    now = release_view(call.context, call.actor)
    part, more = page(now.view.state.applications, call.query.limit, call.query.after)
    return Reply(shown.ApplicationList([now.application(a) for a in part], more))


async def get_application(call: Call[NoQuery, None]) -> Reply:
    """One application with its template, its services and the release in flight."""
    now = release_view(call.context, call.actor)
    application = find_application(now.view.state, call.path["app"])
    text = None if application.template is None else application.template.source
    if text is not None and not sees_secrets(call.actor):
        text = await asyncio.to_thread(redacted_template, text)
    answer = shown.ApplicationDetail(**fields(now.application(application)), template=text)
    return Reply(answer, etag=tag_of_application(application.name)(now.view.state))


async def deploy(call: Call[DeployQuery, bytes]) -> Reply:
    """Deploy a template: an application's first one, or its next release.

    Answers with the release, as soon as it has begun; its new services are started then.
    """
    application, parsed = await asyncio.to_thread(_read, call)
    query, settings = call.query, call.context.controller.settings
    command = StartRelease(
        application=application,
        template=None if parsed is None else parsed.template,
        strategy=Strategy(query.strategy),
        deadline_s=settings.releases.deadline if query.deadline is None else query.deadline,
        on_deadline=OnDeadline(query.on_deadline or settings.releases.on_deadline),
        now=call.context.now(),
        by=call.actor.name,
        reason=query.reason or "",
        key=call.key,
        warnings=() if parsed is None else parsed.warnings,
        keep=settings.retention.releases,
    )
    outcome = await execute(call, command, tag_of_application(application))
    release = _begun(outcome, application, call.key)
    reply = written(
        call,
        outcome,
        lambda base: releases.release_written(call, outcome, release.id, base),
        releases.tag_of_release(release.id),
        status=201,
    )
    if outcome.before is outcome.after:
        # Nothing changed, so the core knew the key: from before a restart.
        return replace(reply, headers=releases.REPLAYED)
    return reply


async def delete_application(call: Call[RemoveQuery, None]) -> Reply:
    """Take all services of an application off their routes, drain, stop and forget them.

    Answers when all of it is gone, or after 5 s with 202 and what is still open; the
    removal then goes on by itself.
    """
    query, name = call.query, call.path["app"]
    find_application(call.context.controller.state, name)
    command = RemoveApplication(
        name, call.context.now(), call.actor.name, query.force, query.drain_timeout
    )
    outcome = await execute(call, command, tag_of_application(name))
    removed = False if query.dry_run else await _wait_removed(call.context, name)
    work = NOTHING_OPEN if removed else _open_work(call.context, name)
    return written(
        call,
        outcome,
        lambda base: shown.ApplicationRemoved(
            **fields(base), removed=removed, in_flight=work.in_flight, websockets=work.websockets
        ),
        lambda state: None,
        status=200 if removed else 202,
    )


async def shift_application(call: Call[ForceQuery, ShiftBody]) -> Reply:
    """Shift the release in flight, see `/releases/{release}/shift`."""
    return await releases.shift(call, _in_flight(call))


async def confirm_application(call: Call[ConfirmQuery, None]) -> Reply:
    """Confirm the release in flight, see `/releases/{release}/confirm`."""
    return await releases.confirm(call, _in_flight(call))


async def rollback_application(call: Call[ForceQuery, None]) -> Reply:
    """Roll the release in flight back, see `/releases/{release}/rollback`."""
    return await releases.rollback(call, _in_flight(call))


def find_application(state: State, name: str) -> Application:
    """The application of a name; raises `Refused` (not_found)."""
    found = state.applications.get(name)
    if found is None:
        hint = did_you_mean(name, state.applications)
        raise Refused(Code.NOT_FOUND, f"there is no application {quote(name)}{hint}")
    return found


def tag_of_application(name: str) -> TagOf:
    """The tag of an application: which release made it what it is, and which is in flight."""

    def tag(state: State) -> str | None:
        found = state.applications.get(name)
        if found is None:
            return None
        newest = latest(state, name)
        last = None if newest is None else [newest.id, newest.phase]
        return etag([name, found.leaving, found.release, last])

    return tag


def _read(call: Call[DeployQuery, bytes]) -> tuple[str, Parsed | None]:
    """The application's name and its template (None: the previous one); all problems at once."""
    refusals: list[Refused] = []
    name = call.path["app"]
    try:
        names.service_name(name)
    except ValueError as error:
        refusals.append(refuse([FieldError("path.app", str(error))], "the address"))
    parsed: Parsed | None = None
    if call.query.previous:
        if call.body:
            message = "`previous` takes none: the template before the present one is deployed"
            refusals.append(refuse([FieldError("body", message)]))
    elif not call.body:
        message = "required: a template as YAML or JSON, or ask for the one before with `previous`"
        refusals.append(refuse([FieldError("body", message)]))
    else:
        try:
            parsed = read_template(
                call.body,
                call.content_type,
                name if not refusals else "application",
                call.context.controller.settings,
            )
        except Refused as refused:
            refusals.append(refused)
    if refusals:
        raise merged(refusals)
    return name, parsed


def _begun(outcome: Outcome, application: str, key: str | None) -> Release:
    """The release that a deployment began, now or when its key came first."""
    before, after = outcome.before.releases, outcome.after.releases
    new = next((r for id, r in after.items() if id not in before), None)
    if new is not None:
        return new
    known = (r for r in newest_first(outcome.after) if r.application == application)
    return next(r for r in known if key is not None and r.key == key)


def _in_flight(call: Call[Any, Any]) -> Release:
    """The release the caller means. Raises `Refused` (not_found, illegal_transition)."""
    state = call.context.controller.state
    application = find_application(state, call.path["app"])
    release = state.releases.get(application.release or "")
    if release is not None:
        return release
    last = latest(state, application.name)
    if last is not None and call.key is not None and call.key in last.keys:
        return last  # the call that ended it comes again
    why = f"no release of {quote(application.name)} is in flight"
    if last is None:
        raise Refused(Code.ILLEGAL_TRANSITION, f"{why}; deploy a template")
    raise phases.illegal(last.id, last.phase, why)


async def _wait_removed(context: Context, name: str) -> bool:
    """Wait until a leaving application is gone, a few seconds at most."""
    end = context.monotonic() + REMOVAL_WAIT_S
    while True:
        application = context.controller.state.applications.get(name)
        if application is None or not application.leaving:
            return True  # gone; perhaps deployed anew meanwhile
        if context.monotonic() >= end:
            return False
        await context.sleep(POLL_S)


def _open_work(context: Context, name: str) -> OpenWork:
    """What all services of an application have open."""
    work = context.figures.work().services
    mine = [
        work.get(service.id, NOTHING_OPEN)
        for service in context.controller.state.services.values()
        if service.application == name
    ]
    return OpenWork(sum(w.in_flight for w in mine), sum(w.websockets for w in mine))


OPERATIONS = (
    Operation(
        "GET",
        f"{BASE}/applications",
        list_applications,
        "List applications",
        Role.VIEWER,
        shown.ApplicationList,
        "Applications",
        query=PageQuery,
    ),
    Operation(
        "GET",
        PATH,
        get_application,
        "Show one application with its template",
        Role.VIEWER,
        shown.ApplicationDetail,
        "Applications",
        codes=(Code.NOT_FOUND,),
    ),
    Operation(
        "DELETE",
        PATH,
        delete_application,
        "Drain an application, then remove it",
        Role.ADMIN,
        shown.ApplicationRemoved,
        "Applications",
        query=RemoveQuery,
        codes=(Code.NOT_FOUND, Code.IN_USE, Code.RELEASE_IN_PROGRESS),
        statuses=(200, 202),
        command=RemoveApplication,
    ),
    Operation(
        "POST",
        f"{PATH}/releases",
        deploy,
        "Deploy a template",
        Role.OPERATOR,
        shown.ReleaseWritten,
        "Applications",
        query=DeployQuery,
        raw_types=TEMPLATE_TYPES,
        codes=(
            Code.NOT_FOUND,
            Code.SERVICE_REDEFINED,
            Code.NOTHING_TO_RELEASE,
            Code.ROUTE_CONFLICT,
            Code.RELEASE_IN_PROGRESS,
            Code.IN_USE,
        ),
        statuses=(200, 201, 202),
        command=StartRelease,
    ),
    Operation(
        "POST",
        f"{PATH}/shift",
        shift_application,
        "Move traffic to the new services of the release in flight",
        Role.OPERATOR,
        shown.ReleaseWritten,
        "Applications",
        query=ForceQuery,
        body=ShiftBody,
        codes=releases.SHIFT_CODES,
        statuses=(200, 202),
        command=ShiftRelease,
    ),
    Operation(
        "POST",
        f"{PATH}/confirm",
        confirm_application,
        "Keep the new services of the release in flight",
        Role.OPERATOR,
        shown.ReleaseWritten,
        "Applications",
        query=ConfirmQuery,
        codes=releases.CONFIRM_CODES,
        statuses=(200, 202),
        command=ConfirmRelease,
    ),
    Operation(
        "POST",
        f"{PATH}/rollback",
        rollback_application,
        "Keep the old services of the release in flight",
        Role.OPERATOR,
        shown.ReleaseWritten,
        "Applications",
        query=ForceQuery,
        codes=releases.ROLLBACK_CODES,
        statuses=(200, 202),
        command=RollbackRelease,
    ),
)
