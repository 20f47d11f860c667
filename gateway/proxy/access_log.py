# cython: language_level=3, annotation_typing=False
"""The access log of a worker: one JSON line per request (`access_line`), written many at a time.

Lines gather in memory until there are 64 KiB of them or somebody calls `flush`
(the worker's sweep does). Several workers may share the target: it is written
by appending whole lines only, into a pipe at most `PIPE_BUF` bytes at a time
(POSIX: such writes are not mixed), therefore no line is longer than that.

Never hurts the request path: nothing here raises or waits. While the target
cannot take more (full disk, stalled reader, folder away) up to 1 MiB is kept
and tried again at each `flush`; what exceeds that is dropped and counted.

Must not know cookies or the Authorization field: there is no place for them.
"""

from __future__ import annotations

import errno
import os
import select
import stat
import sys
import time
from collections.abc import Callable
from enum import Enum

from . import access_line
from .access_line import LINE_BYTES, Entry

FLUSH_BYTES = 64 << 10
KEEP_BYTES = 1 << 20
_LATER = frozenset({errno.EAGAIN, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.ENOBUFS})
"""Errors of a target that may take lines again when somebody has made room."""

OFF = "off"
STDOUT = "stdout"


class _Manner(Enum):
    """How a target is written."""

    WHOLE = "whole"
    """All that there is at once: a file."""
    PIECES = "pieces"
    """At most `PIPE_BUF` bytes at a time: a pipe, a terminal."""
    POLITE = "polite"
    """Likewise, and only when a poll says it would not block: a descriptor shared
    with others, which therefore can't be made non-blocking."""


class AccessLog:
    """Writes to `target`: `off`, `stdout` or a file. `clock` gives seconds since the epoch."""

    def __init__(
        self,
        target: str,
        clock: Callable[[], float] = time.time,
        on_drop: Callable[[int], None] = lambda lines: None,
    ) -> None:
        """Never raises: a target that can't be opened is a `problem`, tried again at each flush.

        `on_drop` is told how many lines were just lost.
        """
        self.target = target
        self.enabled = target != OFF
        """Ask before gathering what to write."""
        self.dropped = 0
        """Lines lost so far."""
        self.problem: str | None = None
        """Why the last attempt to write failed; None: it did not."""
        self._clock = clock
        self._on_drop = on_drop
        self._second = -1.0
        self._second_text = b""
        self._lines: list[bytes] = []
        self._size = 0
        self._flush_at = FLUSH_BYTES
        self._fd: int | None = None
        self._manner = _Manner.WHOLE
        self._is_torn = False
        """The last write ended within a line."""
        if self.enabled:
            self._open()

    def write(self, entry: Entry) -> None:
        """Log what has ended."""
        if not self.enabled:
            return
        if self._size >= KEEP_BYTES:
            self._drop(1)
            return
        now = self._clock()
        if not 0 <= now - self._second < 1:
            self._new_second(now)
        millis = int((now - self._second) * 1000)
        line = None
        if not access_line.INTERPRETED:
            line = access_line.quick(self._second_text, millis, entry)
        if line is None:
            line = access_line.defined(self._second_text, millis, entry)
        if line is None:
            self._drop(1)
            return
        self._lines.append(line)
        self._size += len(line)
        if self._size >= self._flush_at:
            self.flush()

    def _new_second(self, now: float) -> None:
        self._second = int(now)
        text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(self._second))
        self._second_text = text.encode()

    def flush(self) -> None:
        """Write what there is, as far as the target takes it."""
        if not self._lines or (self._fd is None and not self._open()):
            self._flush_at = self._size + FLUSH_BYTES
            return
        self.problem = None
        while self._lines:
            count, blob = self._next_piece()
            try:
                written = self._put(blob)
            except OSError as exc:
                self._fail(exc)
                break
            if written < len(blob):
                self._cut_off(written)
                break
            self._forget(count)
            self._is_torn = False
        # Not at every line while the target does not take any.
        self._flush_at = self._size + FLUSH_BYTES

    def _next_piece(self) -> tuple[int, bytes]:
        """How many lines to write at once, and these."""
        limit = KEEP_BYTES * 2 if self._manner is _Manner.WHOLE else LINE_BYTES
        prefix = b"\n" if self._is_torn else b""
        size = len(prefix)
        count = 0
        for line in self._lines:
            if size + len(line) > limit and count:
                break
            size += len(line)
            count += 1
        return count, prefix + b"".join(self._lines[:count])

    def _put(self, blob: bytes) -> int:
        fd = self._fd
        if fd is None:
            return 0
        if self._manner is _Manner.POLITE:
            poll = select.poll()
            poll.register(fd, select.POLLOUT)
            if not poll.poll(0):
                raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return os.write(fd, blob)

    def _fail(self, exc: OSError) -> None:
        self.problem = f"cannot write the access log {self.target}: {exc.strerror or exc}"
        if exc.errno in _LATER:
            return
        self._drop(len(self._lines))
        self._forget(len(self._lines))
        self._close()

    def _cut_off(self, written: int) -> None:
        """The target took only part of the last piece: its last line is lost."""
        if written == 0:
            return
        left = written - (1 if self._is_torn else 0)
        whole = 0
        for line in self._lines:
            if left < len(line):
                break
            left -= len(line)
            whole += 1
        self._forget(whole)
        self._is_torn = left > 0
        if self._is_torn:
            self._forget(1)
            self._drop(1)

    def _drop(self, lines: int) -> None:
        if lines:
            self.dropped += lines
            self._on_drop(lines)

    def _forget(self, count: int) -> None:
        self._size -= sum(map(len, self._lines[:count]))
        del self._lines[:count]

    def reopen(self) -> None:
        """After the file was renamed away (USR1): what is gathered still goes to the old one."""
        if self.enabled:
            self.flush()
            self._close()
            self._open()

    def close(self) -> None:
        """Write what there is and let go of the target; lines that did not fit count as dropped."""
        self.flush()
        self._close()
        self._drop(len(self._lines))
        self._forget(len(self._lines))
        self.enabled = False

    def _open(self) -> bool:
        try:
            self._fd, self._manner = (
                _open_stdout() if self.target == STDOUT else _open_file(self.target)
            )
        except (OSError, ValueError) as exc:
            reason = exc.strerror if isinstance(exc, OSError) else str(exc)
            self.problem = f"cannot open the access log {self.target}: {reason}"
            return False
        self.problem = None
        self._is_torn = False
        return True

    def _close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def _open_file(path: str) -> tuple[int, _Manner]:
    # Non-blocking: for a named pipe; a regular file does not care.
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOCTTY | os.O_NONBLOCK
    fd = os.open(path, flags, 0o640)
    return fd, _Manner.WHOLE if stat.S_ISREG(os.fstat(fd).st_mode) else _Manner.PIECES


def _open_stdout() -> tuple[int, _Manner]:
    if sys.__stdout__ is None:  # closed when the process began; 1 may be anything by now
        raise OSError(errno.EBADF, "standard output is closed")
    # O_NONBLOCK belongs to the open file and would hit everybody who shares it;
    # opening anew gives one of our own. Impossible for sockets and other users' pipes.
    try:
        return _open_file("/proc/self/fd/1")
    except OSError:
        fd = os.dup(1)
        is_file = stat.S_ISREG(os.fstat(fd).st_mode)
        return fd, _Manner.WHOLE if is_file else _Manner.POLITE
