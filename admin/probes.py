"""One active check: ask an instance, pass or say why not.

Knows nothing of verdicts and schedules. The answer comes from a process that is
perhaps broken or hostile: time, bytes and lines read are all bounded, and the
connection is fresh every time, as a kept one would hide that no new one works.
A command that is asked is killed with all of its group, however it goes.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from gateway.core.model import CheckKind
from gateway.runtime.tls_contexts import why

LINE_MAX = 8192
"""Bytes of a status line or a field."""
FIELDS_MAX = 256
"""Lines of the head of an interim answer."""
INTERIM_MAX = 4
"""Answers of 1xx before the real one."""
FAREWELL_BYTES = 16 << 10
FAREWELL_S = 0.1
"""How much, and how long, is read after the verdict so that the instance can end its answer."""

OUTPUT_MAX = 2048
"""Bytes of a command's output that are kept, the last ones."""
WORDS_MAX = 200
"""Characters of its last line that are told."""

_SAFE = "/?#[]@!$&'()*+,;=:%-._~"
"""What stands in paths and hosts as it is."""

_STATUS = re.compile(rb"HTTP/1\.[01] ([1-9]\d\d)(?: [^\r\n]*)?\r?\n\Z")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a command that checks an instance runs in; `folder` None: our own."""

    environment: Mapping[str, str] = field(default_factory=dict)
    folder: str | None = None


@dataclass(frozen=True, slots=True)
class Inside:
    """Where the instance is: `run` runs a command there, and says why it has not passed."""

    run: Callable[[tuple[str, ...]], Awaitable[str | None]]


class NotAsked(Exception):  # noqa: N818 - says what happened
    """The question did not reach the instance, so the answer is not known."""


@dataclass(frozen=True, slots=True)
class Question:
    """What to ask where. `authority` is the Host field of an HTTP check."""

    kind: CheckKind
    address: str
    port: int
    path: str
    authority: str
    timeout_s: float
    command: tuple[str, ...] = ()
    surroundings: Surroundings | Inside = Surroundings()
    tls: tuple[ssl.SSLContext, str] | None = None
    """Whom to believe, and the name to ask for; None: plain http."""


Probe = Callable[[Question], Awaitable[str | None]]
"""None: passed; else why not, in words."""


async def probe(question: Question) -> str | None:
    """Ask once. Never raises but for being cancelled, and `NotAsked`."""
    try:
        async with asyncio.timeout(question.timeout_s):
            match question.kind:
                case CheckKind.RUNNING:
                    return None
                case CheckKind.COMMAND if isinstance(question.surroundings, Inside):
                    return await question.surroundings.run(question.command)
                case CheckKind.COMMAND:
                    assert isinstance(question.surroundings, Surroundings)
                    return await _run(question.command, question.surroundings)
            return await _ask(question)
    except TimeoutError:
        return f"no answer within {question.timeout_s:g} s"
    except OSError as error:
        return why(error)
    except (ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        return "the answer is no HTTP"


async def _ask(question: Question) -> str | None:
    options: dict[str, Any] = {}
    if question.tls is not None:
        options["ssl"], options["server_hostname"] = question.tls
    reader, writer = await asyncio.open_connection(
        question.address,
        question.port,
        limit=LINE_MAX,
        flags=socket.AI_NUMERICHOST,
        **options,
    )
    try:
        if question.kind is CheckKind.TCP:
            return None
        writer.write(request_of(question))
        status = await _status(reader)
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(FAREWELL_S):
                await _read_farewell(reader)
        return None if 200 <= status < 400 else f"status {status}"
    finally:
        writer.transport.abort()


def request_of(question: Question) -> bytes:
    """The request of an HTTP check; nothing in path or host can end a line of it."""
    path = quote(question.path if question.path.startswith("/") else f"/{question.path}", _SAFE)
    return (
        f"GET {path} HTTP/1.1\r\n"
        f"Host: {quote(question.authority, _SAFE)}\r\n"
        "User-Agent: gateway-health-check\r\n"
        "Accept: */*\r\n"
        "Connection: close\r\n\r\n"
    ).encode("ascii")


async def _status(reader: asyncio.StreamReader) -> int:
    for _ in range(INTERIM_MAX + 1):
        line = await reader.readuntil(b"\n")
        found = _STATUS.match(line)
        if found is None:
            raise ValueError(line)
        status = int(found[1])
        if status >= 200 or status == 101:
            return status
        for _ in range(FIELDS_MAX):
            if not (await reader.readuntil(b"\n")).strip():
                break
        else:
            raise ValueError("an endless head")
    raise ValueError("only interim answers")


async def _read_farewell(reader: asyncio.StreamReader) -> None:
    taken = 0
    while taken < FAREWELL_BYTES and (data := await reader.read(FAREWELL_BYTES)):
        taken += len(data)


async def _run(command: tuple[str, ...], surroundings: Surroundings) -> str | None:
    """None: it ended with 0."""
    program, *arguments = command
    with _output() as (theirs, all_words):
        try:
            process = await asyncio.create_subprocess_exec(
                program,
                *arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=theirs,
                stderr=theirs,
                env=dict(surroundings.environment),
                cwd=surroundings.folder,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else str(error)
            return f"the command cannot be run: {why}"
        try:
            code = await process.wait()
        finally:
            with suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)
            # Reaped also when the time is over, or it would stay as a zombie.
            await process.wait()
        said = all_words()
    return None if code == 0 else f"the command ended with {code}{said}"


def last_words(output: bytes) -> str:
    """The last line of a command's output, to put behind what is told of its end."""
    lines = output.decode("utf-8", "replace").strip().splitlines()
    shown = "".join(c if c.isprintable() else " " for c in lines[-1]) if lines else ""
    return f": {shown[:WORDS_MAX]}" if shown else ""


@contextmanager
def _output() -> Iterator[tuple[int, Callable[[], str]]]:
    """A pipe that is read all the while: the end for a program, and what gives its last line."""
    loop = asyncio.get_running_loop()
    ours, theirs = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    os.set_blocking(theirs, True)
    kept = b""

    def read() -> None:
        nonlocal kept
        with suppress(BlockingIOError):
            data = os.read(ours, 65536)
            kept = (kept + data)[-OUTPUT_MAX:]
            if not data:
                loop.remove_reader(ours)

    def all_words() -> str:
        read()
        return last_words(kept)

    loop.add_reader(ours, read)
    try:
        yield theirs, all_words
    finally:
        loop.remove_reader(ours)
        os.close(ours)
        os.close(theirs)
