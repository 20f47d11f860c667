"""What the API answers about the gateway itself and about documents; see `answers.py`.

Explanations, figures, the audit, tokens, workers, verdicts of `validate`: nothing that
is routed to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from . import answers
from .answers import CheckAnswer, InstanceAnswer, LimitsAnswer, TlsAnswer, Traffic, Written


@dataclass(frozen=True, slots=True)
class Candidate:
    """A service a request could have got, and its instances."""

    id: str
    name: str
    weight: int
    share: float
    instances: Sequence[InstanceAnswer]


@dataclass(frozen=True, slots=True)
class Explanation:
    """Where a request would go. `status`: what the gateway itself would answer, or null."""

    verdict: str
    status: int | None
    route: str | None
    service: str | None
    instance: InstanceAnswer | None
    why: Sequence[str]
    candidates: Sequence[Candidate]


@dataclass(frozen=True, slots=True)
class RouteStats:
    """Figures of a route and of the services on it."""

    route: str
    traffic: Traffic
    services: Mapping[str, Traffic]


@dataclass(frozen=True, slots=True)
class Stats:
    """Figures of the last `window` seconds."""

    window: int
    time: str
    routes: Sequence[RouteStats]
    services: Mapping[str, Traffic]
    next: str | None


@dataclass(frozen=True, slots=True)
class AuditLine:
    """Who asked for what, and what came of it."""

    id: int
    time: str
    actor: str
    action: str
    target: str
    result: str
    detail: str
    code: str | None
    reason: str | None
    revision: int


@dataclass(frozen=True, slots=True)
class AuditList:
    """Newest first. `next`: what to give as `after` for older ones; null: no more."""

    entries: Sequence[AuditLine]
    next: int | None


@dataclass(frozen=True, slots=True)
class TokenAnswer:
    """A token without its text, which nobody keeps."""

    name: str
    role: str
    created: str


@dataclass(frozen=True, slots=True)
class TokenList:
    """All tokens by name."""

    tokens: Sequence[TokenAnswer]
    next: str | None


@dataclass(frozen=True, slots=True)
class TokenMade(Written):
    """A new token. `token` is its text: shown this once, null in a dry run."""

    name: str
    role: str
    created: str
    token: str | None


@dataclass(frozen=True, slots=True)
class Alive:
    """The process answers."""

    status: str


@dataclass(frozen=True, slots=True)
class WorkerAnswer:
    """A worker."""

    slot: int
    pid: int
    state: str
    """starting, serving, draining or dead."""
    restarts: int
    started: str
    generation: int
    """0: it has confirmed none to this control process yet."""


@dataclass(frozen=True, slots=True)
class WorkerList:
    """All workers by slot."""

    workers: Sequence[WorkerAnswer]


@dataclass(frozen=True, slots=True)
class Ready:
    """The gateway serves."""

    status: str
    generation: int
    workers: int
    """How many serve."""


@dataclass(frozen=True, slots=True)
class DocumentProblem:
    """One thing wrong with a document; `line` counts from 1, null where it is not known."""

    field: str
    message: str
    line: int | None


@dataclass(frozen=True, slots=True)
class ValidatedRoute:
    """A route of a template's service. `port`: the container's; null: the endpoint's own."""

    route: str
    port: int | None
    sticky: bool


@dataclass(frozen=True, slots=True)
class ValidatedService:
    """A service of a template as it was understood."""

    name: str
    image: str | None
    """Null: nothing is started, its `endpoints` run already."""
    endpoints: Sequence[str]
    tls: TlsAnswer | None
    """Of https endpoints; null: they are verified under their own names."""
    scale: int
    routes: Sequence[ValidatedRoute]
    coexist: bool
    health: CheckAnswer | None
    """Its check; null: a TCP check of the first routed port."""
    limits: LimitsAnswer
    depends: Sequence[str]


@dataclass(frozen=True, slots=True)
class Validation:
    """Whether a document could be used."""

    valid: bool
    kind: str
    """configuration or template."""
    problems: Sequence[DocumentProblem]
    warnings: Sequence[str]
    services: Sequence[ValidatedService]
    """Those of a template that are right by themselves; of a configuration none."""


answers.describe_members(__name__, dict(globals()))
