"""The data plane of one worker: what its connections and exchanges share.

The worker feeds it snapshots, settings and listening sockets; everything else
follows from what clients send. It holds the one timer of the worker: a sweep
that looks at every connection's deadline, closes idle upstream connections and
ends ejections.
"""

from __future__ import annotations

import asyncio
import logging
import random
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.core.snapshot import Delta, Snapshot
from gateway.core.vocabulary import InstanceId
from gateway.routing.forwarding import TrustedProxies
from gateway.routing.outlier import EjectionPolicy, record_failure
from gateway.routing.world import World
from gateway.runtime.settings import GivenSettings
from gateway.runtime.tls_contexts import ClientContexts

from . import tls
from .access_line import Entry
from .access_log import AccessLog
from .admission import admit
from .client import ClientConnection
from .codec import HeadLimits
from .dates import DateLine
from .doors import HEALTH_ENTRYPOINT, Doors, address_key
from .entrypoint import Entrypoint
from .exchange import serve_request
from .farewells import TICK_S, Farewells
from .health import serve_health
from .plane import Plane
from .reasons import Reason
from .retry import RetryBudget
from .stream import Phase
from .transports import Transports, Upstream
from .waiting import WaitingRoom

if TYPE_CHECKING:
    from gateway.metrics.worker import Gauge, WorkerMetrics
    from gateway.routing.service import InstanceState
    from gateway.runtime.settings import EntrypointSettings, Settings

    from .stream import ClientStream
    from .tunnel import Tunnel

log = logging.getLogger("gateway.proxy")

SWEEP_S = TICK_S
DRAIN_POLL_S = 0.02
SETTLE_S = 0.01
CUT_TURNS = 10
"""Of the loop: so many may pass until a connection that was cut says so (uvloop takes several for TLS)."""


@dataclass(frozen=True, slots=True)
class Ejection:
    """This worker stopped using an instance for `seconds` because of `reason`."""

    instance: InstanceId
    seconds: float
    reason: str


class DataPlane(Plane):
    """Clients in front, instances behind, one snapshot in between."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        settings: Settings,
        metrics: WorkerMetrics,
        slot: int,
        report: Callable[[Ejection], None],
    ) -> None:
        super().__init__(
            loop,
            time.monotonic,  # uvloop's own clock stands still within a turn
            World(slot, random.random),
            RetryBudget(),
            DateLine(time.time()),
            random.Random(random.SystemRandom().getrandbits(128)).getrandbits,  # noqa: S311
        )
        self.transports = Transports(loop, settings.transport)
        self.metrics = metrics
        self.farewells = Farewells(lambda i: self.world.instance(i.id) is i)
        self._report = report
        self._clients: set[ClientConnection] = set()
        self._entrypoints: dict[str, Entrypoint] = {}
        self._tls: dict[str, tls.ServerTls] = {}
        self._client_contexts = ClientContexts()
        self._log_problem: str | None = None
        self._doors = Doors(loop, self._serve)
        self._waiting_room = WaitingRoom(loop)
        self.configure(settings)
        self._sweeper = loop.call_later(SWEEP_S, self._sweep)

    # -- what the worker does with it

    def apply(self, snapshot: Snapshot, delta: Delta | None = None) -> None:
        """Serve by this snapshot: every request begun after this returns follows it.

        `delta` is what made it of the one before, where that is known.
        """
        before = self.world.snapshot
        retired = self.world.apply(snapshot, delta)
        if before.generation == 0:
            self.metrics.retain(set(snapshot.services), set(snapshot.routes))
        elif retired.services or retired.routes or retired.instances:
            self.metrics.retire(
                retired.services, retired.routes, [(i.service.id, i.id) for i in retired.instances]
            )
        self.farewells.look(self.time(), self.timeouts.drain)
        self._limit_work()
        self._waiting_room.wake()
        self._publish_gauges()

    def _limit_work(self) -> None:
        room = self._waiting_room
        self.waiting = room if room.is_needed or self.world.has_limits else None

    def configure(self, settings: Settings) -> None:
        """Take over settings; connections keep the deadlines they have."""
        limits = settings.limits
        self.take_settings(settings, HeadLimits(limits.head_bytes, limits.headers))
        self._trusted = TrustedProxies(settings.trusted_proxies)
        self._doors.configure(settings)
        workers = settings.workers if isinstance(settings.workers, int) else 1
        self._waiting_room.configure(settings.limits, workers)
        self._limit_work()
        ejection = settings.ejection
        self._ejection_policy = EjectionPolicy(
            ejection.failures, ejection.seconds, ejection.max_seconds
        )
        self._certify(settings)
        for name, entrypoint in self._entrypoints.items():
            self._follow(entrypoint, settings.entrypoints.get(name))
        for pool in self.world.pools.values():
            pool.series.clear()  # targets hold what settings say
        if self.access_log.target != settings.access_log:
            self.access_log.close()
            self.access_log = AccessLog(settings.access_log, on_drop=self.metrics.log_lines_dropped)

    def listen(self, sock: socket.socket, entrypoint: str) -> None:
        """Accept on `sock`, which somebody else holds, for the entrypoint of that name."""
        if entrypoint not in self._entrypoints:
            self._entrypoints[entrypoint] = self._entrypoint(sock, entrypoint)
        self._doors.listen(sock, entrypoint)

    def unlisten(self, sock: socket.socket) -> None:
        """Stop accepting on `sock`; it stays open."""
        self._doors.unlisten(sock)

    def begin_lame_duck(self) -> None:
        """Go on serving, but tell clients to go elsewhere with their next request."""
        self.closing = True

    async def drain(self, deadline_s: float) -> int:
        """End all connections, each after its request; how many had to be cut at the deadline.

        Tunnels are told to go first (`farewells`).
        """
        self.closing = self.draining = True
        now = self.time()
        end = now + deadline_s
        self.farewells.all(now, end + 2 * SWEEP_S)  # at the end they are cut here, and counted
        await asyncio.sleep(SETTLE_S)  # a request that has arrived by now is answered
        for client in list(self._clients):
            if client.phase is Phase.IDLE:
                client.end(linger=False)
        while self._clients and self.time() < end:
            await asyncio.sleep(DRAIN_POLL_S)
        cut = list(self._clients)
        if self.farewells.cut():
            await asyncio.sleep(SETTLE_S)  # uvloop sends at the end of a turn
        for client in cut:
            client.abort()
        for pool in self.upstream_pools:
            pool.close()
        for _ in range(CUT_TURNS):
            if not self._clients:
                break
            await asyncio.sleep(0)  # connection_lost of the cut ones, so that they are counted
        self._sweeper.cancel()
        self._publish_gauges()
        self.access_log.close()
        return len(cut)

    def reopen_logs(self) -> None:
        """The access log's file was moved away: open it anew."""
        self.access_log.reopen()

    @property
    def open_connections(self) -> int:
        """Clients connected now, those of `health.listen` included."""
        return len(self._clients)

    # -- what connections and exchanges ask

    def trusts(self, peer: str) -> bool:
        """Are this peer's forwarding fields believed?"""
        return self._trusted.trusts(peer)

    def tunnel_opened(self, tunnel: Tunnel) -> None:
        """A tunnel has begun; its end is told to `farewells`."""
        self.farewells.opened(tunnel, self.time(), self.timeouts.drain)

    def tunnel_closed(self, tunnel: Tunnel) -> None:
        """A tunnel has ended."""
        self.farewells.closed(tunnel)

    def instance_failed(self, instance: InstanceState, reason: Reason) -> None:
        """Passive health: the instance could not be used; perhaps leave it alone for a while."""
        now = self.time()
        until = record_failure(instance, now, self._ejection_policy)
        if until is not None and self.world.eject(instance, until):
            self._report(Ejection(instance.id, until - now, reason))

    def refused(self, client: ClientStream, status: int) -> None:
        """A client sent what is no request."""
        self.metrics.unrouted(b"", status)
        if self.access_log.enabled:
            reason = Reason.CLIENT_TIMEOUT if status == 408 else Reason.CLIENT_PROTOCOL_ERROR
            self.access_log.write(
                Entry(client.entrypoint.name, client.peer_text, status, flags=reason.value)
            )

    def handshake_failed(self, client: ClientStream) -> None:
        """A client's connection came to no TLS."""
        self.metrics.handshake_failed(client.entrypoint.name)

    def may_stay(self, client: ClientConnection) -> bool:
        """Now that its address is known: has it a place among the connections of that?"""
        if not client.trusted and client.entrypoint.name != HEALTH_ENTRYPOINT:
            key = address_key(client.peer_text)
            if not self._doors.take_place(key):
                self.metrics.connection_refused(client.entrypoint.name, "address_limit")
                return False
            client.place = key
        return True

    def header_missing(self, client: ClientConnection) -> None:
        """A client's connection did not begin with a valid PROXY header, or not in time."""
        self.metrics.connection_refused(client.entrypoint.name, "proxy_header")

    def client_closed(self, client: ClientStream) -> None:
        """A client's connection has ended."""
        if client in self._clients:
            self._clients.remove(client)
            client.entrypoint.open.add(-1)
            if client.place is not None:
                self._doors.leave_place(client.place)
            self._doors.left(client.entrypoint.name)

    # -- inside

    def _entrypoint(self, sock: socket.socket, name: str) -> Entrypoint:
        settings = self.settings.entrypoints.get(name)
        gauge: Gauge = self.metrics.entrypoint(name)
        entrypoint = Entrypoint(
            name=name,
            internal=settings is not None and settings.internal,
            port=b"%d" % sock.getsockname()[1],
            open=gauge,
            serve=serve_health if name == HEALTH_ENTRYPOINT else serve_request,
        )
        self._follow(entrypoint, settings)
        return entrypoint

    def tls_to(self, instance: InstanceState) -> Upstream | None:
        """How an instance is spoken to; None: without TLS."""
        if instance.tls is None:
            return None
        context = self._client_contexts.get(instance.tls.verify)
        return Upstream(context, instance.tls.name)

    def _follow(self, entrypoint: Entrypoint, settings: EntrypointSettings | None) -> None:
        """Do what the settings say of an entrypoint; open connections keep their certificate."""
        if settings is not None:
            entrypoint.proxy_protocol = settings.proxy_protocol
            entrypoint.redirect = settings.redirect_https
            entrypoint.tls = self._tls.get(entrypoint.name)
            entrypoint.hsts = tls.hsts_field(settings.tls.hsts if settings.tls else None)

    def _certify(self, settings: Settings) -> None:
        """Make certificates ready to be shown, and to be verified."""
        given = settings if isinstance(settings, GivenSettings) else GivenSettings()
        certificates = {one.files: one for one in given.certificates}
        if given.authorities != self._client_contexts.authorities:
            self._client_contexts = ClientContexts(given.authorities)
            for pool, instance in self.upstream_pools.items():
                pool.tls = self.tls_to(instance)
        self._tls = {
            name: tls.ServerTls(one.tls, certificates, self._tls.get(name))
            for name, one in settings.entrypoints.items()
            if one.tls is not None
        }

    def _serve(self, sock: socket.socket, peer: str, entrypoint: str) -> None:
        client = ClientConnection(self, self._entrypoints[entrypoint], peer, self.trusts(peer))
        self._clients.add(client)
        self._doors.entered(entrypoint)
        client.entrypoint.open.add(1)
        admit(self, self.transports, sock, client)

    def _sweep(self) -> None:
        self._sweeper = self.loop.call_later(SWEEP_S, self._sweep)
        now = self.time()
        for client in [c for c in self._clients if c.deadline < now]:
            try:
                client.expire()
            except Exception:  # one connection must not keep the others from their deadlines
                log.exception("a connection broke at its deadline")
                client.abort()
        not_before = now - self.timeouts.upstream_idle
        gone = []
        for pool, instance in self.upstream_pools.items():
            if self.world.instance(instance.id) is not instance:
                gone.append(pool)
            else:
                pool.sweep(not_before)
        for pool in gone:
            del self.upstream_pools[pool]
            pool.close()
        self.world.tick(now)
        self.date.tick(time.time())
        self.farewells.tick()
        self._limit_work()  # the last who waited for a limit that was lifted may have gone
        self._waiting_room.wake()
        self._publish_gauges()
        self._flush_log()

    def _flush_log(self) -> None:
        self.access_log.flush()
        if self.access_log.problem != self._log_problem:
            self._log_problem = self.access_log.problem
            if self._log_problem is not None:
                log.warning("access log %s: %s", self.access_log.target, self._log_problem)

    def _publish_gauges(self) -> None:
        """Per-instance counts are shown at the sweep's pace: the request path has none of it."""
        for instance in self.upstream_pools.values():
            if self.world.instance(instance.id) is instance:
                self.metrics.show_instance(
                    instance.service.id,
                    instance.id,
                    instance.in_flight - instance.tunnels,
                    instance.tunnels,
                )
