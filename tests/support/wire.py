"""Raw HTTP/1.1 on real sockets: clients and origins that send exactly what a test says."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

READ_S = 5.0
UNPAUSED = 1 << 28
"""A limit at which asyncio's streams never pause. Streams over TLS need it on aiofastnet 1.2: what
has come and was not decrypted when they paused may be left lying (`transports.resume_reading`)."""

_peers: list[Peer] = []


@dataclass
class Message:
    """A request or answer as it came over the wire; `body` is decoded."""

    start: bytes
    fields: list[tuple[bytes, bytes]]
    body: bytes = b""
    complete: bool = True
    head: bytes = b""

    @property
    def status(self) -> int:
        return int(self.start.split(b" ")[1])

    @property
    def method(self) -> bytes:
        return self.start.split(b" ")[0]

    @property
    def target(self) -> bytes:
        return self.start.split(b" ")[1]

    def get(self, name: bytes) -> bytes | None:
        values = self.all(name)
        return values[0] if values else None

    def all(self, name: bytes) -> list[bytes]:
        return [v for n, v in self.fields if n.lower() == name.lower()]


class Peer:
    """One end of a connection, reading with a deadline."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        _peers.append(self)

    async def send(self, data: bytes) -> None:
        if self.writer.is_closing():
            raise ConnectionResetError
        self.writer.write(data)
        await self.writer.drain()

    async def read_head(self) -> Message:
        raw = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), READ_S)
        lines = raw[:-4].split(b"\r\n")
        fields = []
        for line in lines[1:]:
            name, colon, value = line.partition(b":")
            assert colon, line
            assert re.fullmatch(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name), line
            fields.append((name, value.strip(b" \t")))
        return Message(lines[0], fields, head=raw)

    async def read_body(self, message: Message, *, until_close: bool) -> None:
        if message.get(b"transfer-encoding") is not None:
            assert message.all(b"transfer-encoding") == [b"chunked"]
            assert message.get(b"content-length") is None
            while True:
                line = await self._line()
                size = int(line, 16)
                if not size:
                    while await self._line():
                        pass
                    return
                message.body += await self._exactly(size)
                assert await self._exactly(2) == b"\r\n"
        lengths = message.all(b"content-length")
        assert len(lengths) <= 1
        if lengths:
            message.body = await self._exactly(int(lengths[0]))
        elif until_close:
            message.body = await asyncio.wait_for(self.reader.read(), READ_S)

    async def answer(self, method: bytes = b"GET") -> Message:
        """The next final answer with its body."""
        while True:
            message = await self.read_head()
            if message.status >= 200:
                break
        if method != b"HEAD" and message.status not in (204, 304):
            await self.read_body(message, until_close=True)
        return message

    async def request(self) -> Message:
        """The next request with its body."""
        message = await self.read_head()
        await self.read_body(message, until_close=False)
        return message

    async def ask(self, data: bytes, method: bytes = b"GET") -> Message:
        await self.send(data)
        return await self.answer(method)

    async def closed(self, timeout_s: float = READ_S) -> bytes:
        """What still comes until the other side closes (or resets)."""
        rest = b""
        try:
            while True:
                data = await asyncio.wait_for(self.reader.read(65536), timeout_s)
                if not data:
                    return rest
                rest += data
        except ConnectionError:
            return rest

    def reset(self) -> None:
        """Close with RST."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    def close(self) -> None:
        self.writer.close()

    async def _line(self) -> bytes:
        line = await asyncio.wait_for(self.reader.readuntil(b"\r\n"), READ_S)
        return line[:-2]

    async def _exactly(self, size: int) -> bytes:
        return await asyncio.wait_for(self.reader.readexactly(size), READ_S)


Script = Callable[[Peer], Awaitable[None]]


async def serve_plain(peer: Peer, name: bytes = b"origin") -> None:
    """Answer every request with its own method, target and body."""
    while True:
        request = await peer.request()
        body = b"%s %s %s %s" % (name, request.method, request.target, request.body)
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n"
        await peer.send(head % len(body) + (b"" if request.method == b"HEAD" else body))


@dataclass
class Origin:
    """A listening origin that runs `script` on each connection and keeps what came."""

    script: Script
    name: bytes = b"origin"
    connections: int = 0
    open: int = 0
    errors: list[BaseException] = field(default_factory=list)
    _accepted: list[Peer] = field(default_factory=list)
    _server: asyncio.Server | None = None
    port: int = 0
    tls: ssl.SSLContext | None = None

    async def start(self, port: int = 0) -> Origin:
        limit = UNPAUSED if self.tls is not None else 1 << 16
        self._server = await asyncio.start_server(
            self._run, "127.0.0.1", port or self.port, ssl=self.tls, limit=limit
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for peer in self._accepted:
            peer.writer.transport.abort()

    async def _run(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        peer = Peer(reader, writer)
        self._accepted.append(peer)
        try:
            await self.script(peer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        except BaseException as error:
            self.errors.append(error)
            raise
        finally:
            self.open -= 1
            writer.close()


async def client(port: int) -> Peer:
    """A client connected to the port on loopback."""
    return Peer(*await asyncio.open_connection("127.0.0.1", port))


async def eventually(condition: Callable[[], bool], timeout_s: float = READ_S) -> None:
    """Wait until `condition` holds; fails after `timeout_s`."""
    loop = asyncio.get_running_loop()
    end = loop.time() + timeout_s
    while not condition():
        assert loop.time() < end, "it did not become true in time"
        await asyncio.sleep(0.01)


async def close_all() -> None:
    """End every connection that tests have opened or accepted."""
    peers = list(_peers)
    _peers.clear()
    for peer in peers:
        peer.writer.transport.abort()
    for peer in peers:
        try:
            await asyncio.wait_for(peer.writer.wait_closed(), READ_S)
        except ConnectionError:
            pass
    await asyncio.sleep(0.01)  # transports end over several turns of the loop
