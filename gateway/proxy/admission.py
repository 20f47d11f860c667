# cython: language_level=3, annotation_typing=False
"""What happens to an accepted connection until requests come over it.

On an entrypoint with the PROXY protocol the header is awaited first (`announcement`);
it says whose connection it is. Then, on a plain entrypoint: it gets a transport. On one
with TLS: its first message is awaited (`greeting`), a certificate is chosen (`tls`),
then it gets a transport that does the handshake. Both waits have a deadline, which
the worker's sweep looks at as at every other.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import TYPE_CHECKING

from .announcement import Announcement
from .greeting import Greeting
from .heads import Malformed
from .stream import Phase
from .tls import ClientTls

if TYPE_CHECKING:
    from .client import ClientConnection
    from .client_hello import Hello
    from .dataplane import DataPlane
    from .tls import ServerTls
    from .transports import Transports

SWEEP_LATE_S = 1.0
"""The sweep ends a handshake that takes too long; the transport itself only after it."""


def admit(
    plane: DataPlane, transports: Transports, sock: socket.socket, client: ClientConnection
) -> None:
    """Begin; `client` hears of the connection when it is made, or that it is lost."""
    if client.entrypoint.proxy_protocol:
        _Announced(plane, transports, sock, client).begin()
    else:
        _let_in(plane, transports, sock, client)


def _let_in(
    plane: DataPlane, transports: Transports, sock: socket.socket, client: ClientConnection
) -> None:
    if not plane.may_stay(client):
        sock.close()
        client.connection_lost(None)
    elif client.entrypoint.tls is None:
        transports.accept(sock, client)
    else:
        _Handshake(plane, transports, sock, client, client.entrypoint.tls).begin()


class _Announced:
    """One connection on its way to an address."""

    __slots__ = ("_client", "_plane", "_sock", "_transports")

    def __init__(
        self,
        plane: DataPlane,
        transports: Transports,
        sock: socket.socket,
        client: ClientConnection,
    ) -> None:
        self._plane = plane
        self._transports = transports
        self._sock = sock
        self._client = client

    def begin(self) -> None:
        client = self._client
        if not client.trusted:
            self._sock.close()
            self._on_end()
            return
        client.phase = Phase.ANNOUNCEMENT
        client.deadline = self._plane.time() + self._plane.timeouts.client_header
        announcement = Announcement(self._plane.loop, self._sock, self._on_source, self._on_end)
        client.opening = announcement
        announcement.begin()

    def _on_source(self, source: str | None) -> None:
        client = self._client
        client.phase = Phase.IDLE
        client.opening = None
        client.deadline = float("inf")
        if source is not None:
            client.introduce(source, self._plane.trusts(source))
        _let_in(self._plane, self._transports, self._sock, client)

    def _on_end(self) -> None:
        self._plane.header_missing(self._client)
        self._client.connection_lost(None)


class _Handshake:
    """One connection on its way to TLS."""

    __slots__ = ("_client", "_plane", "_sock", "_tls", "_transports")

    def __init__(
        self,
        plane: DataPlane,
        transports: Transports,
        sock: socket.socket,
        client: ClientConnection,
        tls: ServerTls,
    ) -> None:
        self._plane = plane
        self._transports = transports
        self._sock = sock
        self._client = client
        self._tls = tls

    def begin(self) -> None:
        client = self._client
        client.phase = Phase.HANDSHAKE
        client.deadline = self._plane.time() + self._plane.timeouts.tls_handshake
        greeting = Greeting(
            self._plane.loop, self._sock, self._on_hello, self._on_http, self._on_end
        )
        client.opening = greeting
        greeting.begin()

    def _on_hello(self, hello: Hello) -> None:
        client = self._client
        chosen = self._tls.choose(hello)
        if isinstance(chosen, bytes):
            self._refuse(chosen)
            return
        client.tls = ClientTls(chosen, hello.name, self._tls)
        client.proto = b"https"
        left_s = client.deadline - self._plane.time()
        client.opening = self._transports.accept(
            self._sock, client, chosen.context, max(left_s, 0.0) + SWEEP_LATE_S
        )

    def _on_http(self) -> None:
        self._plane.handshake_failed(self._client)
        reason = "this port is for https, and the request came by plain http"
        self._client.refusal = Malformed(400, reason)
        self._transports.accept(self._sock, self._client)

    def _on_end(self, spoke: bool) -> None:
        if not spoke and self._client.deadline > self._plane.time():
            self._client.phase = Phase.IDLE  # somebody looked whether the port is open
        self._client.connection_lost(None)

    def _refuse(self, alert: bytes) -> None:
        with suppress(OSError):
            # What was not read would make the end a reset, which may overtake the alert.
            self._sock.recv(1 << 16)
            self._sock.send(alert)
        self._sock.close()
        self._client.connection_lost(None)
