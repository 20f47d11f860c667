# cython: language_level=3, annotation_typing=False
"""What every request of a worker asks its data plane, and nothing else of it.

`dataplane.DataPlane` fills it in and does the rest: snapshots, settings, sockets, the sweep.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from .access_log import AccessLog
from .target import Target
from .upstream import UpstreamPool

if TYPE_CHECKING:
    from gateway.metrics.worker import WorkerMetrics
    from gateway.routing.pool import Pool
    from gateway.routing.service import InstanceState, ServiceState
    from gateway.routing.world import World
    from gateway.runtime.settings import LimitSettings, Settings, TimeoutSettings

    from .dates import DateLine
    from .heads import HeadLimits
    from .reasons import Reason
    from .retry import RetryBudget
    from .stream import ClientStream
    from .transports import Transports, Upstream
    from .tunnel import Tunnel
    from .waiting import WaitingRoom

_IDS = 64
"""Request ids made at once."""


class Plane:
    """The present of a worker. Times are seconds on the clock `time`."""

    __slots__ = (
        "_ids",
        "_ids_left",
        "_random_bits",
        "access_log",
        "body_bytes",
        "budget",
        "client_header_s",
        "client_idle_s",
        "closing",
        "date",
        "draining",
        "head_limits",
        "limits",
        "loop",
        "metrics",
        "ready",
        "served_by",
        "settings",
        "table",
        "time",
        "timeouts",
        "transports",
        "upstream_idle_s",
        "upstream_pools",
        "waiting",
        "world",
    )

    loop: asyncio.AbstractEventLoop
    time: Callable[[], float]
    settings: Settings
    timeouts: TimeoutSettings
    limits: LimitSettings
    body_bytes: int
    """The largest body that is taken; -1: any."""
    head_limits: HeadLimits
    world: World
    budget: RetryBudget
    date: DateLine
    metrics: WorkerMetrics
    transports: Transports
    waiting: WaitingRoom | None
    """Who has to be asked whether an instance may be given work; None: nobody."""
    upstream_pools: dict[UpstreamPool, InstanceState]

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        time: Callable[[], float],
        world: World,
        budget: RetryBudget,
        date: DateLine,
        random_bits: Callable[[int], int],
    ) -> None:
        """`random_bits` need not be secret, only unlikely to repeat."""
        self.loop = loop
        self.time = time
        self.world = world
        self.table = world.table
        self.budget = budget
        self.date = date
        self.ready = False
        self.closing = False
        """Lame duck: answers carry `Connection: close`."""
        self.draining = False
        """Connections end after the request under way."""
        self.access_log = AccessLog("off")
        self.waiting = None
        self.upstream_pools = {}
        self._random_bits = random_bits
        self._ids = b""
        self._ids_left = 0

    def take_settings(self, settings: Settings, head_limits: HeadLimits) -> None:
        """What requests look at is kept where it is found at once."""
        self.settings = settings
        self.timeouts = settings.timeouts
        self.limits = settings.limits
        self.head_limits = head_limits
        self.body_bytes = -1 if settings.limits.body_bytes is None else settings.limits.body_bytes
        self.client_idle_s = settings.timeouts.client_idle
        self.client_header_s = settings.timeouts.client_header
        self.upstream_idle_s = settings.timeouts.upstream_idle
        self.served_by = settings.served_by

    def new_request_id(self) -> bytes:
        """128 random bits in hex. Not a secret, only unlikely to repeat."""
        if not self._ids_left:
            self._ids = self._random_bits(128 * _IDS).to_bytes(16 * _IDS, "big").hex().encode()
            self._ids_left = _IDS
        self._ids_left -= 1
        at = 32 * self._ids_left
        return self._ids[at : at + 32]

    def target(self, pool: Pool, service: ServiceState) -> Target:
        """A service's place on a route; made at the first request that goes there."""
        found: Target | None = pool.series.get(service.id)
        if found is None:
            series = self.metrics.series(
                pool.route.id, service.application, service.id, service.version
            )
            fields = b""
            if self.served_by:
                fields = b"X-Served-By: %s\r\n" % service.name.encode()
            found = pool.series[service.id] = Target(pool, service, series, fields)
        return found

    def upstreams(self, instance: InstanceState, port: int) -> UpstreamPool:
        """The connections to one port of an instance."""
        found: UpstreamPool | None = instance.upstreams.get(port)
        if found is None:
            found = instance.upstreams[port] = UpstreamPool(self.transports, instance.host, port)
            found.tls = self.tls_to(instance)
            self.upstream_pools[found] = instance
        return found

    def tls_to(self, instance: InstanceState) -> Upstream | None:
        """How an instance is spoken to; None: without TLS."""
        raise NotImplementedError

    def instance_failed(self, instance: InstanceState, reason: Reason) -> None:
        """Passive health: the instance could not be used; perhaps leave it alone for a while."""
        raise NotImplementedError

    def tunnel_opened(self, tunnel: Tunnel) -> None:
        """A tunnel has begun."""
        raise NotImplementedError

    def tunnel_closed(self, tunnel: Tunnel) -> None:
        """A tunnel has ended."""
        raise NotImplementedError

    def refused(self, client: ClientStream, status: int) -> None:
        """A client sent what is no request."""
        raise NotImplementedError

    def handshake_failed(self, client: ClientStream) -> None:
        """A client's connection came to no TLS."""
        raise NotImplementedError

    def client_closed(self, client: ClientStream) -> None:
        """A client's connection has ended."""
        raise NotImplementedError
