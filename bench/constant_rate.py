"""Load at a constant rate, whatever the answers do: an open loop.

A request is due at a moment of its own and its latency counts from there, also where no connection
was free to send it: what a server delays does not slow down the load that shows it ("coordinated
omission"). One process, one epoll loop, a timer of the kernel that ticks at the rate, as asyncio's
timers are too coarse and its callbacks too slow for that.
"""

from __future__ import annotations

import ctypes
import os
import select
import socket
import struct
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field

from .clients import parse_answer

_TICK_S = 100e-6
"""The timer ticks no more often."""
_NONBLOCKING = 0o4000
_READ_BYTES = 65536
_GRACE_S = 2.0
"""How long answers are waited for at the end."""


@dataclass(slots=True)
class Waits:
    """What came of it, in seconds from the moment a request was due."""

    seconds: list[float] = field(default_factory=list)
    late_s: list[float] = field(default_factory=list)
    """How long after it was due each was sent."""
    bad: int = 0
    """No 200, or no answer."""


def fire(
    pool: ProcessPoolExecutor,
    port: int,
    heads: Sequence[bytes],
    connections: int,
    per_second: float,
    seconds: float,
) -> Waits:
    """Send the heads in turn at that rate over so many kept connections."""
    return pool.submit(run, port, heads, connections, per_second, seconds).result()


def run(
    port: int, heads: Sequence[bytes], connections: int, per_second: float, seconds: float
) -> Waits:
    socks = [socket.create_connection(("127.0.0.1", port), 5.0) for _ in range(connections)]
    timer = ticking(max(1 / per_second, _TICK_S))
    try:
        return _Loop(socks, timer, heads, per_second, seconds).run()
    finally:
        os.close(timer)
        for sock in socks:
            sock.close()


class _Loop:
    def __init__(
        self,
        socks: Sequence[socket.socket],
        timer: int,
        heads: Sequence[bytes],
        per_second: float,
        seconds: float,
    ) -> None:
        self._heads = heads
        self._interval_s = 1 / per_second
        self._count = int(per_second * seconds)
        self._timer = timer
        self._free = deque(socks)
        self._waiting: dict[int, tuple[socket.socket, float, bytes]] = {}
        """By descriptor: the connection, when its request was due, what of the answer came."""
        self._found = Waits()
        self._epoll = select.epoll()
        self._epoll.register(timer, select.EPOLLIN)
        for sock in socks:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._epoll.register(sock.fileno(), select.EPOLLIN)

    def run(self) -> Waits:
        began = time.monotonic()
        sent = 0
        end = began + self._count * self._interval_s + _GRACE_S
        with self._epoll:
            while (sent < self._count or self._waiting) and time.monotonic() < end:
                for fd, _ in self._epoll.poll(0.1):
                    if fd == self._timer:
                        os.read(fd, 8)
                    else:
                        self._receive(fd)
                due = min(self._count, int((time.monotonic() - began) / self._interval_s))
                while sent < due and self._free:
                    self._send(sent, began + sent * self._interval_s)
                    sent += 1
        self._found.bad += self._count - sent + len(self._waiting)
        return self._found

    def _send(self, number: int, due: float) -> None:
        sock = self._free.popleft()
        self._found.late_s.append(time.monotonic() - due)
        sock.send(self._heads[number % len(self._heads)])
        self._waiting[sock.fileno()] = sock, due, b""

    def _receive(self, fd: int) -> None:
        sock, due, before = self._waiting.pop(fd, (None, 0.0, b""))
        if sock is None:
            self._epoll.unregister(fd)  # it was closed while nobody waited; sending will tell
            return
        data = before + sock.recv(_READ_BYTES)
        answer = parse_answer(data)
        if answer is None or len(data) < answer.size:
            if len(data) == len(before):
                raise ConnectionError("a connection was closed before its answer")
            self._waiting[fd] = sock, due, data
            return
        self._found.seconds.append(time.monotonic() - due)
        self._found.bad += answer.status != 200
        self._free.append(sock)


def ticking(interval_s: float) -> int:
    """A descriptor that is readable again and again (timerfd; Python has it from 3.13 on)."""
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.timerfd_create(time.CLOCK_MONOTONIC, _NONBLOCKING)
    whole, part = divmod(int(interval_s * 1e9), 10**9)
    spec = struct.pack("@qqqq", whole, part, whole, part)
    if fd < 0 or libc.timerfd_settime(fd, 0, spec, None) < 0:
        raise OSError(ctypes.get_errno(), "no timer of the kernel")
    return int(fd)
