"""WebSocket clients: each sends a message, waits until it has come back whole, sends the next one."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ProcessPoolExecutor
from typing import cast

import uvloop

from .frames import frame, upgrade
from .generators import Volley
from .stats import percentile

START_S = 10.0


def fire(
    pool: ProcessPoolExecutor, port: int, host: str, size: int, connections: int, seconds: float
) -> Volley:
    """Messages of that size over so many connections at a time."""
    return pool.submit(run, port, host, size, connections, seconds).result()


def run(port: int, host: str, size: int, connections: int, seconds: float) -> Volley:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(talk(port, host, size, connections, seconds))


async def talk(port: int, host: str, size: int, connections: int, seconds: float) -> Volley:
    loop = asyncio.get_running_loop()
    talkers = [_Talker(host, size) for _ in range(connections)]
    try:
        for talker in talkers:
            await loop.create_connection(lambda talker=talker: talker, "127.0.0.1", port)  # type: ignore[misc]
        async with asyncio.timeout(START_S):
            await asyncio.gather(*(talker.ready for talker in talkers))
        began = time.monotonic()
        for talker in talkers:
            talker.say()
        await asyncio.sleep(seconds)
        took_s = time.monotonic() - began
    finally:
        for talker in talkers:
            talker.end()
    waits_ms = [1e3 * s for talker in talkers for s in talker.waits] or [0.0]
    return Volley(
        sum(len(talker.waits) for talker in talkers),
        took_s,
        sum(talker.is_bad for talker in talkers),
        percentile(waits_ms, 50),
        percentile(waits_ms, 99),
    )


class _Talker(asyncio.Protocol):
    def __init__(self, host: str, size: int) -> None:
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.waits: list[float] = []
        self.is_bad = False
        self._hello = upgrade(host, size)
        self._message = frame(size, masked=True)
        self._back = len(frame(size, masked=False))
        self._missing = 0
        self._said = 0.0
        self._head = b""
        self._transport: asyncio.Transport | None = None
        self._is_ending = False

    def say(self) -> None:
        """Send a message."""
        assert self._transport is not None
        self._missing = self._back
        self._said = time.monotonic()
        self._transport.write(self._message)

    def end(self) -> None:
        """Say no more."""
        self._is_ending = True
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._hello)

    def data_received(self, data: bytes) -> None:
        if not self.ready.done():
            self._head += data
            if b"\r\n\r\n" in self._head:
                if self._head.startswith(b"HTTP/1.1 101 "):
                    self.ready.set_result(None)
                else:
                    self.ready.set_exception(ConnectionError(self._head.decode(errors="replace")))
            return
        self._missing -= len(data)
        if self._missing < 0:
            self.is_bad = True  # more than was said
        elif not self._missing:
            self.waits.append(time.monotonic() - self._said)
            self.say()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if not self._is_ending:
            self.is_bad = True
            if not self.ready.done():
                self.ready.set_exception(exc or ConnectionError("closed before its upgrade"))
