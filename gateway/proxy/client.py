# cython: language_level=3, annotation_typing=False
"""A client's connection: heads are taken off it one after the other, in order.

While an exchange is under way the bytes behind its request stay here
(pipelining) and reading pauses when they are many.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from gateway.proxy import codec_request, scan

from .heads import Malformed
from .replies import reply
from .stream import FOREVER, LINGER_S, PENDING_BYTES, ClientStream, Phase
from .transports import WRITE_HIGH_WATER, writer_of

if TYPE_CHECKING:
    import asyncio

    from .entrypoint import Entrypoint
    from .plane import Plane

REQUESTS_A_TURN = 32
"""A client gets this many answers at once before others have their turn."""

# Looking a member up in its class costs 85 ns on CPython 3.11, several times a request.
_HANDSHAKE = Phase.HANDSHAKE
_IDLE = Phase.IDLE
_HEAD = Phase.HEAD
_EXCHANGE = Phase.EXCHANGE
_LINGER = Phase.LINGER
_CLOSED = Phase.CLOSED


class ClientConnection(ClientStream):
    """One accepted connection, as its transport sees it."""

    __slots__ = ("_processing", "_searched")

    def __init__(self, plane: Plane, entrypoint: Entrypoint, peer: str, trusted: bool) -> None:
        super().__init__(plane, entrypoint, peer, trusted)
        self._processing = False
        self._searched = 0

    # -- what the transport says

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is open."""
        self.transport = transport = cast("asyncio.Transport", transport)
        self._send = writer_of(transport)
        transport.set_write_buffer_limits(high=WRITE_HIGH_WATER)
        self.opening = None
        self.phase = _IDLE
        plane = self.plane
        wait_s = plane.client_header_s if plane.draining else plane.client_idle_s
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
        exchange = self.exchange
        if exchange is not None:
            # TLS has no half: what comes after the client's end of it cannot be sent.
            return exchange.client_eof() and self.tls is None
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone; `exc` if not in order."""
        if self.phase is _HANDSHAKE:
            self.plane.handshake_failed(self)
        self.transport = None
        self._send = None
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
        exchange = self.exchange
        if exchange is not None:
            exchange.client_writable(False)

    def resume_writing(self) -> None:
        """What waited was sent."""
        self.writable = True
        self._untaken = -1
        exchange = self.exchange
        if exchange is not None:
            exchange.client_writable(True)
        else:
            self._go_on()

    # -- what an exchange does with it

    def exchange_done(self, keep_alive: bool, now: float) -> None:
        """The exchange has written all of its answer and lets go of the connection."""
        exchange = self.exchange
        complete = exchange is None or exchange.has_whole_request()
        self.exchange = None
        self.served(keep_alive, now, complete)

    def served(self, keep_alive: bool, now: float, complete: bool = True) -> None:
        """An answer was written; `complete`: the whole request was read."""
        if self.transport is None:
            return
        if not keep_alive or self.plane.draining:
            self.end(not complete or bool(self.pending))
            return
        self.phase = _IDLE
        self.deadline = now + self.plane.client_idle_s
        self.set_reading(True)
        if self.pending and not self._processing:
            self._process()

    def expire(self) -> None:
        """The deadline has passed."""
        exchange = self.exchange
        if exchange is not None:
            exchange.expire()
        elif self.phase is _IDLE and self.is_still_reading(self.plane.client_idle_s):
            pass  # its last answer
        elif self.phase is _LINGER and self.is_still_reading(self.plane.timeouts.client_body):
            pass  # likewise, and then it is closed
        elif self.phase is _HEAD:
            self._refuse(Malformed(408, "the request head did not arrive in time"))
        elif self.phase is _IDLE and self.tls is not None:
            self.end(False)
        elif self.phase is _IDLE and self.transport is not None:
            self.phase = _LINGER
            self._send = None
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
            head = codec_request.parse_request(self.pending, self.plane.head_limits, self._searched)
        except Malformed as error:
            self._refuse(error)
            return False
        if head is None:
            self._searched = len(self.pending)
            # An empty line behind a body (RFC 9112, 2.2) begins no request: a 408 that nobody
            # waits for would be taken for the answer to the next one.
            if self.phase is _IDLE and self.pending.strip(b"\r\n"):
                self.phase = _HEAD
                self.deadline = self.plane.time() + self.plane.client_header_s
            return False
        self._searched = 0
        self.pending = scan.piece(self.pending, head.size, len(self.pending))
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
        self.end(True)
