"""The backend where nginx is missing: `python -m bench.responder PORT=TEXT...`.

Answers every request head with its text. No bodies, no checks: it is to cost little.
"""

from __future__ import annotations

import asyncio
import sys
from typing import cast

import uvloop


class _Responder(asyncio.Protocol):
    def __init__(self, kept: bytes, last: bytes) -> None:
        self._kept = kept
        self._last = last
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head, self._buffer = self._buffer[:end].lower(), self._buffer[end + 4 :]
            if b"\r\nconnection: close" in head:
                self._transport.write(self._last)
                self._transport.close()
                return
            self._transport.write(self._kept)


def answer(body: bytes, *, close: bool) -> bytes:
    """A 200 with this body."""
    return b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n%b\r\n%b" % (
        len(body),
        b"Connection: close\r\n" if close else b"",
        body,
    )


async def _serve(bodies: dict[int, bytes]) -> None:
    loop = asyncio.get_running_loop()
    for port, body in bodies.items():
        kept, last = answer(body, close=False), answer(body, close=True)
        await loop.create_server(
            lambda kept=kept, last=last: _Responder(kept, last),  # type: ignore[misc]
            "127.0.0.1",
            port,
            backlog=4096,
        )
    await asyncio.Event().wait()


if __name__ == "__main__":
    pairs = (argument.split("=", 1) for argument in sys.argv[1:])
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve({int(port): text.encode() for port, text in pairs}))
