# cython: language_level=3, annotation_typing=False
"""Who may come in: accepting on the entrypoints, within the limits of connections.

At the limit of all connections, or of an entrypoint's, accepting pauses: more
clients wait in the kernel and nobody accepted is dropped. A client address at
its own limit cannot be left waiting without all others behind it, so its further
connections are closed.

Accepting pauses too before clients take the descriptors that connections to
instances need: who was accepted is served.

The health listener has no limits: whoever asks after our health is answered at
the limit of connections too.
"""

from __future__ import annotations

import asyncio
import os
import resource
import socket
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from .acceptor import Acceptor

if TYPE_CHECKING:
    from gateway.runtime.settings import Settings

HEALTH_ENTRYPOINT = "health"
CLIENTS_PART = 2 / 3
"""Of the descriptors a worker may open: idle clients have none behind them, busy ones have one."""
SPARE_DESCRIPTORS = 16
"""For logs, links and what a library may want."""

_INTERPRETED = __file__.endswith(".py")


def address_key(peer: str) -> str | bytes:
    """What is one client to the limits: an IPv4 address, or a /64 network of IPv6.

    A host has at least such a network to itself (RFC 6177), and may use any address in it.
    """
    if "." in peer:
        return peer
    try:
        return socket.inet_pton(socket.AF_INET6, peer.partition("%")[0])[:8]
    except OSError:
        return peer


class Doors:
    """Accepts, and counts who is inside. `serve(connection, peer address, entrypoint)` takes each."""

    __slots__ = (
        "_acceptors",
        "_descriptors",
        "_inside",
        "_inside_at",
        "_loop",
        "_most",
        "_most_at",
        "_most_of_address",
        "_of_address",
        "_serve",
    )

    def __init__(
        self, loop: asyncio.AbstractEventLoop, serve: Callable[[socket.socket, str, str], None]
    ) -> None:
        self._loop = loop
        self._serve = serve
        self._acceptors: dict[str, Acceptor] = {}
        self._descriptors = _open_descriptors() + SPARE_DESCRIPTORS
        self._most: int | None = None
        self._most_at: dict[str, int] = {}
        self._most_of_address: int | None = None
        self._inside = 0
        self._inside_at: dict[str, int] = {}
        self._of_address: dict[str | bytes, int] = {}

    def configure(self, settings: Settings) -> None:
        """Take over the limits, this worker's part of each; nobody inside is sent away."""
        workers = settings.workers if isinstance(settings.workers, int) else 1
        limits = settings.limits
        self._most = _part(limits.connections, workers)
        self._most_of_address = _part(limits.connections_per_address, workers)
        self._most_at = {
            name: part
            for name, one in settings.entrypoints.items()
            if (part := _part(one.connections, workers)) is not None
        }

    def listen(self, sock: socket.socket, entrypoint: str) -> None:
        """Accept on `sock`, which somebody else holds."""
        acceptor = self._acceptors.get(entrypoint)
        if acceptor is None:
            acceptor = Acceptor(self._loop, self._serve, partial(self.has_room, entrypoint))
            self._acceptors[entrypoint] = acceptor
        acceptor.listen(sock, entrypoint)

    def unlisten(self, sock: socket.socket) -> None:
        """Stop accepting on `sock`; it stays open."""
        for acceptor in self._acceptors.values():
            acceptor.unlisten(sock)

    def entered(self, entrypoint: str) -> None:
        """A connection was accepted."""
        if entrypoint != HEALTH_ENTRYPOINT:
            self._inside += 1
            self._inside_at[entrypoint] = self._inside_at.get(entrypoint, 0) + 1

    def left(self, entrypoint: str) -> None:
        """A connection has ended: whoever waits may come in."""
        if entrypoint != HEALTH_ENTRYPOINT:
            self._inside -= 1
            self._inside_at[entrypoint] -= 1
        acceptor: Acceptor
        for acceptor in self._acceptors.values():
            acceptor.resume()

    def take_place(self, key: str | bytes) -> bool:
        """One more connection of this client; False, and it is not counted, if it has too many."""
        count = self._of_address.get(key, 0)
        if self._most_of_address is not None and count >= self._most_of_address:
            return False
        self._of_address[key] = count + 1
        return True

    def leave_place(self, key: str | bytes) -> None:
        """A connection that took a place has ended."""
        count = self._of_address[key] - 1
        if count:
            self._of_address[key] = count
        else:
            del self._of_address[key]

    def has_room(self, entrypoint: str) -> bool:
        """May another connection be taken there now?"""
        if entrypoint == HEALTH_ENTRYPOINT:
            return True
        if self._most is not None and self._inside >= self._most:
            return False
        for_clients = (_descriptors_allowed() - self._descriptors) * CLIENTS_PART
        if self._inside >= 1 and self._inside >= for_clients:
            return False
        most = self._most_at.get(entrypoint)
        return most is None or self._inside_at.get(entrypoint, 0) < most


def _descriptors_allowed() -> float:
    """How many this process may open. Asked each time, as an operator may change it (prlimit)."""
    if _INTERPRETED:
        allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return float("inf") if allowed == resource.RLIM_INFINITY else allowed
    count: float = soft_limit()  # type: ignore[name-defined]  # noqa: F821
    return count


def _open_descriptors() -> int:
    """How many this process has open."""
    try:
        return len(os.listdir("/proc/self/fd"))
    except OSError:  # no /proc here
        return 64


def _part(limit: int | None, workers: int) -> int | None:
    return None if limit is None else -(-limit // workers)
