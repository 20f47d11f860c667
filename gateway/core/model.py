"""The words of the gateway as values: services, routes, instances, policies.

Everything here is immutable and free of I/O. Three kinds of truth are kept
apart and never mixed in one type:

* *desired* - what the operator asked for (`Service`, `Route`, `RoutePolicy`);
* *observed* - what providers and health checks report (`Instance`, `Health`);
* *compiled* - what a data plane needs to serve (see `snapshot.py`).

The words that all three have in common are those of `vocabulary.py`, and belong to the model as well.

Names: a service is `application/service`; a service registered by hand belongs
to the application `-`. A route is its host followed by its path prefix without
a trailing slash: `servicea.local`, `shop.example/api`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from .container import Container
from .vocabulary import AffinityKey as AffinityKey
from .vocabulary import AtZero as AtZero
from .vocabulary import BalancerName as BalancerName
from .vocabulary import InstanceId as InstanceId
from .vocabulary import InstanceTls as InstanceTls
from .vocabulary import RouteId as RouteId
from .vocabulary import ServiceId as ServiceId
from .vocabulary import split_service_id as split_service_id

WEIGHT_MAX = 1_000_000
BY_HAND = "-"
"""The application of services that were registered by hand."""


class CheckKind(StrEnum):
    """How an active health check asks."""

    HTTP = "http"
    TCP = "tcp"
    COMMAND = "command"
    """A program that ends with 0; run beside the instance, with its environment."""
    RUNNING = "running"
    """Nothing is asked: an instance that runs is healthy (no probe and no routed port)."""


class Role(StrEnum):
    """What the bearer of an API token may do."""

    VIEWER = "viewer"
    """Reads."""
    OPERATOR = "operator"
    """Also changes weights and releases, drains and resumes."""
    ADMIN = "admin"
    """Everything."""


class Health(StrEnum):
    """The verdict of active checks. Unknown instances get no traffic."""

    UNKNOWN = "unknown"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address as the operator wrote it: a host name or IP, a port, spoken to by http or https."""

    host: str
    port: int
    is_https: bool = False

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def text(self) -> str:
        """As it is written in a registration."""
        return f"https://{self}" if self.is_https else str(self)


@dataclass(frozen=True, slots=True)
class UpstreamTls:
    """How the https endpoints of a service prove who they are."""

    server_name: str | None = None
    """What they are asked for, and what their certificate must be for; None: the endpoint's host."""
    verify: bool = True


@dataclass(frozen=True, slots=True)
class Check:
    """An active health check. `None` means: the configuration's value.

    `port` is the container port to ask (None: the first routed port).
    Times are seconds. HTTP passes on a status of 200..399.
    """

    kind: CheckKind = CheckKind.TCP
    path: str = "/"
    host: str | None = None
    port: int | None = None
    interval_s: float | None = None
    timeout_s: float | None = None
    rise: int | None = None
    fall: int | None = None
    initial_delay_s: float = 0.0
    command: tuple[str, ...] = ()
    """Of kind `COMMAND`: program and arguments."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A service's wish to be a member of a route.

    `port` is the container port that serves this route; None means the port
    of the instance's own endpoint. Not `sticky`: a route on which the service has
    weight keeps no sessions, unless the route's policy says otherwise.
    """

    host: str
    path: str = "/"
    port: int | None = None
    sticky: bool = True

    @property
    def route(self) -> RouteId:
        """The route this claim joins."""
        return route_id(self.host, self.path)


@dataclass(frozen=True, slots=True)
class Launch:
    """What a launcher starts for each instance of a service, as its template says it.

    Absent values (None) are the image's own. `environment` is sorted by name.
    """

    image: str
    command: tuple[str, ...] | None = None
    entrypoint: tuple[str, ...] | None = None
    environment: tuple[tuple[str, str], ...] = ()
    external_links: tuple[str, ...] = ()
    """Hosts this service calls through the gateway."""
    working_dir: str | None = None
    stop_grace_s: float | None = None
    """From TERM to KILL; None: the launcher's."""
    container: Container | None = None
    """What its containers are like; None: it is started as a local process."""


@dataclass(frozen=True, slots=True)
class Discovery:
    """That a service was found running, by its labels: nobody asked the gateway for it."""

    gone_since: float | None = None
    """Since when nothing of it has been running, seconds since the epoch; None: something is."""


@dataclass(frozen=True, slots=True)
class Service:
    """A desired service: a named set of like instances and the routes it joins.

    Its instances are its `endpoints` (somebody else runs them), or `scale` copies
    of `launch`. Its *definition* is `endpoints`, `tls`, `launch` and `check`: what makes
    it this version; everything else may change under the same name.
    """

    application: str
    name: str
    claims: tuple[Claim, ...]
    coexist: bool = False
    endpoints: tuple[Endpoint, ...] = ()
    check: Check | None = None
    balancer: BalancerName = BalancerName.ROUND_ROBIN
    leaving: bool = False
    """Being removed: takes no new request, is gone once its work has ended."""
    drain_s: float | None = None
    """How long its open work may take once it is leaving; None: the configuration's."""
    launch: Launch | None = None
    scale: int = 1
    """How many instances a launcher keeps running."""
    depends: tuple[str, ...] = ()
    """Services of the same application that must be healthy before its first start."""
    tls: UpstreamTls | None = None
    """Of its https endpoints; None: they are verified under their own names."""
    in_flight_limit: int | None = None
    """How many requests an instance is given at a time; None: the configuration's limit."""
    discovery: Discovery | None = None
    """None: an operator asked for it."""

    @property
    def id(self) -> ServiceId:
        """`application/name`."""
        return ServiceId(f"{self.application}/{self.name}")


@dataclass(frozen=True, slots=True)
class AffinityPolicy:
    """An operator's affinity for one route; None: the configuration's value."""

    enabled: bool | None = None
    cookie: str | None = None
    max_age_s: int | None = None
    at_zero: AtZero | None = None


@dataclass(frozen=True, slots=True)
class TimeoutPolicy:
    """An operator's timeouts for one route, seconds; None: the configuration's value."""

    connect_s: float | None = None
    response_header_s: float | None = None
    idle_stream_s: float | None = None


@dataclass(frozen=True, slots=True)
class RoutePolicy:
    """What an operator said about a route; survives the services on it."""

    affinity: AffinityPolicy = AffinityPolicy()
    timeouts: TimeoutPolicy = TimeoutPolicy()
    selectors: bool | None = None
    """None: on for internal routes, off for public ones."""
    internal: bool | None = None
    """None: internal when the host ends in `.local`."""
    spill: bool = True


@dataclass(frozen=True, slots=True)
class Route:
    """A desired route. `weights` holds every member, in order of joining.

    Absent is not zero: a service that is not a key is no member.
    """

    host: str
    path: str
    weights: Mapping[ServiceId, int] = field(default_factory=dict)
    policy: RoutePolicy = RoutePolicy()
    is_held: bool = False
    """Only selectors lead here; all other requests go where they would without this route."""

    @property
    def id(self) -> RouteId:
        """Host and path prefix, see `route_id`."""
        return route_id(self.host, self.path)


@dataclass(frozen=True, slots=True)
class Token:
    """A bearer token of the admin API; only its digest is kept.

    `sha256` is the digest of the token's text in lower-case hex; `created` is
    seconds since the epoch.
    """

    name: str
    role: Role
    sha256: str
    created: float

    def __repr__(self) -> str:
        return f"Token(name={self.name!r}, role={self.role.value!r}, created={self.created!r})"


@dataclass(frozen=True, slots=True)
class Instance:
    """An observed running copy of a service.

    `host`/`port` are where it listens; `ports` maps a container port to the
    port it is really reached at (absent: the same number).
    """

    id: InstanceId
    service: ServiceId
    host: str
    port: int
    ports: Mapping[int, int] = field(default_factory=dict)
    tls: InstanceTls | None = None
    """None: plain http."""


def route_id(host: str, path: str) -> RouteId:
    """The identity of a route: `route_id("a.b", "/") == "a.b"`, `("a.b", "/x") == "a.b/x"`."""
    return RouteId(host + path.rstrip("/"))


def shares(weights: Mapping[ServiceId, int]) -> dict[ServiceId, float]:
    """Each member's part of the traffic, 0..1; all 0 when every weight is 0."""
    total = sum(weights.values())
    return {sid: (w / total if total else 0.0) for sid, w in weights.items()}
