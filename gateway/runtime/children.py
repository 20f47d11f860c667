"""Child processes and the posts they fill.

A *post* is a place that must be filled: one per worker slot and one for the
control process. A *child* is the process that fills it now. Children are started
by exec (never by a bare fork), with exactly the descriptors they need, in a
session of their own, so that Ctrl-C in a terminal reaches the supervisor alone.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from . import boot
from .backoff import Backoff
from .boot import ControlBoot, WorkerBoot
from .link import Link
from .messages import WorkerState
from .settings import Settings


class Adopted:
    """A child that a former program of this process started."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def wait(self) -> int:
        """Reap it; the exit code, 0 when somebody else did."""
        if self.returncode is None:
            try:
                self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
            except ChildProcessError:
                self.returncode = 0
        return self.returncode


Process = subprocess.Popen[bytes] | Adopted


@dataclass(slots=True, eq=False)
class Child:
    """A running process. Times are of the monotonic clock."""

    process: Process
    link: Link
    started_s: float
    heard_s: float
    """When it was last heard of; its start at first."""
    has_spoken: bool = False
    is_mute: bool = False
    """Its link is broken; its end is near, or silence will bring it about."""
    kill_by_s: float | None = None
    """When it must have stopped, once it was told to."""
    fatal: str | None = None
    """What the control process called hopeless."""

    @property
    def pid(self) -> int:
        """The process id, safe to signal until the child is reaped."""
        return self.process.pid

    def kill(self) -> None:
        """SIGKILL."""
        os.kill(self.pid, signal.SIGKILL)


@dataclass(slots=True, eq=False)
class Post:
    """A place to be filled. `slot` is the worker slot, None for the control process."""

    name: str
    slot: int | None
    state: WorkerState = WorkerState.DEAD
    child: Child | None = None
    due_s: float | None = 0.0
    """When to fill it again (monotonic); None: it is filled, or shall stay empty."""
    backoff: Backoff = field(default_factory=Backoff)
    restarts: int = 0
    started_unix: float = 0.0
    is_silent: bool = False
    generation: int = 0
    """The snapshot its worker last said it serves."""
    region: int | None = None
    """Where its worker counts; None for the control process."""
    covers: frozenset[int] | None = None
    """The foreign slots its worker was told to accept for; None: nobody knows."""

    @property
    def pid(self) -> int:
        """0 when empty."""
        return self.child.pid if self.child is not None else 0


def spawn(
    command: Sequence[str],
    settings: Settings,
    make_boot: Callable[[int, int], WorkerBoot | ControlBoot],
    now_s: float,
) -> Child:
    """Start a child. `make_boot(supervisor_fd, settings_fd)` completes what it is given.

    Raises `OSError` when the system cannot start a process.
    """
    ours, theirs = socket.socketpair()
    with theirs:
        try:
            settings_fd = boot.settings_fd(settings)
            try:
                given = make_boot(theirs.fileno(), settings_fd)
                process = subprocess.Popen(  # noqa: S603 - our own program
                    command,
                    stdin=subprocess.DEVNULL,
                    env=boot.environment(given, os.environ),
                    pass_fds=tuple(given.fds()),
                    start_new_session=True,
                )
            finally:
                os.close(settings_fd)
        except BaseException:
            ours.close()
            raise
    return Child(process, Link(ours), started_s=now_s, heard_s=now_s)


def describe_exit(code: int) -> str:
    """`exit code 1`, `killed by SIGKILL`."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
