"""What operators can ask for, as values. `decide.py` says what comes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .model import AffinityKey, InstanceId, RouteId, RoutePolicy, Service, ServiceId, Token
from .phases import Event
from .release import ConfirmMode, OnDeadline, Strategy, Template


@dataclass(frozen=True, slots=True)
class SetWeights:
    """Set the weights of a route, by short name or full id of the services.

    `whole`: every member must be named (PUT); else only those named change (PATCH).
    `force` allows a route on which nothing has weight.
    """

    route: RouteId
    weights: Mapping[str, int]
    whole: bool
    force: bool = False


@dataclass(frozen=True, slots=True)
class SetRoutePolicy:
    """Replace the operator's policy of a route; makes the route if there is none."""

    host: str
    path: str
    policy: RoutePolicy


@dataclass(frozen=True, slots=True)
class DeleteRoute:
    """Delete a route that has no members."""

    route: RouteId


@dataclass(frozen=True, slots=True)
class PutService:
    """Register a service by hand, or replace its registration.

    Weights of routes it stays on are untouched; a route it newly claims gets it
    with 100 (first holder) or 0 (coexisting).
    """

    service: Service


@dataclass(frozen=True, slots=True)
class MarkCoexist:
    """Set or clear the mark that lets a service join a route another holds."""

    service: str
    coexist: bool


@dataclass(frozen=True, slots=True)
class RemoveService:
    """Begin the removal of a service: it takes no new work from now on.

    Its open work may take `drain_s` seconds (None: the configuration's drain timeout).
    """

    service: str
    force: bool = False
    drain_s: float | None = None


@dataclass(frozen=True, slots=True)
class FinishRemoval:
    """The leaving service's work has ended (or its deadline passed): forget it."""

    service: ServiceId


@dataclass(frozen=True, slots=True)
class ForgetApplication:
    """The services of the leaving application are removed, and their processes have ended: forget it.

    Nothing changes while one is left.
    """

    application: str


@dataclass(frozen=True, slots=True)
class TakeDiscovered:
    """These services were found running, all of them, the oldest first.

    `claims` are what each asks for. One that is not among them any more keeps its
    place for `forget_s` seconds; `now` is seconds since the epoch.
    """

    found: tuple[Service, ...]
    now: float
    forget_s: float


@dataclass(frozen=True, slots=True)
class DrainInstance:
    """Give an instance no new work. `instance` must exist now."""

    instance: InstanceId


@dataclass(frozen=True, slots=True)
class ResumeInstance:
    """Undo `DrainInstance`."""

    instance: InstanceId


@dataclass(frozen=True, slots=True)
class AddAffinityKey:
    """A new signing key.

    A key that stopped signing more than `keep_s` before `key.created` is dropped:
    no cookie made with it can still be in use.
    """

    key: AffinityKey
    keep_s: float


@dataclass(frozen=True, slots=True)
class AddToken:
    """A new API token; its name must be free."""

    token: Token


@dataclass(frozen=True, slots=True)
class RemoveToken:
    """Withdraw an API token."""

    name: str


@dataclass(frozen=True, slots=True)
class StartRelease:
    """Deploy a template: the first deployment of an application, or its next release.

    `template` None: the one before the last confirmed release (a reverse release).
    Times are seconds; `now` since the epoch.
    The same `key` again gives the release it began. Every release command carries
    who asks (`by`) and why (`reason`) for the timeline.
    """

    application: str
    template: Template | None
    strategy: Strategy
    deadline_s: float
    on_deadline: OnDeadline
    now: float
    by: str
    reason: str = ""
    key: str | None = None
    warnings: tuple[str, ...] = ()
    """What was noticed when the template was read."""
    keep: int = 100
    """How many releases that are over stay in the history."""


@dataclass(frozen=True, slots=True)
class ShiftRelease:
    """Give the new services `percent` of the release's part of each route that has both sides.

    `release`: a release's id, or an application's name for the one in flight. The
    same `key` again changes nothing: its answer was lost. Likewise in the next two.
    """

    release: str
    percent: float
    now: float
    by: str
    reason: str = ""
    force: bool = False
    key: str | None = None


@dataclass(frozen=True, slots=True)
class ConfirmRelease:
    """Keep the new services, remove the old ones."""

    release: str
    mode: ConfirmMode
    now: float
    by: str
    reason: str = ""
    key: str | None = None


@dataclass(frozen=True, slots=True)
class RollbackRelease:
    """Keep the old services, remove the new ones."""

    release: str
    now: float
    by: str
    reason: str = ""
    force: bool = False
    key: str | None = None


@dataclass(frozen=True, slots=True)
class AdvanceRelease:
    """Something was observed; carried out if the state still shows it, else nothing."""

    release: str
    event: Event
    now: float
    by: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class EndSmooth:
    """Give a smooth confirmation up: the weights from before it come back."""

    release: str
    now: float
    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class ScaleService:
    """Keep `scale` instances of a launched service running."""

    service: str
    scale: int


@dataclass(frozen=True, slots=True)
class RemoveApplication:
    """Drain and remove all services of an application, then itself."""

    application: str
    now: float
    by: str
    force: bool = False
    drain_s: float | None = None


ReleaseCommand = (
    StartRelease
    | ShiftRelease
    | ConfirmRelease
    | RollbackRelease
    | AdvanceRelease
    | EndSmooth
    | ScaleService
    | RemoveApplication
)
"""What `releasing.py` decides."""

Command = (
    SetWeights
    | SetRoutePolicy
    | DeleteRoute
    | PutService
    | MarkCoexist
    | RemoveService
    | FinishRemoval
    | ForgetApplication
    | TakeDiscovered
    | DrainInstance
    | ResumeInstance
    | AddAffinityKey
    | AddToken
    | RemoveToken
    | ReleaseCommand
)
