"""Bodies that clients may send: pydantic models, strict, and their way into the model.

Strict means: no unknown key, no text for a number, no 1.0 for 1, no true for 1.
The models carry names and units of the API; `gateway.core` carries its own.
Nothing here looks at the state: whether a request fits it is `decide`'s verdict.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    RootModel,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from gateway.core.model import (
    BY_HAND,
    WEIGHT_MAX,
    AffinityPolicy,
    AtZero,
    BalancerName,
    Check,
    CheckKind,
    Claim,
    RoutePolicy,
    Service,
    TimeoutPolicy,
    UpstreamTls,
)
from gateway.core.names import published_host
from gateway.core.templates import ENDPOINTS_MAX, IN_FLIGHT_MAX, SCALE_MAX

from . import names
from .names import HTTPS

ROUTES_MAX = 256
DRAIN_MAX_S = 86400.0

Host = Annotated[
    str,
    AfterValidator(names.host),
    Field(description="exact, `*.suffix`, or a bare prefix (published under the domain)"),
]
Path = Annotated[str, AfterValidator(names.path_prefix), Field(description="path prefix")]
Address = Annotated[str, AfterValidator(lambda text: names.endpoint(text).text)]
Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[float, Field(gt=0, le=86400 * 365, allow_inf_nan=False)]
Delay = Annotated[float, Field(ge=0, le=DRAIN_MAX_S, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=10_000_000)]
WeightValue = Annotated[
    Any,
    # `decide` judges values and names together: one answer with all that is wrong.
    WithJsonSchema({"type": "integer", "minimum": 0, "maximum": WEIGHT_MAX}),
]


class Payload(BaseModel):
    """A JSON body."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class WeightsBody(RootModel[dict[str, WeightValue]]):
    """Service (short name or full id) to weight, a whole number."""

    model_config = ConfigDict(strict=True, frozen=True)

    @model_validator(mode="after")
    def _some(self) -> WeightsBody:
        if not self.root:
            raise ValueError("name at least one service")
        return self


class ClaimBody(Payload):
    """A route the service joins."""

    host: Host
    path: Path = "/"
    port: Port | None = Field(None, description="container port; none: the endpoint's own")


class CheckBody(Payload):
    """An active health check; times in seconds, absent ones from the configuration."""

    type: Literal["http", "tcp"] | None = Field(None, description="default: http if path is given")
    path: str | None = Field(None, max_length=names.PATH_MAX)
    host: Annotated[str, AfterValidator(names.host)] | None = None
    port: Port | None = None
    interval: Seconds | None = None
    timeout: Seconds | None = None
    rise: Count | None = None
    fall: Count | None = None
    initial_delay: Delay = 0.0

    @field_validator("path")
    @classmethod
    def _is_target(cls, value: str | None) -> str | None:
        return None if value is None else names.request_target(value)

    @model_validator(mode="after")
    def _fits(self) -> CheckBody:
        if self.type == "tcp" and (self.path is not None or self.host is not None):
            raise ValueError("a tcp check has neither path nor host")
        return self

    def to_core(self) -> Check:
        """The check as the model has it."""
        http = self.type == "http" or (self.type is None and self.path is not None)
        return Check(
            kind=CheckKind.HTTP if http else CheckKind.TCP,
            path=self.path or "/",
            host=self.host,
            port=self.port,
            interval_s=self.interval,
            timeout_s=self.timeout,
            rise=self.rise,
            fall=self.fall,
            initial_delay_s=self.initial_delay,
        )


class TlsBody(Payload):
    """How the https endpoints of a service prove who they are."""

    server_name: Annotated[str, AfterValidator(names.server_name)] | None = Field(
        None, description="what their certificate must be for; null: the endpoint's own host"
    )
    verify: bool = Field(True, description="false: believe anybody who answers")


class LimitsBody(Payload):
    """Limits of a service; absent: the configuration's value."""

    in_flight: (
        Annotated[
            int,
            Field(ge=1, le=IN_FLIGHT_MAX, description="requests an instance is given at a time"),
        ]
        | None
    ) = None


class ServiceBody(Payload):
    """A service registered by hand."""

    routes: list[ClaimBody] = Field(min_length=1, max_length=ROUTES_MAX)
    coexist: bool = Field(False, description="may join a route that another service holds")
    endpoints: list[Address] = Field(
        max_length=ENDPOINTS_MAX,
        description="`host:port`, each once; by TLS with the scheme https in front",
    )
    tls: TlsBody | None = Field(None, description="of https endpoints")
    health: CheckBody | None = Field(None, description="none: a TCP check of the routed port")
    balancer: Literal["round_robin", "least_requests", "two_random_choices"] = "round_robin"
    limits: LimitsBody = LimitsBody()

    @field_validator("endpoints")
    @classmethod
    def _are_distinct_endpoints(cls, value: list[str]) -> list[str]:
        for index, text in enumerate(value):
            if text.removeprefix(HTTPS) in (other.removeprefix(HTTPS) for other in value[:index]):
                raise ValueError(f"[{index}] {text} is there already")
        return value

    @model_validator(mode="after")
    def _has_use_for_tls(self) -> ServiceBody:
        if self.tls is not None and not any(e.startswith(HTTPS) for e in self.endpoints):
            raise ValueError("tls is for endpoints that begin with https://")
        return self

    @field_validator("routes")
    @classmethod
    def _are_distinct(cls, value: list[ClaimBody]) -> list[ClaimBody]:
        seen: set[tuple[str, str]] = set()
        for index, claim in enumerate(value):
            if (claim.host, claim.path) in seen:
                raise ValueError(f"[{index}] is the same route as an earlier one")
            seen.add((claim.host, claim.path))
        return value

    def to_core(self, name: str, domain: str) -> Service:
        """The service as the model has it; bare prefixes are published under `domain`."""
        return Service(
            application=BY_HAND,
            name=name,
            claims=tuple(
                Claim(published_host(c.host, domain), c.path, c.port) for c in self.routes
            ),
            coexist=self.coexist,
            endpoints=tuple(names.endpoint(e) for e in self.endpoints),
            check=self.health.to_core() if self.health else None,
            balancer=BalancerName(self.balancer),
            tls=UpstreamTls(self.tls.server_name, self.tls.verify) if self.tls else None,
            in_flight_limit=self.limits.in_flight,
        )


class ServicePatch(Payload):
    """What can be changed of a service by itself: one thing in a call."""

    coexist: bool | None = Field(None, description="may join a route that another service holds")
    scale: Annotated[int, Field(ge=1, le=SCALE_MAX)] | None = Field(
        None, description="how many instances of it are kept running"
    )

    @model_validator(mode="after")
    def _is_one(self) -> ServicePatch:
        if (self.coexist is None) == (self.scale is None):
            raise ValueError("give one of coexist and scale")
        return self


class AffinityBody(Payload):
    """Sticky sessions of a route; absent: the configuration's value."""

    enabled: bool | None = None
    cookie: Annotated[str, AfterValidator(names.cookie_name)] | None = None
    max_age: Annotated[int, Field(ge=1, le=86400 * 400)] | None = None
    at_zero: Literal["drain", "evict"] | None = None


class TimeoutsBody(Payload):
    """Upstream timeouts of a route in seconds; absent: the configuration's value."""

    connect: Seconds | None = None
    response_header: Seconds | None = None
    idle_stream: Seconds | None = None


class PolicyBody(Payload):
    """An operator's policy of a route. It replaces the one before."""

    affinity: AffinityBody = AffinityBody()
    timeouts: TimeoutsBody = TimeoutsBody()
    selectors: bool | None = Field(None, description="none: on for internal routes only")
    internal: bool | None = Field(None, description="none: internal if the host ends in .local")
    spill: bool = True

    def to_core(self) -> RoutePolicy:
        """The policy as the model has it."""
        a, t = self.affinity, self.timeouts
        return RoutePolicy(
            affinity=AffinityPolicy(
                a.enabled, a.cookie, a.max_age, AtZero(a.at_zero) if a.at_zero else None
            ),
            timeouts=TimeoutPolicy(t.connect, t.response_header, t.idle_stream),
            selectors=self.selectors,
            internal=self.internal,
            spill=self.spill,
        )


class ShiftBody(Payload):
    """How much the new services get."""

    new: Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)] = Field(
        description="percent of the release's part of every route that old and new share"
    )


class TokenBody(Payload):
    """A token to make."""

    name: Annotated[str, AfterValidator(names.plain_name)] = Field(
        description="who or what will use it; stands in the audit"
    )
    role: Literal["viewer", "operator", "admin"]
