"""What clients may ask beside a body: the query parameters of each kind of call, strict.

Texts become values; unknown parameters are refused, as is one given twice
(`payload.read_query`). Nothing here looks at the state.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
)

from gateway.core.names import did_you_mean, quote
from gateway.core.release import Strategy

from . import names
from .schemas import Delay, Seconds

LOG_LINES_MAX = 10_000


class Query(BaseModel):
    """Query parameters; texts become values, unknown ones are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class NoQuery(Query):
    """A call without query parameters."""


class PageQuery(Query):
    """A list's part: at most `limit` items behind the one called `after`."""

    limit: Annotated[int, Field(ge=1, le=10_000)] = 1000
    after: Annotated[str, Field(max_length=1024)] | None = None


class WriteQuery(Query):
    """What every change takes."""

    dry_run: bool = Field(False, description="validate and plan only; nothing is changed")
    reason: Annotated[str, Field(max_length=500)] | None = Field(
        None, description="why; stands in the audit"
    )


class ForceQuery(WriteQuery):
    """A change whose guard can be overruled."""

    force: bool = Field(False, description="overrule the guard; the answer warns of what it means")


class RemoveQuery(ForceQuery):
    """A removal that drains first."""

    drain_timeout: Delay | None = Field(
        None, description="seconds after which open work is cut; none: timeouts.drain"
    )


def _strategy(text: str) -> str:
    known = [strategy.value for strategy in Strategy]
    if text not in known:
        hint = did_you_mean(text, known)
        raise ValueError(f"{quote(text)} is no strategy; there are {', '.join(known)}{hint}")
    return text


class DeployQuery(WriteQuery):
    """How a template is deployed."""

    strategy: Annotated[
        str,
        AfterValidator(_strategy),
        WithJsonSchema({"type": "string", "enum": [strategy.value for strategy in Strategy]}),
    ] = Field(Strategy.BLUE_GREEN.value, description="how traffic may move to the new services")
    deadline: Seconds | None = Field(
        None, description="seconds for the new services to be healthy; none: releases.deadline"
    )
    on_deadline: Literal["rollback", "hold"] | None = Field(
        None, description="what happens if they are not; none: releases.on_deadline"
    )
    previous: bool = Field(
        False, description="no body: deploy the template before the last confirmed release"
    )


class ConfirmQuery(WriteQuery):
    """How a release is confirmed."""

    smooth: bool = Field(
        False, description="move all traffic first, confirm after 5 s without errors"
    )
    force: bool = Field(False, description="move all traffic and confirm, whatever the guards say")

    @field_validator("force")
    @classmethod
    def _is_one_way(cls, value: bool, info: ValidationInfo) -> bool:
        if value and info.data.get("smooth"):
            raise ValueError("smooth waits for proof, force wants none: give one of them")
        return value


class ReleasesQuery(PageQuery):
    """A part of the releases, newest first."""

    limit: Annotated[int, Field(ge=1, le=1000)] = 100
    application: Annotated[str, Field(max_length=names.NAME_MAX)] | None = Field(
        None, description="of this application only"
    )


class LogsQuery(Query):
    """Which lines of an application's output."""

    service: Annotated[str, Field(max_length=names.NAME_MAX)] | None = Field(
        None, description="of this service only"
    )
    lines: Annotated[int, Field(ge=1, le=LOG_LINES_MAX)] = 100
    after: Annotated[str, Field(max_length=60_000)] | None = Field(
        None, description="the `after` of the answer before: what was written since"
    )


class DrainQuery(WriteQuery):
    """Draining one instance."""

    wait: Annotated[float, Field(ge=0, le=3600, allow_inf_nan=False)] = Field(
        0.0, description="seconds to wait until nothing is open any more"
    )


class ExplainQuery(Query):
    """A request to explain."""

    host: str = Field(max_length=names.HOST_MAX + 8, description="as in the Host field")
    path: str = Field("/", max_length=8192)
    header: list[str] = Field([], max_length=32, description="`Name: value`, repeatable")
    cookie: list[str] = Field([], max_length=32, description="`name=value`, repeatable")
    internal: bool | None = Field(
        None, description="as seen from an internal entrypoint; none: whichever knows the host"
    )


class StatsQuery(PageQuery):
    """The window of the figures in seconds, and which part of the routes."""

    window: Literal["60", "300"] = "60"


class AuditQuery(Query):
    """A part of the audit, newest first."""

    limit: Annotated[int, Field(ge=1, le=1000)] = 100
    after: Annotated[int, Field(ge=0)] | None = Field(
        None, description="the `next` of the answer before"
    )


class ValidateQuery(Query):
    """What the document is."""

    kind: Literal["configuration", "template"] | None = Field(
        None, description="none: whichever it looks like"
    )
