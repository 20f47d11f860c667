"""The asyncio end of a link (see `link.py` for the frames).

Used by workers and by the control process, for the link to the supervisor and
for the sessions between them. Works under any event loop.

Invariants: messages are handed over in order; after the peer's end `receive`
raises `BrokenLink` once everything that arrived before it was handed over.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Mapping
from pathlib import Path

from .link import BrokenLink, Decoder, Message, encode

_PAUSE_AT = 64
"""Messages held unread before the socket is left alone, so that a slow reader slows the sender."""


class AsyncLink:
    """One end of a link under asyncio. Make it with `attach` or `connect`.

    Not for several readers: one task calls `receive`.
    """

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._decoder = Decoder()
        self._inbox: deque[Message] = deque()
        self._reader: asyncio.Future[None] | None = None
        self._writable: asyncio.Future[None] | None = None
        self._ended: asyncio.Future[None] | None = None
        self._broken: str | None = None
        self._is_paused = False
        self._is_full = False

    @classmethod
    async def attach(cls, sock: socket.socket) -> AsyncLink:
        """A link over a connected socket, which it owns from now on."""
        sock.setblocking(False)
        link = cls()
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: _LinkProtocol(link), sock=sock)
        return link

    @classmethod
    async def connect(cls, path: str | Path) -> AsyncLink:
        """A link to the Unix socket at `path`. Raises `OSError` when nobody is there."""
        link = cls()
        loop = asyncio.get_running_loop()
        await loop.create_unix_connection(lambda: _LinkProtocol(link), str(path))
        return link

    @property
    def is_open(self) -> bool:
        """The peer was there when last heard of."""
        return self._broken is None

    @property
    def waiting_bytes(self) -> int:
        """What was sent here and not yet taken by the kernel: 0 for a peer that keeps up."""
        transport = self._transport
        return transport.get_write_buffer_size() if transport is not None else 0

    def send(self, message: Mapping[str, object]) -> None:
        """Queue a message. On a broken link it is dropped: `receive` tells of the end."""
        self.send_frame(encode(message))

    def send_frame(self, frame: bytes) -> None:
        """`send` for a frame made by `link.encode` once for many links."""
        if self._broken is None and self._transport is not None:
            self._transport.write(frame)

    async def wait_writable(self) -> None:
        """Wait until the peer took most of what was sent. Raises `BrokenLink`."""
        while self._is_full and self._broken is None:
            if self._writable is None:
                self._writable = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._writable)
        if self._broken is not None:
            raise BrokenLink(self._broken)

    async def receive(self) -> Message:
        """The next message. Raises `BrokenLink` when there will be none."""
        while not self._inbox:
            if self._broken is not None:
                raise BrokenLink(self._broken)
            self._reader = asyncio.get_running_loop().create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        message = self._inbox.popleft()
        if self._is_paused and len(self._inbox) < _PAUSE_AT // 2 and self._transport is not None:
            self._is_paused = False
            self._transport.resume_reading()
        return message

    async def finish(self, timeout_s: float) -> None:
        """`close`, and wait until what was queued is sent, at most `timeout_s`."""
        transport, self._ended = self._transport, asyncio.get_running_loop().create_future()
        is_over = transport is None or transport.is_closing()
        self.close()
        if not is_over:
            await asyncio.wait([self._ended], timeout=timeout_s)

    def close(self) -> None:
        """End the link; what was queued is still sent."""
        if self._transport is not None:
            self._transport.close()
        self._break("the link was closed here")

    def _made(self, transport: asyncio.Transport) -> None:
        self._transport = transport

    def _take(self, data: bytes) -> None:
        try:
            self._inbox.extend(self._decoder.feed(data))
        except BrokenLink as error:
            self._break(str(error))
            if self._transport is not None:
                self._transport.abort()
        if len(self._inbox) >= _PAUSE_AT and not self._is_paused and self._transport is not None:
            self._is_paused = True
            self._transport.pause_reading()
        self._wake(self._reader)

    def _fill(self, is_full: bool) -> None:
        self._is_full = is_full
        if not is_full:
            self._wake(self._writable)
            self._writable = None

    def _break(self, why: str) -> None:
        if self._broken is None:
            self._broken = why
        self._wake(self._reader)
        self._wake(self._writable)
        self._writable = None

    def _lost(self, why: str) -> None:
        self._break(why)
        self._wake(self._ended)

    @staticmethod
    def _wake(future: asyncio.Future[None] | None) -> None:
        if future is not None and not future.done():
            future.set_result(None)


class _LinkProtocol(asyncio.Protocol):
    """Hands the event loop's callbacks to the link."""

    def __init__(self, link: AsyncLink) -> None:
        self._link = link

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._link._made(transport)  # type: ignore[arg-type]

    def data_received(self, data: bytes) -> None:
        self._link._take(data)

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._link._lost(str(exc) if exc is not None else "the peer closed the link")

    def pause_writing(self) -> None:
        self._link._fill(True)

    def resume_writing(self) -> None:
        self._link._fill(False)
