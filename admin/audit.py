"""Who did what, when, and what came of it: the vocabulary of the audit trail."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from gateway.core.model import Role


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asks. `name` goes to the audit trail: `token:deploy`, `uid:1000`, `gateway`."""

    name: str
    role: Role = Role.ADMIN


GATEWAY = Actor("gateway")
"""The control process itself: what it finishes in the background."""


class AuditResult(StrEnum):
    """What came of a request."""

    DONE = "done"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One request of an operator. `time` is seconds since the epoch.

    `id` is given by the store and grows; 0 until then. `revision` is that of the
    state after the request.
    """

    time: float
    actor: str
    action: str
    """The command's name: `set_weights`."""
    target: str
    """What it was about: a route, a service, an instance, a token's name."""
    result: AuditResult
    detail: str = ""
    """Why it was refused; else the change in words, e.g. the weights before and after."""
    code: str = ""
    """The problem code of a refusal."""
    reason: str | None = None
    """The operator's own words."""
    revision: int = 0
    id: int = 0
