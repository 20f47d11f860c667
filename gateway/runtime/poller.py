# cython: language_level=3, annotation_typing=False
"""An event loop that watches descriptors with an epoll of its own.

Why: when data and a reset arrive together, libuv reports the error once and stops
watching, uvloop runs the reader once and closes its handle (`UVPoll._fatal_error`),
and a transport that read the data then waits for ever; [measured] of 50 clients
that sent and reset at once, 39 were never noticed. A level-triggered epoll goes on
telling until somebody has read the error.

uvloop sees one descriptor, that of this epoll; readers and writers are called from
here. It costs one system call a turn and is used where transports are made of
readers and writers (aiofastnet).
"""

from __future__ import annotations

import errno
import os
import select
from asyncio import AbstractEventLoop
from collections.abc import Callable, Sequence
from typing import Any

import uvloop

_INTERPRETED = __file__.endswith(".py")
_EVENTS = 256
"""Taken at once, at most."""
_MANY = 8
_ROUNDS = 4
"""Where many came at once there are mostly more by now: the loop's own look can wait."""
_IN, _OUT = int(select.EPOLLIN), int(select.EPOLLOUT)
_READ = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR
_WRITE = select.EPOLLOUT | select.EPOLLHUP | select.EPOLLERR

_ADD, _REMOVE, _CHANGE = 1, 2, 3
"""What can be told to an epoll (`EPOLL_CTL_ADD`, `EPOLL_CTL_DEL`, `EPOLL_CTL_MOD`)."""

Call = tuple[Callable[..., object], tuple[Any, ...]]


class Poller:
    """Who waits for which descriptor, and the epoll that knows when it is there.

    `_readers` and `_writers` are by number of the descriptor.
    """

    __slots__ = ("_epoll", "_events", "_fd", "_loop", "_readers", "_wanted", "_writers")

    _events: Sequence[Any]
    """Of the C structure, where this is compiled."""
    _wanted: Sequence[Any]
    """Likewise."""

    def __init__(self, loop: AbstractEventLoop) -> None:
        self._loop = loop
        self._epoll = select.epoll()
        self._fd = self._epoll.fileno()
        self._readers: list[Call | None] = []
        self._writers: list[Call | None] = []

    def fileno(self) -> int:
        """Readable when somebody is to be called."""
        return self._epoll.fileno()

    def close(self) -> None:
        """Nothing is watched any more."""
        self._epoll.close()

    def add_reader(self, fd: int, call: Call) -> None:
        """Call whenever `fd` can be read or has an error, until `remove_reader`."""
        is_new = self._is_unknown(fd)
        _put(self._readers, fd, call)
        self._watch(fd, is_new)

    def remove_reader(self, fd: int) -> bool:
        """False if nobody read it."""
        if _get(self._readers, fd) is None:
            return False
        self._readers[fd] = None
        self._watch(fd, False)
        return True

    def add_writer(self, fd: int, call: Call) -> None:
        """Call whenever `fd` can be written or has an error, until `remove_writer`."""
        is_new = self._is_unknown(fd)
        _put(self._writers, fd, call)
        self._watch(fd, is_new)

    def remove_writer(self, fd: int) -> bool:
        """False if nobody wrote it."""
        if _get(self._writers, fd) is None:
            return False
        self._writers[fd] = None
        self._watch(fd, False)
        return True

    def turn(self) -> None:
        """Call whoever waits for something that is there."""
        rounds = _ROUNDS
        while rounds > 0 and self._look() >= _MANY:
            rounds -= 1

    def _look(self) -> int:
        """How many descriptors had something; all who wait for it have been called."""
        if _INTERPRETED:
            found = self._epoll.poll(0, _EVENTS)
            for fd, flags in found:
                self._tell(fd, flags)
            return len(found)
        # -1, interrupted: nothing is lost, it tells again.
        count: int = epoll_wait(self._fd, self._events, _EVENTS, 0)  # type: ignore[name-defined]  # noqa: F821
        at = 0
        while at < count:
            self._tell(self._events[at].fd, self._events[at].events)
            at += 1
        return at

    def _tell(self, fd: int, flags: int) -> None:
        if flags & _READ:
            call = _get(self._readers, fd)
            if call is not None:
                self._call(call)
        if flags & _WRITE:
            call = _get(self._writers, fd)
            if call is not None:
                self._call(call)

    def _is_unknown(self, fd: int) -> bool:
        return _get(self._readers, fd) is None and _get(self._writers, fd) is None

    def _watch(self, fd: int, is_new: bool) -> None:
        """Tell the epoll what is wanted now; `is_new`: nobody waited for the descriptor before.

        A descriptor that was closed has left the epoll by itself, and its number may
        be another connection's by now: what the epoll knows is found out by trying, what
        is likely first.
        """
        wanted = 0
        if _get(self._readers, fd) is not None:
            wanted |= _IN
        if _get(self._writers, fd) is not None:
            wanted |= _OUT
        if not wanted:
            self._control(_REMOVE, fd, 0)
            return
        error = self._control(_ADD if is_new else _CHANGE, fd, wanted)
        if error == (errno.EEXIST if is_new else errno.ENOENT):
            error = self._control(_CHANGE if is_new else _ADD, fd, wanted)
        if error:
            _put(self._readers, fd, None)
            _put(self._writers, fd, None)
            raise OSError(error, os.strerror(error))

    def _control(self, operation: int, fd: int, wanted: int) -> int:
        """0, or the number of the error: making an exception of it costs more than the call."""
        if _INTERPRETED:
            try:
                if operation == _ADD:
                    self._epoll.register(fd, wanted)
                elif operation == _CHANGE:
                    self._epoll.modify(fd, wanted)
                else:
                    self._epoll.unregister(fd)
            except OSError as error:
                return error.errno or errno.EIO
            return 0
        self._wanted[0].events = wanted
        self._wanted[0].fd = fd
        failed: int = epoll_ctl(self._fd, operation, fd, self._wanted)  # type: ignore[name-defined]  # noqa: F821
        return c_errno if failed else 0  # type: ignore[name-defined]  # noqa: F821

    def _call(self, call: Call) -> None:
        callback, args = call
        try:
            if args:
                callback(*args)
            else:
                callback()
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            self._loop.call_exception_handler(
                {"message": f"Exception in callback {callback!r}", "exception": error}
            )


def _get(calls: list[Call | None], fd: int) -> Call | None:
    return calls[fd] if 0 <= fd < len(calls) else None


def _put(calls: list[Call | None], fd: int, call: Call | None) -> None:
    if fd < 0:
        raise ValueError(f"{fd} is no descriptor")
    if fd >= len(calls):
        calls.extend([None] * (fd + 1 - len(calls)))
    calls[fd] = call


class PolledLoop(uvloop.Loop):
    """uvloop, but for `add_reader`, `add_writer` and their counterparts."""

    def __init__(self) -> None:
        super().__init__()
        self._poller = Poller(self)
        super().add_reader(self._poller.fileno(), self._poller.turn)

    def close(self) -> None:
        """Close the loop; nothing is watched any more."""
        if not self.is_closed():
            super().remove_reader(self._poller.fileno())
            self._poller.close()
        super().close()

    def add_reader(  # type: ignore[override]
        self, fd: Any, callback: Callable[..., object], *args: Any
    ) -> None:
        """See `Poller.add_reader`."""
        self._poller.add_reader(_number(fd), (callback, args))

    def remove_reader(self, fd: Any) -> bool:  # type: ignore[override]
        """See `Poller.remove_reader`."""
        return self._poller.remove_reader(_number(fd))

    def add_writer(  # type: ignore[override]
        self, fd: Any, callback: Callable[..., object], *args: Any
    ) -> None:
        """See `Poller.add_writer`."""
        self._poller.add_writer(_number(fd), (callback, args))

    def remove_writer(self, fd: Any) -> bool:  # type: ignore[override]
        """See `Poller.remove_writer`."""
        return self._poller.remove_writer(_number(fd))


def _number(fd: Any) -> int:
    return fd if isinstance(fd, int) else int(fd.fileno())
