"""Refusals: why an operator's request cannot be carried out.

A refusal is raised by pure code before anything has changed, and becomes an
RFC 9457 problem at the edge. `Code` values are part of the API's contract.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum


class Code(StrEnum):
    """Stable problem codes (API.md, conventions)."""

    INVALID = "invalid"
    SERVICE_REDEFINED = "service_redefined"
    STRATEGY_FORBIDS_WEIGHT = "strategy_forbids_weight"
    ROUTE_WITHOUT_TRAFFIC = "route_without_traffic"
    NOTHING_TO_RELEASE = "nothing_to_release"
    ROUTE_CONFLICT = "route_conflict"
    RELEASE_IN_PROGRESS = "release_in_progress"
    ILLEGAL_TRANSITION = "illegal_transition"
    NO_HEALTHY_INSTANCE = "no_healthy_instance"
    NO_TRAFFIC_ON_NEW = "no_traffic_on_new"
    OLD_HAS_TRAFFIC = "old_has_traffic"
    AMBIGUOUS = "ambiguous"
    IN_USE = "in_use"
    STALE_REVISION = "stale_revision"
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    STORE_UNAVAILABLE = "store_unavailable"


STATUS: Mapping[Code, int] = {
    Code.INVALID: 422,
    Code.SERVICE_REDEFINED: 422,
    Code.STRATEGY_FORBIDS_WEIGHT: 422,
    Code.ROUTE_WITHOUT_TRAFFIC: 422,
    Code.NOTHING_TO_RELEASE: 422,
    Code.ROUTE_CONFLICT: 409,
    Code.RELEASE_IN_PROGRESS: 409,
    Code.ILLEGAL_TRANSITION: 409,
    Code.NO_HEALTHY_INSTANCE: 409,
    Code.NO_TRAFFIC_ON_NEW: 409,
    Code.OLD_HAS_TRAFFIC: 409,
    Code.AMBIGUOUS: 409,
    Code.IN_USE: 409,
    Code.STALE_REVISION: 412,
    Code.UNAUTHORIZED: 401,
    Code.FORBIDDEN: 403,
    Code.NOT_FOUND: 404,
    Code.STORE_UNAVAILABLE: 503,
}


@dataclass(frozen=True, slots=True)
class FieldError:
    """One thing wrong with a payload: where (`weights.serviceA-v2`) and what."""

    field: str
    message: str


@dataclass(eq=False)
class Refused(Exception):  # noqa: N818 - a refusal is an answer, not an error
    """A request that cannot be carried out; the state is as it was.

    `detail` says what to do next. `extra` goes into the problem's body as it is
    (JSON values only), e.g. the current weights.
    """

    code: Code
    detail: str
    errors: Sequence[FieldError] = ()
    extra: Mapping[str, object] = field(default_factory=dict)

    @property
    def status(self) -> int:
        """The HTTP status of this refusal."""
        return STATUS[self.code]

    def __str__(self) -> str:
        places = "".join(f"; {e.field}: {e.message}" for e in self.errors)
        return f"{self.code}: {self.detail}{places}"


def invalid(detail: str, *errors: tuple[str, str]) -> Refused:
    """A 422 `invalid` naming every place that is wrong."""
    return Refused(Code.INVALID, detail, tuple(FieldError(f, m) for f, m in errors))
