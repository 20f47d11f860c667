"""The gateway of the demo as a child process: started, stopped, ended with the demo.

It has a process group of its own, so that Ctrl-C in a terminal reaches the demo
only, which then stops the gateway; what that has launched is the gateway's to
stop. Should the demo be killed, the system tells the gateway to stop (Linux).
"""

from __future__ import annotations

import ctypes
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self

PR_SET_PDEATHSIG = 1
STOP_S = 30.0


class Stage:
    """A context: what was started in it is stopped when it is left."""

    def __init__(self, log: Path) -> None:
        self._log_path = log
        self._log: IO[bytes] | None = None
        self._log_start = 0
        self._gateway: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._log_path.parent.mkdir(parents=True, exist_ok=True)
        self._log = self._log_path.open("ab")
        self._log_start = self._log.tell()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start_gateway(self, arguments: Sequence[str]) -> None:
        """Start `gateway ARGUMENTS`; what it prints goes to the log."""
        self._gateway = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-P", "-m", "gateway", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            process_group=0,
            preexec_fn=_end_with_parent if sys.platform == "linux" else None,
        )

    def gateway_code(self) -> int | None:
        """The gateway's exit code, None while it runs."""
        return None if self._gateway is None else self._gateway.poll()

    def wait_gateway(self) -> int:
        """Wait for the gateway's end; its exit code."""
        assert self._gateway is not None
        return self._gateway.wait()

    def last_words(self) -> str:
        """The end of what was logged since the start."""
        text = self._log_path.read_bytes()[self._log_start :].decode(errors="replace")
        return "\n".join(text.strip().splitlines()[-3:])

    def stop(self) -> None:
        """Stop the gateway; again: nothing."""
        if self._gateway is not None:
            _end(self._gateway)
        if self._log is not None:
            self._log.close()


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(STOP_S)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        process.kill()
        process.wait()


def _end_with_parent() -> None:
    """In the child before exec: SIGTERM when the demo dies without stopping it."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
