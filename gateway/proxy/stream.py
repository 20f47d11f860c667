# cython: language_level=3, annotation_typing=False
"""The byte side of a client's connection: writing, reading or not, and the ways to end it.

Knows nothing of requests; `client.ClientConnection` reads heads off it. The connection owns
the one deadline that the worker's sweep looks at, whoever set it last.
"""

from __future__ import annotations

import fcntl
import socket
import struct
import termios
from enum import Enum
from typing import TYPE_CHECKING, Protocol

from gateway.proxy import codec_request

from .transports import end_writing, resume_reading
from .users import ConnectionUser

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from .codec_request import Hop
    from .entrypoint import Entrypoint
    from .heads import Malformed
    from .plane import Plane
    from .tls import ClientTls

PENDING_BYTES = 64 * 1024
"""Reading pauses when this much waits behind the request under way."""
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
_IDLE = Phase.IDLE
_LINGER = Phase.LINGER


class Cancellable(Protocol):
    """A connection that is being opened."""

    def cancel(self) -> object:
        """Give up; the connection hears that it is lost."""


class ClientStream:
    """One accepted connection."""

    __slots__ = (
        "_hop",
        "_reading",
        "_send",
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

    def __init__(self, plane: Plane, entrypoint: Entrypoint, peer: str, trusted: bool) -> None:
        # for the life of the connection
        self.plane = plane
        self.entrypoint = entrypoint
        self.place: str | bytes | None = None
        """What it counts as, where connections of an address are counted."""
        self.tls: ClientTls | None = None
        self.proto = b"http"
        self.refusal: Malformed | None = None
        """Whatever comes is answered with this."""
        self.transport: asyncio.Transport | None = None
        self._send: Callable[[bytes], None] | None = None
        """How the transport writes; None: not at all (any more)."""
        self.opening: Cancellable | None = None
        self.introduce(peer, trusted)
        # changing
        self.writable = True
        self._reading = True
        self._untaken = -1
        """Bytes written that the client had not taken at the last look."""
        self.phase = _IDLE
        self.deadline = FOREVER
        self.pending = b""
        """What the client sent ahead of its turn."""
        self.exchange: ConnectionUser | None = None

    def introduce(self, peer: str, trusted: bool) -> None:
        """It was told, before any request, that this is the client's address."""
        self.peer_text = peer
        self.peer = peer.encode()
        self.trusted = trusted
        self._hop: Hop | None = None

    def hop(self) -> Hop:
        """What instances are told of this connection."""
        hop = self._hop
        if hop is None:
            port = self.entrypoint.port
            hop = self._hop = codec_request.Hop(self.peer, self.proto, port, self.trusted)
        return hop

    def is_buffered_protocol(self) -> bool:
        """aiofastnet asks, and would make an exception of not being answered."""
        return False

    # -- writing and reading

    def write(self, data: bytes) -> None:
        """Send bytes; ignored once the connection is gone or was ended."""
        send = self._send
        if send is not None:
            send(data)

    def write_eof(self) -> None:
        """Send no more. A TLS connection is closed: it cannot be half-closed."""
        transport = self.transport
        self._send = None
        if transport is None or transport.is_closing():
            return
        if self.tls is not None:
            self._close_tls(transport)
        elif transport.can_write_eof():
            end_writing(transport)

    def set_reading(self, wanted: bool) -> None:
        """Pause or resume reading from the client."""
        if wanted != self._reading and self.transport is not None:
            self._reading = wanted
            if self.transport.is_closing():
                return
            if wanted:
                resume_reading(self.transport)
            else:
                self.transport.pause_reading()

    def hold(self, data: bytes) -> None:
        """Keep bytes that belong to a later request."""
        self.pending = self.pending + data if self.pending else data
        if len(self.pending) > PENDING_BYTES:
            self.set_reading(False)

    # -- ends

    def exchange_done(self, keep_alive: bool, now: float) -> None:
        """The exchange has written all of its answer and lets go of the connection."""
        raise NotImplementedError

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
        self._send = None
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
            self.end(False)

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

    def abort(self) -> None:
        """Close the connection now; what was not sent yet is lost."""
        if self.transport is not None:
            self.phase = _LINGER
            self._send = None
            self.transport.abort()
        elif self.opening is not None:
            self.opening.cancel()
