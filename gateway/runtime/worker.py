"""A worker process: one event loop, one data plane, and the strings it hangs on.

    supervisor link   covers, drain, settings, reopen   <->  beat, ready, leaving, drained
    control session   snapshots                         <->  applied, ejections
    snapshot file     read once, before accepting: a worker needs nobody to start

It must not import aiohttp, sqlite3, prometheus_client, yaml or pydantic: a
worker is small and quickly there again.

Start: recall the snapshot file, give the control process (when it is up) a second
to send something newer, accept, say ready. With no snapshot at all it answers on the
health listener only (not ready) until there is one.

End: told by the supervisor (`drain`); told by a signal, then it asks the
supervisor how; the supervisor gone, then it gives its sockets up at once, so
that a new gateway can have the addresses, and finishes what is open.
"""

from __future__ import annotations

import gc

if __name__ == "__main__":
    # What is imported stays: until it all serves (`_settle`), looking for garbage is in vain.
    gc.disable()

import asyncio
import logging
import os
import resource
import signal
import socket
from collections.abc import Callable, Coroutine
from contextlib import suppress
from enum import Enum, auto
from typing import Protocol

from gateway.core.snapshot import Delta, Snapshot
from gateway.metrics.worker import WorkerMetrics
from gateway.proxy.dataplane import DataPlane, Ejection

from . import boot, logs, loops, messages, snapshot_file
from .boot import WorkerBoot
from .control_session import ControlSession
from .link import BrokenLink, Message
from .link_async import AsyncLink
from .messages import T
from .settings import Settings

log = logging.getLogger("gateway.worker")

BEAT_S = 0.25
CONTROL_WAIT_S = 1.0
"""How long a start waits for the control process to send what it has."""
ANSWER_WAIT_S = 1.0
"""How long a worker that was told to leave waits for the supervisor's terms."""
SETTLE_S = 1.0
"""After so long it is no start any more; who waited for it has been served."""
HEALTH = "health"


class Plane(Protocol):
    """What a worker needs of its data plane (`gateway.proxy.dataplane.DataPlane`)."""

    ready: bool

    def apply(self, snapshot: Snapshot, delta: Delta | None = None) -> None:
        """Serve by this snapshot from now on; `delta`: what made it of the one before."""

    def configure(self, settings: Settings) -> None:
        """Take over settings."""

    def listen(self, sock: socket.socket, entrypoint: str) -> None:
        """Accept on this socket; once more changes nothing."""

    def unlisten(self, sock: socket.socket) -> None:
        """Stop accepting on this socket, if it does; the socket stays open."""

    def begin_lame_duck(self) -> None:
        """Tell clients to go elsewhere with their next request."""

    async def drain(self, deadline_s: float) -> int:
        """Finish what is open; the number of connections cut at the deadline."""

    def reopen_logs(self) -> None:
        """Open log files anew."""


MakePlane = Callable[
    [asyncio.AbstractEventLoop, Settings, WorkerMetrics, int, Callable[[Ejection], None]], Plane
]


class Phase(Enum):
    """The life of a worker; it only goes downwards in this list."""

    STARTING = auto()
    SERVING = auto()
    LAME_DUCK = auto()
    """Still accepting, but telling clients to go elsewhere."""
    DRAINING = auto()
    """Not accepting any more."""


def main(make_plane: MakePlane = DataPlane) -> None:
    """Run as a child of the supervisor (see `boot.py`)."""
    given = boot.worker_boot(os.environ)
    settings = boot.settings_from(given.settings_fd)
    logs.set_up(f"worker-{given.slot}")
    _allow_descriptors()
    # The supervisor says when to read configuration and logs again.
    for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    with asyncio.Runner(loop_factory=loops.loop_factory(settings.transport)) as runner:
        code = runner.run(Worker(given, settings, make_plane).run())
    raise SystemExit(code)


def _allow_descriptors() -> None:
    """Two per request under way: as many as the system lets us have."""
    with suppress(OSError, ValueError):
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _settle() -> None:
    """What was loaded so far lives as long as the process: keep the collector off it."""
    gc.collect()
    gc.freeze()
    gc.enable()


class Worker:
    """See the module. Make it before the loop runs, `run` it once."""

    def __init__(self, given: WorkerBoot, settings: Settings, make_plane: MakePlane) -> None:
        self._given = given
        self._settings = settings
        self._make_plane = make_plane
        self._phase = Phase.STARTING
        self._covers: frozenset[int] = frozenset()
        self._sockets = [
            (one.slot, one.entrypoint, socket.socket(fileno=one.fd)) for one in given.listeners
        ]
        self._ending: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_over = asyncio.Event()
        self._exit_code = 0
        self._is_replaced = False

    async def run(self) -> int:
        """Start, serve, end; the exit code."""
        loop = asyncio.get_running_loop()
        self._plane = self._make_plane(
            loop,
            self._settings,
            WorkerMetrics(self._given.region_fd),
            self._given.slot,
            self._report,
        )
        self._control = ControlSession(self._given.link_path, self._given.slot, self._plane.apply)
        self._supervisor = await AsyncLink.attach(socket.socket(fileno=self._given.supervisor_fd))
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._leave)
        self._beat()
        self._spawn(self._obey())
        self._following = self._spawn(self._control.run())
        self._spawn(self._start())
        await self._is_over.wait()
        await self._supervisor.finish(1.0)
        return self._exit_code

    def _spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._on_done)
        return task

    def _on_done(self, task: asyncio.Task[None]) -> None:
        """A part that failed ends the worker: half a one would look alive."""
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("this worker cannot go on", exc_info=error)
            self._exit_code = 1
            self._is_over.set()

    # -- start

    async def _start(self) -> None:
        self._recall()
        if self._given.is_control_up or self._control.snapshot.generation == 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(CONTROL_WAIT_S):
                    await self._control.is_current.wait()
        if not self._control.is_current.is_set():
            self._recall()  # the file may have been written since
        if self._control.snapshot.generation == 0:
            log.warning("no snapshot yet; waiting for the control process")
            self._adjust()
            await self._control.is_current.wait()
        if self._phase is not Phase.STARTING:
            return
        self._phase = Phase.SERVING
        self._plane.ready = True
        self._adjust()
        self._supervisor.send(messages.ready())
        log.info("serving generation %d", self._control.snapshot.generation)
        asyncio.get_running_loop().call_later(SETTLE_S, _settle)

    def _recall(self) -> None:
        """Take the snapshot file, unless it is the one already taken."""
        path = self._settings.snapshot_file
        header = snapshot_file.read_header(path)
        if header is None or (header.session, header.generation) == self._control.place:
            return
        found = snapshot_file.read(path)
        if found is None:
            log.warning("%s is damaged; it is ignored", path)
            return
        self._control.recall(*found)

    # -- what others say

    async def _obey(self) -> None:
        """The supervisor's messages, to its end."""
        while True:
            try:
                message = await self._supervisor.receive()
            except BrokenLink:
                if self._is_over.is_set():
                    return  # closed here
                log.error("the supervisor is gone; finishing what is open")
                self._abandon()
                return
            self._on_message(message)

    def _on_message(self, message: Message) -> None:
        match message["t"]:
            case T.COVER:
                self._covers = frozenset(message["slots"])
                self._adjust()
            case T.DRAIN:
                if message["is_replaced"]:
                    self._give_way()
                self._end(message["lame_duck"], message["deadline"])
            case T.SETTINGS:
                self._settings = messages.settings_of(message)
                self._plane.configure(self._settings)
            case T.REOPEN:
                self._plane.reopen_logs()

    def _report(self, ejection: Ejection) -> None:
        self._control.report(ejection.instance, ejection.seconds, ejection.reason)

    def _beat(self) -> None:
        self._supervisor.send(messages.beat(self._control.snapshot.generation))
        asyncio.get_running_loop().call_later(BEAT_S, self._beat)

    # -- sockets

    def _adjust(self) -> None:
        """Accept on exactly the sockets that this phase and the covers say."""
        for slot, entrypoint, sock in self._sockets:
            if self._is_to_accept(slot, entrypoint):
                self._plane.listen(sock, entrypoint)
            else:
                self._plane.unlisten(sock)

    def _is_to_accept(self, slot: int, entrypoint: str) -> bool:
        is_mine = slot == self._given.slot or slot in self._covers
        if entrypoint == HEALTH:
            return (
                is_mine and not self._is_replaced
            )  # answers in every phase, if only that it is not ready
        is_accepting = self._phase in (Phase.SERVING, Phase.LAME_DUCK)
        return is_mine and is_accepting and not self._is_replaced

    # -- end

    def _leave(self) -> None:
        """A signal said so: let siblings take over first, on the supervisor's terms."""
        self._supervisor.send(messages.leaving())
        asyncio.get_running_loop().call_later(ANSWER_WAIT_S, self._end_unanswered)

    def _end_unanswered(self) -> None:
        if self._ending is None:
            self._end(0.0, self._settings.timeouts.drain)

    def _abandon(self) -> None:
        self._phase = Phase.DRAINING
        self._following.cancel()  # a new gateway's control process must not count on us
        for _, _, sock in self._sockets:
            self._plane.unlisten(sock)
            sock.close()
        self._sockets.clear()
        self._end(0.0, self._settings.timeouts.drain)

    def _give_way(self) -> None:
        """Another worker accepts in this one's place, and answers whether the gateway is ready."""
        self._is_replaced = True
        self._adjust()

    def _end(self, lame_duck_s: float, deadline_s: float) -> None:
        """Begin to end, or, while ending already, do it on these terms instead."""
        if self._ending is not None:
            self._ending.cancel()
        self._ending = self._spawn(self._drain(lame_duck_s, deadline_s))

    async def _drain(self, lame_duck_s: float, deadline_s: float) -> None:
        # A kept connection that asks is answered for the gateway, and moves to the successor.
        self._plane.ready = self._is_replaced
        self._plane.begin_lame_duck()
        if lame_duck_s > 0 and self._phase is Phase.SERVING:
            self._phase = Phase.LAME_DUCK
            await asyncio.sleep(lame_duck_s)
        self._phase = Phase.DRAINING
        self._adjust()
        cut = await self._plane.drain(deadline_s)
        self._supervisor.send(messages.drained(cut))
        self._is_over.set()


if __name__ == "__main__":
    main()
