"""Own accept: takes connections off listening sockets that somebody else holds.

Not `create_server`: at the descriptor limit uvloop accepts and closes, and
asyncio's server spins; here accepting pauses and nobody accepted is dropped.
The sockets stay open when accepting stops: a sibling may go on with them.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable

ACCEPTS_PER_TICK = 64
RETRY_S = 0.1
V4_MAPPED = "::ffff:"
"""How an IPv4 client looks on an IPv6 socket (RFC 4291, 2.5.5.2)."""

EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
"""What the system says that has no descriptors or memory left for a connection."""


class Acceptor:
    """Accepts on any number of sockets while there is room.

    `serve(connection, peer address, tag)` takes each accepted socket;
    `has_room()` says whether another connection may be taken now.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        serve: Callable[[socket.socket, str, str], None],
        has_room: Callable[[], bool],
    ) -> None:
        self._loop = loop
        self._serve = serve
        self._has_room = has_room
        self._sockets: dict[int, tuple[socket.socket, str]] = {}
        self._paused = False

    def listen(self, sock: socket.socket, tag: str) -> None:
        """Accept on `sock` from now on; `tag` is the entrypoint's name."""
        fd = sock.fileno()
        if fd in self._sockets:
            return
        self._sockets[fd] = (sock, tag)
        if not self._paused:
            self._loop.add_reader(fd, self._accept, sock, tag)

    def unlisten(self, sock: socket.socket) -> None:
        """Stop accepting on `sock`, which stays open."""
        fd = sock.fileno()
        if self._sockets.pop(fd, None) is not None and not self._paused:
            self._loop.remove_reader(fd)

    def resume(self) -> None:
        """A connection has ended: go on if accepting was paused."""
        if self._paused and self._has_room():
            self._paused = False
            for fd, (sock, tag) in self._sockets.items():
                self._loop.add_reader(fd, self._accept, sock, tag)

    def _pause(self) -> None:
        if self._paused:
            return
        self._paused = True
        for fd in self._sockets:
            self._loop.remove_reader(fd)
        # Descriptors may be freed by others than our own connections.
        self._loop.call_later(RETRY_S, self._retry)

    def _retry(self) -> None:
        self.resume()
        if self._paused:
            self._loop.call_later(RETRY_S, self._retry)

    def _accept(self, sock: socket.socket, tag: str) -> None:
        for _ in range(ACCEPTS_PER_TICK):
            if not self._has_room():
                self._pause()
                return
            try:
                connection, address = sock.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno in EXHAUSTED:
                    self._pause()
                    return
                continue  # the client gave up while it waited (ECONNABORTED and kin)
            connection.setblocking(False)
            self._serve(connection, address[0].removeprefix(V4_MAPPED), tag)
