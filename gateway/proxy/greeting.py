# cython: language_level=3, annotation_typing=False
"""From the accepted socket to a TLS handshake: waits for the client's first message.

It is looked at in the socket, not taken out, and says which certificate is for this
client; the transport begins afterwards and reads it again. So a client that
is slow here holds a socket and nothing else: no buffers, no task, no timer.

Who speaks something else is refused: HTTP with an answer that says so.
"""

from __future__ import annotations

import asyncio
import select
import socket
from collections.abc import Callable
from contextlib import suppress

from .client_hello import HELLO_MAX, Hello, NotTls, read_hello
from .tls import DECODE_ERROR

NAP_S = 0.05
"""A pause where the kernel wakes us before there is as much as we asked for."""


class Greeting:
    """Waits for the hello on `sock`; one of the three is called, once, unless cancelled.

    `on_hello(hello)`: the socket is the caller's. `on_http()`: likewise, a request
    stands in it. `on_end(spoke)`: there will be none, the socket is closed; `spoke`: after
    the client had begun.
    """

    __slots__ = (
        "_is_over",
        "_loop",
        "_nap",
        "_needed",
        "_on_end",
        "_on_hello",
        "_on_http",
        "_sock",
        "_spoke",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        on_hello: Callable[[Hello], None],
        on_http: Callable[[], None],
        on_end: Callable[[bool], None],
    ) -> None:
        self._loop = loop
        self._sock = sock
        self._on_hello = on_hello
        self._on_http = on_http
        self._on_end = on_end
        self._needed = 0
        self._nap: asyncio.TimerHandle | None = None
        self._spoke = False
        self._is_over = False

    def begin(self) -> None:
        """Look now, and whenever there is more."""
        self._look()
        if not self._is_over:
            self._loop.add_reader(self._sock.fileno(), self._look)

    def cancel(self) -> None:
        """Close the socket."""
        if not self._is_over:
            self._end()

    def _look(self) -> None:
        try:
            data = self._sock.recv(HELLO_MAX, socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data:
            self._end()
            return
        self._spoke = True
        try:
            found = read_hello(data)
        except NotTls as error:
            if error.is_http:
                self._let_go()
                self._on_http()
            else:
                with suppress(OSError):
                    self._sock.send(DECODE_ERROR)
                self._end()
            return
        if isinstance(found, Hello):
            self._let_go()
            self._on_hello(found)
        elif found != self._needed:
            self._needed = found
            self._wake_at(found)
        elif _has_ended(self._sock):
            self._end()
        else:
            self._pause()

    def _wake_at(self, size: int) -> None:
        """Be called when there are so many bytes, not at each of them: they stay where they are."""
        with suppress(OSError):
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, size)

    def _pause(self) -> None:
        self._loop.remove_reader(self._sock.fileno())
        self._nap = self._loop.call_later(NAP_S, self._go_on)

    def _go_on(self) -> None:
        self._nap = None
        self._loop.add_reader(self._sock.fileno(), self._look)

    def _let_go(self) -> None:
        self._is_over = True
        if self._nap is not None:
            self._nap.cancel()
        self._loop.remove_reader(self._sock.fileno())
        if self._needed:
            self._wake_at(1)

    def _end(self) -> None:
        self._let_go()
        self._sock.close()
        self._on_end(self._spoke)


def _has_ended(sock: socket.socket) -> bool:
    """Will there be no more? Looking at bytes shows those that came, never the end behind them."""
    poll = select.poll()
    poll.register(sock, select.POLLRDHUP | select.POLLHUP | select.POLLERR)
    return bool(poll.poll(0))
