# cython: language_level=3, annotation_typing=False
"""After `101 Switching Protocols`: bytes go both ways unread, until both sides ended.

Takes the exchange's place as the user of both connections; tells the exchange
when it is over. The upstream connection is never used again.

A tunnel whose instance leaves, or whose worker does, is told to go: the client
gets a Close frame 1001 between two messages of the instance (when half of the
time is over: between two frames), and after it nothing more. What the client
still sends goes to the instance, its own Close frame as well, which ends both
sides in order. A client that has no Close frame for us is cut at the deadline,
and then the instance gets one.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from .frames import CLOSE_TO_CLIENT, CLOSE_TO_SERVER, Border, Frames
from .users import ConnectionUser

if TYPE_CHECKING:
    from gateway.routing.service import InstanceState

    from .exchange import Exchange
    from .stream import ClientStream
    from .upstream import UpstreamConnection

HALF_CLOSED_S = 30.0
"""How long a tunnel stays after one side has ended its half."""


class Farewell(Enum):
    """How far a tunnel is on its way out; it only goes downwards in this list."""

    NONE = 1
    WAITING = 2
    """For a border at which the client can be told."""
    SAID = 3
    """The client was told; what else comes for it is discarded."""


_NONE = Farewell.NONE
_WAITING = Farewell.WAITING
_SAID = Farewell.SAID


class Tunnel(ConnectionUser):
    """An open tunnel between a client and an instance."""

    __slots__ = (
        "_border",
        "_client_ended",
        "_cut_at",
        "_farewell",
        "_from_client",
        "_from_instance",
        "_instance_ended",
        "_is_over",
        "bytes_in",
        "bytes_out",
        "client",
        "exchange",
        "instance",
        "upstream",
    )

    def __init__(
        self,
        exchange: Exchange,
        client: ClientStream,
        upstream: UpstreamConnection,
        instance: InstanceState,
    ) -> None:
        self.exchange = exchange
        self.client = client
        self.upstream = upstream
        self.instance = instance
        self.bytes_in = 0
        self.bytes_out = 0
        self._from_client = Frames()
        self._from_instance = Frames()
        self._farewell = _NONE
        self._border = Border.MESSAGE
        self._cut_at = 0.0
        self._client_ended = False
        self._instance_ended = False
        self._is_over = False
        upstream.user = self
        self._touch()

    def _touch(self) -> None:
        if self._farewell is _NONE:
            plane = self.client.plane
            half_closed = self._client_ended or self._instance_ended
            wait_s = HALF_CLOSED_S if half_closed else plane.timeouts.tunnel
            self.client.deadline = plane.time() + wait_s

    def has_whole_request(self) -> bool:
        """The request that opened it had no body."""
        return True

    # -- the client's side

    def request_data(self, data: bytes) -> None:
        """Bytes the client sent."""
        self.bytes_in += len(data)
        self._from_client.feed(data)
        self.upstream.write(data)
        self._touch()

    def client_eof(self) -> bool:
        """The client has said all it had to say."""
        self.upstream.write_eof()
        self._client_ended = True
        return self._goes_on()

    def client_lost(self) -> None:
        """The client's connection is gone."""
        self._end()

    def client_writable(self, writable: bool) -> None:
        """The client takes more, or no more, for now."""
        self.upstream.set_reading(writable)

    def expire(self) -> None:
        """Nothing moved for too long, or the time to go is over, or half of it."""
        if self._farewell is _WAITING and self._border is Border.MESSAGE:
            self._border = Border.FRAME
            self.client.deadline = self._cut_at
            self._tell_client()
        else:
            self._end()
            self.client.exchange_done(False, self.client.plane.time())

    # -- the instance's side

    def upstream_ready(self, connection: UpstreamConnection) -> None:
        """It has long been open."""

    def upstream_failed(self, error: OSError) -> None:
        """It has long been open."""

    def upstream_data(self, data: bytes) -> None:
        """Bytes the instance sent."""
        frames = self._from_instance
        if self._farewell is _SAID:
            return
        if self._farewell is _NONE or self._is_closing():
            frames.feed(data)
        else:
            data = data[: frames.feed_until(self._border, data)]
        self.bytes_out += len(data)
        self.client.write(data)
        if self._farewell is _NONE:
            self._touch()
        else:
            self._tell_client()

    def upstream_eof(self) -> bool:
        """The instance has said all it had to say."""
        self.client.write_eof()
        self._instance_ended = True
        return self._goes_on()

    def upstream_lost(self, error: Exception | None) -> None:
        """The instance's connection is gone."""
        self._end()
        self.client.exchange_done(False, self.client.plane.time())

    def upstream_writable(self, writable: bool) -> None:
        """The instance takes more, or no more, for now."""
        self.client.set_reading(writable)

    # -- ends

    def leave(self, deadline: float) -> None:
        """Tell the client to go as soon as its messages allow it; cut at `deadline`.

        Once more changes only a deadline that is sooner.
        """
        if self._farewell is _NONE:
            self._farewell = _WAITING
        elif deadline >= self._cut_at:
            return
        self._cut_at = self.client.deadline = deadline
        if self._farewell is _WAITING:
            if self._border is Border.MESSAGE:
                now = self.client.plane.time()
                self.client.deadline = now + (deadline - now) / 2
            self._tell_client()

    def cut(self) -> None:
        """End it now; both sides are told if their streams are at a border."""
        if self._farewell is not _SAID:
            self._farewell = _WAITING
            self._border = Border.FRAME
            self._tell_client()
        self._end()
        self.client.exchange_done(False, self.client.plane.time())

    def _is_closing(self) -> bool:
        """Is a closing handshake under way? Then it is left to its sides."""
        return self._from_client.closed or self._from_instance.closed

    def _tell_client(self) -> None:
        """Say goodbye, if this is a place for it."""
        if (
            self._is_closing()
            or self._instance_ended
            or not self._from_instance.is_at(self._border)
        ):
            return
        self._farewell = _SAID
        self.client.deadline = self._cut_at
        self.bytes_out += len(CLOSE_TO_CLIENT)
        self.client.write(CLOSE_TO_CLIENT)

    def _tell_instance(self) -> None:
        """Say goodbye in the place of a client that did not do so itself."""
        frames = self._from_client
        if not (frames.closed or self._client_ended) and frames.is_at(Border.FRAME):
            self.upstream.write(CLOSE_TO_SERVER)

    def _goes_on(self) -> bool:
        """One side has ended; True: the other may go on."""
        if not (self._client_ended and self._instance_ended):
            self._touch()
            return True
        self._end()
        self.client.exchange_done(False, self.client.plane.time())
        return False

    def _end(self) -> None:
        if not self._is_over:
            self._is_over = True
            if self._farewell is not _NONE:
                self._tell_instance()
            self.upstream.close()
            self.exchange.tunnel_ends(self)
