"""Ports for instances, out of the configuration's range.

The next one after the last one given: a port that was just freed may be known still
to a client, a connection or a check of the instance that had it.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Collection


class NoFreePort(Exception):  # noqa: N818 - says what happened
    """Too few ports of the range are free; the text says so."""


def is_free(port: int) -> bool:
    """Could a program listen there now? One look; it may be otherwise a moment later.

    A port on which only connections of the past wait for their end (TIME_WAIT) is free
    for whoever says SO_REUSEADDR, as servers do; one that somebody listens on is not.
    """
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            # The wildcard conflicts with whoever holds the port on any address.
            sock.bind(("0.0.0.0", port))  # noqa: S104 - not listened on
        except OSError:
            return False
    return True


class PortPool:
    """Gives ports. Remembers only where it was: who has which is the caller's to know."""

    def __init__(self, is_free: Callable[[int], bool] = is_free) -> None:
        self._is_free = is_free
        self._last = 0

    def go_on_after(self, port: int) -> None:
        """This one was given last, by somebody before."""
        self._last = port

    def take(self, count: int, limits: tuple[int, int], taken: Collection[int]) -> list[int]:
        """Free ports that are not `taken`. Raises `NoFreePort`."""
        first, last = limits
        size = last - first + 1
        begin = self._last + 1 if first <= self._last < last else first
        found: list[int] = []
        for step in range(size):
            port = first + (begin - first + step) % size
            if port not in taken and self._is_free(port):
                found.append(port)
                if len(found) == count:
                    self._last = port
                    return found
        raise NoFreePort(
            f"no {count} free port(s) from {first} to {last}; widen providers.process.ports"
        )
