"""From the accepted socket to the end of the PROXY header in front of it.

Takes the header out of the socket and not a byte more, so that whatever follows,
a TLS handshake or a request, begins as on any other connection. A client that is
slow here holds a socket and nothing else; its deadline is the caller's business.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from .proxy_protocol import V2_MAX, NoProxyHeader, read_proxy_header


class Announcement:
    """Waits for the header on `sock`; one of the two is called, once.

    `on_source(address)`: whom the connection is for, None if it is the sender's own; the
    socket is the caller's. `on_end()`: there is no header, the socket is closed.
    """

    __slots__ = ("_got", "_is_over", "_loop", "_on_end", "_on_source", "_sock")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        on_source: Callable[[str | None], None],
        on_end: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._sock = sock
        self._on_source = on_source
        self._on_end = on_end
        self._got = b""
        self._is_over = False

    def begin(self) -> None:
        """Wait; nothing is called before this returns."""
        self._loop.add_reader(self._sock.fileno(), self._look)

    def cancel(self) -> None:
        """Close the socket."""
        if not self._is_over:
            self._end()

    def _look(self) -> None:
        try:
            data = self._sock.recv(V2_MAX, socket.MSG_PEEK)
            if not data:
                self._end()
                return
            header = read_proxy_header(self._got + data)
            if header is None:  # then all of it belongs to the header
                self._got += self._sock.recv(len(data))
                return
            self._sock.recv(header.size - len(self._got))
        except (BlockingIOError, InterruptedError):
            return
        except (OSError, NoProxyHeader):
            self._end()
            return
        self._let_go()
        self._on_source(header.source)

    def _let_go(self) -> None:
        self._is_over = True
        self._loop.remove_reader(self._sock.fileno())

    def _end(self) -> None:
        self._let_go()
        self._sock.close()
        self._on_end()
