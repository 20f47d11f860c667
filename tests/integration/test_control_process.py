"""The control process as its supervisor sees it: started by exec, killed at any time."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from msgspec import structs

from gateway.metrics.shared import create_region
from gateway.runtime import boot, messages, snapshot_file
from gateway.runtime.link import BrokenLink, Message
from gateway.runtime.link_async import AsyncLink
from gateway.runtime.settings import AdminSettings, Settings
from tests.support.control import FakeWorker, run, soon

ROOT = Path(__file__).parents[2]


class Gateway:
    """Plays the supervisor: holds the sockets, starts control processes, one worker serves."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.settings = Settings(state_dir=str(folder), admin=AdminSettings(listen=None), workers=1)
        self.link_path = folder / "link.sock"
        self.link_listener = self._listen(self.link_path)
        self.admin_listener = self._listen(self.settings.admin_socket)
        self.region = create_region("test")
        self.worker = FakeWorker(0, os.getpid())
        self.heard: list[Message] = []
        self.process: subprocess.Popen[bytes] | None = None
        self.supervisor: AsyncLink | None = None
        self._tasks: list[asyncio.Task[None]] = []

    @staticmethod
    def _listen(path: Path) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX)
        sock.bind(str(path))
        sock.listen()
        return sock

    async def start(self, floor: int = 0) -> None:
        """A control process, as the supervisor starts one."""
        ours, theirs = socket.socketpair()
        settings_fd = boot.settings_fd(self.settings)
        given = boot.ControlBoot(
            supervisor_fd=theirs.fileno(),
            settings_fd=settings_fd,
            link_fd=self.link_listener.fileno(),
            admin_fds=boot.AdminFds(tcp=None, unix=self.admin_listener.fileno()),
            regions=(self.region,),
            floor=floor,
        )
        self.heard.clear()
        self.process = subprocess.Popen(  # noqa: ASYNC220 - as the supervisor does
            [sys.executable, "-m", "admin.main"],
            env=boot.environment(given, os.environ),
            pass_fds=tuple(given.fds()),
            cwd=ROOT,
            stderr=subprocess.PIPE,
        )
        theirs.close()
        os.close(settings_fd)
        self.supervisor = await AsyncLink.attach(ours)
        self.supervisor.send(messages.processes([], []))
        self._tasks.append(asyncio.create_task(self._listen_to(self.supervisor)))

    async def start_and_serve(self, floor: int = 0) -> None:
        """Start, tell the roster, connect the worker, wait until it is ready."""
        await self.start(floor)
        assert self.supervisor is not None
        row: messages.Json = {
            "slot": 0,
            "region": 0,
            "pid": os.getpid(),
            "state": messages.WorkerState.SERVING,
            "restarts": 0,
            "started": 1.0,
        }
        self.supervisor.send(messages.roster([row], floor))
        await self.worker.attach(await AsyncLink.connect(self.link_path))
        await soon(lambda: self.is_heard("ready"), 20)

    async def _listen_to(self, link: AsyncLink) -> None:
        try:
            while True:
                self.heard.append(await link.receive())
        except BrokenLink:
            return

    def is_heard(self, kind: str) -> bool:
        return any(m["t"] == kind for m in self.heard)

    async def kill(self) -> None:
        """kill -9, in the middle of whatever it does."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        await self.ended()

    async def ended(self) -> tuple[int, str]:
        """Exit code and log."""
        assert self.process is not None
        _, log = await asyncio.to_thread(self.process.communicate)
        return self.process.returncode, log.decode()

    async def call(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        connector = aiohttp.UnixConnector(str(self.settings.admin_socket))
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.request(method, f"http://gateway/api/v1{path}", json=body) as answer,
        ):
            return answer.status, await answer.json(content_type=None)

    async def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            await self.kill()
        if self.supervisor is not None:
            self.supervisor.close()
        await self.worker.close()
        await asyncio.gather(*self._tasks)
        self.link_listener.close()
        self.admin_listener.close()
        os.close(self.region)


@asynccontextmanager
async def gateway(folder: Path) -> AsyncIterator[Gateway]:
    made = Gateway(folder)
    try:
        yield made
    finally:
        await made.close()


SERVICE = {"routes": [{"host": "shop.example"}], "endpoints": ["127.0.0.1:1"]}


def test_a_change_reaches_store_file_and_worker_and_survives_kills(tmp_path: Path) -> None:
    async def go() -> None:
        async with gateway(tmp_path) as g:
            await g.start_and_serve()
            status, body = await g.call("PUT", "/services/v1", SERVICE)
            assert status in (200, 201), body
            assert (body["applied"]["workers"], body["applied"]["of"]) == (1, 1)
            first = g.worker.snapshot
            assert list(first.routes) == ["shop.example"]
            assert len(first.keys) == 1
            stored = snapshot_file.read(g.settings.snapshot_file)
            assert stored is not None
            assert stored[1] == first

            await g.kill()
            await g.start_and_serve(floor=first.generation + 10)
            again = await g.worker.wait_for(first.generation + 11)
            assert (
                replace(
                    again,
                    generation=first.generation,
                    created=first.created,
                    services=first.services,
                )
                == first
            )
            status, body = await g.call("PUT", "/routes/shop.example/weights", {"v1": 7})
            assert (status, body["generation"]) == (200, g.worker.snapshot.generation)

            assert g.supervisor is not None
            g.supervisor.send(messages.stop())
            code, log = await g.ended()
            assert code == 0, log
            assert "Traceback" not in log

    run(go())


def test_signals_for_the_whole_group_are_left_to_the_supervisor(tmp_path: Path) -> None:
    async def go() -> None:
        async with gateway(tmp_path) as g:
            await g.start_and_serve()
            assert g.process is not None
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
                g.process.send_signal(number)
            assert (await g.call("GET", "/routes"))[0] == 200
            assert g.is_heard("beat")

    run(go())


def test_it_does_not_outlive_its_supervisor(tmp_path: Path) -> None:
    async def go() -> None:
        async with gateway(tmp_path) as g:
            await g.start_and_serve()
            assert g.supervisor is not None
            g.supervisor.close()
            code, log = await g.ended()
            assert code == 1
            assert "the supervisor is gone" in log

    run(go())


@pytest.mark.parametrize("content", [b"no database", None])
def test_a_store_that_is_refused_ends_it_with_a_message_and_code_2(
    tmp_path: Path, content: bytes | None
) -> None:
    async def go() -> None:
        async with gateway(tmp_path) as g:
            path = tmp_path / "gateway.db"
            if content is None:
                path.mkdir()
            else:
                path.write_bytes(content)
            await g.start()
            code, log = await g.ended()
            assert code == 2
            await soon(lambda: g.is_heard("fatal"))
            (fatal,) = [m for m in g.heard if m["t"] == "fatal"]
            assert str(path) in fatal["message"]
            assert str(path) in log
            assert "Traceback" not in log
            assert content is None or path.read_bytes() == content

    run(go())


def test_new_settings_are_taken_in(tmp_path: Path) -> None:
    async def go() -> None:
        async with gateway(tmp_path) as g:
            await g.start_and_serve()
            await g.call("PUT", "/services/v1", SERVICE)
            assert g.supervisor is not None
            timeouts = structs.replace(g.settings.timeouts, connect=1.25)
            g.supervisor.send(messages.settings(structs.replace(g.settings, timeouts=timeouts)))
            await soon(
                lambda: [r.timeouts.connect_s for r in g.worker.snapshot.routes.values()] == [1.25]
            )

    run(go())
