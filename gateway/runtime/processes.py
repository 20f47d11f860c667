"""Backends: the processes that the control process has started for services.

They are the supervisor's children, so that they outlive the control process; this
table is the record of them, and is told in full to every control process that comes.
What ought to run is not known here, only what was asked for: `launch` and `halt`.

Invariants:
* an id is started once: a `launch` of an id in the table changes nothing;
* a backend is a session of its own. Its end is the end of the process that was
  started; whatever else is in its group is told to end then, and killed after the
  grace time. It stays in the table, as stopping, until its group is empty;
* a process that left its group is found by its mark (`marks.py`) and killed when its
  backend has gone from the table;
* launches that wait for their turn are forgotten with the control process that asked.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from . import marks, messages
from .children import Adopted, Process, describe_exit
from .handover import HandedBackend, HandedProcesses
from .link import Message
from .messages import Json
from .prctl import tie_to_parent

log = logging.getLogger("gateway.supervisor")

AT_ONCE = 8
"""Launches of one pass: starting a process takes some ms, and workers are to be heard meanwhile."""
SWEEP_S = 1.0
"""The pause between two searches for processes that left their group."""
ENDED_MAX = 10_000
"""Ends remembered while there is no control process to tell."""


@dataclass(slots=True, eq=False)
class Backend:
    """A process of the table. Times are of the monotonic clock unless said otherwise."""

    id: str
    service: str
    note: Json
    """What the control process wants to find again with it."""
    process: Process
    grace_s: float
    started_unix: float
    started_s: float
    is_halted: bool = False
    """Told to end."""
    kill_by_s: float | None = None
    """When its group is killed."""
    has_ended: bool = False
    """The process itself; others of its group are still there."""

    @property
    def pid(self) -> int:
        """Also the id of its group and session."""
        return self.process.pid

    def row(self) -> Json:
        """As the control process is told."""
        is_stopping = self.is_halted or self.has_ended
        return {
            "id": self.id,
            "service": self.service,
            "note": self.note,
            "pid": self.pid,
            "started_unix": self.started_unix,
            "state": "stopping" if is_stopping else "running",
        }

    def signal(self, number: signal.Signals) -> None:
        """Signal the whole group."""
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            pass
        except OSError as error:
            log.error("%s cannot be signalled: %s", self.id, error.strerror)

    @property
    def has_group(self) -> bool:
        """Is anything left of its group?"""
        try:
            os.killpg(self.pid, 0)
        except ProcessLookupError:
            return False
        except OSError:
            pass  # there, but somebody else's
        return True


class Processes:
    """The table. `home` is the gateway's mark, see `marks.home_of`.

    `handed` is the table of the program that ran in this process before.
    """

    def __init__(self, home: str, handed: HandedProcesses | None = None) -> None:
        self._home = home
        self._backends: dict[str, Backend] = {}
        self._waiting: dict[str, Message] = {}
        self._ended: deque[Json] = deque(maxlen=ENDED_MAX)
        self._has_news = True
        self._is_closed = False
        self._sweep_due_s: float | None = None
        self._next_sweep_s = 0.0
        if handed is not None:
            self._backends = {one.id: _adopted(one) for one in handed.backends}
            self._waiting = {str(launch["id"]): launch for launch in handed.waiting}
            self._ended.extend(handed.ended)

    def hand_over(self) -> HandedProcesses:
        """For the program that takes this one's place."""
        return HandedProcesses(
            backends=tuple(_handed(backend) for backend in self._backends.values()),
            waiting=tuple(self._waiting.values()),
            ended=tuple(self._ended),
        )

    @property
    def is_empty(self) -> bool:
        """No process is left."""
        return not self._backends

    @property
    def longest_grace_s(self) -> float:
        """How long the slowest may take to end once it is told to."""
        return max((backend.grace_s for backend in self._backends.values()), default=0.0)

    @property
    def has_waiting(self) -> bool:
        """Something is to be launched in the next pass."""
        return bool(self._waiting)

    # -- what the control process says

    def launch(self, message: Message) -> None:
        """Start a backend, soon; not one that is known, nor when closed."""
        backend = str(message["id"])
        if self._is_closed or backend in self._backends:
            return
        self._waiting.setdefault(backend, message)

    def halt(self, message: Message) -> None:
        """TERM, and KILL after the message's `grace_s`; again: at most the shorter time."""
        backend, grace_s = str(message["id"]), float(message["grace_s"])
        if (waiting := self._waiting.pop(backend, None)) is not None:
            self._note_end(waiting, None, is_halted=True)
        elif (found := self._backends.get(backend)) is not None:
            self._halt(found, time.monotonic() + grace_s)

    def control_has_gone(self) -> None:
        """Forget what was asked and not begun; look for checks it left behind."""
        self._waiting.clear()
        self._has_news = True
        self._sweep_due_s = time.monotonic()

    # -- what happens

    def launch_waiting(self) -> None:
        """Start some of those that wait."""
        for backend in list(self._waiting)[:AT_ONCE]:
            self._launch(self._waiting.pop(backend))

    def reaped(self, pid: int, code: int) -> None:
        """A child that is none of the gateway's own processes has ended."""
        backend = next((b for b in self._backends.values() if b.pid == pid), None)
        if backend is None or backend.has_ended:
            return  # an orphan that the kernel gave us
        backend.process.returncode = code  # Popen would look for it in vain
        backend.has_ended = True
        log.info("%s of %s ended, %s", backend.id, backend.service, describe_exit(code))
        lived_s = time.monotonic() - backend.started_s
        self._note_end(backend.row(), code, lived_s, is_halted=backend.is_halted)
        if backend.has_group and not backend.is_halted:
            backend.signal(signal.SIGTERM)
            backend.kill_by_s = time.monotonic() + backend.grace_s

    def look(self, now_s: float, control_pid: int) -> None:
        """Kill what has not ended in time, forget what is over, search for what got away."""
        for backend in [b for b in self._backends.values() if b.is_halted or b.has_ended]:
            if backend.has_ended and not backend.has_group:
                del self._backends[backend.id]
                self._has_news = True
                self._sweep_due_s = max(now_s, self._next_sweep_s)
            elif backend.kill_by_s is not None and now_s >= backend.kill_by_s:
                log.warning("%s of %s has not ended in time: killed", backend.id, backend.service)
                backend.kill_by_s = None
                backend.signal(signal.SIGKILL)
        if self._sweep_due_s is not None and now_s >= self._sweep_due_s:
            self._sweep(control_pid)
            self._sweep_due_s, self._next_sweep_s = None, now_s + SWEEP_S

    def news(self) -> Json | None:
        """The table for the control process, when it does not know it."""
        if not self._has_news:
            return None
        self._has_news = False
        ended = list(self._ended)
        self._ended.clear()
        return messages.processes([b.row() for b in self._backends.values()], ended)

    # -- the end

    def close(self, now_s: float, longest_s: float | None = None) -> None:
        """End them all, each with its own grace time (at most `longest_s`); start none."""
        self._is_closed = True
        self._waiting.clear()
        for backend in self._backends.values():
            grace_s = backend.grace_s if longest_s is None else min(backend.grace_s, longest_s)
            self._halt(backend, now_s + grace_s)

    def kill_all(self) -> None:
        """End everybody now and wait for it."""
        for backend in self._backends.values():
            backend.signal(signal.SIGKILL)
            if not backend.has_ended:
                backend.process.wait()
        self._backends.clear()
        marks.end_unknown(self._home, lambda _: False)

    # -- how

    def _launch(self, message: Message) -> None:
        backend, service = str(message["id"]), str(message["service"])
        try:
            process = self._spawn(message)
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            why = _words(error)
            log.error("%s of %s cannot be started: %s", backend, service, why)
            self._note_end(message, None, error=f"cannot be started: {why}")
            return
        self._backends[backend] = Backend(
            id=backend,
            service=service,
            note=message["note"],
            process=process,
            grace_s=float(message["grace_s"]),
            started_unix=time.time(),
            started_s=time.monotonic(),
        )
        self._has_news = True
        log.info("%s of %s started, pid %d", backend, service, process.pid)

    def _spawn(self, message: Message) -> subprocess.Popen[bytes]:
        output = _open_output(message["log"])
        try:
            with _signals_blocked():
                return subprocess.Popen(  # noqa: S603 - what the configuration names
                    message["command"],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    env={**message["env"], **marks.mark(self._home, message["id"])},
                    cwd=message["cwd"],
                    start_new_session=True,
                    preexec_fn=tie_to_parent(),  # safe: this process has one thread
                )
        finally:
            os.close(output)

    def _halt(self, backend: Backend, kill_by_s: float) -> None:
        if not backend.is_halted:
            backend.is_halted = True
            self._has_news = True
            backend.signal(signal.SIGTERM)
            backend.signal(signal.SIGCONT)  # a stopped one could not hear it
        backend.kill_by_s = (
            kill_by_s if backend.kill_by_s is None else min(backend.kill_by_s, kill_by_s)
        )

    def _sweep(self, control_pid: int) -> None:
        checks = marks.check_id(control_pid)
        marks.end_unknown(self._home, lambda found: found == checks or found in self._backends)

    def _note_end(
        self,
        backend: Json,
        code: int | None,
        lived_s: float = 0.0,
        *,
        is_halted: bool = False,
        error: str | None = None,
    ) -> None:
        self._has_news = True
        self._ended.append(
            {
                "id": backend["id"],
                "service": backend["service"],
                "note": backend["note"],
                "code": code,
                "lived_s": lived_s,
                "ended_unix": time.time(),
                "halted": is_halted,
                "error": error,
            }
        )


def _handed(backend: Backend) -> HandedBackend:
    return HandedBackend(
        id=backend.id,
        service=backend.service,
        note=backend.note,
        pid=backend.pid,
        grace_s=backend.grace_s,
        started_unix=backend.started_unix,
        started_s=backend.started_s,
        is_halted=backend.is_halted,
        kill_by_s=backend.kill_by_s,
        has_ended=backend.has_ended,
    )


def _adopted(handed: HandedBackend) -> Backend:
    return Backend(
        id=handed.id,
        service=handed.service,
        note=handed.note,
        process=Adopted(handed.pid),
        grace_s=handed.grace_s,
        started_unix=handed.started_unix,
        started_s=handed.started_s,
        is_halted=handed.is_halted,
        kill_by_s=handed.kill_by_s,
        has_ended=handed.has_ended,
    )


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """No signal reaches a process that is half another one: it would be taken for ours."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _open_output(path: str) -> int:
    """The file for output. Where none can be made the program runs without one."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    with suppress(OSError):
        Path(path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        return os.open(path, flags, 0o600)
    except OSError as error:
        log.error("no output is kept in %s: %s", path, error.strerror)
        return os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)


def _words(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename!r}" if error.filename else error.strerror
    return str(error)
