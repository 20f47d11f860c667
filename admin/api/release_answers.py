"""What the API answers about applications and releases; see `answers.py`.

A write answers a release's own members at the top level, beside those of every
change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from . import answers


@dataclass(frozen=True, slots=True)
class FailureAnswer:
    """Something that went wrong with an instance."""

    instance: str
    what: str
    time: str
    output: Sequence[str]
    """The last lines it wrote."""


@dataclass(frozen=True, slots=True)
class StepAnswer:
    """How far an instance is on its way to being ready."""

    slot: int
    """Its number among those of its service, from 0."""
    stage: str
    """waiting, pulling, creating, starting, probing or ready."""
    detail: str
    """How much of it is done, or what it waits for; may be empty."""
    instance: str | None
    """null: there is none yet."""


@dataclass(frozen=True, slots=True)
class ReleaseService:
    """A service's part in a release."""

    name: str
    id: str
    colour: str
    """green: new, blue: old, yellow: in both templates and unchanged."""
    scale: int
    """How many instances there ought to be."""
    ready: int
    """How many of them pass their checks and are not drained."""
    instances: Sequence[answers.InstanceAnswer]
    failures: Sequence[FailureAnswer]
    """The latest first."""
    steps: Sequence[StepAnswer]
    """Each instance by its slot, where the gateway starts them."""


@dataclass(frozen=True, slots=True)
class ReleaseRoute:
    """A route that new or old services of a release are on."""

    route: str
    weights: Mapping[str, int]
    """Of all services on it."""
    held: bool
    """Only selectors lead here, until the release is first given traffic."""
    new_share: float | None
    """The new services' part of what the old and new ones have; null: they have nothing."""


@dataclass(frozen=True, slots=True)
class TimelineEntry:
    """Something that happened to a release."""

    time: str
    phase: str
    """From then on."""
    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class ReleaseAnswer:
    """A release."""

    id: str
    application: str
    strategy: str
    phase: str
    created: str
    deadline: str
    """When the new services must be healthy."""
    on_deadline: str
    """What happens if they are not: rollback or hold."""
    services: Sequence[ReleaseService]
    """New, unchanged and old ones. Instances are shown of an application's latest release."""
    routes: Sequence[ReleaseRoute]
    warnings: Sequence[str]
    waiting_for: str | None
    """What it waits for; null: it is over."""
    timeline: Sequence[TimelineEntry]
    """Oldest first."""
    legal: Sequence[str]
    """What can be asked of it now: shift, confirm, rollback."""
    is_first: bool
    """The application's first deployment."""
    smooth: bool
    """A smooth confirmation is under way."""


@dataclass(frozen=True, slots=True)
class ReleaseWritten(ReleaseAnswer):
    """A release after a change. `applied` is null in a dry run, `plan` is null otherwise."""

    generation: int
    """The one that carries the change; in a dry run the present one."""
    new_warnings: Sequence[str]
    """Those of the warnings that came with this change; the others were told before."""
    applied: answers.Applied | None
    dry_run: bool
    plan: answers.Plan | None


@dataclass(frozen=True, slots=True)
class ReleaseList:
    """Releases, newest first. `next`: what to give as `after` for older ones; null: no more."""

    releases: Sequence[ReleaseAnswer]
    next: str | None


@dataclass(frozen=True, slots=True)
class ApplicationService:
    """A service of an application."""

    name: str
    id: str
    colour: str | None
    """Its part in the release in flight: green, blue, yellow; null: none is in flight."""
    scale: int
    """How many instances there ought to be."""
    ready: int
    """How many of them pass their checks and are not drained."""
    routes: Sequence[answers.ClaimAnswer]
    leaving: bool
    instances: Sequence[answers.InstanceAnswer]
    failures: Sequence[FailureAnswer]
    """The latest first."""
    steps: Sequence[StepAnswer]
    """Each instance by its slot, where the gateway starts them."""


@dataclass(frozen=True, slots=True)
class ApplicationAnswer:
    """An application."""

    name: str
    services: Sequence[ApplicationService]
    release: ReleaseAnswer | None
    """The one in flight."""
    has_previous: bool
    """There is a template before the present one to go back to."""
    leaving: bool
    """It is being removed."""


@dataclass(frozen=True, slots=True)
class ApplicationDetail(ApplicationAnswer):
    """An application with its template."""

    template: str | None
    """As it was sent; viewers do not see the values of its environment. Null: the first
    deployment is under way."""


@dataclass(frozen=True, slots=True)
class ApplicationList:
    """Applications by name. `next`: what to give as `after` for the rest; null: no more."""

    applications: Sequence[ApplicationAnswer]
    next: str | None


@dataclass(frozen=True, slots=True)
class ApplicationRemoved(answers.Written):
    """A removal. While `removed` is false it goes on by itself; the rest is still open."""

    removed: bool
    in_flight: int
    websockets: int


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line that an instance wrote."""

    service: str
    instance: str
    line: str


@dataclass(frozen=True, slots=True)
class LogAnswer:
    """Lines, oldest first. `after`: what to give as `after` for what is written from now on."""

    lines: Sequence[LogLine]
    after: str


answers.describe_members(__name__, dict(globals()))
