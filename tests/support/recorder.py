"""An origin that reads strictly and keeps what it was asked, byte for byte."""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from gateway.runtime.settings import Settings

from .plane import Plane, get, proxied
from .wire import Message, Peer

_REQUEST_LINE = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+ [!-~]+ HTTP/1\.1")
_LINE = re.compile(rb"[\t -~\x80-\xff]*")


@dataclass
class Recorder:
    """What reached the origin. Its answer is `ok` and the target, unless a test says otherwise."""

    requests: list[Message] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)

    @property
    def targets(self) -> list[bytes]:
        return [request.target for request in self.requests]

    @property
    def last(self) -> Message:
        return self.requests[-1]

    async def serve(self, peer: Peer) -> None:
        while True:
            request = await peer.read_head()
            self.requests.append(request)
            self._check(request)
            await peer.read_body(request, until_close=False)
            body = b"" if request.method == b"HEAD" else b"ok " + request.target
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

    def _check(self, request: Message) -> None:
        if _REQUEST_LINE.fullmatch(request.start) is None:
            self.violations.append(f"request line {request.start!r}")
        for line in request.head[:-4].split(b"\r\n"):
            if _LINE.fullmatch(line) is None:
                self.violations.append(f"line {line!r}")
        if len(request.all(b"host")) != 1:
            self.violations.append(f"Host in {request.head!r}")
        framing = request.all(b"content-length") + request.all(b"transfer-encoding")
        if len(framing) > 1:
            self.violations.append(f"framing in {request.head!r}")


@contextlib.asynccontextmanager
async def recorded(
    config: Settings | None = None, **route_options: Any
) -> AsyncIterator[tuple[Plane, Recorder]]:
    """A recorder behind one route."""
    recorder = Recorder()
    async with proxied(recorder.serve, config, **route_options) as (found, origin):
        yield found, recorder
        assert recorder.violations == []
        assert origin.errors == []


async def talk(plane: Plane, data: bytes, entrypoint: str = "public") -> bytes:
    """All the gateway says to `data` on a connection of its own, up to its close.

    A last request asks for that close; it is a canary too: who gets `/bye` has lost nothing.
    """
    client = await plane.client(entrypoint)
    await client.send(data + get(b"/bye", b"Connection: close"))
    return await client.closed()


def statuses(said: bytes) -> list[int]:
    """Of all the answers in there; bodies of the recorder hold no status line."""
    return [int(s) for s in re.findall(rb"HTTP/1\.1 (\d{3})", said)]
