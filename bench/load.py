"""Load in a process of its own, so that it neither slows nor hides what is measured."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Self

import uvloop

from .clients import GIVE_UP_S, Clients, Plan
from .records import Records

START_S = 20.0
_SPAWN = multiprocessing.get_context("spawn")


class Load:
    """A context: clients work by the plan from entering it to `stop` or its end."""

    def __init__(self, plan: Plan) -> None:
        self._ours, theirs = _SPAWN.Pipe()
        self._process = _SPAWN.Process(target=_run, args=(plan, theirs), daemon=True)
        self._theirs = theirs

    def __enter__(self) -> Self:
        self._process.start()
        self._theirs.close()
        if not self._ours.poll(START_S):
            raise RuntimeError("the load clients did not start")
        self._ours.recv()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ours.close()
        self._process.join(2 * GIVE_UP_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def stop(self) -> Records:
        """End the load; every request of it, those under way included."""
        self._ours.send("stop")
        if not self._ours.poll(START_S):
            raise RuntimeError("the load clients did not stop")
        records = self._ours.recv()
        assert isinstance(records, Records)
        return records


def _run(plan: Plan, pipe: Connection) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        records = runner.run(_serve(plan, pipe))
    os.set_blocking(pipe.fileno(), True)  # the loop has made it non-blocking
    with contextlib.suppress(EOFError, OSError):  # perhaps nobody wants them any more
        pipe.recv()
        pipe.send(records)


async def _serve(plan: Plan, pipe: Connection) -> Records:
    """Run the clients; says so once each has had an answer, on average."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_reader(pipe.fileno(), stop.set)  # told to stop, or nobody is there any more
    clients = Clients(plan)
    running = asyncio.ensure_future(clients.run(stop))
    while clients.answers < plan.kept + plan.fresh and not stop.is_set():
        await asyncio.sleep(0.01)
    pipe.send("running")
    records = await running
    loop.remove_reader(pipe.fileno())
    return records
