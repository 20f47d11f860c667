"""Small origins in a thread of the test: fast, with knobs, counting what they get.

`/health` answers 200 or, while not `healthy`, 503; `/slow?s=N` answers after N
seconds; `/bytes/N` answers with N bytes; every other path with the name. Bodies
of requests are read and their length (chunked ones: with what frames them) stands in `X-Received`. A WebSocket upgrade
is accepted; what comes then is sent back.
"""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar, cast

import uvloop

T = TypeVar("T")

LAST_CHUNK = b"\r\n0\r\n\r\n"
"""Bodies sent in chunks must not hold these bytes: chunks are only skipped here."""
_BLOCK = b"x" * 65536
_HIGH_WATER = 256 * 1024


class Origin:
    """One listening origin. Attributes may be read and set from any thread."""

    def __init__(self, name: str, address: str = "127.0.0.1", port: int = 0) -> None:
        self.name = name
        self.address = address
        self.port = port
        self.healthy = True
        self.requests: list[tuple[float, str]] = []
        """Time (monotonic) and path of each request but health checks."""
        self.checks: list[tuple[float, int]] = []
        """Time at which each health check was answered, and how."""
        self.open = 0
        self.aborted = 0
        """Connections that ended before their answer was sent."""
        self._connections: set[_Connection] = set()
        self._server: asyncio.Server | None = None

    @property
    def hits(self) -> int:
        return len(self.requests)

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _Connection(self), self.address, self.port, backlog=1024
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for connection in list(self._connections):
            connection.transport.abort()


class _Connection(asyncio.Protocol):
    def __init__(self, origin: Origin) -> None:
        self.origin = origin
        self._data = b""
        self._left: int | None = None
        """What is missing of a body; None: a head is awaited, -1: chunks until the last one."""
        self._received = 0
        self._path = ""
        self._is_echo = False
        self._task: asyncio.Task[None] | None = None
        self._may_write = asyncio.Event()
        self._may_write.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(_HIGH_WATER)
        self.origin._connections.add(self)
        self.origin.open += 1

    def connection_lost(self, exc: Exception | None) -> None:
        self.origin._connections.discard(self)
        self.origin.open -= 1
        self._may_write.set()
        if self._task is not None:
            self._task.cancel()
            self.origin.aborted += 1

    def pause_writing(self) -> None:
        self._may_write.clear()

    def resume_writing(self) -> None:
        self._may_write.set()

    def data_received(self, data: bytes) -> None:
        if self._is_echo:
            self.transport.write(data)
            return
        if self._left is not None and self._left > 0 and not self._data:
            data = self._take_body(data)
        self._data += data
        self._process()

    def _take_body(self, data: bytes) -> bytes:
        assert self._left is not None
        part = min(self._left, len(data))
        self._left -= part
        self._received += part
        return data[part:]

    def _process(self) -> None:
        while self._task is None:
            if self._left is None:
                end = self._data.find(b"\r\n\r\n")
                if end < 0:
                    return
                self._head(self._data[:end].decode("latin-1"))
                self._data = self._data[end + 4 :]
            if self._left == -1:
                end = self._data.find(LAST_CHUNK)
                if end < 0:  # what may be the beginning of the last chunk stays
                    passed = max(0, len(self._data) - len(LAST_CHUNK) + 1)
                    self._received += passed
                    self._data = self._data[passed:]
                    return
                self._received += end
                self._data = self._data[end + len(LAST_CHUNK) :]
                self._left = 0
            elif self._left:
                self._data = self._take_body(self._data)
            if self._left:
                return
            self._left = None
            self._answer()

    def _head(self, head: str) -> None:
        self._path = head.split(" ", 2)[1]
        self._received = 0
        length = re.search(r"(?im)^content-length: *(\d+)", head)
        chunked = re.search(r"(?im)^transfer-encoding: *chunked", head)
        self._left = -1 if chunked else int(length[1]) if length else 0
        self._is_echo = bool(re.search(r"(?im)^upgrade: *websocket", head))

    def _answer(self) -> None:
        origin, path = self.origin, self._path
        now = time.monotonic()
        if path == "/health":
            status = 200 if origin.healthy else 503
            origin.checks.append((now, status))
            self._write(b"", status)
            return
        origin.requests.append((now, path))
        if self._is_echo:
            self.transport.write(
                b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
            )
            return
        slow = re.match(r"/slow\?s=([\d.]+)", path)
        size = re.match(r"/bytes/(\d+)", path)
        if slow:
            self._run(self._answer_late(float(slow[1])))
        elif size:
            self._run(self._answer_much(int(size[1])))
        else:
            self._write(origin.name.encode())

    def _run(self, work: Coroutine[None, None, None]) -> None:
        self._task = asyncio.get_running_loop().create_task(work)

    async def _answer_late(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        self._write(self.origin.name.encode())
        self._task = None
        self._process()

    async def _answer_much(self, size: int) -> None:
        self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        while size and not self.transport.is_closing():
            await self._may_write.wait()
            self.transport.write(_BLOCK[:size])
            size -= min(size, len(_BLOCK))
        self._task = None
        self._process()

    def _write(self, body: bytes, status: int = 200) -> None:
        self.transport.write(
            b"HTTP/1.1 %d Said\r\nContent-Type: text/plain\r\nX-Received: %d\r\n"
            b"X-Origin: %s@%d\r\nContent-Length: %d\r\n\r\n%s"
            % (
                status,
                self._received,
                self.origin.name.encode(),
                self.origin.port,
                len(body),
                body,
            )
        )


class Origins:
    """The thread they live in; leaving the context ends them."""

    def __init__(self) -> None:
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="origins", daemon=True)
        self._all: list[Origin] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for origin in self._all:
            self._do(origin.stop)
        self._do(lambda: asyncio.sleep(0.05))  # transports end over several turns of the loop
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    def start(self, name: str, address: str = "127.0.0.1", port: int = 0) -> Origin:
        """A new origin on a free port, or on that one."""
        origin = Origin(name, address, port)
        self._all.append(origin)
        self._do(origin.start)
        return origin

    def stop(self, origin: Origin) -> None:
        """Stop listening and cut its connections."""
        self._do(origin.stop)

    def restart(self, origin: Origin) -> None:
        """Listen again on the same port."""
        self._do(origin.start)

    def _do(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        return asyncio.run_coroutine_threadsafe(work(), self._loop).result(10)
