"""Signals as events of a selector loop.

A handler that does work may run between any two instructions; here the
interpreter's own handler writes the signal's number into a socket
(`signal.set_wakeup_fd`) and the loop reads it when it is ready for it.
"""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterable
from types import FrameType


class SignalQueue:
    """Signals that arrived, in order. Make it in the main thread; `close` restores what was."""

    def __init__(self, signals: Iterable[signal.Signals]) -> None:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        self._old_fd = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        self._old = {number: signal.signal(number, _ignore) for number in signals}

    def fileno(self) -> int:
        """For selectors."""
        return self._reader.fileno()

    def read(self) -> list[signal.Signals]:
        """The signals since the last call."""
        try:
            return [signal.Signals(number) for number in self._reader.recv(4096)]
        except BlockingIOError:
            return []

    def hold(self) -> None:
        """Have signals wait in the kernel, also while this process becomes another program."""
        signal.pthread_sigmask(signal.SIG_BLOCK, self._old)

    def release(self) -> None:
        """Take those that wait; undoes `hold`, also that of a former program."""
        signal.pthread_sigmask(signal.SIG_UNBLOCK, self._old)

    def close(self) -> None:
        """Put the former handlers back."""
        for number, handler in self._old.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._old_fd)
        self._reader.close()
        self._writer.close()


def _ignore(number: int, frame: FrameType | None) -> None:
    """Having a handler at all is what makes the wake-up byte be written."""
