"""Unix listening sockets: made with the right mode from the first moment, stale ones replaced.

A socket file outlives its program, so an existing one is asked first: when
somebody answers it is left alone, when nobody does it is replaced. Anything else
than a socket at the path is never removed.
"""

from __future__ import annotations

import contextlib
import grp
import os
import socket
import stat
import time
from pathlib import Path

from .addresses import UNIX_PATH_MAX
from .errors import StartRefused
from .sockets import BACKLOG

_RETRY_S = 0.1


NO_INODE = -1


class UnixListener:
    """A listening socket and its file; without an `inode` the file is somebody else's."""

    def __init__(self, sock: socket.socket, path: Path, inode: int = NO_INODE) -> None:
        self.sock = sock
        self.path = path
        self.inode = inode

    def close(self) -> None:
        """Close, and remove the file if it is still this socket's."""
        self.sock.close()
        with contextlib.suppress(OSError):
            if self.path.stat().st_ino == self.inode:
                self.path.unlink()


def open_unix(
    path: Path,
    key: str,
    mode: int = 0o600,
    group: str | None = None,
    patience_s: float = 0.0,
) -> UnixListener:
    """Listen at `path`; `key` names the configuration key in errors. Raises `StartRefused`.

    Somebody who listens there is given `patience_s` to go.
    """
    until = time.monotonic() + patience_s
    size = len(os.fsencode(path))
    if size > UNIX_PATH_MAX:
        raise StartRefused(
            f"{key}: the socket's path {path} has {size} bytes, at most {UNIX_PATH_MAX} are "
            "possible; choose a shorter one"
        )
    gid = None if group is None else _gid(group)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        while not _is_free(path, key):
            if time.monotonic() >= until:
                raise StartRefused(
                    f"{key}: another program listens on {path}; stop it, or choose another path"
                )
            time.sleep(_RETRY_S)
        # The file must never be open to more than its mode says, not even before chmod.
        old_mask = os.umask(0o177)
        try:
            sock.bind(os.fspath(path))
        finally:
            os.umask(old_mask)
        listener = UnixListener(sock, path, path.stat().st_ino)
    except OSError as error:
        sock.close()
        raise StartRefused(
            f"{key}: the socket {path} cannot be made: {error.strerror}; choose another path"
        ) from None
    except StartRefused:
        sock.close()
        raise
    try:
        if gid is not None:
            os.chown(path, -1, gid)
        os.chmod(path, mode)
        sock.setblocking(False)
        sock.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise StartRefused(
            f"{key}: {path} cannot be given group {group} and mode {mode:04o}: {error.strerror}; "
            "choose a group this user is in"
        ) from None
    return listener


def _gid(group: str) -> int:
    if group.isascii() and group.isdigit():
        return int(group)
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise StartRefused(
            f"admin.socket_group: there is no group {group!r}; name one that exists"
        ) from None


def _is_free(path: Path, key: str) -> bool:
    """Nobody listens at `path`; a file left by who did is removed."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return True
    if not stat.S_ISSOCK(mode):
        raise StartRefused(f"{key}: {path} exists and is no socket; move it away")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(os.fspath(path))
        except (ConnectionRefusedError, FileNotFoundError):
            path.unlink(missing_ok=True)
            return True
        except (TimeoutError, BlockingIOError):
            return False
    return False
