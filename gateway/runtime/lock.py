"""One gateway per state folder: a lock file held for the supervisor's life.

The lock is the kernel's (`flock`), so it is free as soon as the holder is gone,
however it went. The file's text is the holder's pid and is emptied by a clean
stop: text in a file nobody locks tells of an unclean end, whose workers may
still be finishing.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import stat
from pathlib import Path

from .errors import StartRefused

log = logging.getLogger("gateway.supervisor")

LOCK_FILE = "gateway.lock"


class Lock:
    """A held lock. `follows_unclean_end`: the last holder did not stop cleanly."""

    def __init__(self, fd: int, follows_unclean_end: bool) -> None:
        self._fd = fd
        self.follows_unclean_end = follows_unclean_end

    def fileno(self) -> int:
        """The descriptor that holds it, also in a program that takes this one's place."""
        return self._fd

    def release(self) -> None:
        """Note a clean end and let go."""
        os.ftruncate(self._fd, 0)
        os.close(self._fd)


def acquire(folder: Path) -> Lock:
    """Make the state folder where needed and lock it. Raises `StartRefused`."""
    path = folder / LOCK_FILE
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Not through a link, and into a file only: what is there is emptied.
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise StartRefused(f"{path.absolute()} is a symbolic link; remove it") from None
        raise StartRefused(
            f"the state folder {folder.absolute()} cannot be written: {error.strerror}; "
            f"make it writable for user {os.geteuid()}, or set state_dir"
        ) from None
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise StartRefused(f"{path.absolute()} is no file; remove it")
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.pread(fd, 32, 0).decode("ascii", "replace").strip()
        os.close(fd)
        if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
            raise StartRefused(f"{path.absolute()} cannot be locked: {error.strerror}") from None
        who = f" (pid {holder})" if holder.isdigit() else ""
        raise StartRefused(
            f"another gateway{who} uses the state folder {folder.absolute()}; "
            "stop it, or set another state_dir"
        ) from None
    if (mode := stat.S_IMODE(folder.stat().st_mode)) & 0o022:
        # Who may write there may put other routes and other keys in place of ours.
        log.warning(
            "other users may write to the state folder %s (mode %04o): chmod go-w it",
            *(folder.absolute(), mode),
        )
    follows_unclean_end = bool(os.pread(fd, 32, 0).strip())
    try:
        os.ftruncate(fd, 0)
        os.pwrite(fd, b"%d\n" % os.getpid(), 0)
    except OSError as error:
        os.close(fd)
        raise StartRefused(
            f"{path.absolute()} cannot be written: {error.strerror}; make room, or set state_dir"
        ) from None
    return Lock(fd, follows_unclean_end)
