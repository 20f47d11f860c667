"""Starting and stopping the programs of a benchmark, each on the CPUs it is given."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

START_S = 60.0
STOP_S = 10.0


class NotStarted(Exception):  # noqa: N818 - says what happened
    """A program did not come up; the message has the end of what it said."""


class Program:
    """A context: the program runs in the foreground, in a group of its own, into a log file."""

    def __init__(
        self,
        command: Sequence[str],
        log: Path,
        *,
        cwd: Path | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self._command = command
        self._log = log
        self._cwd = cwd
        self._variables = variables or {}
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._cwd,
                env={**os.environ, **self._variables},
                process_group=0,
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        process = self._process
        assert process is not None
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    @property
    def pid(self) -> int:
        """Its first process."""
        assert self._process is not None
        return self._process.pid

    def wait_port(self, port: int) -> None:
        """Wait until it accepts there. Raises `NotStarted`."""
        for _ in self.attempts():
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
            except OSError:
                continue
            return

    def attempts(self, pause_s: float = 0.02) -> Iterator[None]:
        """Once per attempt at what waits for its start. Raises `NotStarted` when it takes too long."""
        assert self._process is not None
        end = time.monotonic() + START_S
        while time.monotonic() < end and self._process.poll() is None:
            yield
            time.sleep(pause_s)
        said = "\n".join(self._log.read_text(errors="replace").strip().splitlines()[-5:])
        raise NotStarted(f"{' '.join(self._command[:4])} did not come up: {said}")


def free_ports(count: int) -> tuple[int, ...]:
    """Ports on 127.0.0.1 that nobody listens on now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for sock in sockets:
            sock.bind(("127.0.0.1", 0))
        return tuple(int(sock.getsockname()[1]) for sock in sockets)
    finally:
        for sock in sockets:
            sock.close()


@contextmanager
def on_cpus(cpus: frozenset[int]) -> Iterator[None]:
    """What is started inside runs on these CPUs only."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def split_cpus(wanted: int = 1) -> tuple[frozenset[int], frozenset[int]]:
    """The CPUs for what is measured, and for load and backends; all for both if there is one only.

    `wanted`: so many for what is measured, if as many are left for the others, else one.
    """
    return split_of(os.sched_getaffinity(0), wanted)


def split_of(cpus: Collection[int], wanted: int) -> tuple[frozenset[int], frozenset[int]]:
    """`split_cpus`, of these."""
    usable = sorted(cpus)
    if len(usable) < 2:
        return frozenset(usable), frozenset(usable)
    at = len(usable) - (wanted if 2 * wanted <= len(usable) else 1)
    return frozenset(usable[at:]), frozenset(usable[:at])
