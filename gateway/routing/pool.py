"""One route, compiled: which service (and perhaps instance) gets a request.

Precedence: selector header, selector cookie, affinity, weights. A pool knows
nothing of sockets, of the request beyond the three values it is given, and of
how a service chooses among its instances.

Decisions are made when the pool is compiled and handed out from tables: a
request costs look-ups, not objects. Compiling is put off to the first request
after a change, so that a change of a service that a thousand routes share costs
a mark on each.

Invariants:

* a service of weight 0 is never drawn, whatever the others' health;
* over any full round of its schedule, each service is drawn exactly `weight` times;
* a decision with verdict OK names a service that has a usable instance.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

from gateway.core.model import ServiceId
from gateway.core.snapshot import SnapshotRoute

from .service import InstanceState, ServiceState

__all__ = ["Decision", "InstanceState", "Pool", "ServiceState", "Sticky", "Verdict"]

SELECTOR_COOKIE = b"X-Gateway-Service"
"""The cookie that chooses a service where a route allows previews; also the header's name."""


class Sticky(Enum):
    """What affinity had to do with a decision."""

    OFF = "off"
    NEW = "new"
    """The client brought no token that is known here."""
    HIT = "hit"
    """The client stays where it was."""
    MOVED = "moved"
    """The client's token was known, but its instance or its service could not be kept."""


class Verdict(Enum):
    """Can the request be served?"""

    OK = "ok"
    NO_SERVICE = "no_service"
    """The route has no member with weight."""
    NO_HEALTHY_INSTANCE = "no_healthy_instance"
    UNKNOWN_SELECTION = "unknown_selection"
    """The selector header names no member of the route."""


@dataclass(frozen=True, slots=True, eq=False)
class Decision:
    """Where a request goes. Shared between requests.

    `service` is set with OK, and with NO_HEALTHY_INSTANCE (the one that has none).
    `pinned`: use this instance; None: ask `service.pick()`.
    `renew`: the answer is to carry `Pool.set_cookie(service, instance)`. Also due
    whenever the instance used in the end is not `pinned`.
    `spilled`: the request would have gone to a service that has no usable instance.
    """

    verdict: Verdict
    service: ServiceState | None = None
    pinned: InstanceState | None = None
    sticky: Sticky = Sticky.OFF
    spilled: bool = False
    renew: bool = False


class Pool:
    """A route and the states of its members.

    `series` is the data plane's: metric handles by service id. World takes a
    service's entry out when the service is gone.
    """

    __slots__ = ("cookie_name", "route", "series")

    route: SnapshotRoute
    cookie_name: bytes | None
    """None: affinity is off, no cookie is read, set or stripped."""
    series: dict[ServiceId, Any]

    def decide(self, cookies: bytes | None, selector: bytes | None) -> Decision:
        """Where the next request goes.

        `cookies`: all Cookie field values joined with `; `; `selector`: the value of
        X-Gateway-Service.
        """
        raise NotImplementedError

    def set_cookie(self, service: ServiceState, instance: InstanceState, secure: bool) -> bytes:
        """The value of Set-Cookie that pins a client to `instance`; affinity must be on."""
        raise NotImplementedError

    def port_of(self, service: ServiceState) -> int | None:
        """The container port of `service` that serves this route; None: the instance's own."""
        raise NotImplementedError
