"""Transports for the data plane, made in one place.

Nothing else in the data plane knows whether they are aiofastnet's or uvloop's.
Opening a connection is the only thing here that needs a task: one per
connection, never one per request.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine
from typing import Any, Literal

WRITE_HIGH_WATER = 64 * 1024
"""Bytes that may wait in a transport before the other side is paused."""


def end_writing(transport: asyncio.Transport) -> None:
    """Send no more, once what waits was sent. A peer that is gone makes it an abort."""
    try:
        transport.write_eof()
    except OSError:  # aiofastnet says so when the peer has reset the connection
        transport.abort()


class Transports:
    """Makes transports of one kind on one loop (made by `runtime.loops` for that kind)."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, kind: Literal["aiofastnet", "uvloop"]
    ) -> None:
        self.loop = loop
        self._opening: set[asyncio.Task[None]] = set()
        self._connect_accepted: Callable[..., Coroutine[Any, Any, Any]]
        if kind == "aiofastnet":
            import aiofastnet

            # The patched loop leaves this one call to uvloop (aiofastnet 1.2); it costs a quarter
            # of the CPU of a request.
            self._connect_accepted = lambda *args: aiofastnet.connect_accepted_socket(loop, *args)
        else:
            self._connect_accepted = loop.connect_accepted_socket

    def accept(self, sock: socket.socket, protocol: asyncio.Protocol) -> None:
        """Give an accepted, non-blocking socket to `protocol`; never raises."""

        async def run() -> None:
            try:
                await self._connect_accepted(lambda: protocol, sock)
            except OSError:
                sock.close()
                protocol.connection_lost(None)

        self._keep(self.loop.create_task(run()))

    def connect(
        self,
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
                await self.loop.create_connection(lambda: protocol, host, port)
            except OSError as error:
                on_failure(error)

        task = self.loop.create_task(run())
        self._keep(task)
        return task

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)
