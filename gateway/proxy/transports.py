"""Transports for the data plane, made in one place.

Nothing else in the data plane knows whether they are aiofastnet's or uvloop's,
and of TLS only that its connections cannot be half-closed. Opening a connection
is the only thing here that needs a task: one per connection, never one per
request.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast

from gateway.runtime import tls_contexts

if TYPE_CHECKING:
    import ssl

    from .opening import Direct
    from .stream import Cancellable

WRITE_HIGH_WATER = 64 * 1024
"""Bytes that may wait in a transport before the other side is paused."""
TLS_BUFFER_BYTES = 16 * 1024 + 64
"""aiofastnet's buffers for encrypted bytes, one for each direction of a connection: a
whole record with its framing. Its default is 16 times as much, and what was once used
of it stays. [measured] An idle connection takes 42 kB instead of 52 kB, one that has
carried bulk no more; 150 MiB to a client cost 0.07 s of CPU instead of 0.06 s."""
_KNOWN = "1.2."
"""The versions of aiofastnet whose transports are made without its API."""
TLS_CLOSE_S = 5.0
"""How long an instance may take to answer the end of TLS with its own."""
TLS_LINGER_S = 3600.0
"""The same for a client: never, its connection has a deadline of its own."""


@dataclass(frozen=True, slots=True)
class Upstream:
    """TLS to an instance: `name` must be in its certificate, if `context` verifies it."""

    context: ssl.SSLContext
    name: str


class Receiver(Protocol):
    """What transports ask of a connection: `asyncio.Protocol` in all but descent."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is open."""

    def data_received(self, data: bytes) -> None:
        """Bytes came."""

    def eof_received(self) -> bool:
        """The other side will send no more. True: keep our side open."""

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone; `exc` if not in order."""

    def pause_writing(self) -> None:
        """Too much waits to be sent."""

    def resume_writing(self) -> None:
        """What waited was sent."""


def writer_of(transport: asyncio.Transport) -> Callable[[bytes], None]:
    """How bytes are written to it; aiofastnet's transports can do without looking at what they are."""
    send: Callable[[bytes], None] = getattr(transport, "write_nocheck", transport.write)
    return send


def resume_reading(transport: asyncio.Transport) -> None:
    """Go on reading where `pause_reading` stopped it.

    aiofastnet (1.2) forgets what it had read and not yet decrypted: its TLS transports wait for
    the peer to send more, who may have sent all there is. So they are told to look.
    """
    transport.resume_reading()
    look = getattr(transport, "_retry_ssl_read", None)
    if look is not None:
        asyncio.get_running_loop().call_soon(look)


def end_writing(transport: asyncio.Transport) -> None:
    """Send no more, once what waits was sent. A peer that is gone makes it an abort."""
    try:
        transport.write_eof()
    except OSError:  # aiofastnet says so when the peer has reset the connection
        transport.abort()


def _is_known(version: str) -> bool:
    """Are its transports made as `opening` makes them? Other versions are asked by their API."""
    return version.startswith(_KNOWN)


class Transports:
    """Makes transports of one kind on one loop (made by `runtime.loops` for that kind)."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, kind: Literal["aiofastnet", "uvloop"]
    ) -> None:
        self.loop = loop
        self._opening: set[asyncio.Task[None]] = set()
        self._connect_accepted: Callable[..., Coroutine[Any, Any, Any]]
        self._direct: Direct | None = None
        self._tls_sizes: dict[str, int] = {}
        if kind == "aiofastnet":
            import aiofastnet

            # The patched loop leaves this one call to uvloop (aiofastnet 1.2); it costs a quarter
            # of the CPU of a request.
            def connect_accepted(*args: Any, **options: Any) -> Coroutine[Any, Any, Any]:
                return aiofastnet.connect_accepted_socket(loop, *args, **options)

            self._connect_accepted = connect_accepted
            self._tls_sizes = {
                "ssl_incoming_bio_size": TLS_BUFFER_BYTES,
                "ssl_outgoing_bio_size": TLS_BUFFER_BYTES,
            }
            if _is_known(aiofastnet.__version__) and aiofastnet.OPENSSL_DYN_LIBS is not None:
                from .opening import Direct

                self._direct = Direct(loop, TLS_BUFFER_BYTES)
        else:
            self._connect_accepted = loop.connect_accepted_socket
        tls_contexts.be_quiet_about_handshakes(loop)

    def accept(
        self,
        sock: socket.socket,
        protocol: Receiver,
        context: ssl.SSLContext | None = None,
        handshake_s: float | None = None,
    ) -> Cancellable | None:
        """Give an accepted, non-blocking socket to `protocol`; never raises.

        With a `context` its `connection_made` follows when the TLS handshake has ended. A
        connection that was not made, also by cancelling what is returned, is told as
        lost; cancelling is the caller's when `handshake_s` have passed, though some
        transports know it themselves.
        """
        if self._direct is not None:
            return self._direct.accept(sock, protocol, context)
        with suppress(OSError):  # it has ended by now
            # See `opening`.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        options: dict[str, Any] = {}
        if context is not None:
            options = {
                "ssl": context,
                "ssl_handshake_timeout": handshake_s,
                "ssl_shutdown_timeout": TLS_LINGER_S,
                **self._tls_sizes,
            }

        async def run() -> None:
            try:
                await self._connect_accepted(lambda: protocol, sock, **options)
            except BaseException as error:
                sock.close()
                protocol.connection_lost(None)
                if not isinstance(error, OSError):
                    raise

        return self._keep(run())

    def connect(
        self,
        host: str,
        port: int,
        protocol: Receiver,
        on_failure: Callable[[OSError], None],
        tls: Upstream | None = None,
    ) -> asyncio.Task[None]:
        """Open a connection to an IP address; `protocol.connection_made` or `on_failure` follows.

        With `tls`, when the handshake has ended. Cancelling the returned task ends the
        attempt without either.
        """
        options: dict[str, Any] = {}
        if tls is not None:
            options = {
                "ssl": tls.context,
                "server_hostname": tls.name,
                "ssl_shutdown_timeout": TLS_CLOSE_S,
                **self._tls_sizes,
            }

        async def run() -> None:
            try:
                await self.loop.create_connection(
                    lambda: cast("asyncio.Protocol", protocol), host, port, **options
                )
            except OSError as error:
                on_failure(error)

        return self._keep(run())

    def _keep(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self.loop.create_task(work)
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)
        return task
