"""After `101 Switching Protocols`: bytes go both ways unread, until both sides ended.

Takes the exchange's place as the user of both connections; tells the exchange
when it is over. The upstream connection is never used again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.routing.service import InstanceState

    from .client import ClientConnection
    from .exchange import Exchange
    from .upstream import UpstreamConnection

HALF_CLOSED_S = 30.0
"""How long a tunnel stays after one side has ended its half."""


class Tunnel:
    """An open tunnel between a client and an instance."""

    __slots__ = (
        "_half_closed",
        "_is_over",
        "bytes_in",
        "bytes_out",
        "client",
        "exchange",
        "instance",
        "upstream",
    )

    request_done = True

    def __init__(
        self,
        exchange: Exchange,
        client: ClientConnection,
        upstream: UpstreamConnection,
        instance: InstanceState,
    ) -> None:
        self.exchange = exchange
        self.client = client
        self.upstream = upstream
        self.instance = instance
        self.bytes_in = 0
        self.bytes_out = 0
        self._half_closed = False
        self._is_over = False
        upstream.user = self
        self._touch()

    def _touch(self) -> None:
        plane = self.client.plane
        wait_s = HALF_CLOSED_S if self._half_closed else plane.timeouts.tunnel
        self.client.deadline = plane.time() + wait_s

    # -- the client's side

    def request_data(self, data: bytes) -> None:
        """Bytes the client sent."""
        self.bytes_in += len(data)
        self.upstream.write(data)
        self._touch()

    def client_eof(self) -> bool:
        """The client has said all it had to say."""
        self.upstream.write_eof()
        return self._half_close()

    def client_lost(self) -> None:
        """The client's connection is gone."""
        self._end()

    def client_writable(self, writable: bool) -> None:
        """The client takes more, or no more, for now."""
        self.upstream.set_reading(writable)

    def expire(self) -> None:
        """Nothing moved for too long."""
        self._end()
        self.client.exchange_done(keep_alive=False)

    # -- the instance's side

    def upstream_ready(self, connection: UpstreamConnection) -> None:
        """It has long been open."""

    def upstream_failed(self, error: OSError) -> None:
        """It has long been open."""

    def upstream_data(self, data: bytes) -> None:
        """Bytes the instance sent."""
        self.bytes_out += len(data)
        self.client.write(data)
        self._touch()

    def upstream_eof(self) -> bool:
        """The instance has said all it had to say."""
        self.client.write_eof()
        return self._half_close()

    def upstream_lost(self, error: Exception | None) -> None:
        """The instance's connection is gone."""
        self._end()
        self.client.exchange_done(keep_alive=False)

    def upstream_writable(self, writable: bool) -> None:
        """The instance takes more, or no more, for now."""
        self.client.set_reading(writable)

    # -- ends

    def _half_close(self) -> bool:
        """One side has ended; True: the other may go on."""
        if not self._half_closed:
            self._half_closed = True
            self._touch()
            return True
        self._end()
        self.client.exchange_done(keep_alive=False)
        return False

    def _end(self) -> None:
        if not self._is_over:
            self._is_over = True
            self.upstream.close()
            self.exchange.tunnel_ends(self)
