# cython: language_level=3, annotation_typing=False
"""Own accept: takes connections off listening sockets that somebody else holds.

Not `create_server`: at the descriptor limit uvloop accepts and closes, and
asyncio's server spins; here accepting pauses and nobody accepted is dropped.
The sockets stay open when accepting stops: a sibling may go on with them.
"""

from __future__ import annotations

import _socket
import asyncio
import errno
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

ACCEPTS_PER_TICK = 64
RETRY_S = 0.1
V4_MAPPED = "::ffff:"
"""How an IPv4 client looks on an IPv6 socket (RFC 4291, 2.5.5.2)."""

EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
"""What the system says that has no descriptors or memory left for a connection."""


Kind = tuple[int, int, int]
"""Family, type and protocol of sockets, as numbers."""


class Accepted(socket.socket):
    """An accepted connection; it does not block.

    The standard library makes a member of an enum of a number whenever somebody asks for
    family or type, and the system is asked again what accepting has told. aiofastnet asks
    for all of it, twice ([measured] together 3 % of a connection with one request).
    """

    __slots__ = ("_peer",)

    if not TYPE_CHECKING:
        family = _socket.socket.family
        type = _socket.socket.type

    def __init__(self, kind: Kind, fd: int, peer: Any) -> None:
        family, type_, protocol = kind
        super().__init__(family, type_, protocol, fd)
        super().setblocking(False)
        self._peer = peer

    def setblocking(self, flag: bool) -> None:
        """Not blocking is what it does."""
        if flag:
            super().setblocking(True)

    def getpeername(self) -> Any:
        """As it was told by accepting."""
        return self._peer


class Acceptor:
    """Accepts on any number of sockets while there is room.

    `serve(connection, peer address, tag)` takes each accepted socket;
    `has_room()` says whether another connection may be taken now.
    """

    __slots__ = ("_has_room", "_loop", "_paused", "_serve", "_sockets")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        serve: Callable[[socket.socket, str, str], None],
        has_room: Callable[[], bool],
    ) -> None:
        self._loop = loop
        self._serve = serve
        self._has_room = has_room
        self._sockets: dict[int, tuple[socket.socket, Kind, str]] = {}
        self._paused = False

    def listen(self, sock: socket.socket, tag: str) -> None:
        """Accept on `sock` from now on; `tag` is the entrypoint's name."""
        fd = sock.fileno()
        if fd in self._sockets:
            return
        kind = (int(sock.family), int(sock.type), int(socket.IPPROTO_TCP))
        self._sockets[fd] = (sock, kind, tag)
        if not self._paused:
            self._loop.add_reader(fd, self._accept, sock, kind, tag)

    def unlisten(self, sock: socket.socket) -> None:
        """Stop accepting on `sock`, which stays open."""
        fd = sock.fileno()
        if self._sockets.pop(fd, None) is not None and not self._paused:
            self._loop.remove_reader(fd)

    def resume(self) -> None:
        """A connection has ended: go on if accepting was paused."""
        if self._paused and self._has_room():
            self._paused = False
            for fd, (sock, kind, tag) in self._sockets.items():
                self._loop.add_reader(fd, self._accept, sock, kind, tag)

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

    def _accept(self, sock: socket.socket, kind: Kind, tag: str) -> None:
        for _ in range(ACCEPTS_PER_TICK):
            if not self._has_room():
                self._pause()
                return
            try:
                fd, address = sock._accept()  # type: ignore[attr-defined]
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno in EXHAUSTED:
                    self._pause()
                    return
                continue  # the client gave up while it waited (ECONNABORTED and kin)
            connection = Accepted(kind, fd, address)
            self._serve(connection, address[0].removeprefix(V4_MAPPED), tag)
