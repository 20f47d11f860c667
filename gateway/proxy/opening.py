# cython: language_level=3, annotation_typing=False
"""From an accepted socket to aiofastnet's transport on it, without a task and without timers.

What aiofastnet offers is a coroutine, which needs a task, a future and two timers for each
connection. It makes a transport and waits for it to say how that ended; here it says so
to an `Opening`. Timers are needed by nobody: a client's connection has a deadline from
its handshake to its end, which the worker's sweep looks at.

Knows nothing of what a connection is for.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from aiofastnet.selector_transport import (  # type: ignore[import-not-found]
    SelectorSocketTransport,
)
from aiofastnet.ssl_transport import SSLTransport_Socket  # type: ignore[import-not-found]

if TYPE_CHECKING:
    from .transports import Receiver

NEVER_S = 3600.0
"""What is said to those who insist on a time; nothing measures it."""


class _NoTimer:
    """A timer that never comes."""

    __slots__ = ()

    def cancel(self) -> None:
        """It does not come."""


class Untimed:
    """The loop, as transports of clients know it: all that they use of it but timers."""

    __slots__ = (
        "add_reader",
        "add_writer",
        "call_exception_handler",
        "call_soon",
        "create_future",
        "get_debug",
        "remove_reader",
        "remove_writer",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.add_reader = loop.add_reader
        self.add_writer = loop.add_writer
        self.call_exception_handler = loop.call_exception_handler
        self.call_soon = loop.call_soon
        self.create_future = loop.create_future
        self.get_debug = loop.get_debug
        self.remove_reader = loop.remove_reader
        self.remove_writer = loop.remove_writer

    def call_later(
        self, delay_s: float, callback: Callable[..., object], *args: object
    ) -> _NoTimer:
        """Nothing is called; whose transport it is watches the time."""
        return _NO_TIMER


_NO_TIMER = _NoTimer()


class Direct:
    """Makes transports on accepted sockets, all on one loop."""

    __slots__ = ("_buffer_bytes", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop, buffer_bytes: int) -> None:
        """`buffer_bytes`: of TLS, for what is encrypted, in each direction."""
        self._loop = Untimed(loop)
        self._buffer_bytes = buffer_bytes

    def accept(
        self, sock: socket.socket, protocol: Receiver, context: ssl.SSLContext | None
    ) -> Opening | None:
        """Give a socket to `protocol`; with a `context`, after the handshake. Never raises.

        What is not made is told as lost, and so is an opening that is cancelled.
        """
        opening: Opening | None = None
        try:
            if sock.proto != socket.IPPROTO_TCP:  # then aiofastnet does it
                # [measured] Without it the first answer over TLS waits 44 ms, behind session tickets,
                # for the client's acknowledgement; so do small frames and events.
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if context is None:
                SelectorSocketTransport(self._loop, sock, protocol)
            else:
                opening = Opening(sock, protocol)
                opening.begin(self._loop, context, self._buffer_bytes)
        except Exception as error:
            sock.close()
            protocol.connection_lost(None)
            if not isinstance(error, OSError):
                told = {"message": "A connection could not be served", "exception": error}
                self._loop.call_exception_handler(told)
            return None
        return opening


class Opening:
    """One TLS connection until its handshake has ended. To its transport it is a future.

    `protocol.connection_made` follows, or `protocol.connection_lost`, once.
    """

    __slots__ = ("_protocol", "_sock", "_transport")

    def __init__(self, sock: socket.socket, protocol: Receiver) -> None:
        self._sock = sock
        self._protocol: Receiver | None = protocol
        """None: it is over."""
        self._transport: Any = None

    def begin(self, loop: Untimed, context: ssl.SSLContext, buffer_bytes: int) -> None:
        """What the client has said by now is read at once. Raises what aiofastnet may raise."""
        is_server = True
        transport = SSLTransport_Socket(
            loop,
            self._protocol,
            context,
            is_server,
            NEVER_S,
            NEVER_S,
            buffer_bytes,
            buffer_bytes,
            self._sock,
            self,
        )
        self._transport = transport
        transport._read_ready()

    def cancel(self) -> None:
        """Give up; the connection is told as lost."""
        transport = self._transport
        if transport is not None:
            transport.abort()
        self.set_exception(None)

    def done(self) -> bool:
        """Has it ended?"""
        return self._protocol is None

    def set_result(self, result: object) -> None:
        """The handshake has ended well."""
        self._protocol = self._transport = None

    def set_exception(self, error: object) -> None:
        """It has not."""
        protocol = self._protocol
        if protocol is not None:
            self._protocol = self._transport = None
            self._sock.close()
            protocol.connection_lost(None)
