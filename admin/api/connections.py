"""The connections of an admin listener, bounded in number and in what they may keep waiting.

aiohttp bounds what one request may hold, not how long a client takes with it, nor how
many connect. So between a listener and its protocols stands a `Guest` for each
connection: it passes everything on, and is sent away when it has waited too long
between two calls (a head that trickles in is waiting too), or when others come and
there is no room.

Knows nothing of calls but that one is under way (`Lobby.serving`): such a connection
is never idle, and bounded by what reads its body.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast


@dataclass(frozen=True, slots=True)
class Bounds:
    """Of each listener. Times are seconds."""

    connections: int = 256
    idle_s: float = 75.0
    """From the beginning, or from the last answer, to the next whole head."""
    body_s: float = 30.0
    unread_s: int = 30
    """TCP only: what was sent may lie so long without being taken."""


class Lobby:
    """The connections of one listener; itself the protocol factory of its server."""

    def __init__(
        self,
        make: Callable[[], asyncio.Protocol],
        bounds: Bounds,
        later: Callable[[float, Callable[[], None]], asyncio.TimerHandle],
    ) -> None:
        self.bounds = bounds
        self.later = later
        self._make = make
        self._guests: dict[asyncio.BaseProtocol, Guest] = {}
        self._idle: dict[Guest, None] = {}

    def __call__(self) -> Guest:
        """The protocol of a new connection."""
        return Guest(self, self._make())

    @contextmanager
    def serving(self, protocol: asyncio.BaseProtocol) -> Iterator[None]:
        """A call of the connection with this protocol of aiohttp's is under way."""
        guest = self._guests.get(protocol)
        if guest is None:
            yield
            return
        guest.is_served()
        self._idle.pop(guest, None)
        try:
            yield
        finally:
            if protocol in self._guests:
                self.rest(guest)

    def admit(self, guest: Guest) -> bool:
        """Room for one more? Who has waited longest without a call makes it."""
        if len(self._guests) >= self.bounds.connections:
            longest = next(iter(self._idle), None)
            if longest is None:
                return False
            self.forget(longest)
            longest.send_away()
        self._guests[guest.protocol] = guest
        self.rest(guest)
        return True

    def rest(self, guest: Guest) -> None:
        """It has no call under way from now on."""
        self._idle[guest] = None
        guest.wait(self.bounds.idle_s)

    def forget(self, guest: Guest) -> None:
        """Its connection is over."""
        self._guests.pop(guest.protocol, None)
        self._idle.pop(guest, None)


class Guest(asyncio.Protocol):
    """A connection; everything goes on to `protocol`."""

    def __init__(self, lobby: Lobby, protocol: asyncio.Protocol) -> None:
        self.protocol = protocol
        self._lobby = lobby
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._is_admitted = False

    def is_served(self) -> None:
        """A call began."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def wait(self, idle_s: float) -> None:
        """Wait for the next call, so long at most."""
        self.is_served()
        self._timer = self._lobby.later(idle_s, self.send_away)

    def send_away(self) -> None:
        """End the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Let it in, if there is room."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are no subclass
        self._is_admitted = self._lobby.admit(self)
        if not self._is_admitted:
            self.send_away()
            return
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family != socket.AF_UNIX:
            unread_ms = self._lobby.bounds.unread_s * 1000
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, unread_ms)
        self.protocol.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Pass it on."""
        if self._is_admitted:
            self.protocol.data_received(data)

    def eof_received(self) -> bool | None:
        """Pass it on."""
        return self.protocol.eof_received() if self._is_admitted else None

    def pause_writing(self) -> None:
        """Pass it on."""
        self.protocol.pause_writing()

    def resume_writing(self) -> None:
        """Pass it on."""
        self.protocol.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it, and pass it on."""
        self.is_served()
        self._lobby.forget(self)
        self._transport = None
        if self._is_admitted:
            self.protocol.connection_lost(exc)
