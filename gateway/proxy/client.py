"""A client's connection: heads are taken off it one after the other, in order.

While an exchange is under way the bytes behind its request stay here
(pipelining) and reading pauses when they are many. The connection owns the one
deadline that the worker's sweep looks at, whoever set it last.
"""

from __future__ import annotations

import asyncio
import fcntl
import socket
import struct
import termios
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Protocol, cast

from gateway.metrics.worker import Gauge

from .codec import Malformed, RequestHead, parse_request
from .exchange import Exchange
from .replies import reply
from .transports import WRITE_HIGH_WATER, end_writing
from .tunnel import Tunnel

if TYPE_CHECKING:
    from .dataplane import DataPlane
    from .tls import ClientTls, ServerTls

PENDING_BYTES = 64 * 1024
"""Reading pauses when this much waits behind the request under way."""
REQUESTS_A_TURN = 32
"""A client gets this many answers at once before others have their turn."""
LINGER_S = 5.0
TLS_FAREWELL_S = 1.0
"""How long an idle client may take to answer the end of TLS with its own."""
SECOND_LOOK_S = 3.0
"""How long it is looked at whether a client takes anything. [measured] At 25 kB/s loopback, with
its segments of 64 kB, says so every 2.6 s; others every few kB."""
FOREVER = float("inf")


class Phase(Enum):
    """What the connection is waiting for."""

    ANNOUNCEMENT = -1
    """The end of the PROXY header."""
    HANDSHAKE = 0
    """The end of the TLS handshake."""
    IDLE = 1
    """The first byte of a request."""
    HEAD = 2
    """The rest of a head."""
    EXCHANGE = 3
    """The end of the exchange."""
    LINGER = 4
    """The client's end of the connection: all was said, what comes is discarded."""
    CLOSED = 5


# Looking a member up in its class costs 85 ns on CPython 3.11, several times a request.
_HANDSHAKE = Phase.HANDSHAKE
_IDLE = Phase.IDLE
_HEAD = Phase.HEAD
_EXCHANGE = Phase.EXCHANGE
_LINGER = Phase.LINGER
_CLOSED = Phase.CLOSED


class Cancellable(Protocol):
    """A connection that is being opened."""

    def cancel(self) -> object:
        """Give up; the connection hears that it is lost."""


@dataclass(slots=True)
class Entrypoint:
    """Where a connection came in. `serve` takes each complete request head.

    What is below `serve` follows the settings.
    """

    name: str
    internal: bool
    port: bytes
    open: Gauge
    serve: Callable[[ClientConnection, RequestHead], None]
    tls: ServerTls | None = None
    hsts: bytes = b""
    """A line for answers over TLS."""
    redirect: int | None = None
    """The port of https that requests are sent to."""
    proxy_protocol: bool = False
    """A PROXY header comes first."""


class ClientConnection(asyncio.Protocol):
    """One accepted connection."""

    __slots__ = (
        "_processing",
        "_reading",
        "_searched",
        "_untaken",
        "deadline",
        "entrypoint",
        "exchange",
        "opening",
        "peer",
        "peer_text",
        "pending",
        "phase",
        "place",
        "plane",
        "proto",
        "refusal",
        "tls",
        "transport",
        "trusted",
        "writable",
    )

    def __init__(self, plane: DataPlane, entrypoint: Entrypoint, peer: str) -> None:
        # for the life of the connection
        self.plane = plane
        self.entrypoint = entrypoint
        self.peer_text = peer
        self.peer = peer.encode()
        self.trusted = plane.trusts(peer)
        self.place: str | bytes | None = None
        """What it counts as, where connections of an address are counted."""
        self.tls: ClientTls | None = None
        self.proto = b"http"
        self.refusal: Malformed | None = None
        """Whatever comes is answered with this."""
        self.transport: asyncio.Transport | None = None
        self.opening: Cancellable | None = None
        self.writable = True
        self._reading = True
        self._processing = False
        self._untaken = -1  # bytes written that the client had not taken at the last look
        # changing
        self.phase = _IDLE
        self.deadline = FOREVER
        self.pending = b""
        self._searched = 0
        self.exchange: Exchange | Tunnel | None = None

    def introduce(self, peer: str) -> None:
        """It was told, before any request, that this is the client's address."""
        self.peer_text = peer
        self.peer = peer.encode()
        self.trusted = self.plane.trusts(peer)

    # -- what the transport says

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is open."""
        self.transport = transport = cast(asyncio.Transport, transport)
        transport.set_write_buffer_limits(high=WRITE_HIGH_WATER)
        self.opening = None
        self.phase = _IDLE
        timeouts = self.plane.timeouts
        wait_s = timeouts.client_header if self.plane.draining else timeouts.client_idle
        self.deadline = self.plane.time() + wait_s
        if self.refusal is not None:
            self._refuse(self.refusal)

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        exchange = self.exchange
        if exchange is not None:
            exchange.request_data(data)
        elif self.phase is _LINGER:
            return
        else:
            self.pending = self.pending + data if self.pending else data
            if not self.writable and len(self.pending) > PENDING_BYTES:
                self.set_reading(False)  # it does not read its answers either
            if not self._processing:
                self._process()

    def eof_received(self) -> bool:
        """The other side will send no more. True: keep our side open."""
        if self.exchange is not None:
            # TLS has no half: what comes after the client's end of it cannot be sent.
            return self.exchange.client_eof() and self.tls is None
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone; `exc` if not in order."""
        if self.phase is _HANDSHAKE:
            self.plane.handshake_failed(self)
        self.transport = None
        self.opening = None
        self.phase = _CLOSED
        self.pending = b""
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            exchange.client_lost()
        self.plane.client_closed(self)

    def pause_writing(self) -> None:
        """Too much waits to be sent."""
        self.writable = False
        if self.exchange is not None:
            self.exchange.client_writable(False)

    def resume_writing(self) -> None:
        """What waited was sent."""
        self.writable = True
        self._untaken = -1
        if self.exchange is not None:
            self.exchange.client_writable(True)
        else:
            self._go_on()

    # -- what an exchange does with it

    def write(self, data: bytes) -> None:
        """Send bytes; ignored once the connection is gone."""
        transport = self.transport
        if transport is not None and not transport.is_closing():
            transport.write(data)

    def write_eof(self) -> None:
        """Send no more. A TLS connection is closed: it cannot be half-closed."""
        transport = self.transport
        if transport is None or transport.is_closing():
            return
        if self.tls is not None:
            self._close_tls(transport)
        elif transport.can_write_eof():
            end_writing(transport)

    def set_reading(self, wanted: bool) -> None:
        """Pause or resume reading from the client."""
        if wanted is not self._reading and self.transport is not None:
            self._reading = wanted
            if self.transport.is_closing():
                return
            if wanted:
                self.transport.resume_reading()
            else:
                self.transport.pause_reading()

    def hold(self, data: bytes) -> None:
        """Keep bytes that belong to a later request."""
        self.pending = self.pending + data if self.pending else data
        if len(self.pending) > PENDING_BYTES:
            self.set_reading(False)

    def exchange_done(self, keep_alive: bool) -> None:
        """The exchange has written all of its answer and lets go of the connection."""
        complete = self.exchange is None or self.exchange.request_done
        self.exchange = None
        self.served(keep_alive, complete)

    def served(self, keep_alive: bool, complete: bool = True) -> None:
        """An answer was written; `complete`: the whole request was read."""
        if self.transport is None:
            return
        if not keep_alive or self.plane.draining:
            self.end(linger=not complete or bool(self.pending))
            return
        self.phase = _IDLE
        self.deadline = self.plane.time() + self.plane.timeouts.client_idle
        self.set_reading(True)
        if self.pending and not self._processing:
            self._process()

    def end(self, linger: bool) -> None:
        """End the connection after what was written.

        With `linger` the client may still be sending: closing now would reset
        the connection and could destroy the answer on its way, so only our side
        is closed and the rest is discarded for a while (RFC 9112, 9.6).
        """
        transport = self.transport
        if transport is None:
            return
        was_idle = self.phase is _IDLE
        self.phase = _LINGER
        self.pending = b""
        now = self.plane.time()
        if self.tls is not None:
            if was_idle:
                wait_s = TLS_FAREWELL_S
            else:
                wait_s = LINGER_S if linger else self.plane.timeouts.client_body
            self.deadline = now + wait_s
            self._close_tls(transport)
        elif linger and transport.can_write_eof():
            self.deadline = now + LINGER_S
            self.set_reading(True)
            end_writing(transport)
        else:
            self.deadline = now + self.plane.timeouts.client_body
            transport.close()

    def _close_tls(self, transport: asyncio.Transport) -> None:
        """Send the end of TLS; what comes until the client's own end is read and discarded.

        The transport waits for that, so it must be reading; the deadline ends the waiting.
        """
        self.set_reading(True)
        transport.close()

    def cut(self, reset: bool) -> None:
        """End the connection in the middle of an answer, so that the client sees it.

        An answer that says where it ends is visibly short after an orderly close;
        one that ends with the connection (`reset`) needs a reset to look cut.
        """
        self.exchange = None
        if self.transport is None:
            return
        if reset:
            sock = self.transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.abort()
        else:
            self.end(linger=False)

    def abort(self) -> None:
        """Close the connection now; what was not sent yet is lost."""
        if self.transport is not None:
            self.phase = _LINGER
            self.transport.abort()
        elif self.opening is not None:
            self.opening.cancel()

    def is_still_reading(self, wait_s: float) -> bool:
        """At a deadline: may it be that the client takes what waits for it, only slowly?

        Then the deadline is another one: soon at first, after `wait_s` once that was seen. The
        transport knows nothing of it: a socket takes more only when a third of what it holds,
        which may be megabytes, was taken.
        """
        transport = self.transport
        left = 0 if transport is None else transport.get_write_buffer_size()
        if transport is None or not left:
            return False
        try:
            file = transport.get_extra_info("socket").fileno()
            left += struct.unpack("i", fcntl.ioctl(file, termios.TIOCOUTQ, bytes(4)))[0]
        except OSError:
            return False
        before, self._untaken = self._untaken, left
        if left == before:
            return False
        self.deadline = self.plane.time() + (min(SECOND_LOOK_S, wait_s) if before < 0 else wait_s)
        return True

    def expire(self) -> None:
        """The deadline has passed."""
        if self.exchange is not None:
            self.exchange.expire()
        elif self.phase is _IDLE and self.is_still_reading(self.plane.timeouts.client_idle):
            pass  # its last answer
        elif self.phase is _LINGER and self.is_still_reading(self.plane.timeouts.client_body):
            pass  # likewise, and then it is closed
        elif self.phase is _HEAD:
            self._refuse(Malformed(408, "the request head did not arrive in time"))
        elif self.phase is _IDLE and self.tls is not None:
            self.end(linger=False)
        elif self.phase is _IDLE and self.transport is not None:
            self.phase = _LINGER
            self.deadline = self.plane.time() + LINGER_S
            self.transport.close()
        else:
            self.abort()

    # -- heads

    def _process(self) -> None:
        """Serve the requests that wait, until one is under way or a head is incomplete.

        After a few that were answered at once, others get their turn.
        """
        self._processing = True
        try:
            for _ in range(REQUESTS_A_TURN):
                if not self._may_begin() or not self._next_request():
                    return
        finally:
            self._processing = False
        if self._may_begin():
            self.set_reading(False)
            self.plane.loop.call_soon(self._go_on)

    def _may_begin(self) -> bool:
        return (
            self.exchange is None
            and self.writable
            and bool(self.pending)
            and self.phase is not _LINGER
        )

    def _go_on(self) -> None:
        """Read and serve again after a pause of our own or of the client's."""
        if self.exchange is None and self.transport is not None:
            self.set_reading(True)
            if not self._processing:
                self._process()

    def _next_request(self) -> bool:
        try:
            head = parse_request(self.pending, self.plane.head_limits, self._searched)
        except Malformed as error:
            self._refuse(error)
            return False
        if head is None:
            self._searched = len(self.pending)
            # An empty line behind a body (RFC 9112, 2.2) begins no request: a 408 that nobody
            # waits for would be taken for the answer to the next one.
            if self.phase is _IDLE and self.pending.strip(b"\r\n"):
                self.phase = _HEAD
                self.deadline = self.plane.time() + self.plane.timeouts.client_header
            return False
        self._searched = 0
        self.pending = self.pending[head.size :]
        self.phase = _EXCHANGE
        self.deadline = FOREVER
        self.entrypoint.serve(self, head)
        return True

    def _refuse(self, error: Malformed) -> None:
        extra = b"Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n"
        self.write(
            reply(
                error.status,
                error.reason,
                close=True,
                extra=self.plane.date.line + (extra if error.status == 405 else b""),
            )
        )
        self.plane.refused(self, error.status)
        self.end(linger=True)
