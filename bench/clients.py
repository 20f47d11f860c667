"""Load clients: each sends a request, waits for the answer, pauses, sends the next one.

They never try a request twice, whatever happened to it, and write down every one.
A keep-alive client that sees its connection end between two requests opens a new
one for the next, as browsers do.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from .records import Outcome, Records, Request

GIVE_UP_S = 5.0
"""A request without an answer is given up after this time."""
_LOOK_S = 0.25
_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)\r\n", re.IGNORECASE)
_CLOSE = re.compile(rb"\r\nconnection: *close\r\n", re.IGNORECASE)
_SERVICE = re.compile(rb"v([1-9])")


@dataclass(frozen=True, slots=True)
class Plan:
    """What the clients do."""

    port: int
    kept: int
    """Clients that keep their connection."""
    fresh: int
    """Clients that open one for each request."""
    kept_heads: Sequence[bytes]
    fresh_heads: Sequence[bytes]
    """These should ask for the connection's end."""
    pause_s: float = 0.0
    """The mean pause between answer and next request; it varies evenly from 0 to twice this."""
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Answer:
    """What a client reads off an answer."""

    status: int
    size: int
    """Bytes of head and body."""
    closes: bool
    body_at: int


def parse_answer(data: bytes) -> Answer | None:
    """The head of an answer with a Content-Length; None while it is not complete.

    Raises `ValueError` for anything else.
    """
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return None
    head = data[: end + 4]
    length = _LENGTH.search(head)
    if not head.startswith(b"HTTP/1.1 ") or length is None:
        raise ValueError("an answer without status or length")
    return Answer(
        int(head[9:12]), end + 4 + int(length[1]), _CLOSE.search(head) is not None, end + 4
    )


class Client:
    """One client. It lives until `stop`."""

    def __init__(
        self, port: int, heads: Sequence[bytes], keeps: bool, pause_s: float, drawn: random.Random
    ) -> None:
        self.records = Records()
        self._port = port
        self._heads = heads
        self._next_head = drawn.randrange(len(heads))
        self._keeps = keeps
        self._pause_s = pause_s
        self._drawn = drawn
        self._is_stopping = False
        self._timer: asyncio.Handle | None = None
        self._line: _Line | None = None
        # the request under way
        self._is_waiting = False
        self._began = self._sent = 0.0
        self._buffer = b""

    # -- what its owner does

    def begin(self) -> None:
        """Send the next request."""
        self._timer = None
        self._is_waiting = True
        self._buffer = b""
        self._sent = 0.0
        self._began = time.monotonic()
        if self._line is None:
            self._line = _Line(self, self._port)
        else:
            self._send(self._line)

    def look(self, now: float) -> None:
        """Give up a request that has waited too long."""
        if self._is_waiting and now - self._began > GIVE_UP_S:
            self._end(Outcome.UNANSWERED)

    def stop(self) -> None:
        """Send no more; a request under way may still end."""
        self._is_stopping = True
        if self._timer is not None:
            self._timer.cancel()
        if not self._is_waiting:
            self._drop()

    @property
    def is_idle(self) -> bool:
        """No request is under way."""
        return not self._is_waiting

    # -- what the connection says

    def opened(self, line: _Line) -> None:
        """The connection is open."""
        self._send(line)

    def received(self, data: bytes) -> None:
        """Bytes came."""
        if not self._is_waiting:
            self._drop()  # nobody asked
            return
        self._buffer += data
        try:
            answer = parse_answer(self._buffer)
        except ValueError:
            self._end(Outcome.STATUS)
            return
        if answer is None or len(self._buffer) < answer.size:
            return
        service = _SERVICE.match(self._buffer, answer.body_at)
        keep = self._keeps and not answer.closes
        if answer.status == 200 and service is not None:
            self._end(Outcome.ANSWERED, int(service[1]), keep=keep)
        else:
            self._end(Outcome.STATUS)

    def lost(self) -> None:
        """The connection has ended."""
        if self._is_waiting:
            self._end(Outcome.CUT)
        self._line = None

    def refused(self) -> None:
        """The connection could not be opened."""
        self._end(Outcome.NOT_CONNECTED)

    # -- inside

    def _send(self, line: _Line) -> None:
        head = self._heads[self._next_head]
        self._next_head = (self._next_head + 1) % len(self._heads)
        self._sent = time.monotonic()
        line.send(head)

    def _end(self, outcome: Outcome, service: int = 0, *, keep: bool = False) -> None:
        line = self._line
        assert line is not None
        ended = time.monotonic()
        self.records.add(
            Request(self._began, self._sent, ended, line.opened, outcome, service, line.port)
        )
        self._is_waiting = False
        if self._is_stopping or not keep:
            self._drop()
        if not self._is_stopping:
            loop = asyncio.get_running_loop()
            if self._pause_s:
                self._timer = loop.call_later(self._drawn.uniform(0, 2 * self._pause_s), self.begin)
            else:
                self._timer = loop.call_soon(self.begin)

    def _drop(self) -> None:
        line, self._line = self._line, None
        if line is not None:
            line.let_go()


class _Line(asyncio.Protocol):
    """A client's connection; it tells its client nothing more once it was let go."""

    def __init__(self, client: Client, port: int) -> None:
        self.opened = 0.0
        self.port = 0
        self._client: Client | None = client
        self._transport: asyncio.Transport | None = None
        self._opening = asyncio.get_running_loop().create_task(self._open(port))

    def send(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def let_go(self) -> None:
        self._client = None
        if self._transport is not None:
            self._transport.close()
        else:
            self._opening.cancel()

    async def _open(self, port: int) -> None:
        try:
            await asyncio.get_running_loop().create_connection(lambda: self, "127.0.0.1", port)
        except OSError:
            if self._client is not None:
                self._client.refused()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.opened = time.monotonic()
        self.port = transport.get_extra_info("sockname")[1]
        if self._client is not None:
            self._client.opened(self)
        else:
            transport.close()

    def data_received(self, data: bytes) -> None:
        if self._client is not None:
            self._client.received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.lost()


class Clients:
    """All clients of a plan, in the running loop."""

    def __init__(self, plan: Plan) -> None:
        drawn = random.Random(plan.seed)
        self._clients = [
            Client(plan.port, heads, keeps, plan.pause_s, random.Random(drawn.random()))
            for keeps, heads, count in (
                (True, plan.kept_heads, plan.kept),
                (False, plan.fresh_heads, plan.fresh),
            )
            for _ in range(count)
        ]

    @property
    def answers(self) -> int:
        """How many requests have ended."""
        return sum(len(c.records) for c in self._clients)

    async def run(self, until: asyncio.Event) -> Records:
        """Send requests until the event, then let those under way end; all of them."""
        for client in self._clients:
            client.begin()
        while not until.is_set():
            self._look()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(until.wait(), _LOOK_S)
        for client in self._clients:
            client.stop()
        while not all(c.is_idle for c in self._clients):
            self._look()
            await asyncio.sleep(0.01)
        together = Records()
        for client in self._clients:
            together.extend(client.records)
        return together

    def _look(self) -> None:
        now = time.monotonic()
        for client in self._clients:
            client.look(now)
