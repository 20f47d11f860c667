"""The output of containers, written into files like those of local processes.

Reading, cutting and keeping them is then the same for both (`launching/logs.py`). How far
a file goes is the time of its last change, which is set to the time the Engine gave the
last line: so a follower that comes anew goes on behind it, whatever ended the one before.
"""

from __future__ import annotations

import asyncio
import calendar
import logging
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path

import aiodocker
import aiohttp

from .engine import CONNECT_S, Engine, EngineError, NoSuchThing

log = logging.getLogger(__name__)

AGAIN_S = 1.0
"""Between attempts to follow a container that runs."""
NO_ROOM_S = 10.0
"""The same when what it writes cannot be kept."""
_HEADER = 8
_FRAME_MAX = 1 << 20
_TIME = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?Z ?")


class NotKeptError(Exception):
    """What a container writes cannot be read, or has no place."""


class Frames:
    """Cuts the Engine's stream into entries: each a time (nanoseconds) and bytes.

    Entries are lines, or pieces of very long ones. A container with a terminal has no
    frames, but lines.
    """

    def __init__(self, has_terminal: bool) -> None:
        self._has_terminal = has_terminal
        self._rest = b""

    def take(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """The entries that are complete with these bytes. Raises `ValueError`."""
        self._rest += data
        payloads = self._lines() if self._has_terminal else self._frames()
        for payload in payloads:
            found = _TIME.match(payload)
            if found is not None:
                yield _nanoseconds(found), payload[found.end() :]

    def _lines(self) -> Iterator[bytes]:
        *lines, self._rest = self._rest.split(b"\n")
        if len(self._rest) > _FRAME_MAX:
            lines.append(self._rest)
            self._rest = b""
        for line in lines:
            yield line + b"\n"

    def _frames(self) -> Iterator[bytes]:
        at, data = 0, self._rest
        while len(data) - at >= _HEADER:
            length = int.from_bytes(data[at + 4 : at + _HEADER], "big")
            if length > _FRAME_MAX or data[at] > 3:
                raise ValueError("not the Engine's framing")
            if len(data) - at < _HEADER + length:
                break
            yield data[at + _HEADER : at + _HEADER + length]
            at += _HEADER + length
        self._rest = data[at:]


def _nanoseconds(found: re.Match[bytes]) -> int:
    return _seconds(found[1]) * 1_000_000_000 + int((found[2] or b"0").ljust(9, b"0"))


@lru_cache(maxsize=64)
def _seconds(text: bytes) -> int:
    return calendar.timegm(time.strptime(text.decode(), "%Y-%m-%dT%H:%M:%S"))


class Followers:
    """One task for each container whose output is followed."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def follow(self, container: str, file: Path) -> None:
        """Have its output written from where the file ends, until it has ended."""
        if container not in self._tasks:
            task = asyncio.create_task(self._follow_always(container, file))
            self._tasks[container] = task
            task.add_done_callback(lambda _: self._tasks.pop(container, None))

    async def finish(self, container: str, file: Path, within_s: float) -> None:
        """Have all that a container that ended wrote in its file, or as much as there is time."""
        self.follow(container, file)
        await asyncio.wait([self._tasks[container]], timeout=within_s)

    def forget(self, container: str) -> None:
        """Nobody wants to know any more."""
        if (task := self._tasks.get(container)) is not None:
            task.cancel()

    async def close(self) -> None:
        """End all of them."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _follow_always(self, container: str, file: Path) -> None:
        is_told = False
        while True:
            try:
                has_terminal = (await self._look(container))[1]
                await self._follow(container, has_terminal, file)
                if not (await self._look(container))[0]:
                    return  # the stream ended because the program did: that was all
            except NoSuchThing:
                return
            except EngineError as error:
                log.debug("the output of the container %s: %s", container[:12], error)
            except NotKeptError as error:
                if not is_told:
                    log.warning("the output of %s is not kept: %s", container[:12], error)
                is_told = True
                await asyncio.sleep(NO_ROOM_S)
            await asyncio.sleep(AGAIN_S)

    async def _look(self, container: str) -> tuple[bool, bool]:
        found = await self._engine.inspect(container)
        with self._engine.reading():
            return bool(found["State"].get("Running")), bool(found["Config"].get("Tty"))

    async def _follow(self, container: str, has_terminal: bool, file: Path) -> None:
        """Until the stream ends."""
        # A disk without room is not an Engine that is gone: `asking` must not take the one for the
        # other.
        with _keeping():
            fd, last = _open(file)
        try:
            frames = Frames(has_terminal)
            limits = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S)
            params = {
                "follow": "1",
                "stdout": "1",
                "stderr": "1",
                "timestamps": "1",
                "since": f"{last // 10**9}.{last % 10**9:09d}",
            }
            with self._engine.asking() as docker:
                url = f"{docker.docker_host}/containers/{container}/logs"
                async with docker.session.get(url, params=params, timeout=limits) as answer:
                    if answer.status != 200:
                        raise aiodocker.DockerError(answer.status, (await answer.text())[:500])
                    async for chunk in answer.content.iter_any():
                        with _keeping():
                            new = [(at, data) for at, data in frames.take(chunk) if at > last]
                            if new:
                                last = new[-1][0]
                                _write(fd, b"".join(data for _, data in new), last)
        finally:
            os.close(fd)


@contextmanager
def _keeping() -> Iterator[None]:
    """What is wrong with a file, or with what is to be written, as `NotKeptError`."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise NotKeptError(getattr(error, "strerror", None) or str(error)) from None


def _open(file: Path) -> tuple[int, int]:
    """The file, and up to which time it goes."""
    with suppress(FileExistsError):
        file.parent.mkdir(parents=True, mode=0o700)
    flags = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        fd = os.open(file, flags)
    except FileNotFoundError:
        fd = os.open(file, flags | os.O_CREAT, 0o600)
        return fd, 0
    found = os.fstat(fd)
    return fd, found.st_mtime_ns if found.st_size else 0


def _write(fd: int, data: bytes, last: int) -> None:
    while data:
        data = data[os.write(fd, data) :]
    os.utime(fd, ns=(last, last))
