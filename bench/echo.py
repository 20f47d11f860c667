"""A WebSocket backend that sends each message back: `python -m bench.echo PORT`.

The path says how long messages are; health checks get a 200. It counts bytes and reads nothing, as it
is to cost little.
"""

from __future__ import annotations

import asyncio
import re
import sys
from typing import cast

import uvloop

from .frames import agreed, frame
from .responder import answer

_PATH = re.compile(rb"GET /([0-9]+) ")


class Echo(asyncio.Protocol):
    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._head = b""
        self._in = 0
        """The length of a client's message; 0 before the first."""
        self._back = b""
        self._missing = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        if not self._in:
            self._head += data
            if b"\r\n\r\n" in self._head:
                self._begin(self._transport)
            return
        missing = self._missing - len(data)
        while missing <= 0:
            self._transport.write(self._back)
            missing += self._in
        self._missing = missing

    def _begin(self, transport: asyncio.Transport) -> None:
        head, self._head = self._head, b""
        path = _PATH.match(head)
        if path is None or b"websocket" not in head.lower():
            transport.write(answer(b"here", close=False))
            return
        size = int(path[1])
        self._in = self._missing = len(frame(size, masked=True))
        self._back = frame(size, masked=False)
        transport.write(agreed())


async def _serve(port: int) -> None:
    loop = asyncio.get_running_loop()
    await loop.create_server(Echo, "127.0.0.1", port, backlog=4096)
    await asyncio.Event().wait()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(int(sys.argv[1])))
