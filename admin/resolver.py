"""From host names to IP addresses, for health checks. Workers never resolve names.

Invariants: a failing look-up keeps the last good answer; one look-up at a time
per name; an answer is used for `TTL_S`.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from gateway.core.hosts import is_ip

from .clock import Clock

TTL_S = 5.0
LOOKUP_TIMEOUT_S = 5.0
ADDRESSES_MAX = 4
"""Of a name's addresses, this many are tried."""

Lookup = Callable[[str], Awaitable[list[str]]]
"""The addresses of a name in order of preference; raises `OSError` when there are none."""


async def look_up(host: str) -> list[str]:
    """Ask the system's resolver."""
    loop = asyncio.get_running_loop()
    try:
        found = await asyncio.wait_for(
            loop.getaddrinfo(host, None, type=socket.SOCK_STREAM), LOOKUP_TIMEOUT_S
        )
    except UnicodeError as error:  # a label over 63 bytes, raised by the idna codec
        raise OSError(f"no valid host name: {error}") from None
    except TimeoutError:
        raise OSError(f"no answer within {LOOKUP_TIMEOUT_S:g} s") from None
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


@dataclass(slots=True)
class _Known:
    addresses: tuple[str, ...] = ()
    until: float = float("-inf")


class Resolver:
    """A small cache over a look-up function."""

    def __init__(self, clock: Clock, lookup: Lookup = look_up) -> None:
        self._clock = clock
        self._lookup = lookup
        self._known: dict[str, _Known] = {}
        self._running: dict[str, asyncio.Task[None]] = {}

    async def addresses(self, host: str) -> tuple[str, ...]:
        """The addresses to try for `host`; () for a name that never resolved."""
        if is_ip(host):
            return (host,)
        known = self._known.setdefault(host, _Known())
        if known.until <= self._clock.monotonic():
            task = self._running.get(host)
            if task is None:
                task = asyncio.create_task(self._refresh(host, known))
                self._running[host] = task
                task.add_done_callback(lambda _: self._running.pop(host, None))
            await asyncio.shield(task)
        return known.addresses

    def forget(self, host: str) -> None:
        """Nobody asks for this name any more."""
        self._known.pop(host, None)

    async def _refresh(self, host: str, known: _Known) -> None:
        try:
            found = await self._lookup(host)
        except OSError:
            found = []
        if found:
            known.addresses = tuple(found[:ADDRESSES_MAX])
        known.until = self._clock.monotonic() + TTL_S
