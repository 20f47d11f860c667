"""What the instances of an application wrote.

Output outlives the instances and, after a release that did not come up, the
services: it is there as long as the launcher keeps it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from admin.masks import SEE_ALL, Mask, mask_of
from gateway.core.errors import Code, FieldError, Refused
from gateway.core.model import Role
from gateway.core.names import did_you_mean, quote

from . import names
from . import release_answers as shown
from .applications import PATH as APPLICATION
from .applications import find_application
from .operation import Call, Operation, Reply
from .payload import refuse
from .queries import LogsQuery
from .release_views import sees_secrets, services_of


async def read_logs(call: Call[LogsQuery, None]) -> Reply:
    """The last lines that the instances of an application wrote, or those after a cursor."""
    return Reply(await asyncio.to_thread(_read, call))


def _read(call: Call[LogsQuery, None]) -> shown.LogAnswer:
    query, context, name = call.query, call.context, call.path["app"]
    state = context.controller.state
    services = services_of(state, name)
    known = sorted({s.name for s in services})
    if not _is_name(name):
        raise Refused(Code.NOT_FOUND, f"there is no application {quote(name)}")
    if query.service is not None and not _is_name(query.service):
        raise _no_service(query.service, name, known)
    try:
        page = context.launched.read_logs(name, query.service, query.lines, query.after)
    except ValueError as error:
        raise refuse([FieldError("query.after", str(error))], "the query") from None
    if not page.entries and not services:
        find_application(state, name)
    if not page.entries and query.service is not None and query.service not in known:
        raise _no_service(query.service, name, known)
    mask = SEE_ALL if sees_secrets(call.actor) else mask_of(services)
    return shown.LogAnswer([_line(entry, mask) for entry in page.entries], page.cursor)


def _line(entry: tuple[str, str, str], mask: Mask) -> shown.LogLine:
    service, instance, line = entry
    return shown.LogLine(service, instance, mask(line))


def _is_name(text: str) -> bool:
    """Names become folders: what cannot be one is nowhere."""
    try:
        names.service_name(text)
    except ValueError:
        return False
    return True


def _no_service(name: str, application: str, known: Sequence[str]) -> Refused:
    return Refused(
        Code.NOT_FOUND,
        f"{quote(application)} has no service {quote(name)}{did_you_mean(name, known)}",
    )


OPERATIONS = (
    Operation(
        "GET",
        f"{APPLICATION}/logs",
        read_logs,
        "Read what an application's instances wrote",
        Role.VIEWER,
        shown.LogAnswer,
        "Applications",
        query=LogsQuery,
        codes=(Code.NOT_FOUND,),
    ),
)
