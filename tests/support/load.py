"""Clients that load a gateway and forgive nothing: no retries, every request on record.

Some keep their connection, some open one for each request; all are paced, so
that what is measured is the gateway and not a full machine. They live in a
thread of their own; times are of the monotonic clock, comparable with the test's.

A failure that a *kill* explains is told apart afterwards (`judge`): a request
that was under way on the killed process, and one sent on a kept connection that
the kill had closed. Which connections those are is known exactly, because the
killer looks them up (`Kill`).
"""

from __future__ import annotations

import asyncio
import os
import random
import ssl
import threading
import time
from bisect import bisect
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Self

import uvloop

LATE_S = 1.0
"""An answer that takes longer counts as failed. What was stolen from the machine meanwhile does not count."""
TICK_S = 0.02
STALL_S = 0.1
"""A tick that is so late was held up in the clients' own process, or by the machine."""
GIVE_UP_S = 10.0


class Failure(StrEnum):
    """Why a request counts as failed."""

    REFUSED = "refused"
    """No connection."""
    CUT = "cut"
    """The connection ended before the whole answer was there."""
    STATUS = "status"
    """Another status than 200."""
    LATE = "late"
    NONE_CAME = "none came"
    """No answer at all within `GIVE_UP_S`."""
    WRONG = "wrong"
    """What came is no answer."""


@dataclass(frozen=True, slots=True)
class Record:
    """One request."""

    client: int
    keeps: bool
    """A client that keeps its connection."""
    port: int
    """The client's end of the connection; 0: there was none."""
    connected: float
    start: float
    """When the request was sent, or for a new connection: when it was begun to open."""
    end: float
    status: int = 0
    service: str = ""
    closing: bool = False
    """The answer said `Connection: close`."""
    failure: Failure | None = None
    got: bytes = b""
    """What came of an answer that failed."""
    body: bytes = b""
    """Of an answer that did not fail, where the load keeps bodies."""

    @property
    def is_reuse(self) -> bool:
        return self.connected < self.start


@dataclass(frozen=True, slots=True)
class Kill:
    """A worker was killed at `time`, while it held connections from these client ports."""

    time: float
    ports: frozenset[int]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of all requests. `failed` holds those that nothing excuses."""

    answered: int
    in_flight: Sequence[Record]
    """Under way on a killed process."""
    stale: Sequence[Record]
    """Sent on a kept connection that a kill had closed."""
    failed: Sequence[Record]

    def __str__(self) -> str:
        kinds = Counter(r.failure for r in self.failed)
        return (
            f"{self.answered} answered, {len(self.in_flight)} in flight at kills, "
            f"{len(self.stale)} on connections that a kill closed, {len(self.failed)} failed "
            f"{dict(kinds)}: {list(self.failed)[:5]}"
        )


def judge(records: Iterable[Record], kills: Sequence[Kill] = ()) -> Verdict:
    """Tell apart what kills explain."""
    answered = 0
    in_flight, stale, failed = [], [], []
    for record in records:
        if record.failure is None:
            answered += 1
            continue
        kill = next(
            (k for k in kills if record.port in k.ports and record.connected <= k.time), None
        )
        if record.failure is not Failure.CUT or kill is None or record.end < kill.time:
            failed.append(record)
        elif record.start <= kill.time:
            in_flight.append(record)
        elif record.is_reuse:
            stale.append(record)
        else:
            failed.append(record)
    return Verdict(answered, in_flight, stale, failed)


def stolen_s() -> float:
    """CPU seconds so far in which somebody wanted to run here and the host let others run.

    The `steal` of proc_stat(5), of all CPUs together; always 0 where nothing is virtual.
    """
    fields = Path("/proc/stat").read_text().partition("\n")[0].split()
    return int(fields[8]) / os.sysconf("SC_CLK_TCK")


@dataclass
class _Answer:
    status: int
    service: str
    closing: bool
    body: bytes


@dataclass
class Load:
    """The clients. `with Load(port, host): ...`, then look at `records`."""

    port: int
    host: str
    keeping: int = 32
    per_request: int = 8
    pause_s: float = 0.1
    """Between two requests of a client, on average."""
    path: str = "/"
    seed: int = 1
    late_s: float = LATE_S
    keep_bodies: bool = False
    tls: ssl.SSLContext | None = None
    """None: plain http."""
    records: list[Record] = field(default_factory=list)
    stood_still: list[tuple[float, float]] = field(default_factory=list)
    """When the clients themselves did not run (from, to). It excuses nothing, it explains."""
    _stolen: list[tuple[float, float]] = field(default_factory=list)
    """What was stolen so far, now and then (when, seconds)."""
    _is_over: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._run, name="load")
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Begin no more requests, wait for the last answers."""
        self._is_over.set()
        if self._thread is not None:
            self._thread.join(GIVE_UP_S + 10)
            assert not self._thread.is_alive()

    def wait_answers(self, count: int, timeout_s: float = 20.0) -> None:
        """Wait until so many more requests have ended."""
        wanted = len(self.records) + count
        end = time.monotonic() + timeout_s
        while len(self.records) < wanted:
            assert time.monotonic() < end, f"{wanted - len(self.records)} answers are missing"
            time.sleep(0.005)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._clients())

    async def _clients(self) -> None:
        ticking = asyncio.create_task(self._tick())
        async with asyncio.TaskGroup() as group:
            for number in range(self.keeping + self.per_request):
                group.create_task(self._client(number, number < self.keeping))
        ticking.cancel()

    async def _tick(self) -> None:
        """Take note of when the clients themselves stood still."""
        while True:
            begin = time.monotonic()
            await asyncio.sleep(TICK_S)
            end = time.monotonic()
            if end - begin - TICK_S > STALL_S:
                self.stood_still.append((begin, end))
            self._stolen.append((end, stolen_s()))

    def _took_s(self, start: float, end: float) -> float:
        """How long that was, without what was stolen meanwhile."""
        before = bisect(self._stolen, start, key=lambda one: one[0])
        known = self._stolen[before - 1][1] if before else stolen_s()
        return end - start - (stolen_s() - known)

    async def _client(self, number: int, keeps: bool) -> None:
        chance = random.Random(f"{self.seed}-{number}")
        request = b"GET %s HTTP/1.1\r\nHost: %s\r\n%s\r\n" % (
            self.path.encode(),
            self.host.encode(),
            b"" if keeps else b"Connection: close\r\n",
        )
        connection: _Connection | None = None
        await asyncio.sleep(chance.random() * self.pause_s)
        while not self._is_over.is_set():
            if connection is not None and connection.has_ended:
                connection.close()
                connection = None
            connection = await self._request(number, keeps, connection, request)
            await asyncio.sleep(chance.random() * 2 * self.pause_s)
        if connection is not None:
            connection.close()

    async def _request(
        self, number: int, keeps: bool, connection: _Connection | None, request: bytes
    ) -> _Connection | None:
        """One request; the connection if it can carry another one."""
        start = time.monotonic()
        answer: _Answer | None = None
        failure: Failure | None = None
        try:
            async with asyncio.timeout(GIVE_UP_S):
                if connection is None:
                    connection = await _Connection.open(self.port, self.tls, self.host)
                answer = await connection.ask(request)
        except TimeoutError:
            failure = Failure.NONE_CAME
        except (asyncio.IncompleteReadError, ConnectionError, OSError):
            failure = Failure.REFUSED if connection is None else Failure.CUT
        except ValueError:
            failure = Failure.WRONG
        end = time.monotonic()
        if answer is not None:
            if answer.status != 200:
                failure = Failure.STATUS
            elif end - start > self.late_s and self._took_s(start, end) > self.late_s:
                failure = Failure.LATE
        self.records.append(
            Record(
                number,
                keeps,
                connection.port if connection is not None else 0,
                connection.connected if connection is not None else start,
                start,
                end,
                answer.status if answer is not None else 0,
                answer.service if answer is not None else "",
                answer.closing if answer is not None else False,
                failure,
                connection.got if failure is not None and connection is not None else b"",
                answer.body if self.keep_bodies and answer is not None and not failure else b"",
            )
        )
        if connection is None or (keeps and answer is not None and not answer.closing):
            return connection
        connection.close()
        return None


class _Connection:
    """One connection, used for one request after the other."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.port: int = writer.get_extra_info("sockname")[1]
        self.connected = time.monotonic()
        self.got = b""

    @classmethod
    async def open(cls, port: int, tls: ssl.SSLContext | None, host: str) -> _Connection:
        name = host if tls is not None else None
        return cls(*await asyncio.open_connection("127.0.0.1", port, ssl=tls, server_hostname=name))

    @property
    def has_ended(self) -> bool:
        """The other side has closed it, as far as is known here."""
        return self._reader.at_eof() or self._writer.is_closing()

    async def ask(self, request: bytes) -> _Answer:
        self.got = b""
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        self.got = head
        lines = head.decode("latin-1").split("\r\n")
        fields = {n.lower(): v.strip() for n, _, v in (line.partition(":") for line in lines[1:])}
        body = await self._reader.readexactly(int(fields["content-length"]))
        self.got += body
        closing = fields.get("connection", "").lower() == "close"
        return _Answer(int(lines[0].split(" ")[1]), fields.get("x-served-by", ""), closing, body)

    def close(self) -> None:
        with suppress(OSError):
            if self._writer.get_extra_info("ssl_object") is not None:
                self._writer.transport.abort()  # the gateway need not answer the end of TLS
            else:
                self._writer.close()
