"""The audit trail: who did what when, with reason and outcome, refused calls included."""

from __future__ import annotations

from gateway.core.model import Role

from . import answers
from . import report_answers as reports
from .operation import BASE, Call, Operation, Reply
from .queries import AuditQuery


async def list_audit(call: Call[AuditQuery, None]) -> Reply:
    """Newest first; `after` goes on with older ones."""
    limit = call.query.limit
    found = await call.context.controller.audit(limit + 1, call.query.after)
    lines = [
        reports.AuditLine(
            id=e.id,
            time=answers.rfc3339(e.time),
            actor=e.actor,
            action=e.action,
            target=e.target,
            result=e.result,
            detail=e.detail,
            code=e.code or None,
            reason=e.reason,
            revision=e.revision,
        )
        for e in found[:limit]
    ]
    return Reply(reports.AuditList(lines, lines[-1].id if len(found) > limit else None))


OPERATIONS = (
    Operation(
        "GET",
        f"{BASE}/audit",
        list_audit,
        "Show who did what, newest first",
        Role.VIEWER,
        reports.AuditList,
        "Observation",
        query=AuditQuery,
    ),
)
