"""What the API answers with: plain frozen dataclasses, written by orjson as they are.

Pydantic describes them for OpenAPI; nothing validates them at run time. Times
are RFC 3339 UTC texts, durations seconds, shares and ratios 0..1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from datetime import UTC, datetime

from pydantic import ConfigDict

from gateway.metrics import stats


def rfc3339(time: float) -> str:
    """Seconds since the epoch as the API writes times: `2026-01-31T12:00:00.123Z`."""
    text = datetime.fromtimestamp(time, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


@dataclass(frozen=True, slots=True)
class Traffic:
    """Figures of a window. Quantiles are null without requests, as are ratio and share."""

    requests: int
    rate: float
    """Finished requests a second."""
    error_ratio: float | None
    """Part answered with 5xx."""
    p50: float | None
    p90: float | None
    p99: float | None
    in_flight: int
    websockets: int
    """Both now."""
    sticky_share: float | None
    """Part that followed a pin and not the weights."""


def traffic(measured: stats.Traffic | None) -> Traffic:
    """Figures as the API shows them; None: there were none."""
    if measured is None:
        return Traffic(0, 0.0, None, None, None, None, 0, 0, None)
    m = measured
    return Traffic(
        requests=m.requests,
        rate=m.rate,
        error_ratio=m.error_ratio if m.requests else None,
        p50=m.p50_s,
        p90=m.p90_s,
        p99=m.p99_s,
        in_flight=m.in_flight,
        websockets=m.websockets,
        sticky_share=m.sticky_share if m.requests else None,
    )


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """One thing wrong, and where."""

    field: str
    message: str


@dataclass(frozen=True, slots=True)
class Problem:
    """An RFC 9457 problem; some codes add members of their own."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    errors: Sequence[FieldProblem] = ()


@dataclass(frozen=True, slots=True)
class Applied:
    """How many of the serving workers have a change; `late` names the others."""

    workers: int
    of: int
    late: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """What a dry run would change."""

    services: Sequence[str]
    """Full ids of services made, changed or removed."""
    routes: Mapping[str, Mapping[str, int] | None]
    """Weights that routes would have; null: the route would be gone."""
    drained: Sequence[str] | None
    """Instances that would be drained then; null: as now."""


@dataclass(frozen=True, slots=True)
class Written:
    """What every change answers. `applied` is null in a dry run, `plan` is null otherwise."""

    generation: int
    """The one that carries the change; in a dry run the present one."""
    applied: Applied | None
    warnings: Sequence[str]
    dry_run: bool
    plan: Plan | None


@dataclass(frozen=True, slots=True)
class RouteService:
    """A service on a route."""

    id: str
    name: str
    weight: int
    share: float
    colour: str | None
    """Its part in a release: green, blue, yellow; null: none is in flight."""
    instances: int
    healthy: int
    traffic: Traffic
    """Of the last minute, on this route."""


@dataclass(frozen=True, slots=True)
class AffinityAnswer:
    """Sticky sessions of a route; null in a policy: the configuration's value."""

    enabled: bool | None
    cookie: str | None
    max_age: int | None
    at_zero: str | None


@dataclass(frozen=True, slots=True)
class TimeoutsAnswer:
    """Upstream timeouts in seconds; null in a policy: the configuration's value."""

    connect: float | None
    response_header: float | None
    idle_stream: float | None


@dataclass(frozen=True, slots=True)
class PolicyAnswer:
    """A policy: of a route as the operator put it, or as it is in force."""

    affinity: AffinityAnswer
    timeouts: TimeoutsAnswer
    selectors: bool | None
    internal: bool | None
    spill: bool


@dataclass(frozen=True, slots=True)
class ProblemAnswer:
    """Why a route that a service was found to ask for is not served as its labels say."""

    route: str
    """The route, or what stands in its place where that is no route."""
    service: str
    reason: str
    """invalid_label, invalid_name, route_conflict, service_exists, labels_differ, no_address,
    port_closed."""
    message: str
    where: str
    """The container and its label; empty: it is about all of the service's."""


@dataclass(frozen=True, slots=True)
class ProviderAnswer:
    """Who says where instances are."""

    name: str
    up: bool
    problem: str | None
    """Why it cannot be asked; what it said last counts until it can."""


@dataclass(frozen=True, slots=True)
class ProblemList:
    """What is wrong with services that were found running, and who looks for them."""

    problems: Sequence[ProblemAnswer]
    providers: Sequence[ProviderAnswer]


@dataclass(frozen=True, slots=True)
class RouteAnswer:
    """A route."""

    route: str
    """Host and path prefix; percent-encode it in addresses."""
    host: str
    path: str
    internal: bool
    weights: Mapping[str, int]
    services: Sequence[RouteService]
    held: bool
    """Only selectors lead here, until the release that made it is first given traffic."""
    problems: Sequence[ProblemAnswer]
    """Of services that ask for it, whether they are on it or not."""
    policy: PolicyAnswer
    effective: PolicyAnswer | None
    """What is in force; null until it is first published."""
    traffic: Traffic
    """Of the last minute."""


@dataclass(frozen=True, slots=True)
class RouteList:
    """Routes by name. `next`: what to give as `after` for the rest; null: no more."""

    routes: Sequence[RouteAnswer]
    next: str | None


@dataclass(frozen=True, slots=True)
class RouteWritten(Written):
    """A route after a change."""

    route: RouteAnswer | None


@dataclass(frozen=True, slots=True)
class WeightsWritten(Written):
    """Weights after a change."""

    weights: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class ClaimAnswer:
    """A service's place on a route."""

    route: str
    host: str
    path: str
    port: int | None
    weight: int | None
    """Null: it is no member (any more)."""
    share: float | None


@dataclass(frozen=True, slots=True)
class CheckAnswer:
    """An active health check; null: the configuration's value."""

    type: str
    path: str | None
    host: str | None
    port: int | None
    interval: float | None
    timeout: float | None
    rise: int | None
    fall: int | None
    initial_delay: float


@dataclass(frozen=True, slots=True)
class InstanceAnswer:
    """One running copy of a service."""

    id: str
    service: str
    address: str
    health: str
    """healthy, unhealthy, or unknown (no check has ended yet)."""
    state: str
    """up, draining, ejected (failed real requests lately) or down."""
    in_flight: int
    websockets: int
    problem: str | None
    """Why its last check failed; null: it did not."""


@dataclass(frozen=True, slots=True)
class InstanceList:
    """The instances of a service."""

    instances: Sequence[InstanceAnswer]


@dataclass(frozen=True, slots=True)
class InstanceWritten(Written):
    """An instance after a change, and what it has open."""

    instance: InstanceAnswer
    in_flight: int
    websockets: int
    drained: bool
    """It takes no new work and nothing is open."""


@dataclass(frozen=True, slots=True)
class TlsAnswer:
    """How https endpoints prove who they are."""

    server_name: str | None
    """What their certificate must be for; null: the endpoint's own host."""
    verify: bool
    """False: anybody who answers is believed."""


@dataclass(frozen=True, slots=True)
class LimitsAnswer:
    """Limits of a service; null: the configuration's value."""

    in_flight: int | None
    """Requests an instance is given at a time."""


@dataclass(frozen=True, slots=True)
class DiscoveryAnswer:
    """A service that was found running."""

    gone_since: str | None
    """Since when nothing of it runs; null: something does."""


@dataclass(frozen=True, slots=True)
class ServiceAnswer:
    """A service."""

    id: str
    application: str
    name: str
    version: str
    leaving: bool
    coexist: bool
    colour: str | None
    """Its part in a release: green, blue, yellow; null: none is in flight."""
    image: str | None
    """What is started for it; null: somebody else runs it, at `endpoints`."""
    scale: int | None
    """How many instances are kept running; null: somebody else runs it."""
    balancer: str
    routes: Sequence[ClaimAnswer]
    endpoints: Sequence[str]
    tls: TlsAnswer | None
    """Of https endpoints; null: they are verified under their own names."""
    health: CheckAnswer | None
    """Its check; null: a TCP check of the routed port."""
    limits: LimitsAnswer
    discovered: DiscoveryAnswer | None
    """Nobody asked for it: it was found running, by its labels; null: somebody asked."""
    problems: Sequence[ProblemAnswer]
    """Of its routes, where they are not served as its labels say."""
    instances: Sequence[InstanceAnswer]
    in_flight: int
    websockets: int


@dataclass(frozen=True, slots=True)
class ServiceList:
    """Services by id. `next`: what to give as `after` for the rest; null: no more."""

    services: Sequence[ServiceAnswer]
    next: str | None


@dataclass(frozen=True, slots=True)
class ServiceWritten(Written):
    """A service after a change."""

    service: ServiceAnswer


@dataclass(frozen=True, slots=True)
class ServiceRemoved(Written):
    """A removal. While `removed` is false it goes on by itself; the rest is still open."""

    removed: bool
    in_flight: int
    websockets: int


def describe_members(module: str, names: Mapping[str, object]) -> None:
    """Let OpenAPI have the texts under the members of a module's answers."""
    for kind in names.values():
        if isinstance(kind, type) and is_dataclass(kind) and kind.__module__ == module:
            kind.__pydantic_config__ = ConfigDict(use_attribute_docstrings=True)  # type: ignore[attr-defined]


describe_members(__name__, dict(globals()))
