# cython: language_level=3, annotation_typing=False
"""Connections to instances: one pool per address, one exchange per connection at a time.

A connection is handed out with `claim` and comes back with `release` only after
a clean end of request and answer. What arrives on an idle connection was not
asked for, so the connection is closed: an answer can never meet another
request (HAProxy CVE-2026-33555, the redis-py incident of 2023).

Knows nothing of routes, services or clients; its user is a `ConnectionUser`.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, cast

from .transports import WRITE_HIGH_WATER, end_writing, resume_reading, writer_of

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from .transports import Transports, Upstream
    from .users import ConnectionUser

IDLE_PER_ADDRESS = 1024
CLOSE_S = 30.0
"""How long what was written may take to be sent on a connection that is closed."""
QUARANTINE_S = 0.05
"""How long a connection waits after an answer that must have no body.

An origin that sends one all the same (to HEAD, with 204 or 304) would
otherwise have it read as the answer to the next request."""


class Use(Enum):
    """What a connection is doing."""

    CONNECTING = 1
    BUSY = 2
    IDLE = 3
    QUARANTINE = 4
    CLOSED = 5


# Looking a member up in its class costs 85 ns on CPython 3.11, several times a request.
_CONNECTING = Use.CONNECTING
_BUSY = Use.BUSY
_IDLE = Use.IDLE
_QUARANTINE = Use.QUARANTINE
_CLOSED = Use.CLOSED


class UpstreamConnection:
    """One connection to an instance."""

    __slots__ = (
        "_reading",
        "_send",
        "idle_since",
        "opening",
        "pool",
        "reused",
        "transport",
        "use",
        "user",
    )

    def __init__(self, pool: UpstreamPool, user: ConnectionUser) -> None:
        self.pool = pool
        self.user: ConnectionUser | None = user
        self.transport: asyncio.Transport | None = None
        self.use = _CONNECTING
        self._reading = True
        self._send: Callable[[bytes], None] | None = None
        self.reused = False
        self.idle_since = 0.0
        self.opening: asyncio.Task[None] | None = None

    # -- what its user does with it

    def write(self, data: bytes) -> None:
        """Send bytes; ignored once the connection is gone (the loss was or will be told)."""
        send = self._send
        if send is not None:
            send(data)

    def write_eof(self) -> None:
        """Send no more."""
        self._send = None
        transport = self.transport
        if transport is not None and not transport.is_closing() and transport.can_write_eof():
            end_writing(transport)

    def set_reading(self, wanted: bool) -> None:
        """Pause or resume reading; both are idempotent."""
        transport = self.transport
        if wanted == self._reading or transport is None or transport.is_closing():
            return
        self._reading = wanted
        if wanted:
            resume_reading(transport)
        else:
            transport.pause_reading()

    def release(self, now: float, quarantine: bool) -> None:
        """Give the connection back after a clean end."""
        self.user = None
        transport = self.transport
        if transport is None or self.pool.closed:
            self.abort()
            return
        if not self._reading:
            self.set_reading(True)
        self.idle_since = now
        if quarantine:
            self.use = _QUARANTINE
            self.pool.transports.loop.call_later(QUARANTINE_S, self._end_quarantine)
        else:
            self.pool.put(self)

    def abort(self) -> None:
        """End the connection now; its user hears nothing more."""
        self.user = None
        self._send = None
        self.use = _CLOSED
        self.pool.opening.discard(self)
        if self.opening is not None and not self.opening.done():
            self.opening.cancel()
        if self.transport is not None:
            self.transport.abort()

    def close(self) -> None:
        """End the connection in order, after what was written; its user hears nothing more."""
        self.user = None
        self._send = None
        self.use = _CLOSED
        transport = self.transport
        if transport is not None:
            transport.close()
            if transport.get_write_buffer_size():  # an origin that never reads it must not keep us
                self.pool.transports.loop.call_later(self.pool.close_s, transport.abort)

    def _end_quarantine(self) -> None:
        if self.use is _QUARANTINE:
            self.pool.put(self)

    # -- what the transport says

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is open."""
        self.pool.opening.discard(self)
        transport = cast("asyncio.Transport", transport)
        user = self.user
        if user is None:  # given up while it was opened
            transport.abort()
            return
        self.transport = transport
        self._send = writer_of(transport)
        transport.set_write_buffer_limits(high=WRITE_HIGH_WATER)
        self.use = _BUSY
        self.pool.open += 1
        user.upstream_ready(self)

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        user = self.user
        if user is not None:
            user.upstream_data(data)
        else:
            self.pool.forget(self)
            self.abort()

    def eof_received(self) -> bool:
        """The other side will send no more. True: keep our side open."""
        user = self.user
        if user is not None:
            return user.upstream_eof() and self.pool.tls is None  # TLS has no half
        self.pool.forget(self)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone; `exc` if not in order."""
        if self.transport is not None:
            self.pool.open -= 1
        self.transport = None
        self._send = None
        user, self.user = self.user, None
        if self.use is _IDLE:
            self.pool.forget(self)
        self.use = _CLOSED
        if user is not None:
            user.upstream_lost(exc)

    def pause_writing(self) -> None:
        """Too much waits to be sent."""
        user = self.user
        if user is not None:
            user.upstream_writable(False)

    def resume_writing(self) -> None:
        """What waited was sent."""
        user = self.user
        if user is not None:
            user.upstream_writable(True)


class UpstreamPool:
    """The connections of this worker to one address. Most recently used first."""

    __slots__ = (
        "close_s",
        "closed",
        "host",
        "idle",
        "open",
        "opening",
        "port",
        "tls",
        "transports",
    )

    def __init__(
        self, transports: Transports, host: str, port: int, close_s: float = CLOSE_S
    ) -> None:
        self.transports = transports
        self.close_s = close_s
        self.host = host
        self.port = port
        self.tls: Upstream | None = None
        """How new connections are made; None: without TLS."""
        self.idle: list[UpstreamConnection] = []
        self.open = 0
        self.opening: set[UpstreamConnection] = set()
        self.closed = False

    def claim(self, user: ConnectionUser, not_before: float) -> UpstreamConnection | None:
        """An idle connection used since `not_before`, now `user`'s; None when there is none.

        It can be written to at once; `upstream_ready` is not called for it.
        """
        while self.idle:
            connection = self.idle.pop()
            transport = connection.transport
            if transport is None or transport.is_closing():
                continue
            if connection.idle_since < not_before:
                connection.close()
                continue
            connection.use = _BUSY
            connection.user = user
            connection.reused = True
            return connection
        return None

    def connect(self, user: ConnectionUser) -> UpstreamConnection:
        """A new connection; `upstream_ready` or `upstream_failed` follows, never before this returns."""
        connection = UpstreamConnection(self, user)

        def failed(error: OSError) -> None:
            self.opening.discard(connection)
            asker, connection.user = connection.user, None
            connection.use = _CLOSED
            if asker is not None:
                asker.upstream_failed(error)

        self.opening.add(connection)
        connection.opening = self.transports.connect(
            self.host, self.port, connection, failed, self.tls
        )
        return connection

    def put(self, connection: UpstreamConnection) -> None:
        """Keep a connection for the next request."""
        if self.closed or len(self.idle) >= IDLE_PER_ADDRESS:
            connection.close()
            return
        connection.use = _IDLE
        self.idle.append(connection)

    def forget(self, connection: UpstreamConnection) -> None:
        """Drop a connection that ended while idle."""
        try:
            self.idle.remove(connection)
        except ValueError:
            pass

    def sweep(self, not_before: float) -> None:
        """Close connections that have been idle since before `not_before`."""
        if self.idle and self.idle[0].idle_since < not_before:
            keep: list[UpstreamConnection] = []
            old: list[UpstreamConnection] = []
            for connection in self.idle:
                (old if connection.idle_since < not_before else keep).append(connection)
            self.idle = keep
            for connection in old:
                connection.close()

    def close(self) -> None:
        """Close what is idle now and what comes back later; who still connects goes elsewhere.

        A container that is gone leaves an address where nobody even refuses.
        """
        self.closed = True
        for connection in tuple(self.opening):
            user = connection.user
            connection.abort()
            if user is not None:
                user.upstream_failed(ConnectionAbortedError("the instance is gone"))
        idle, self.idle = self.idle, []
        for connection in idle:
            connection.close()
