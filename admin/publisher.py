"""Brings snapshots to workers and into the snapshot file, and knows who has which.

One session per connected worker. At most one snapshot is on its way to a worker;
when it has been applied, the latest one follows, as a delta against it. So a slow
worker skips what is outdated, a hung one costs nothing, and deltas always fit.

Knows nothing of state and commands. Invariants:

* a generation counts as applied when the file holds it and every worker that
  takes requests - serving by the roster, or connected - has confirmed it;
* order is that of one session and arrival in it, never that of numbers;
* whoever connects to the socket as another user is sent away.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import struct
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from gateway.core.snapshot import Delta, Snapshot
from gateway.runtime.link import BrokenLink, Message
from gateway.runtime.link_async import AsyncLink
from gateway.runtime.messages import T as Type
from gateway.runtime.messages import WorkerState

from .clock import Clock
from .keeping import Keeper
from .snapshot_bytes import Differences, SnapshotBytes

log = logging.getLogger(__name__)

APPLY_TIMEOUT_S = 5.0
"""How long an operator's request waits for workers."""
HELLO_TIMEOUT_S = 5.0
ACCEPT_RETRY_S = 0.1

ReportEjection = Callable[[str, float, str], None]
"""Takes instance, seconds and reason."""


@dataclass(frozen=True, slots=True)
class Applied:
    """How far a generation has come: `workers` of `of` have applied it; the others by name."""

    workers: int
    of: int
    late: tuple[str, ...] = ()
    """`worker 2 (pid 123)`; empty when all have it."""


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """A worker as the supervisor sees it, and the generation it serves."""

    slot: int
    pid: int
    state: WorkerState
    restarts: int
    started: float
    generation: int = 0
    """0: it has confirmed none to this control process yet."""
    region: int | None = None
    """Which one its counters are in."""

    def __str__(self) -> str:
        return f"worker {self.slot} (pid {self.pid})"


class _Session:
    """A connected worker."""

    __slots__ = ("applied", "link", "on_its_way", "pid", "slot")

    def __init__(self, link: AsyncLink, slot: int, pid: int) -> None:
        self.link = link
        self.slot = slot
        self.pid = pid
        self.applied: Snapshot | None = None
        """What it confirmed in this session."""
        self.on_its_way: Snapshot | None = None


class Publisher:
    """All sessions with workers, and the snapshot file at `path`.

    `session` names this control process's life: workers never mix snapshots of two.
    """

    def __init__(
        self,
        session: str,
        path: Path,
        clock: Clock,
        eject: ReportEjection,
        *,
        apply_timeout_s: float = APPLY_TIMEOUT_S,
    ) -> None:
        self._session_name = session
        self._apply_timeout_s = apply_timeout_s
        self._clock = clock
        self._eject = eject
        self._bytes = SnapshotBytes()
        self._differences = Differences()
        self._sessions: dict[AsyncLink, _Session] = {}
        self._roster: tuple[WorkerStatus, ...] = ()
        self._snapshot: Snapshot | None = None
        self._published_at = 0.0
        self._lag_s: float | None = None
        self._waiters: set[asyncio.Future[None]] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.file = Keeper(session, path, self._bytes, self._differences, clock, self._wake)
        """The snapshot file; follows while its `run` does."""

    # --- what the controller does -----------------------------------------------------

    def publish(self, snapshot: Snapshot, delta: Delta | None = None) -> None:
        """Make this what all workers shall serve. Returns at once.

        `delta` is the difference to the last one, where that is known.
        """
        if delta is not None and self._snapshot is not None:
            self._differences.note(self._snapshot, snapshot, delta)
        self._snapshot = snapshot
        self._published_at = self._clock.monotonic()
        self._lag_s = None
        self.file.put(snapshot)
        for session in list(self._sessions.values()):
            self._offer(session)
        self._wake()

    def applied(self, generation: int) -> Applied:
        """How far a generation has come by now."""
        missing = [w for w in self._expected() if w.generation < generation]
        of = len(self._expected())
        return Applied(of - len(missing), of, tuple(map(str, missing)))

    async def wait_applied(self, generation: int) -> Applied:
        """Wait until a generation is in the file and with every worker that takes requests.

        After the apply timeout the workers that have not confirmed it are late.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(self._apply_timeout_s):
                while self.applied(generation).late or not self.file.is_settled(generation):
                    await self._wait_change()
        return self.applied(generation)

    # --- what others want to know ------------------------------------------------------

    @property
    def workers(self) -> tuple[WorkerStatus, ...]:
        """The roster, with the generation each worker confirmed. Any thread may ask."""
        confirmed = {(s.slot, s.pid): _generation(s) for s in list(self._sessions.values())}
        return tuple(replace(w, generation=confirmed.get((w.slot, w.pid), 0)) for w in self._roster)

    @property
    def lag_s(self) -> float:
        """How long the last publication took to reach all; still growing while it has not."""
        if self._lag_s is not None:
            return self._lag_s
        return self._clock.monotonic() - self._published_at if self._snapshot else 0.0

    # --- the supervisor's side ----------------------------------------------------------

    def take_roster(self, message: Message) -> None:
        """A `roster` message of the supervisor."""
        self._roster = tuple(
            WorkerStatus(
                slot=row["slot"],
                pid=row["pid"],
                state=WorkerState(row["state"]),
                restarts=row["restarts"],
                started=row["started"],
                region=row["region"],
            )
            for row in message["workers"]
        )
        self._wake()

    # --- the workers' side ---------------------------------------------------------------

    async def serve(self, listener: socket.socket) -> None:
        """Accept workers on a listening Unix socket; ends by being cancelled only."""
        listener.setblocking(False)
        loop = asyncio.get_running_loop()
        while True:
            try:
                sock, _ = await loop.sock_accept(listener)
            except OSError as error:  # out of descriptors: those that wait will wait on
                log.warning("a worker could not be accepted: %s", error)
                await self._clock.sleep(ACCEPT_RETRY_S)
                continue
            if not is_own_user(sock):
                log.warning("somebody else connected to the workers' socket and was sent away")
                sock.close()
                continue
            self._start(self.attend(sock))

    async def attend(self, sock: socket.socket) -> None:
        """The session with one connected worker, to its end."""
        link = await AsyncLink.attach(sock)
        try:
            async with asyncio.timeout(HELLO_TIMEOUT_S):
                hello = await link.receive()
            if hello["t"] != Type.HELLO:
                raise BrokenLink(f"{hello['t']!r} instead of a hello")
            session = _Session(link, int(hello["slot"]), int(hello["pid"]))
            self._sessions[link] = session
            self._greet(session, str(hello["session"]), int(hello["generation"]))
            self._wake()
            while True:
                self._take(session, await link.receive())
        except (BrokenLink, TimeoutError) as end:
            log.info("a worker's session ended: %s", end)
        except (KeyError, TypeError, ValueError) as error:
            log.error("a worker's session was cut, its message made no sense: %r", error)
        finally:
            self._sessions.pop(link, None)
            link.close()
            self._wake()

    async def close(self) -> None:
        """End all sessions; workers go on with what they have."""
        for session in list(self._sessions.values()):
            session.link.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.file.close()

    # --- inside ---------------------------------------------------------------------------

    def _start(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _take(self, session: _Session, message: Message) -> None:
        match message["t"]:
            case Type.APPLIED:
                sent = session.on_its_way
                if (
                    sent is not None
                    and message["session"] == self._session_name
                    and message["generation"] == sent.generation
                ):
                    session.applied, session.on_its_way = sent, None
                    self._offer(session)
                    self._wake()
            case Type.EJECTION:
                self._eject(
                    str(message["instance"]), float(message["seconds"]), str(message["reason"])
                )
            case other:
                raise ValueError(f"an unknown message {other!r}")

    def _greet(self, session: _Session, name: str, generation: int) -> None:
        """Send one that has just connected what it has not.

        In this session a number stands for one snapshot, whether it came over a link or in
        the file: who has the last one needs no more than to hear so.
        """
        latest = self._snapshot
        if latest is not None and (name, generation) == (self._session_name, latest.generation):
            session.on_its_way = latest
            session.link.send_frame(self._differences.between(latest, latest).frame(name))
        else:
            self._offer(session)

    def _offer(self, session: _Session) -> None:
        """Send the latest snapshot, unless it is there or another one is on its way."""
        latest = self._snapshot
        if latest is None or session.on_its_way is not None or session.applied is latest:
            return
        session.on_its_way = latest
        session.link.send_frame(self._frame_for(session.applied, latest))

    def _frame_for(self, has: Snapshot | None, latest: Snapshot) -> bytes:
        if has is None:
            return self._bytes.whole_frame(self._session_name, latest)
        return self._differences.between(has, latest).frame(self._session_name)

    def _expected(self) -> Sequence[WorkerStatus]:
        """Every worker that takes requests or is about to, with what it confirmed.

        One that is connected counts whatever the roster says: it may begin to accept
        with what it had been sent before this generation.
        """
        found = {
            (s.slot, s.pid): WorkerStatus(
                s.slot, s.pid, WorkerState.STARTING, 0, 0.0, _generation(s)
            )
            for s in list(self._sessions.values())
        }
        for worker in self._roster:
            key = (worker.slot, worker.pid)
            if worker.state is WorkerState.DEAD:
                found.pop(key, None)
            elif worker.state is WorkerState.SERVING:
                found.setdefault(key, worker)
        return sorted(found.values(), key=lambda w: (w.slot, w.pid))

    def _wake(self) -> None:
        if self._lag_s is None and self._snapshot is not None:
            generation = self._snapshot.generation
            if not self.applied(generation).late and self.file.is_settled(generation):
                self._lag_s = self._clock.monotonic() - self._published_at
        waiters, self._waiters = self._waiters, set()
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def _wait_change(self) -> None:
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            await waiter
        finally:
            self._waiters.discard(waiter)


def is_own_user(sock: socket.socket) -> bool:
    """Is the process at the other end of a Unix socket ours, or the administrator's?"""
    size = struct.calcsize("3i")
    _, uid, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    return uid in (os.getuid(), 0)


def _generation(session: _Session) -> int:
    return session.applied.generation if session.applied is not None else 0
