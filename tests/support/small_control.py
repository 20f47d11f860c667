"""A control process of a few lines, for tests of the supervisor and of workers.

Publishes one empty snapshot to every worker that connects and writes whatever
it hears to the journal, a JSON line each. Lines appended to the file `orders` beside
the journal while it lives are messages for the supervisor. Run as `python small_control.py
JOURNAL MODE`; MODE is `publish`, `mute` (alive, but publishes nothing) or
`fatal` (calls the start hopeless).
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
import socket
import sys
from pathlib import Path

import orjson

from gateway.core.snapshot import EMPTY, Snapshot, whole
from gateway.runtime import boot, messages, snapshot_file
from gateway.runtime.link import BrokenLink
from gateway.runtime.link_async import AsyncLink

BEAT_S = 0.1
ORDERS_S = 0.01
SESSION = "small"


async def main(journal: Path, mode: str) -> None:
    given = boot.control_boot(os.environ)
    settings = boot.settings_from(given.settings_fd)
    snapshot = dataclasses.replace(EMPTY, generation=given.floor + 1)
    tasks: set[asyncio.Task[None]] = set()

    def note(who: str, what: object) -> None:
        with open(journal, "ab") as file:
            file.write(orjson.dumps({"who": who, "pid": os.getpid(), "what": what}) + b"\n")

    async def attend(link: AsyncLink, snapshot: Snapshot) -> None:
        try:
            note("worker", await link.receive())
            link.send(messages.snapshot(SESSION, whole(snapshot)))
            while True:
                note("worker", await link.receive())
        except BrokenLink:
            link.close()

    async def accept() -> None:
        listener = socket.socket(fileno=given.link_fd)
        while True:
            connection, _ = await asyncio.get_running_loop().sock_accept(listener)
            link = await AsyncLink.attach(connection)
            task = asyncio.create_task(attend(link, snapshot))
            tasks.add(task)

    async def beat(supervisor: AsyncLink) -> None:
        while True:
            supervisor.send(messages.beat())
            await asyncio.sleep(BEAT_S)

    async def obey(supervisor: AsyncLink) -> None:
        path = journal.with_name("orders")
        done = len(path.read_bytes()) if path.exists() else 0
        while True:
            orders = path.read_bytes()[done:] if path.exists() else b""
            for line in orders.splitlines(keepends=True):
                if line.endswith(b"\n"):
                    done += len(line)
                    supervisor.send(orjson.loads(line))
            await asyncio.sleep(ORDERS_S)

    supervisor = await AsyncLink.attach(socket.socket(fileno=given.supervisor_fd))
    note("boot", {"floor": given.floor, "workers": settings.workers})
    if mode == "fatal":
        supervisor.send(messages.fatal("the state file /x/y.db is damaged; restore it"))
        await supervisor.finish(5)
        sys.exit(2)
    tasks.add(asyncio.create_task(beat(supervisor)))
    tasks.add(asyncio.create_task(obey(supervisor)))
    if mode == "publish":
        snapshot_file.write(
            settings.snapshot_file, snapshot.generation, SESSION, snapshot_file.body(snapshot)
        )
        tasks.add(asyncio.create_task(accept()))
        supervisor.send(messages.ready())
    while True:
        try:
            message = await supervisor.receive()
        except BrokenLink:
            return
        note("supervisor", message)
        if message["t"] == "stop":
            return


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
