"""Which process a process belongs to when its parent is gone: two options of Linux's prctl."""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def become_subreaper() -> bool:
    """Have orphaned grandchildren become this process's children instead of init's.

    False where the kernel cannot.
    """
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        return bool(libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)
    except (OSError, AttributeError):
        return False


def tie_to_parent() -> Callable[[], None]:
    """For `preexec_fn`, with all signals blocked: TERM when the thread that calls this here ends.

    Gives the new program the default handlers and unblocks all signals, in an order
    in which none is lost: neither a signal nor the parent's end.
    """
    parent = os.getpid()
    libc = ctypes.CDLL(None)
    numbers = [n for n in signal.valid_signals() if n not in (signal.SIGKILL, signal.SIGSTOP)]

    def tie() -> None:
        for number in numbers:
            if callable(signal.getsignal(number)):
                signal.signal(number, signal.SIG_DFL)
        libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)

    return tie
