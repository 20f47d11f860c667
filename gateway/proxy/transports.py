"""Transports for the data plane, made in one place.

Under aiofastnet's loop both calls give aiofastnet transports, under plain
uvloop uvloop's own; nothing else in the data plane knows which. Opening a
connection is the only thing here that needs a task: one per connection, never
one per request.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

WRITE_HIGH_WATER = 64 * 1024
"""Bytes that may wait in a transport before the other side is paused."""

_opening: set[asyncio.Task[None]] = set()


def accept(
    loop: asyncio.AbstractEventLoop, sock: socket.socket, protocol: asyncio.Protocol
) -> None:
    """Give an accepted, non-blocking socket to `protocol`; never raises."""

    async def run() -> None:
        try:
            await loop.connect_accepted_socket(lambda: protocol, sock)
        except OSError:
            sock.close()
            protocol.connection_lost(None)

    _keep(loop.create_task(run()))


def connect(
    loop: asyncio.AbstractEventLoop,
    host: str,
    port: int,
    protocol: asyncio.Protocol,
    on_failure: Callable[[OSError], None],
) -> asyncio.Task[None]:
    """Open a connection to an IP address; `protocol.connection_made` or `on_failure` follows.

    Cancelling the returned task ends the attempt without either.
    """

    async def run() -> None:
        try:
            await loop.create_connection(lambda: protocol, host, port)
        except OSError as error:
            on_failure(error)

    task = loop.create_task(run())
    _keep(task)
    return task


def _keep(task: asyncio.Task[None]) -> None:
    _opening.add(task)
    task.add_done_callback(_opening.discard)
